//! Opening a database: connecting, checking, bringing its tables up to date, and bounding its files.
//!
//! What is damaged is never deleted and never written over: it is kept, and whoever starts the coordinator is told
//! what to do with it.

use std::fs::Permissions;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, SqlitePool, query, query_scalar};

use crate::trouble::{Kind, Trouble};

/// The most bytes that a database's file may have unless told otherwise: 1 GiB. What the tables are bounded to is
/// far below; over it a fault of ours, or a flood that no bound has stopped, ends before the disk does.
pub const MOST_BYTES: u64 = 1 << 30;

/// SQLite's page, and so the step in which files grow.
const PAGE: u64 = 4096;

/// To so many bytes the log of writes is cut whenever it was brought into the database, which happens at every
/// thousandth page: 4 MiB.
const LOG_BYTES: u64 = 4 << 20;

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be used as it is: no room, no right, damaged.
    #[error("{0}")]
    Trouble(Trouble),
    /// It was written by another version.
    #[error("cannot bring the database {path} to this version's tables; was it written by a later version?")]
    Migrate {
        /// The file.
        path: PathBuf,
        /// What the migration said.
        #[source]
        source: MigrateError,
    },
}

/// Since when connections must have been made. One that was made while the disk was read-only stays read-only.
#[derive(Debug, Default)]
pub(crate) struct Renewal(Mutex<Option<Instant>>);

impl Renewal {
    /// Those of before now are used no more.
    pub(crate) fn is_due(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn lets(&self, age: Duration) -> bool {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_none_or(|since| age < since.elapsed())
    }
}

/// A database that is open.
pub(crate) struct Opened {
    pub(crate) pool: SqlitePool,
    /// Nobody uses it. While it is there others are opened without any room on the disk: the files that SQLite keeps
    /// beside the database are there.
    pub(crate) first: SqliteConnection,
}

/// Opens, checks and migrates the database at `path`, whose file has at most `most_bytes` from now on.
pub(crate) async fn open(
    path: &Path,
    migrators: [&Migrator; 2],
    most_bytes: u64,
    renewal: Arc<Renewal>,
) -> Result<Opened, OpenError> {
    let trouble = |error: sqlx::Error| OpenError::Trouble(Trouble::of(&error, path));
    close_to_others(path).map_err(|e| trouble(e.into()))?;
    let options = options(path, most_bytes);
    let mut first = options.connect().await.map_err(trouble)?;
    if let Err(damage) = check(&mut first, path).await {
        // What is damaged is closed before anybody is told: he may move it away.
        let _ = first.close().await;
        return Err(OpenError::Trouble(damage));
    }
    allow_to_shrink(&mut first, path).await;
    let pool = SqlitePoolOptions::new()
        .max_connections(4)
        .acquire_timeout(Duration::from_secs(15))
        .before_acquire(move |connection, about| {
            let lets = renewal.lets(about.age);
            // Where there is no room SQLite ends a transaction by itself. The connection then still counts itself in
            // one, and would begin none ever after.
            let is_usable = lets && !connection.is_in_transaction();
            Box::pin(async move { Ok(is_usable) })
        })
        .connect_with(options)
        .await
        .map_err(trouble)?;
    for migrator in migrators {
        Migrator { migrations: migrator.migrations.clone(), ignore_missing: true, ..Migrator::DEFAULT }
            .run(&pool)
            .await
            .map_err(|source| match Trouble::of_migration(&source, path) {
                Some(trouble) => OpenError::Trouble(trouble),
                None => OpenError::Migrate { path: path.to_owned(), source },
            })?;
    }
    Ok(Opened { pool, first })
}

fn options(path: &Path, most_bytes: u64) -> SqliteConnectOptions {
    let pages = (most_bytes / PAGE).clamp(1, u64::from(u32::MAX - 1));
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .pragma("journal_size_limit", LOG_BYTES.to_string())
        .pragma("max_page_count", pages.to_string())
        // A negative size is in KiB. The usual 2 MiB for each connection are most of what a coordinator uses at rest.
        .pragma("cache_size", "-256")
        // A coordinator's container has no folder for temporary files.
        .pragma("temp_store", "memory")
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(10))
}

/// Reads the whole file and finds out whether it is in order.
pub(crate) async fn check(connection: &mut SqliteConnection, path: &Path) -> Result<(), Trouble> {
    match query_scalar::<_, String>("PRAGMA quick_check(1)").fetch_one(connection).await {
        Ok(found) if found == "ok" => Ok(()),
        Ok(found) => Err(Trouble::damaged(path, found)),
        Err(error) => Err(Trouble::of(&error, path)),
    }
}

/// A database keeps every page that it ever had, unless it was told otherwise when it was empty, or is written
/// anew: once, when it is new or of before there was a bound. Nobody else may have it open.
async fn allow_to_shrink(connection: &mut SqliteConnection, path: &Path) {
    let rewritten = async {
        let mode: i64 = query_scalar("PRAGMA auto_vacuum").fetch_one(&mut *connection).await?;
        let pages: i64 = query_scalar("PRAGMA page_count").fetch_one(&mut *connection).await?;
        if mode == SHRINKS || pages > MOST_PAGES {
            return Ok(());
        }
        query("PRAGMA auto_vacuum = INCREMENTAL").execute(&mut *connection).await?;
        query("VACUUM").execute(&mut *connection).await?;
        Ok::<_, sqlx::Error>(())
    };
    if let Err(error) = rewritten.await {
        // It works as it did before; the next start tries again.
        let error = Trouble::of(&error, path).to_string();
        tracing::warn!(error, "the database's file cannot be made to shrink");
    }
}

/// Pages that are copied through memory: 64 MiB. A larger database stays as it is.
const MOST_PAGES: i64 = 16 * 1024;

/// `PRAGMA auto_vacuum` of a database that gives pages back when it is told to.
const SHRINKS: i64 = 2;

/// Pages that are given back at a time, and how many may lie idle: 4 MiB each.
const IDLE_PAGES: i64 = 1024;

/// Gives pages that nothing is in back to the disk. Returns how many there were too many.
pub(crate) async fn give_back(pool: &SqlitePool) -> Result<i64, sqlx::Error> {
    let idle: i64 = query_scalar("PRAGMA freelist_count").fetch_one(pool).await?;
    if idle <= IDLE_PAGES {
        return Ok(0);
    }
    // Each row that is read frees a page.
    query("PRAGMA incremental_vacuum(1024)").fetch_all(pool).await?;
    Ok(idle - IDLE_PAGES)
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

impl OpenError {
    /// Which kind of trouble it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Trouble(trouble) => trouble.kind(),
            Self::Migrate { .. } => Kind::Failed,
        }
    }
}
