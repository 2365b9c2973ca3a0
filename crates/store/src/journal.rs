//! The journal of requests: each accepted request has one row, and in the end one response.
//!
//! A request is accepted before it is acknowledged to the broker, and answered by a row before the answer is
//! published. Whatever a kill interrupts is therefore found again at the next start: a row without a response
//! is handled again, a response that was not delivered is published again, with the same bytes.

use envelope::Timestamp;
use sqlx::{Sqlite, SqliteConnection, SqlitePool};

/// How long a request is remembered to tell its repeats: 24 hours.
pub const REMEMBERED_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// How long a redelivery of a request without an id is taken as its duplicate: the longest that the broker
/// keeps a session of ours, 10 minutes.
pub const REDELIVERY_MILLIS: i64 = 10 * 60 * 1000;

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
}

/// A request without a response yet.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
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
}

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
}

/// The journal of requests of one coordinator.
#[derive(Clone, Debug)]
pub struct Journal {
    pool: SqlitePool,
}

impl Journal {
    pub(crate) fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }

    /// Records a request, unless it repeats an earlier one.
    ///
    /// # Errors
    /// The database failed: the request is not accepted and must not be acknowledged.
    pub async fn accept(&self, request: &Received) -> Result<Acceptance, sqlx::Error> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        if let Some(earlier) = earlier(&mut tx, request).await? {
            if earlier.content_hash != request.content_hash {
                return Ok(Acceptance::Conflict);
            }
            if !earlier.answered {
                return Ok(Acceptance::Pending);
            }
            sqlx::query("UPDATE requests SET delivered = 0 WHERE id = ?")
                .bind(&earlier.id)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            return Ok(Acceptance::Answered);
        }
        sqlx::query(
            "INSERT INTO requests (id, principal, dedupe, content_hash, topic, body, response_topic, \
             correlation_data, correlation_id, traceparent, received_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Acceptance::New)
    }

    /// Every request that has no response yet, oldest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn unanswered(&self) -> Result<Vec<Accepted>, sqlx::Error> {
        sqlx::query_as(
            "SELECT id, topic, body, correlation_id, traceparent FROM requests \
             WHERE response IS NULL ORDER BY received_at",
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Gives request `id` its response, inside the caller's transaction. A request that has one keeps it:
    /// there is one outcome. Returns whether this was it. The request's bytes are dropped: they can hold
    /// secrets, and nobody needs them any more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn settle(
        connection: &mut SqliteConnection,
        id: &str,
        response: &[u8],
        success: bool,
        at: Timestamp,
    ) -> Result<bool, sqlx::Error> {
        let done = sqlx::query(
            "UPDATE requests SET response = ?, success = ?, answered_at = ?, body = x'' \
             WHERE id = ? AND response IS NULL",
        )
        .bind(response)
        .bind(success)
        .bind(at.as_millis())
        .bind(id)
        .execute(connection)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// [`settle`](Self::settle) in a transaction of its own.
    ///
    /// # Errors
    /// The database failed.
    pub async fn settle_now(
        &self,
        id: &str,
        response: &[u8],
        success: bool,
        at: Timestamp,
    ) -> Result<bool, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        Self::settle(&mut connection, id, response, success, at).await
    }

    /// Up to 100 responses that are owed, oldest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn owed(&self) -> Result<Vec<Owed>, sqlx::Error> {
        sqlx::query_as(
            "SELECT id, response_topic, correlation_data, response, traceparent FROM requests \
             WHERE delivered = 0 AND response IS NOT NULL ORDER BY answered_at LIMIT 100",
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Notes that the broker has the response of request `id`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn delivered(&self, id: &str) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE requests SET delivered = 1 WHERE id = ?").bind(id).execute(&self.pool).await?;
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
mod tests {
    use super::*;
    use crate::Store;

    static NONE: sqlx::migrate::Migrator = sqlx::migrate::Migrator::DEFAULT;

    fn request(key: &str, id: Option<&str>, body: &str, redelivery: bool) -> Received {
        Received {
            id: key.into(),
            principal: "operator:operator".into(),
            request_id: id.map(Into::into),
            content_hash: body.into(),
            redelivery,
            topic: "t".into(),
            body: body.into(),
            response_topic: "r".into(),
            correlation_data: Some(vec![1, 2]),
            correlation_id: "c".into(),
            traceparent: None,
            received_at: Timestamp::now(),
        }
    }

    async fn journal(folder: &tempfile::TempDir) -> Journal {
        Store::open(&folder.path().join("test.db"), &NONE).await.expect("opens").journal()
    }

    #[tokio::test]
    async fn a_repeat_gets_the_first_answer_and_other_content_under_the_same_id_is_a_conflict() {
        let folder = tempfile::tempdir().expect("folder");
        let journal = journal(&folder).await;
        let first = request("k1", Some("7"), "a", false);
        assert_eq!(journal.accept(&first).await.expect("works"), Acceptance::New);
        let repeat = request("k2", Some("7"), "a", false);
        assert_eq!(journal.accept(&repeat).await.expect("works"), Acceptance::Pending);
        let now = Timestamp::now();
        assert!(journal.settle_now("k1", b"one", true, now).await.expect("works"));
        assert!(!journal.settle_now("k1", b"two", true, now).await.expect("works"), "one outcome");
        journal.delivered("k1").await.expect("works");
        assert!(journal.owed().await.expect("works").is_empty());
        assert_eq!(journal.accept(&repeat).await.expect("works"), Acceptance::Answered);
        let owed = journal.owed().await.expect("works");
        assert_eq!((owed.len(), owed[0].response.as_slice()), (1, b"one".as_slice()));
        let other = request("k3", Some("7"), "b", false);
        assert_eq!(journal.accept(&other).await.expect("works"), Acceptance::Conflict);
    }

    #[tokio::test]
    async fn without_an_id_only_a_redelivery_is_a_duplicate() {
        let folder = tempfile::tempdir().expect("folder");
        let journal = journal(&folder).await;
        for (key, redelivery, want) in [
            ("k1", false, Acceptance::New),
            ("k2", false, Acceptance::New),
            ("k3", true, Acceptance::Pending),
        ] {
            let got = journal.accept(&request(key, None, "a", redelivery)).await.expect("works");
            assert_eq!(got, want, "{key}");
        }
    }

    #[tokio::test]
    async fn what_was_not_answered_is_found_again_after_a_restart() {
        let folder = tempfile::tempdir().expect("folder");
        let before = journal(&folder).await;
        before.accept(&request("k1", Some("1"), "a", false)).await.expect("works");
        before.accept(&request("k2", Some("2"), "b", false)).await.expect("works");
        before.settle_now("k2", b"done", true, Timestamp::now()).await.expect("works");
        drop(before);
        let after = journal(&folder).await;
        let open: Vec<String> = after.unanswered().await.expect("works").into_iter().map(|r| r.id).collect();
        assert_eq!(open, ["k1"]);
        assert_eq!(after.owed().await.expect("works").len(), 1);
    }

    #[tokio::test]
    async fn a_damaged_database_is_told_and_left_alone() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("test.db");
        std::fs::write(&path, vec![b'x'; 8192]).expect("writes");
        let error = Store::open(&path, &NONE).await.expect_err("damaged");
        assert!(matches!(error, crate::OpenError::Damaged { .. }), "{error:?}");
        assert_eq!(std::fs::read(&path).expect("reads"), vec![b'x'; 8192]);
    }
}
