//! `operations` and `cancel`: what the plugin coordinator is doing, what it did, and an end to it.

use envelope::payload::lifecycle::{CancelRequest, OperationEntry, OperationsRequest, OperationsResponse};
use envelope::{ErrorCode, Operation, OperationId, Timestamp};

use super::Context;
use crate::args::Operations;
use crate::failure::Failure;
use crate::render::{Ink, Table, ago, clean, ink, lasting, shorten};

/// Columns for what a coordinator names freely.
const FREE: usize = 40;

pub(super) async fn list(args: Operations, context: &Context) -> Result<(), Failure> {
    let request = OperationsRequest { plugin_id: args.plugin, limit: Some(args.limit) };
    let data = context.ask(Operation::Operations, &request, "asking the plugin coordinator").await?;
    context.show(data, |response: &OperationsResponse| {
        if response.operations.is_empty() {
            return "No operation runs, and none is remembered.".to_owned();
        }
        table(&response.operations, Timestamp::now(), context.screen.width())
    })
}

pub(super) async fn cancel(operation_id: OperationId, context: &Context) -> Result<(), Failure> {
    let waiting = format!("cancel {operation_id}");
    let data = context.ask(Operation::Cancel, &CancelRequest { operation_id }, &waiting).await?;
    context.show(data, cancelled)
}

/// Those that run first, whatever the order in which they came.
fn table(operations: &[OperationEntry], now: Timestamp, width: Option<usize>) -> String {
    let columns = ["PLUGIN", "OPERATION", "STARTED", "TOOK", "STEP", "RESULT", "WHO", "OPERATION ID", "WHY"];
    let mut table = Table::new(&columns);
    let (running, ended): (Vec<_>, Vec<_>) = operations.iter().partition(|entry| runs(entry));
    for entry in running.into_iter().chain(ended) {
        let done = entry.success == Some(true);
        table.row([
            entry.plugin_id.to_string(),
            entry.operation.to_string(),
            ago(entry.started_at, now),
            entry.ended_at.map(|end| lasting(end.since(entry.started_at))).unwrap_or_default(),
            if done { String::new() } else { shorten(&clean(&entry.step), FREE) },
            result(entry),
            shorten(&clean(&entry.principal), FREE),
            if runs(entry) { entry.id.to_string() } else { String::new() },
            why(entry, now),
        ]);
    }
    table.render(width)
}

fn runs(entry: &OperationEntry) -> bool {
    entry.ended_at.is_none() && entry.success.is_none()
}

fn result(entry: &OperationEntry) -> String {
    let (word, colour) = match (entry.success, entry.code) {
        (None, _) if runs(entry) => ("running", Ink::Warn),
        (Some(true), _) => ("done", Ink::Good),
        (_, Some(ErrorCode::Cancelled)) => ("cancelled", Ink::Faint),
        (_, Some(ErrorCode::RolledBack)) => ("rolled back", Ink::Bad),
        _ => ("failed", Ink::Bad),
    };
    ink(colour, word)
}

/// Until when it runs, or why it was not done.
fn why(entry: &OperationEntry, now: Timestamp) -> String {
    if runs(entry) {
        return entry
            .deadline
            .map(|end| format!("fails {} at the latest", ago(end, now)))
            .unwrap_or_default();
    }
    let message = entry.message.as_deref().map(clean);
    // Both are told as the result.
    let code = entry.code.filter(|code| !matches!(code, ErrorCode::Cancelled | ErrorCode::RolledBack));
    match (code, message) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_string(),
        (None, message) => message.unwrap_or_default(),
    }
}

fn cancelled(entry: &OperationEntry) -> String {
    let what = format!("{} of {}", entry.operation, entry.plugin_id);
    match (entry.success, entry.code) {
        (Some(true), _) => format!("{what} was done before it could be ended"),
        (Some(false), Some(ErrorCode::Cancelled)) => {
            format!("{what} is {}; it was at: {}", ink(Ink::Good, "cancelled"), clean(&entry.step))
        }
        (Some(false), _) => format!("{what} had failed already: {}", why(entry, entry.started_at)),
        (None, _) => format!("{what} is being ended: bigskies operations shows when it has"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::render::finish;

    fn entry(changes: serde_json::Value) -> OperationEntry {
        let mut entry = json!({"id": "01936f1c-7a00-7000-8000-00000000000b", "plugin_id": "focuser",
            "operation": "update", "principal": "operator:ann", "step": "pull",
            "started_at": "2026-01-16T21:00:00Z", "correlation_id": "c"});
        if let (Some(entry), serde_json::Value::Object(changes)) = (entry.as_object_mut(), changes) {
            entry.extend(changes);
        }
        serde_json::from_value(entry).expect("an operation")
    }

    fn ended(changes: serde_json::Value) -> OperationEntry {
        let mut all = json!({"ended_at": "2026-01-16T21:01:30Z", "success": false});
        if let (Some(all), serde_json::Value::Object(changes)) = (all.as_object_mut(), changes) {
            all.extend(changes);
        }
        entry(all)
    }

    #[test]
    fn those_that_run_stand_first_with_their_id_and_the_others_with_what_came_of_them() {
        let done = ended(json!({"operation": "install", "success": true}));
        let back = ended(json!({"code": "rolled_back", "step": "await_ready",
            "message": "focuser 2.0.0 was not ready\u{1b}[2J in time."}));
        let failed = ended(json!({"code": "image_not_found", "message": "No such image."}));
        let cancelled = ended(json!({"plugin_id": "mount", "code": "cancelled"}));
        let running = entry(json!({"deadline": "2026-01-16T21:30:00Z"}));
        let now: Timestamp = "2026-01-16T21:02:00Z".parse().expect("a time");
        let expected = "\
PLUGIN    OPERATION   STARTED     TOOK   STEP          RESULT        WHO            OPERATION ID                           WHY
focuser   update      2 min ago          pull          running       operator:ann   01936f1c-7a00-7000-8000-00000000000b   fails in 28 min at the latest
focuser   install     2 min ago   90 s                 done          operator:ann
focuser   update      2 min ago   90 s   await_ready   rolled back   operator:ann                                          focuser 2.0.0 was not ready\\x1b[2J in time.
focuser   update      2 min ago   90 s   pull          failed        operator:ann                                          image_not_found: No such image.
mount     update      2 min ago   90 s   pull          cancelled     operator:ann";
        let text = table(&[done, back, failed, cancelled, running], now, None);
        assert_eq!(finish(&text, false), expected);
    }

    #[test]
    fn what_came_of_a_cancel_is_one_sentence() {
        let sentence = |entry: OperationEntry| finish(&cancelled(&entry), false);
        assert_eq!(
            sentence(ended(json!({"code": "cancelled"}))),
            "update of focuser is cancelled; it was at: pull"
        );
        assert_eq!(
            sentence(ended(json!({"success": true}))),
            "update of focuser was done before it could be ended"
        );
        assert_eq!(
            sentence(ended(json!({"code": "not_ready", "message": "It said nothing."}))),
            "update of focuser had failed already: not_ready: It said nothing."
        );
        assert!(sentence(entry(json!({}))).starts_with("update of focuser is being ended"));
    }

    #[test]
    fn an_end_before_the_beginning_is_no_panic() {
        let odd = ended(json!({"ended_at": "2026-01-16T20:00:00Z"}));
        let now = odd.started_at.after(Duration::from_secs(5));
        assert!(table(&[odd], now, Some(20)).contains("failed"));
    }
}
