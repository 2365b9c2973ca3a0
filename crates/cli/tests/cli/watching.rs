//! What the coordinators know about requests, the bus and keys.

use envelope::Timestamp;
use envelope::operation::Operation;
use envelope::principal::Coordinator;
use serde_json::{Value, json};

use crate::stage::{Stage, end, failure, success};

fn record(id: i64, at: &str, operation: &str) -> Value {
    json!({"id": id, "at": at, "principal": "operator:ann", "operation": operation, "target": "focuser",
        "result": "done", "correlation_id": "c", "times": 1})
}

fn records(coordinator: &str, records: Value) -> Value {
    success(json!({"coordinator": coordinator, "records": records, "more": false}))
}

#[tokio::test]
async fn records_of_all_three_coordinators_are_shown_together() {
    let stage = Stage::new().await;
    let mut fakes = Vec::new();
    for coordinator in Coordinator::ALL {
        fakes.push((coordinator, stage.coordinator(coordinator).await));
    }
    let child = stage.spawn(&["audit", "--plugin", "focuser", "--since", "2h", "--limit", "2", "--json"]);
    for (number, (coordinator, fake)) in fakes.iter_mut().enumerate() {
        let asked = fake.asked(Operation::Audit).await;
        let payload = &asked.envelope.payload;
        assert_eq!((&payload["target"], &payload["limit"]), (&json!("focuser"), &json!(2)));
        let since: Timestamp = payload["since"].as_str().expect("a time").parse().expect("a time");
        assert!(Timestamp::now().since(since).as_secs().abs_diff(7200) < 60);
        let at = format!("2026-01-16T21:0{number}:00Z");
        fake.answer(&asked, records(coordinator.as_str(), json!([record(1, &at, "start")]))).await;
    }
    let ended = end(child).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let data = ended.json();
    let who: Vec<&Value> =
        data["records"].as_array().expect("records").iter().map(|r| &r["coordinator"]).collect();
    assert_eq!(who, ["security", "message"]);
    assert_eq!((&data["more"], &data["missing"]), (&json!(true), &json!([])));
}

#[tokio::test]
async fn a_coordinator_that_does_not_answer_is_said_and_the_rest_shown() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    let mut message = stage.coordinator(Coordinator::Message).await;
    let child = stage.spawn(&["audit"]);
    let asked = plugin.asked(Operation::Audit).await;
    plugin.answer(&asked, records("plugin", json!([record(7, "2026-01-16T21:05:09Z", "install")]))).await;
    let asked = message.asked(Operation::Audit).await;
    message.answer(&asked, failure("internal", "The store cannot be read.", Value::Null)).await;
    let ended = end(child).await;
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.out.contains("operator:ann   install     focuser   done"), "{ended:?}");
    assert!(ended.err.contains("records of the message coordinator are missing: The store"), "{ended:?}");
    assert!(ended.err.contains("is the security coordinator running?"), "{ended:?}");

    let child = stage.spawn(&["audit", "--coordinator", "message", "--operation", "explain"]);
    let asked = message.asked(Operation::Audit).await;
    assert_eq!(asked.envelope.payload, json!({"operation": "explain", "limit": 100}));
    message.answer(&asked, records("message", json!([]))).await;
    let ended = end(child).await;
    assert_eq!((ended.code, ended.out.as_str()), (0, "No record fits.\n"), "{ended:?}");
}

#[tokio::test]
async fn a_proof_that_found_a_leak_fails_and_names_it() {
    let stage = Stage::new().await;
    let mut message = stage.coordinator(Coordinator::Message).await;
    let leak = json!({"login": "plugin.canary", "tried": "publish", "topic": "a/b"});
    for (leaks, blocked, code, line) in [
        (json!([]), json!([]), 0, "no leak: every plugin keeps to what is its own\n"),
        (json!([leak]), json!([]), 1, "  plugin.canary could publish to a/b\n"),
        (json!([]), json!([leak]), 1, "  plugin.canary could not publish to a/b\n"),
    ] {
        let child = stage.spawn(&["acl", "proof"]);
        let asked = message.asked(Operation::Proof).await;
        let proof = json!({"at": "2026-01-16T21:05:09Z", "refused": 118, "allowed": 12, "leaks": leaks, "blocked": blocked});
        message.answer(&asked, success(proof)).await;
        let ended = end(child).await;
        assert_eq!(ended.code, code, "{ended:?}");
        assert!(ended.out.contains(line), "{ended:?}");
        assert_eq!(ended.err.contains("ACLs are not as they must be"), code == 1, "{ended:?}");
    }
}

#[tokio::test]
async fn sessions_are_listed_and_what_was_not_seen_is_unknown() {
    let stage = Stage::new().await;
    let mut message = stage.coordinator(Coordinator::Message).await;
    let child = stage.spawn(&["sessions"]);
    let asked = message.asked(Operation::Sessions).await;
    message
        .answer(&asked, success(json!({"sessions": [{"client_id": "focuser\u{7}"}], "left_out": 0})))
        .await;
    let ended = end(child).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("focuser\\x07   unknown   unknown   unknown\n"), "{ended:?}");
}

#[tokio::test]
async fn keys_are_rotated_and_tokens_revoked() {
    let stage = Stage::new().await;
    let mut security = stage.coordinator(Coordinator::Security).await;
    let child = stage.spawn(&["key", "rotate"]);
    let asked = security.asked(Operation::Rotate).await;
    security.answer(&asked, success(json!({"active": "k-2", "next": "k-3", "retiring": ["k-1"]}))).await;
    let ended = end(child).await;
    assert!(ended.out.starts_with("the keys are rotated"), "{ended:?}");

    for (args, payload, line) in [
        (["--plugin", "focuser"], json!({"plugin_id": "focuser"}), "every token of focuser is revoked\n"),
        (["--jti", "j-1"], json!({"jti": "j-1"}), "token j-1 of focuser is revoked\n"),
    ] {
        let child = stage.spawn(&[&["token", "revoke"][..], &args].concat());
        let asked = security.asked(Operation::RevokeToken).await;
        assert_eq!(asked.envelope.payload, payload);
        let mut revoked = payload.clone();
        revoked["plugin_id"] = json!("focuser");
        security.answer(&asked, success(revoked)).await;
        let ended = end(child).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.out.starts_with(line), "{ended:?}");
    }
    let child = stage.spawn(&["token", "revoke", "--jti", "j-9"]);
    let asked = security.asked(Operation::RevokeToken).await;
    security.answer(&asked, failure("bad_request", "There is no token j-9.", Value::Null)).await;
    assert_eq!(end(child).await.code, 1);
}
