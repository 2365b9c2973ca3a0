//! The audit trail: who asked for what, on what, and what came of it.
//!
//! An accepted request's record is written with its row in the journal and gets its result with the outcome,
//! each in one transaction, so a kill leaves neither a request without a record nor a record without its
//! result. The trail is bounded, and nobody can push the others' records out: each keeps its newest
//! [`Bounds::of_one`], all plugins together half of everything, and a refusal that repeats itself is
//! counted on the first. Nothing of a request's payload is in it but the name of what it was asked on.

mod find;
mod text;

#[cfg(test)]
mod tests;

use envelope::payload::audit::AuditResult;
use envelope::{ErrorBody, ErrorCode, Timestamp};
use sqlx::{SqliteConnection, SqlitePool};

use text::clean;

/// For how long a refusal is counted on an earlier one of the same kind: 60 s.
pub const COALESCED_MILLIS: i64 = 60 * 1000;
/// Records between two looks at the bounds that concern everybody; there can be as many more than allowed.
const TRIM_EVERY: i64 = 64;

const MAX_OPERATION: usize = 64;
const MAX_TARGET: usize = 128;
const MAX_CORRELATION: usize = 256;
const MAX_MESSAGE: usize = 512;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    records: u32,
}

impl Bounds {
    /// Records that are kept unless told otherwise.
    pub const RECORDS: u32 = 10_000;
    /// Most records of one plugin.
    const PER_PLUGIN: u32 = 500;
    /// Most records of one account.
    const PER_ACCOUNT: u32 = 2500;

    /// The newest `records` are kept.
    pub fn of(records: u32) -> Self {
        Self { records: records.max(1) }
    }

    /// Records of one principal: the newest 500 of a plugin, 2,500 of an account, or a quarter of everything where
    /// that is less.
    pub fn of_one(self, principal: &str) -> u32 {
        let most = if principal.starts_with("plugin:") { Self::PER_PLUGIN } else { Self::PER_ACCOUNT };
        most.min(self.records / 4).max(1)
    }

    /// Records of all plugins together.
    fn plugins(self) -> u32 {
        (self.records / 2).max(1)
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self::of(Self::RECORDS)
    }
}

/// What a record says of a request, whatever came of it. Everything in it is bounded and free of characters
/// that a terminal would obey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    at: Timestamp,
    principal: String,
    operation: String,
    target: Option<String>,
    correlation_id: String,
}

impl Entry {
    /// `principal` asked at `at` for `operation` on `target`.
    pub fn new(
        at: Timestamp,
        principal: &str,
        operation: &str,
        target: Option<&str>,
        correlation_id: &str,
    ) -> Self {
        Self {
            at,
            principal: clean(principal, MAX_TARGET),
            operation: clean(operation, MAX_OPERATION),
            target: target.map(|t| clean(t, MAX_TARGET)).filter(|t| !t.is_empty()),
            correlation_id: clean(correlation_id, MAX_CORRELATION),
        }
    }
}

/// The audit trail of one coordinator.
#[derive(Debug, Clone)]
pub struct Audit {
    pool: SqlitePool,
    bounds: Bounds,
}

impl Audit {
    pub(crate) fn new(pool: SqlitePool, bounds: Bounds) -> Self {
        Self { pool, bounds }
    }

    /// Records that a request was refused before it was in the journal, `times` times. The same from the same
    /// principal within [`COALESCED_MILLIS`] is counted on the earlier record.
    ///
    /// # Errors
    /// The database failed.
    pub async fn refused(&self, entry: &Entry, error: &ErrorBody, times: u32) -> Result<(), sqlx::Error> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        if !count_on_earlier(&mut tx, entry, error.code, times, i64::MAX).await? {
            let refused = Row { result: AuditResult::Refused, error: Some(error), times, request_id: None };
            insert(&mut tx, self.bounds, entry, refused).await?;
        }
        tx.commit().await
    }
}

/// Records that the request with the journal's row `request_id` was accepted.
pub(crate) async fn accepted(
    connection: &mut SqliteConnection,
    bounds: Bounds,
    entry: &Entry,
    request_id: &str,
) -> Result<(), sqlx::Error> {
    let row = Row { result: AuditResult::Accepted, error: None, times: 1, request_id: Some(request_id) };
    insert(connection, bounds, entry, row).await
}

