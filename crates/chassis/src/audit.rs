//! `audit`, which every coordinator answers alike; and what a request is recorded as being about.

use envelope::payload::audit::{AuditRequest, AuditResponse};
use envelope::{Coordinator, ErrorBody};
use serde_json::Value;
use store::Store;

use crate::refusal::internal;
use crate::service::{Reply, Request};

/// Answers `audit` from the coordinator's own records.
///
/// # Errors
/// `bad_request`, or the database failed.
pub(crate) async fn handle(
    coordinator: Coordinator,
    store: &Store,
    request: &Request,
) -> Result<Reply, ErrorBody> {
    let wanted: AuditRequest = request.parse()?;
    let (records, more) = store.audit().find(&wanted).await.map_err(|e| internal(&e))?;
    Ok(Reply::now(&AuditResponse { coordinator, records, more }))
}

/// The plugin or account that a request is about, by the name that it gives. Nothing else of a payload is
/// recorded.
pub(crate) fn target(payload: &Value) -> Option<&str> {
    let name = |field: &str| payload.get(field).and_then(Value::as_str);
    name("plugin_id").or_else(|| name("name"))
}
