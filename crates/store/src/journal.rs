//! The journal of requests: each accepted request has one row, and in the end one response.
//!
//! A request is accepted before it is acknowledged to the broker, and answered by a row before the answer is
//! published. Whatever a kill interrupts is therefore found again at the next start: a row without a response
//! is handled again, a response that was not delivered is published again, with the same bytes.

use envelope::topic::RequestTopic;
use envelope::{ErrorBody, Timestamp};
use sqlx::{Sqlite, SqliteConnection, SqlitePool};

use crate::audit::{self, Bounds, Entry};

/// How long a request is remembered to tell its repeats: 24 hours.
pub const REMEMBERED_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// How long a redelivery of a request without an id is taken as its duplicate: the longest that the broker
/// keeps a session of ours, 10 minutes.
pub const REDELIVERY_MILLIS: i64 = 10 * 60 * 1000;

/// Most answered requests of one principal that are remembered, and most bytes of their responses: otherwise one
/// that asks without a pause fills the disk. First and last of the principals, in the order of their names: ';' is
/// the character after ':', and operators without an account are called otherwise than those with one.
struct Crowd {
    from: &'static str,
    to: &'static str,
    requests: i64,
    bytes: i64,
}

const CROWDS: [Crowd; 2] = [
    Crowd { from: "plugin:", to: "plugin;", requests: 1000, bytes: 8 * 1024 * 1024 },
    Crowd { from: "operator", to: "operator;", requests: 10_000, bytes: 32 * 1024 * 1024 },
];

/// A request as it arrived, decoded as far as the router needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The row's key: unique, made by the router.
    pub id: String,
    /// Who asks.
    pub principal: String,
    /// The caller's id for the request, if it gave one.
    pub request_id: Option<String>,
    /// SHA-256 or the like over topic and body, hexadecimal.
    pub content_hash: String,
    /// Whether the broker marked it as possibly sent before.
    pub redelivery: bool,
    /// Where it arrived.
    pub topic: String,
    /// Its bytes.
    pub body: Vec<u8>,
    /// Where the answer goes.
    pub response_topic: String,
    /// Echoed with the answer (MQTT 5).
    pub correlation_data: Option<Vec<u8>>,
    /// Joins everything that comes of it.
    pub correlation_id: String,
    /// Trace context of the caller.
    pub traceparent: Option<String>,
    /// When it arrived.
    pub received_at: Timestamp,
    /// Until when it may be begun.
    pub expires_at: Timestamp,
}

/// A request without a response yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The row's key.
    pub id: String,
    /// Where it arrived.
    pub topic: String,
    /// Its bytes.
    pub body: Vec<u8>,
    /// Joins everything that comes of it.
    pub correlation_id: String,
    /// Trace context of the caller.
    pub traceparent: Option<String>,
    /// When it arrived.
    pub received_at: Timestamp,
    /// Until when it may be begun; none where an earlier version recorded it.
    pub expires_at: Option<Timestamp>,
}

/// [`Accepted`] as it is kept, in the order of its fields.
type AcceptedRow = (String, String, Vec<u8>, String, Option<String>, i64, Option<i64>);

/// What became of a request at the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acceptance {
    /// New: handle it.
    New,
    /// A repeat of one that is still being handled: its answer will come.
    Pending,
    /// A repeat of one that has its response: that response is owed once more.
    Answered,
    /// The same id as an earlier one with other content.
    Conflict,
}

/// A response that has not been delivered.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Owed {
    /// The request's row.
    pub id: String,
    /// Where it goes.
    pub response_topic: String,
    /// Echoed with it.
    pub correlation_data: Option<Vec<u8>>,
    /// Its bytes.
    pub response: Vec<u8>,
    /// Trace context of the caller.
    pub traceparent: Option<String>,
    /// How often it was asked for again.
    repeats: i64,
}

impl Owed {
    /// What is noted when it has been delivered.
    pub fn delivered(&self) -> Delivered {
        Delivered { id: self.id.clone(), repeats: self.repeats }
    }
}

/// A response that was delivered, as often as it had been asked for when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    id: String,
    repeats: i64,
}

