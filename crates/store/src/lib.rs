//! SQLite stores: opening and migrating one, the journal of requests that every coordinator keeps, and the
//! trail of who asked for what.
//!
//! A coordinator's own tables are its own affair: it passes its migrations to [`Store::open`] and uses the
//! pool. Versions below 1000 are this crate's.

pub mod audit;
pub mod journal;

use std::fs::Permissions;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

pub use sqlx::migrate::Migrator;
pub use sqlx::{Error, SqliteConnection as Connection};

pub use audit::{Audit, Entry};
pub use journal::{Acceptance, Accepted, Delivered, Journal, Owed, Received};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// An open database.
#[derive(Clone, Debug)]
pub struct Store {
    pool: SqlitePool,
    audited: audit::Bounds,
}

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or the file cannot be used.
    #[error("cannot open the database {path}; check that the folder exists, is writable and has room")]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: sqlx::Error,
    },
    /// It is damaged.
    #[error(
        "the database {path} is damaged ({found}); restore it from a copy, or move it away to start \
         with an empty one: running plugins are adopted"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the check found.
        found: String,
    },
    /// It was written by another version.
    #[error("cannot bring the database {path} to this version's tables; was it written by a later version?")]
    Migrate {
        /// The file.
        path: PathBuf,
        /// What the migration said.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
}

impl Store {
    /// Opens the database at `path`, creates it when it is missing, checks it, and brings its tables up to
    /// date with this crate's and the service's `own` migrations.
    ///
    /// Writes reach the disk before they are acknowledged (`synchronous=FULL`). The files are their owner's alone:
    /// requests can hold what is nobody else's business.
    ///
    /// # Errors
    /// The file cannot be used, is damaged, or is of a later version.
    pub async fn open(path: &Path, own: &Migrator) -> Result<Self, OpenError> {
        let open = |source| OpenError::Open { path: path.to_owned(), source };
        close_to_others(path).map_err(|e| open(e.into()))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10));
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(Duration::from_secs(15))
            .connect_with(options)
            .await
            .map_err(|e| match e.as_database_error().map(|d| d.message().to_owned()) {
                Some(found) if found.contains("not a database") || found.contains("malformed") => {
                    OpenError::Damaged { path: path.to_owned(), found }
                }
                _ => open(e),
            })?;
        let found: String =
            sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&pool).await.map_err(open)?;
        if found != "ok" {
            return Err(OpenError::Damaged { path: path.to_owned(), found });
        }
        for migrator in [&MIGRATIONS, own] {
            Migrator { migrations: migrator.migrations.clone(), ignore_missing: true, ..Migrator::DEFAULT }
                .run(&pool)
                .await
                .map_err(|source| OpenError::Migrate { path: path.to_owned(), source })?;
        }
        Ok(Self { pool, audited: audit::Bounds::default() })
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

    /// Waits for what is under way and closes the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Makes the database's file, if there is none, and takes the rights of everybody but its owner away. SQLite gives
/// the files that it keeps beside it the mode of the first.
fn close_to_others(path: &Path) -> std::io::Result<()> {
    const OWNER_ONLY: u32 = 0o600;
    std::fs::OpenOptions::new().append(true).create(true).mode(OWNER_ONLY).open(path)?;
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        match std::fs::metadata(&file) {
            Ok(metadata) if metadata.permissions().mode() & 0o077 == 0 => {}
            Ok(_) => std::fs::set_permissions(&file, Permissions::from_mode(OWNER_ONLY))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
