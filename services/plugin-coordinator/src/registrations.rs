//! The plugin registry's tables: plugins, the names that are theirs, running operations.
//!
//! Handlers and workers write the same rows. Each write names the revision that it has read, and is refused
//! with [`TableError::Changed`] when somebody else has written since: the writer then looks again.

use chassis::Replies;
use envelope::{Answer, PluginId, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::{Connection, Store};

use crate::operation::Running;
use crate::record::Record;

/// So many ended operations are kept, the newest ones.
pub const ENDED_KEPT: u32 = 1000;

/// How often whoever is overtaken looks again; a step writes once or twice.
pub(crate) const LOOKS: usize = 16;

/// What went wrong with the tables.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The database failed.
    #[error("the plugin registry's database failed")]
    Database(#[from] store::Error),
    /// Somebody else wrote the row after it was read.
    #[error("the row of {0} in the plugin registry was changed meanwhile")]
    Changed(PluginId),
    /// A row cannot be read: it was written by another version, or by hand.
    #[error("the row of {key} in the plugin registry cannot be read")]
    Row {
        /// Which.
        key: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// What a plugin has to itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// `topic` (id and alias), `network`, or `client`.
    pub kind: &'static str,
    /// The name.
    pub name: String,
}

/// The plugin registry.
#[derive(Clone)]
pub struct Registrations {
    store: Store,
    replies: Replies,
}

impl Registrations {
    /// The tables in `store`; outcomes go out through `replies`.
    pub fn new(store: Store, replies: Replies) -> Self {
        Self { store, replies }
    }

    /// One plugin.
    ///
    /// # Errors
    /// The database failed, or the row cannot be read.
    pub async fn plugin(&self, id: &PluginId) -> Result<Option<Record>, TableError> {
        let row: Option<(String, i64)> = sqlx::query_as("SELECT record, revision FROM plugins WHERE id = ?")
            .bind(id.as_str())
            .fetch_optional(self.store.pool())
            .await?;
        row.map(|(text, revision)| Ok(Record { revision, ..decode(id.as_str(), &text)? })).transpose()
    }

    /// All plugins, by id. A row that cannot be read is logged and left out, so that it hurts no other.
    ///
    /// # Errors
    /// The database failed.
    pub async fn plugins(&self) -> Result<Vec<Record>, TableError> {
        let rows: Vec<(String, String, i64)> =
            sqlx::query_as("SELECT id, record, revision FROM plugins ORDER BY id")
                .fetch_all(self.store.pool())
                .await?;
        let record = |(id, text, revision): (String, String, i64)| {
            readable(decode(&id, &text)).map(|record| Record { revision, ..record })
        };
        Ok(rows.into_iter().filter_map(record).collect())
    }

    /// The operation that runs on a plugin.
    ///
    /// # Errors
    /// The database failed, or the row cannot be read.
    pub async fn running(&self, id: &PluginId) -> Result<Option<Running>, TableError> {
        let text: Option<String> =
            sqlx::query_scalar("SELECT record FROM operations WHERE plugin_id = ? AND ended_at IS NULL")
                .bind(id.as_str())
                .fetch_optional(self.store.pool())
                .await?;
        text.map(|text| decode(id.as_str(), &text)).transpose()
    }

    /// All operations that run.
    ///
    /// # Errors
    /// The database failed.
    pub async fn all_running(&self) -> Result<Vec<Running>, TableError> {
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT id, record FROM operations WHERE ended_at IS NULL")
                .fetch_all(self.store.pool())
                .await?;
        Ok(rows.iter().filter_map(|(id, text)| readable(decode(id, text))).collect())
    }

    /// Whose a name is.
    ///
    /// # Errors
    /// The database failed.
    pub async fn owner(&self, name: &Name) -> Result<Option<String>, TableError> {
        let owner = sqlx::query_scalar("SELECT plugin_id FROM names WHERE kind = ? AND name = ?")
            .bind(name.kind)
            .bind(&name.name)
            .fetch_optional(self.store.pool())
            .await?;
        Ok(owner)
    }

    /// Records an operation, and with it what is wanted of the plugin, in one transaction. An operation
    /// `instead` of which it runs ends with `superseded`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn begin(
        &self,
        operation: &Running,
        record: Option<&Record>,
        instead: Option<(&Running, Answer)>,
    ) -> Result<(), TableError> {
        let mut tx = self.store.pool().begin_with("BEGIN IMMEDIATE").await?;
        if let Some((other, answer)) = &instead {
            self.end(&mut tx, other, answer).await?;
        }
        sqlx::query("INSERT INTO operations (id, plugin_id, request_id, record) VALUES (?, ?, ?, ?)")
            .bind(operation.id.to_string())
            .bind(operation.plugin_id.as_str())
            .bind(&operation.request_id)
            .bind(encode(operation))
            .execute(&mut *tx)
            .await?;
        if let Some(record) = record {
            save(&mut tx, record).await?;
        }
        tx.commit().await?;
        self.replies.deliver();
        Ok(())
    }

    /// Records how far a plugin and an operation have come, in one transaction. The record has the new
    /// revision then, so that it can be written again.
    ///
    /// # Errors
    /// The database failed.
    pub async fn advance(
        &self,
        mut record: Option<&mut Record>,
        operation: Option<&Running>,
    ) -> Result<(), TableError> {
        let mut tx = self.store.pool().begin_with("BEGIN IMMEDIATE").await?;
        if let Some(record) = &record {
            save(&mut tx, record).await?;
        }
        if let Some(operation) = operation {
            sqlx::query("UPDATE operations SET record = ? WHERE id = ? AND ended_at IS NULL")
                .bind(encode(operation))
                .bind(operation.id.to_string())
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        if let Some(record) = &mut record {
            record.revision += 1;
        }
        Ok(())
    }

    /// Registers a plugin with its names and ends the operation that installed it, in one transaction.
    /// Answers the name that another plugin has, if one has it; then nothing is recorded.
    ///
    /// # Errors
    /// The database failed.
    pub async fn register(
        &self,
        record: &Record,
        names: &[Name],
        operation: &Running,
        answer: &Answer,
    ) -> Result<Option<Name>, TableError> {
        let mut tx = self.store.pool().begin_with("BEGIN IMMEDIATE").await?;
        for name in names {
            let owner: Option<String> =
                sqlx::query_scalar("SELECT plugin_id FROM names WHERE kind = ? AND name = ?")
                    .bind(name.kind)
                    .bind(&name.name)
                    .fetch_optional(&mut *tx)
                    .await?;
            if owner.is_some_and(|owner| owner != record.id.as_str()) {
                return Ok(Some(name.clone()));
            }
            sqlx::query("INSERT OR IGNORE INTO names (kind, name, plugin_id) VALUES (?, ?, ?)")
                .bind(name.kind)
                .bind(&name.name)
                .bind(record.id.as_str())
                .execute(&mut *tx)
                .await?;
        }
        save(&mut tx, record).await?;
        self.end(&mut tx, operation, answer).await?;
        tx.commit().await?;
        self.replies.deliver();
        Ok(None)
    }

    /// Ends an operation with its answer, together with what became of the plugin, in one transaction.
    ///
    /// # Errors
    /// The database failed.
    pub async fn finish(
        &self,
        record: Option<&Record>,
        operation: &Running,
        answer: &Answer,
    ) -> Result<(), TableError> {
        let mut tx = self.store.pool().begin_with("BEGIN IMMEDIATE").await?;
        if let Some(record) = record {
            save(&mut tx, record).await?;
        }
        self.end(&mut tx, operation, answer).await?;
        tx.commit().await?;
        self.replies.deliver();
        Ok(())
    }

    /// Forgets a plugin and its names, and ends the operation that removed it, in one transaction.
    ///
    /// # Errors
    /// The database failed.
    pub async fn forget(
        &self,
        record: &Record,
        ended: Option<(&Running, &Answer)>,
    ) -> Result<(), TableError> {
        let mut tx = self.store.pool().begin_with("BEGIN IMMEDIATE").await?;
        let done = sqlx::query("DELETE FROM plugins WHERE id = ? AND revision = ?")
            .bind(record.id.as_str())
            .bind(record.revision)
            .execute(&mut *tx)
            .await?;
        if done.rows_affected() == 0 {
            return Err(TableError::Changed(record.id.clone()));
        }
        sqlx::query("DELETE FROM names WHERE plugin_id = ?")
            .bind(record.id.as_str())
            .execute(&mut *tx)
            .await?;
        if let Some((operation, answer)) = ended {
            self.end(&mut tx, operation, answer).await?;
        }
        tx.commit().await?;
        self.replies.deliver();
        Ok(())
    }

    async fn end(
        &self,
        connection: &mut Connection,
        operation: &Running,
        answer: &Answer,
    ) -> Result<(), TableError> {
        let now = Timestamp::now();
        sqlx::query("UPDATE operations SET ended_at = ?, record = ? WHERE id = ? AND ended_at IS NULL")
            .bind(now.as_millis())
            .bind(encode(&without_request(operation)))
            .bind(operation.id.to_string())
            .execute(&mut *connection)
            .await?;
        sqlx::query(
            "DELETE FROM operations WHERE id IN (SELECT id FROM operations WHERE ended_at IS NOT NULL \
             ORDER BY ended_at DESC, id DESC LIMIT -1 OFFSET ?)",
        )
        .bind(ENDED_KEPT)
        .execute(&mut *connection)
        .await?;
        let (request, correlation) = (&operation.request_id, &operation.correlation_id);
        self.replies.settle(connection, request, answer, correlation, operation.traceparent.clone()).await?;
        Ok(())
    }
}

/// An ended operation keeps no configuration: it can hold secrets.
fn without_request(operation: &Running) -> Running {
    let mut kept = operation.clone();
    if let crate::operation::Work::Install(install) = &mut kept.work {
        install.request.config = None;
        install.request.manifest = None;
        install.admitted = None;
    }
    kept
}

async fn save(connection: &mut Connection, record: &Record) -> Result<(), TableError> {
    let query = if record.revision == 0 {
        "INSERT INTO plugins (record, id, revision) VALUES (?, ?, ? + 1) ON CONFLICT (id) DO NOTHING"
    } else {
        "UPDATE plugins SET record = ?, revision = revision + 1 WHERE id = ? AND revision = ?"
    };
    let done = sqlx::query(query)
        .bind(encode(record))
        .bind(record.id.as_str())
        .bind(record.revision)
        .execute(connection)
        .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(TableError::Changed(record.id.clone())) }
}

fn encode(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("records have string keys")
}

fn decode<T: DeserializeOwned>(key: &str, text: &str) -> Result<T, TableError> {
    serde_json::from_str(text).map_err(|source| TableError::Row { key: key.to_owned(), source })
}

/// A row that cannot be read is logged and left out, so that it hurts no other.
fn readable<T>(row: Result<T, TableError>) -> Option<T> {
    row.inspect_err(|e| tracing::error!(error = telemetry::chain(e), "skipped")).ok()
}
