//! The plugin registry's tables in SQLite, beside the journal of requests: an operation's end and its answer are
//! one transaction.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chassis::Replies;
use envelope::{Answer, OperationId, PluginId, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::{Connection, Store};

use super::{
    Answered, ENDED_KEPT, Everything, Name, Operated, Outcome, Registrations, TableError, without_request,
};
use crate::clock;
#[cfg(feature = "drill")]
use crate::holds::Moment;
use crate::operation::Running;
use crate::record::Record;

/// The plugin registry in a database.
#[derive(Clone)]
pub struct SqliteRegistrations {
    store: Store,
    replies: Replies,
}

/// An operation: id, record, who asked for its end, end, outcome.
type Row = (String, String, Option<String>, Option<i64>, Option<String>);

/// A plugin: id, record, revision.
type PluginRow = (String, String, i64);
const ALL_PLUGINS: &str = "SELECT id, record, revision FROM plugins ORDER BY id";

/// An operation that runs: id, record, who asked for its end.
type RunningRow = (String, String, Option<String>);
const ALL_RUNNING: &str = "SELECT id, record, cancelled_by FROM operations WHERE ended_at IS NULL";

/// A plugin with its revision, and the operation that runs on it.
type BothRow = (Option<String>, Option<i64>, Option<String>, Option<String>, Option<String>);

fn plugin(id: &PluginId, (text, revision): (String, i64)) -> Result<Record, TableError> {
    Ok(Record { revision, ..decode(id.as_str(), &text)? })
}

impl SqliteRegistrations {
    /// The tables in `store`; outcomes go out through `replies`.
    pub fn new(store: Store, replies: Replies) -> Self {
        Self { store, replies }
    }

    async fn end(
        &self,
        connection: &mut Connection,
        operation: &Running,
        answer: &Answer,
    ) -> Result<(), TableError> {
        self.end_at(connection, operation, answer, clock::now()).await
    }

    async fn end_at(
        &self,
        connection: &mut Connection,
        operation: &Running,
        answer: &Answer,
        at: Timestamp,
    ) -> Result<(), TableError> {
        sqlx::query(
            "UPDATE operations SET ended_at = ?, record = ?, outcome = ? WHERE id = ? AND ended_at IS NULL",
        )
        .bind(at.as_millis())
        .bind(encode(&without_request(operation)))
        .bind(encode(&Outcome::from(answer)))
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

    async fn answer(&self, connection: &mut Connection, asked: &Answered) -> Result<(), TableError> {
        let Answered { request_id, correlation_id, traceparent, answer } = asked;
        self.replies.settle(connection, request_id, answer, correlation_id, traceparent.clone()).await?;
        Ok(())
    }
}

#[async_trait]
impl Registrations for SqliteRegistrations {
    async fn plugin(&self, id: &PluginId) -> Result<Option<Record>, TableError> {
        let row: Option<(String, i64)> = sqlx::query_as("SELECT record, revision FROM plugins WHERE id = ?")
            .bind(id.as_str())
            .fetch_optional(self.store.pool())
            .await?;
        row.map(|row| plugin(id, row)).transpose()
    }

    async fn plugins(&self) -> Result<Vec<Record>, TableError> {
        let rows: Vec<PluginRow> = sqlx::query_as(ALL_PLUGINS).fetch_all(self.store.pool()).await?;
        Ok(rows.into_iter().filter_map(record).collect())
    }

    async fn running(&self, id: &PluginId) -> Result<Option<Running>, TableError> {
        let row: Option<RunningRow> = sqlx::query_as(
            "SELECT id, record, cancelled_by FROM operations WHERE plugin_id = ? AND ended_at IS NULL",
        )
        .bind(id.as_str())
        .fetch_optional(self.store.pool())
        .await?;
        row.map(running).transpose()
    }

    async fn both(&self, id: &PluginId) -> Result<(Option<Record>, Option<Running>), TableError> {
        let row: BothRow = sqlx::query_as(
            "SELECT plugins.record, plugins.revision, operations.id, operations.record, operations.cancelled_by \
             FROM (SELECT ? AS id) AS asked \
             LEFT JOIN plugins ON plugins.id = asked.id \
             LEFT JOIN operations ON operations.plugin_id = asked.id AND operations.ended_at IS NULL",
        )
        .bind(id.as_str())
        .fetch_one(self.store.pool())
        .await?;
        let (record, revision, operation, body, by) = row;
        let record = record.zip(revision).map(|row| plugin(id, row)).transpose()?;
        let operation =
            operation.zip(body).map(|(operation, body)| running((operation, body, by))).transpose()?;
        Ok((record, operation))
    }

    async fn all_running(&self) -> Result<Vec<Running>, TableError> {
        let rows: Vec<RunningRow> = sqlx::query_as(ALL_RUNNING).fetch_all(self.store.pool()).await?;
        Ok(rows.into_iter().filter_map(|row| readable(running(row))).collect())
    }

    async fn everything(&self) -> Result<Everything, TableError> {
        let mut tx = self.store.pool().begin().await?;
        let plugins: Vec<PluginRow> = sqlx::query_as(ALL_PLUGINS).fetch_all(&mut *tx).await?;
        let running: Vec<RunningRow> = sqlx::query_as(ALL_RUNNING).fetch_all(&mut *tx).await?;
        drop(tx);
        let rows = plugins.len() + running.len();
        let plugins: Vec<Record> = plugins.into_iter().filter_map(record).collect();
        let running: Vec<Running> =
            running.into_iter().filter_map(|row| readable(self::running(row))).collect();
        let unreadable = rows - plugins.len() - running.len();
        Ok(Everything { plugins, running, unreadable })
    }

    async fn ids(&self) -> Result<BTreeSet<String>, TableError> {
        let ids: Vec<String> = sqlx::query_scalar(
            "SELECT id FROM plugins UNION SELECT plugin_id FROM operations WHERE ended_at IS NULL",
        )
        .fetch_all(self.store.pool())
        .await?;
        Ok(ids.into_iter().collect())
    }

    async fn owner(&self, name: &Name) -> Result<Option<String>, TableError> {
        let owner = sqlx::query_scalar("SELECT plugin_id FROM names WHERE kind = ? AND name = ?")
            .bind(name.kind)
            .bind(&name.name)
            .fetch_optional(self.store.pool())
            .await?;
        Ok(owner)
    }

    async fn begin(
        &self,
        operation: &Running,
        record: Option<&Record>,
        instead: Option<(&Running, Answer)>,
    ) -> Result<(), TableError> {
        #[cfg(feature = "drill")]
        crate::holds::accepting(operation, Moment::Unrecorded(1)).await;
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
        #[cfg(feature = "drill")]
        crate::holds::accepting(operation, Moment::After).await;
        Ok(())
    }

    async fn advance(
        &self,
        mut record: Option<&mut Record>,
        operation: Option<&Running>,
    ) -> Result<(), TableError> {
        #[cfg(feature = "drill")]
        crate::holds::unrecorded().await;
        let mut tx = self.store.pool().begin_with("BEGIN IMMEDIATE").await?;
        if let Some(record) = &record {
            save(&mut tx, record).await?;
        }
        if let Some(operation) = operation {
            save_operation(&mut tx, operation).await?;
        }
        tx.commit().await?;
        if let Some(record) = &mut record {
            record.revision += 1;
        }
        Ok(())
    }

    async fn register(
        &self,
        record: &Record,
        names: &[Name],
        operation: &Running,
        answer: &Answer,
    ) -> Result<Option<Name>, TableError> {
        #[cfg(feature = "drill")]
        crate::holds::unrecorded().await;
        let mut tx = self.store.pool().begin_with("BEGIN IMMEDIATE").await?;
        if let Some(taken) = take_names(&mut tx, &record.id, names).await? {
            return Ok(Some(taken));
        }
        save(&mut tx, record).await?;
        self.end(&mut tx, operation, answer).await?;
        tx.commit().await?;
        self.replies.deliver();
        Ok(None)
    }

    async fn claim(
        &self,
        record: &mut Record,
        names: &[Name],
        operation: Option<&Running>,
    ) -> Result<Option<Name>, TableError> {
        #[cfg(feature = "drill")]
        crate::holds::unrecorded().await;
        let mut tx = self.store.pool().begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("DELETE FROM names WHERE plugin_id = ?")
            .bind(record.id.as_str())
            .execute(&mut *tx)
            .await?;
        if let Some(taken) = take_names(&mut tx, &record.id, names).await? {
            return Ok(Some(taken));
        }
        save(&mut tx, record).await?;
        if let Some(operation) = operation {
            save_operation(&mut tx, operation).await?;
        }
        tx.commit().await?;
        record.revision += 1;
        Ok(None)
    }

    async fn cancel(&self, id: &OperationId, by: &str, asked: &Answered) -> Result<bool, TableError> {
        let mut tx = self.store.pool().begin_with("BEGIN IMMEDIATE").await?;
        let done = sqlx::query("UPDATE operations SET cancelled_by = ? WHERE id = ? AND ended_at IS NULL")
            .bind(by)
            .bind(id.to_string())
            .execute(&mut *tx)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        self.answer(&mut tx, asked).await?;
        tx.commit().await?;
        self.replies.deliver();
        Ok(true)
    }

    async fn give_up(
        &self,
        record: &Record,
        operation: &Running,
        (answer, at): (&Answer, Timestamp),
        asked: &Answered,
    ) -> Result<(), TableError> {
        #[cfg(feature = "drill")]
        crate::holds::unrecorded().await;
        let mut tx = self.store.pool().begin_with("BEGIN IMMEDIATE").await?;
        save(&mut tx, record).await?;
        self.end_at(&mut tx, operation, answer, at).await?;
        self.answer(&mut tx, asked).await?;
        tx.commit().await?;
        self.replies.deliver();
        Ok(())
    }

    async fn finish(
        &self,
        record: Option<&Record>,
        operation: &Running,
        answer: &Answer,
    ) -> Result<(), TableError> {
        #[cfg(feature = "drill")]
        crate::holds::unrecorded().await;
        let mut tx = self.store.pool().begin_with("BEGIN IMMEDIATE").await?;
        if let Some(record) = record {
            save(&mut tx, record).await?;
        }
        self.end(&mut tx, operation, answer).await?;
        tx.commit().await?;
        self.replies.deliver();
        Ok(())
    }

    async fn forget(&self, record: &Record, ended: Option<(&Running, &Answer)>) -> Result<(), TableError> {
        #[cfg(feature = "drill")]
        crate::holds::unrecorded().await;
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

    async fn operation(&self, id: &OperationId) -> Result<Option<Operated>, TableError> {
        let row: Option<Row> =
            sqlx::query_as("SELECT id, record, cancelled_by, ended_at, outcome FROM operations WHERE id = ?")
                .bind(id.to_string())
                .fetch_optional(self.store.pool())
                .await?;
        row.map(operated).transpose()
    }

    async fn operations(&self, on: Option<&PluginId>, limit: u32) -> Result<Vec<Operated>, TableError> {
        // Rows get growing numbers in the order in which operations begin.
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, record, cancelled_by, ended_at, outcome FROM operations \
             WHERE ?1 IS NULL OR plugin_id = ?1 ORDER BY rowid DESC LIMIT ?2",
        )
        .bind(on.map(PluginId::as_str))
        .bind(limit)
        .fetch_all(self.store.pool())
        .await?;
        Ok(rows.into_iter().filter_map(|row| readable(operated(row))).collect())
    }
}

fn record((id, text, revision): PluginRow) -> Option<Record> {
    readable(decode(&id, &text)).map(|record| Record { revision, ..record })
}

fn running((id, record, cancelled_by): RunningRow) -> Result<Running, TableError> {
    Ok(Running { cancelled_by, ..decode(&id, &record)? })
}

fn operated((id, record, cancelled_by, ended_at, outcome): Row) -> Result<Operated, TableError> {
    Ok(Operated {
        operation: Running { cancelled_by, ..decode(&id, &record)? },
        ended_at: ended_at.map(Timestamp::from_millis),
        outcome: outcome.map(|text| decode(&id, &text)).transpose()?,
    })
}

/// Gives a plugin names, unless another one has one of them: then that.
async fn take_names(
    connection: &mut Connection,
    id: &PluginId,
    names: &[Name],
) -> Result<Option<Name>, TableError> {
    for name in names {
        let owner: Option<String> =
            sqlx::query_scalar("SELECT plugin_id FROM names WHERE kind = ? AND name = ?")
                .bind(name.kind)
                .bind(&name.name)
                .fetch_optional(&mut *connection)
                .await?;
        if owner.is_some_and(|owner| owner != id.as_str()) {
            return Ok(Some(name.clone()));
        }
        sqlx::query("INSERT OR IGNORE INTO names (kind, name, plugin_id) VALUES (?, ?, ?)")
            .bind(name.kind)
            .bind(&name.name)
            .bind(id.as_str())
            .execute(&mut *connection)
            .await?;
    }
    Ok(None)
}

/// One that has ended meanwhile stays as it ended.
async fn save_operation(connection: &mut Connection, operation: &Running) -> Result<(), TableError> {
    sqlx::query("UPDATE operations SET record = ? WHERE id = ? AND ended_at IS NULL")
        .bind(encode(operation))
        .bind(operation.id.to_string())
        .execute(connection)
        .await?;
    Ok(())
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
