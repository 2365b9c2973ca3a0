//! SQLite stores: opening and migrating one, the journal of requests that every coordinator keeps, and the
//! trail of who asked for what.
//!
//! A coordinator's own tables are its own affair: it passes its migrations to [`Store::open`] and uses the
//! pool. Versions below 1000 are this crate's.

pub mod audit;
pub mod journal;
pub mod room;
pub mod trouble;

mod open;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::{Connection as _, SqliteConnection, SqlitePool};

pub use sqlx::migrate::Migrator;
pub use sqlx::{Error, SqliteConnection as Connection};

pub use audit::{Audit, Entry};
pub use journal::{Acceptance, Accepted, Delivered, Journal, Owed, Received};
pub use open::{MOST_BYTES, OpenError};
use open::{Opened, Renewal};
pub use room::Room;
pub use trouble::{Kind, Trouble};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// An open database.
#[derive(Clone, Debug)]
pub struct Store {
    pool: SqlitePool,
    /// Kept until the end, so that others can be opened on a disk that is full.
    first: Arc<Mutex<Option<SqliteConnection>>>,
    path: Arc<Path>,
    renewal: Arc<Renewal>,
    audited: audit::Bounds,
}

impl Store {
    /// Opens the database at `path`, creates it when it is missing, checks it, and brings its tables up to
    /// date with this crate's and the service's `own` migrations. Its file has at most [`MOST_BYTES`].
    ///
    /// Writes reach the disk before they are acknowledged (`synchronous=FULL`). The files are their owner's alone:
    /// requests can hold what is nobody else's business. A file that is damaged is kept as it is.
    ///
    /// # Errors
    /// The file cannot be used or written, is damaged, or is of a later version.
    pub async fn open(path: &Path, own: &Migrator) -> Result<Self, OpenError> {
        Self::open_bounded(path, own, MOST_BYTES).await
    }

    /// The same with a bound of the file's own, in bytes. A file that is larger already grows no more.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_bounded(path: &Path, own: &Migrator, most_bytes: u64) -> Result<Self, OpenError> {
        let renewal = Arc::new(Renewal::default());
        let Opened { pool, first } =
            open::open(path, [&MIGRATIONS, own], most_bytes, renewal.clone()).await?;
        let first = Arc::new(Mutex::new(Some(first)));
        Ok(Self { pool, first, path: path.into(), renewal, audited: audit::Bounds::default() })
    }

    /// The same, with an audit trail of the newest `records`. One that is longer is cut by later records.
    #[must_use]
    pub fn auditing(self, records: u32) -> Self {
        Self { audited: audit::Bounds::of(records), ..self }
    }

    /// The connections.
    pub fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// The journal of requests.
    pub fn journal(&self) -> Journal {
        Journal::new(self.pool.clone(), self.audited)
    }

    /// Who asked for what, and what came of it.
    pub fn audit(&self) -> Audit {
        Audit::new(self.pool.clone(), self.audited)
    }

    /// The single value kept under `name`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn meta(&self, name: &str) -> Result<Option<String>, sqlx::Error> {
        sqlx::query_scalar("SELECT value FROM meta WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.pool)
            .await
    }

    /// Keeps a single value under `name`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn set_meta(&self, name: &str, value: &str) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO meta (name, value) VALUES (?, ?) \
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(name)
        .bind(value)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The database's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What an error says of the database, for people. When that is that it is read-only, connections are made anew
    /// from then on.
    pub fn trouble(&self, error: &sqlx::Error) -> Trouble {
        let trouble = Trouble::of(error, &self.path);
        if trouble.kind() == Kind::ReadOnly {
            self.renewal.is_due();
        }
        trouble
    }

    /// Reads the whole file and finds out whether it is in order.
    ///
    /// # Errors
    /// It is damaged, or cannot be read.
    pub async fn check(&self) -> Result<(), Trouble> {
        let mut connection = self.pool.acquire().await.map_err(|e| self.trouble(&e))?;
        open::check(&mut connection, &self.path).await
    }

    /// Gives up to 4 MiB that nothing is in any more back to the disk, when more than that lies idle. Returns for
    /// how many pages of 4 KiB that was so.
    ///
    /// # Errors
    /// The database failed.
    pub async fn give_back(&self) -> Result<i64, sqlx::Error> {
        open::give_back(&self.pool).await
    }

    /// Waits for what is under way and closes the file.
    pub async fn close(&self) {
        self.pool.close().await;
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(first) = first
            && let Err(error) = first.close().await
        {
            tracing::warn!(%error, "the database was not closed");
        }
    }
}