/// The journal of requests of one coordinator.
#[derive(Clone, Debug)]
pub struct Journal {
    pool: SqlitePool,
    audited: Bounds,
}

impl Journal {
    pub(crate) fn new(pool: SqlitePool, audited: Bounds) -> Self {
        Self { pool, audited }
    }

    /// Records a request that is about nothing in particular, as [`accept_on`](Self::accept_on) does.
    ///
    /// # Errors
    /// The database failed: the request is not accepted and must not be acknowledged.
    pub async fn accept(&self, request: &Received) -> Result<Acceptance, sqlx::Error> {
        self.accept_on(request, None).await
    }

    /// Records a request and, in the same transaction, that it was asked for on `target`, the name of a plugin
    /// or of an account. One that repeats an earlier request leaves nothing.
    ///
    /// # Errors
    /// The database failed: the request is not accepted and must not be acknowledged.
    pub async fn accept_on(
        &self,
        request: &Received,
        target: Option<&str>,
    ) -> Result<Acceptance, sqlx::Error> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        if let Some(earlier) = earlier(&mut tx, request).await? {
            if earlier.content_hash != request.content_hash {
                return Ok(Acceptance::Conflict);
            }
            if !earlier.answered {
                return Ok(Acceptance::Pending);
            }
            sqlx::query("UPDATE requests SET delivered = 0, repeats = repeats + 1 WHERE id = ?")
                .bind(&earlier.id)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            return Ok(Acceptance::Answered);
        }
        sqlx::query(
            "INSERT INTO requests (id, principal, dedupe, content_hash, topic, body, response_topic, \
             correlation_data, correlation_id, traceparent, received_at, expires_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&request.id)
        .bind(&request.principal)
        .bind(dedupe(request))
        .bind(&request.content_hash)
        .bind(&request.topic)
        .bind(&request.body)
        .bind(&request.response_topic)
        .bind(&request.correlation_data)
        .bind(&request.correlation_id)
        .bind(&request.traceparent)
        .bind(request.received_at.as_millis())
        .bind(request.expires_at.as_millis())
        .execute(&mut *tx)
        .await?;
        audit::accepted(&mut tx, self.audited, &entry(request, target), &request.id).await?;
        tx.commit().await?;
        Ok(Acceptance::New)
    }