/// Gives the record of the accepted request its result. A request from before there were records has none.
pub(crate) async fn settle(
    connection: &mut SqliteConnection,
    request_id: &str,
    error: Option<&ErrorBody>,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    let result = match error {
        None => AuditResult::Done,
        Some(error) if is_refusal(error.code) => AuditResult::Refused,
        Some(_) => AuditResult::Failed,
    };
    let settled: Option<Settled> = sqlx::query_as(
        "UPDATE audit SET result = ?, code = ?, message = ?, request_id = NULL WHERE request_id = ? \
         RETURNING id, principal, operation, target, correlation_id, times",
    )
    .bind(text::of_result(result))
    .bind(error.map(|e| e.code.as_str()))
    .bind(error.map(|e| clean(&e.message, MAX_MESSAGE)))
    .bind(request_id)
    .fetch_optional(&mut *connection)
    .await?;
    let (Some(settled), Some(error), AuditResult::Refused) = (settled, error, result) else { return Ok(()) };
    let (id, times) = (settled.id, settled.times);
    if count_on_earlier(connection, &settled.entry(at), error.code, times, id).await? {
        sqlx::query("DELETE FROM audit WHERE id = ?").bind(id).execute(connection).await?;
    }
    Ok(())
}

/// Whether this is said of somebody who may not ask, or asked for what there is not; anything else is the
/// failure of a request that was let in.
pub fn is_refusal(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::Forbidden | ErrorCode::TokenInvalid | ErrorCode::UnknownOperation)
}

#[derive(sqlx::FromRow)]
struct Settled {
    id: i64,
    principal: String,
    operation: String,
    target: Option<String>,
    correlation_id: String,
    times: u32,
}

impl Settled {
    fn entry(self, at: Timestamp) -> Entry {
        let Self { principal, operation, target, correlation_id, .. } = self;
        Entry { at, principal, operation, target, correlation_id }
    }
}

/// What a record says beside its [`Entry`].
struct Row<'a> {
    result: AuditResult,
    error: Option<&'a ErrorBody>,
    times: u32,
    request_id: Option<&'a str>,
}

/// Counts a refusal on an earlier record of the same kind, older than `before`. False when there is none.
async fn count_on_earlier(
    connection: &mut SqliteConnection,
    entry: &Entry,
    code: ErrorCode,
    times: u32,
    before: i64,
) -> Result<bool, sqlx::Error> {
    let now = entry.at.as_millis();
    // Bounded on both sides: a clock that was set back must not make one record swallow everything to come.
    let done = sqlx::query(
        "UPDATE audit SET times = min(times + ?, 4294967295) WHERE id = ( \
         SELECT id FROM audit WHERE result = 'refused' AND principal = ? AND operation = ? AND code = ? \
         AND target IS ? AND id < ? AND at BETWEEN ? AND ? ORDER BY id DESC LIMIT 1)",
    )
    .bind(times)
    .bind(&entry.principal)
    .bind(&entry.operation)
    .bind(code.as_str())
    .bind(&entry.target)
    .bind(before)
    .bind(now.saturating_sub(COALESCED_MILLIS))
    .bind(now.saturating_add(COALESCED_MILLIS))
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

async fn insert(
    connection: &mut SqliteConnection,
    bounds: Bounds,
    entry: &Entry,
    row: Row<'_>,
) -> Result<(), sqlx::Error> {
    let done = sqlx::query(
        "INSERT INTO audit (at, principal, operation, target, result, code, message, correlation_id, times, \
         request_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(entry.at.as_millis())
    .bind(&entry.principal)
    .bind(&entry.operation)
    .bind(&entry.target)
    .bind(text::of_result(row.result))
    .bind(row.error.map(|e| e.code.as_str()))
    .bind(row.error.map(|e| clean(&e.message, MAX_MESSAGE)))
    .bind(&entry.correlation_id)
    .bind(row.times)
    .bind(row.request_id)
    .execute(&mut *connection)
    .await?;
    // One's own bound at each record: that reads no more of the index than one may have.
    sqlx::query(
        "DELETE FROM audit WHERE principal = ?1 AND id <= \
         (SELECT id FROM audit WHERE principal = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
    )
    .bind(&entry.principal)
    .bind(bounds.of_one(&entry.principal))
    .execute(&mut *connection)
    .await?;
    if done.last_insert_rowid() % TRIM_EVERY == 0 {
        trim(connection, bounds).await?;
    }
    Ok(())
}

/// Deletes the oldest records of all plugins that are too many, then the oldest of all that are too many.
async fn trim(connection: &mut SqliteConnection, bounds: Bounds) -> Result<(), sqlx::Error> {
    // ';' is the character after ':': the range of everything that begins with "plugin:".
    sqlx::query(
        "DELETE FROM audit WHERE principal >= 'plugin:' AND principal < 'plugin;' AND id <= \
         (SELECT id FROM audit WHERE principal >= 'plugin:' AND principal < 'plugin;' \
          ORDER BY id DESC LIMIT 1 OFFSET ?)",
    )
    .bind(bounds.plugins())
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM audit WHERE id <= (SELECT id FROM audit ORDER BY id DESC LIMIT 1 OFFSET ?)")
        .bind(bounds.records)
        .execute(connection)
        .await?;
    Ok(())
}
