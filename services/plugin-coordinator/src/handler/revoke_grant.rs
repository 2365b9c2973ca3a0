//! `revoke-grant`: takes one grant back from a plugin. One that runs is restarted without it, or stopped when
//! it cannot run without it.

use chassis::{Permit, Reply, Request};
use envelope::payload::grant::RevokeGrantRequest;
use envelope::{ErrorBody, ErrorCode};
use serde_json::json;

use super::{Refusal, admit, busy, follow, why};
use crate::admission::shown;
use crate::context::Context;
use crate::operation::Work;
use crate::record::{Record, keys};
use crate::supervisor::Supervisor;

pub(super) async fn handle(
    ctx: &Context,
    supervisor: &Supervisor,
    permit: &Permit,
    request: &Request,
) -> Result<Reply, Refusal> {
    let RevokeGrantRequest { plugin_id: id, grant: key } = request.parse()?;
    let Some(mut plugin) = admit(ctx, supervisor, permit, request, &id).await? else {
        return Ok(Reply::Later);
    };
    let why = why(permit, request);
    let taken = plugin.record.revoke(&key, &why.by, crate::clock::now());
    let taken = taken.ok_or_else(|| unknown(&plugin.record, &key))?;
    if taken.is_empty() {
        return match &plugin.instead {
            // Perhaps of this very grant: that it is gone can be said when that is done.
            Some((running, _)) if running.work == Work::RevokeGrant => Err(busy(running).into()),
            _ => Ok(Reply::now(&plugin.record.grants(&plugin.manifest))),
        };
    }
    let reply = follow(ctx, supervisor, permit, request, plugin, Work::RevokeGrant).await?;
    ctx.reporter.grants(&id, &taken, false, &why);
    Ok(reply)
}

fn unknown(record: &Record, key: &str) -> ErrorBody {
    let asked = record.asked();
    let shown = shown(key);
    let known = match asked.as_slice() {
        [] => "It asks for nothing beyond its own topics.".to_owned(),
        asked => format!("Name one of these: {}.", keys(asked)),
    };
    let all: Vec<String> = asked.iter().map(manifest::Grant::key).collect();
    ErrorBody::new(ErrorCode::UnknownGrant, format!("{} has no grant {shown:?}. {known}", record.id))
        .with_details(json!({"keys": all}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_grant_is_answered_with_those_that_there_are_and_with_no_control_characters() {
        let record: Record = serde_json::from_value(json!({
            "id": "focuser",
            "uid": envelope::InstallUid::new(),
            "generation": 1,
            "release": {
                "source": "r/i:1", "reference": "r/i@sha256:0", "digest": "sha256:0",
                "manifest": {"id": "focuser", "name": "Focuser", "version": "1.0.0"},
                "manifest_source": "label", "warnings": [], "uid": 1000, "gid": 1000,
                "grants": [{
                    "grant": {"kind": "permission", "permission": "plugin:control"},
                    "state": "approved", "by": "operator:ada", "at": "2026-01-01T00:00:00Z",
                }],
            },
            "installed_at": "2026-01-01T00:00:00Z",
            "desired": {"want": "stopped"},
            "standing": {
                "phase": "stopped", "reason": null, "since": "2026-01-01T00:00:00Z", "cause": "test",
                "correlation_id": "c",
            },
        }))
        .expect("a record");
        let error = unknown(&record, "device:\u{1b}[2J/dev/null");
        assert_eq!(error.code, ErrorCode::UnknownGrant);
        assert_eq!(error.details, json!({"keys": ["permission:plugin:control"]}));
        assert!(error.message.contains("permission:plugin:control"), "{}", error.message);
        assert!(!error.message.chars().any(char::is_control), "{:?}", error.message);
    }
}