    /// Every request that has no response yet, oldest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn unanswered(&self) -> Result<Vec<Accepted>, sqlx::Error> {
        let rows: Vec<AcceptedRow> = sqlx::query_as(
            "SELECT id, topic, body, correlation_id, traceparent, received_at, expires_at FROM requests \
             WHERE response IS NULL ORDER BY received_at",
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(accepted).collect())
    }

    /// Gives request `id` its response, inside the caller's transaction, and its audit record the result:
    /// `error` is why it was not done. A request that has a response keeps it: there is one outcome. Returns
    /// whether this was it. The request's bytes are dropped: they can hold secrets, and nobody needs them any
    /// more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn settle(
        connection: &mut SqliteConnection,
        id: &str,
        response: &[u8],
        error: Option<&ErrorBody>,
        at: Timestamp,
    ) -> Result<bool, sqlx::Error> {
        let done = sqlx::query(
            "UPDATE requests SET response = ?, success = ?, answered_at = ?, body = x'' \
             WHERE id = ? AND response IS NULL",
        )
        .bind(response)
        .bind(error.is_none())
        .bind(at.as_millis())
        .bind(id)
        .execute(&mut *connection)
        .await?;
        let first = done.rows_affected() == 1;
        if first {
            audit::settle(connection, id, error, at).await?;
        }
        Ok(first)
    }

    /// [`settle`](Self::settle) in a transaction of its own.
    ///
    /// # Errors
    /// The database failed.
    pub async fn settle_now(
        &self,
        id: &str,
        response: &[u8],
        error: Option<&ErrorBody>,
        at: Timestamp,
    ) -> Result<bool, sqlx::Error> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let first = Self::settle(&mut tx, id, response, error, at).await?;
        tx.commit().await?;
        Ok(first)
    }

    /// Up to 100 responses that are owed, oldest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn owed(&self) -> Result<Vec<Owed>, sqlx::Error> {
        sqlx::query_as(
            "SELECT id, response_topic, correlation_data, response, traceparent, repeats FROM requests \
             WHERE delivered = 0 AND response IS NOT NULL ORDER BY answered_at LIMIT 100",
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Notes that the broker has a response. It is still owed when the request was repeated meanwhile.
    ///
    /// # Errors
    /// The database failed.
    pub async fn delivered(&self, response: &Delivered) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE requests SET delivered = 1 WHERE id = ? AND repeats = ?")
            .bind(&response.id)
            .bind(response.repeats)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Forgets what was answered longer than [`REMEMBERED_MILLIS`] ago. Returns how many.
    ///
    /// # Errors
    /// The database failed.
    pub async fn forget(&self, now: Timestamp) -> Result<u64, sqlx::Error> {
        let done = sqlx::query("DELETE FROM requests WHERE delivered = 1 AND answered_at < ?")
            .bind(now.as_millis().saturating_sub(REMEMBERED_MILLIS))
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected())
    }

    /// Forgets what was answered beyond the newest of each principal: 1,000 requests and 8 MiB of a plugin, 10,000
    /// and 32 MiB of an operator. Returns how many.
    ///
    /// # Errors
    /// The database failed.
    pub async fn forget_crowds(&self) -> Result<u64, sqlx::Error> {
        let mut forgotten = 0;
        for crowd in CROWDS {
            let done = sqlx::query(
                "DELETE FROM requests WHERE id IN (SELECT id FROM ( \
                 SELECT id, delivered, row_number() OVER newer AS place, \
                 sum(length(response)) OVER newer AS bytes \
                 FROM requests WHERE principal >= ? AND principal < ? \
                 WINDOW newer AS (PARTITION BY principal ORDER BY received_at DESC ROWS UNBOUNDED PRECEDING)) \
                 WHERE delivered = 1 AND (place > ? OR bytes > ?))",
            )
            .bind(crowd.from)
            .bind(crowd.to)
            .bind(crowd.requests)
            .bind(crowd.bytes)
            .execute(&self.pool)
            .await?;
            forgotten += done.rows_affected();
        }
        Ok(forgotten)
    }
}

fn accepted(row: AcceptedRow) -> Accepted {
    let (id, topic, body, correlation_id, traceparent, received_at, expires_at) = row;
    Accepted {
        id,
        topic,
        body,
        correlation_id,
        traceparent,
        received_at: Timestamp::from_millis(received_at),
        expires_at: expires_at.map(Timestamp::from_millis),
    }
}

/// What the audit trail says of a request.
fn entry(request: &Received, target: Option<&str>) -> Entry {
    let topic = RequestTopic::parse(&request.topic);
    let operation = topic.as_ref().map_or(request.topic.as_str(), |t| t.operation.as_str());
    Entry::new(request.received_at, &request.principal, operation, target, &request.correlation_id)
}

#[derive(sqlx::FromRow)]
struct Earlier {
    id: String,
    content_hash: String,
    answered: bool,
}

/// The earlier request that `request` repeats: one with the same principal and id, or, where the caller gave
/// no id, one with the same topic and body that the broker may be delivering again.
async fn earlier(
    connection: &mut <Sqlite as sqlx::Database>::Connection,
    request: &Received,
) -> Result<Option<Earlier>, sqlx::Error> {
    let window = match (&request.request_id, request.redelivery) {
        (Some(_), _) => REMEMBERED_MILLIS,
        (None, true) => REDELIVERY_MILLIS,
        (None, false) => return Ok(None),
    };
    sqlx::query_as(
        "SELECT id, content_hash, response IS NOT NULL AS answered FROM requests \
         WHERE principal = ? AND dedupe = ? AND received_at >= ? ORDER BY received_at DESC LIMIT 1",
    )
    .bind(&request.principal)
    .bind(dedupe(request))
    .bind(request.received_at.as_millis().saturating_sub(window))
    .fetch_optional(connection)
    .await
}

fn dedupe(request: &Received) -> String {
    match &request.request_id {
        Some(id) => format!("id:{id}"),
        None => format!("content:{}", request.content_hash),
    }
}

#[cfg(test)]
mod tests;
