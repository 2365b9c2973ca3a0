//! Reading the audit trail.

use envelope::Timestamp;
use envelope::payload::audit::{AuditRecord, AuditRequest};

use super::text::{clean, to_code, to_result};
use super::{Audit, MAX_CORRELATION, MAX_OPERATION, MAX_TARGET};

/// Most bytes of text in one answer, so that no answer is larger than a broker delivers.
const MAX_BYTES: usize = 256 * 1024;
/// What a record has beside its text, at most.
const FRAME: usize = 256;

impl Audit {
    /// The records that fit `wanted`, newest first, and whether there are older ones that fit. There can be
    /// fewer than asked for when they are long.
    ///
    /// # Errors
    /// The database failed.
    pub async fn find(&self, wanted: &AuditRequest) -> Result<(Vec<AuditRecord>, bool), sqlx::Error> {
        let limit = wanted.limit.unwrap_or(AuditRequest::DEFAULT_LIMIT).clamp(1, AuditRequest::MAX_LIMIT);
        // Records hold cleaned text, so what is looked for is cleaned alike.
        let like = |text: &Option<String>, max| text.as_ref().map(|t| clean(t, max));
        let rows: Vec<Found> = sqlx::query_as(
            "SELECT id, at, principal, operation, target, result, code, message, correlation_id, times \
             FROM audit WHERE (?1 IS NULL OR principal = ?1) AND (?2 IS NULL OR operation = ?2) \
             AND (?3 IS NULL OR target = ?3) AND (?4 IS NULL OR correlation_id = ?4) \
             AND (?5 IS NULL OR at >= ?5) AND (?6 IS NULL OR id < ?6) ORDER BY id DESC LIMIT ?7",
        )
        .bind(like(&wanted.principal, MAX_TARGET))
        .bind(like(&wanted.operation, MAX_OPERATION))
        .bind(like(&wanted.target, MAX_TARGET))
        .bind(like(&wanted.correlation_id, MAX_CORRELATION))
        .bind(wanted.since.map(Timestamp::as_millis))
        .bind(wanted.before)
        .bind(i64::from(limit) + 1)
        .fetch_all(&self.pool)
        .await?;
        let found = rows.len();
        let (mut records, mut bytes) = (Vec::new(), 0);
        for row in rows.into_iter().take(usize::try_from(limit).unwrap_or(usize::MAX)) {
            bytes += row.bytes();
            if bytes > MAX_BYTES && !records.is_empty() {
                break;
            }
            records.push(row.record()?);
        }
        let more = found > records.len();
        Ok((records, more))
    }
}

#[derive(sqlx::FromRow)]
struct Found {
    id: i64,
    at: i64,
    principal: String,
    operation: String,
    target: Option<String>,
    result: String,
    code: Option<String>,
    message: Option<String>,
    correlation_id: String,
    times: u32,
}

impl Found {
    fn bytes(&self) -> usize {
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        FRAME
            + self.principal.len()
            + self.operation.len()
            + optional(&self.target)
            + optional(&self.message)
            + self.correlation_id.len()
    }

    fn record(self) -> Result<AuditRecord, sqlx::Error> {
        let result = to_result(&self.result)
            .ok_or_else(|| sqlx::Error::Decode(format!("{:?} is no result", self.result).into()))?;
        Ok(AuditRecord {
            id: self.id,
            at: Timestamp::from_millis(self.at),
            principal: self.principal,
            operation: self.operation,
            target: self.target,
            result,
            code: self.code.as_deref().and_then(to_code),
            message: self.message,
            correlation_id: self.correlation_id,
            times: self.times,
        })
    }
}
