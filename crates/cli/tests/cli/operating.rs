//! Operations that run and have run, and an end to one.

use envelope::operation::Operation;
use envelope::principal::Coordinator;
use serde_json::{Value, json};

use crate::stage::{Stage, end, failure, success};

const ID: &str = "01936f1c-7a00-7000-8000-00000000000b";

fn entry(changes: Value) -> Value {
    let mut entry = json!({"id": ID, "plugin_id": "focuser", "operation": "update", "principal": "operator:ada",
        "step": "pull", "started_at": "2026-01-16T21:00:00Z", "correlation_id": "c"});
    if let (Some(entry), Value::Object(changes)) = (entry.as_object_mut(), changes) {
        entry.extend(changes);
    }
    entry
}

#[tokio::test]
async fn operations_are_listed_with_the_ids_of_those_that_run() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    let child = stage.spawn(&["operations"]);
    let asked = plugin.asked(Operation::Operations).await;
    assert_eq!(asked.envelope.payload, json!({"limit": 50}));
    let failed = entry(json!({"plugin_id": "mount", "ended_at": "2026-01-16T21:00:30Z", "success": false,
        "code": "not_ready", "message": "mount said nothing.\u{1b}[2J"}));
    let data = json!({"operations": [entry(json!({})), failed]});
    plugin.answer(&asked, success(data.clone())).await;
    let ended = end(child).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let lines: Vec<&str> = ended.out.lines().collect();
    assert_eq!(lines.len(), 3, "{ended:?}");
    assert!(lines[1].starts_with("focuser") && lines[1].contains(ID), "{ended:?}");
    assert!(lines[2].starts_with("mount") && !lines[2].contains(ID), "{ended:?}");
    assert!(lines[2].ends_with("not_ready: mount said nothing.\\x1b[2J"), "{ended:?}");

    let child = stage.spawn(&["operations", "--plugin", "focuser", "--limit", "0", "--json"]);
    let asked = plugin.asked(Operation::Operations).await;
    assert_eq!(asked.envelope.payload, json!({"plugin_id": "focuser", "limit": 0}));
    plugin.answer(&asked, success(data.clone())).await;
    assert_eq!(end(child).await.json(), data);

    let child = stage.spawn(&["operations"]);
    let asked = plugin.asked(Operation::Operations).await;
    plugin.answer(&asked, success(json!({"operations": []}))).await;
    assert_eq!(end(child).await.out, "No operation runs, and none is remembered.\n");
}

#[tokio::test]
async fn an_operation_is_ended_by_its_id() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    let child = stage.spawn(&["cancel", ID]);
    let asked = plugin.asked(Operation::Cancel).await;
    assert_eq!(asked.envelope.payload, json!({"operation_id": ID}));
    let cancelled = entry(json!({"ended_at": "2026-01-16T21:00:30Z", "success": false, "code": "cancelled"}));
    plugin.answer(&asked, success(cancelled)).await;
    let ended = end(child).await;
    let text = "update of focuser is cancelled; it was at: pull\n";
    assert_eq!((ended.code, ended.out.as_str()), (0, text), "{ended:?}");

    let child = stage.spawn(&["cancel", ID]);
    let asked = plugin.asked(Operation::Cancel).await;
    plugin.answer(&asked, failure("no_such_operation", "No operation has this id.", Value::Null)).await;
    let ended = end(child).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("`bigskies operations` shows"), "{ended:?}");

    let ended = stage.run(&["cancel", "focuser"]).await;
    assert_eq!(ended.code, 2, "{ended:?}");
}
