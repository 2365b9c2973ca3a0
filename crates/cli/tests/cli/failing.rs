//! Failures: what is said, and the exit code.

use std::process::Command;

use envelope::operation::Operation;
use envelope::principal::Coordinator;
use envelope::topic;
use serde_json::{Value, json};

use crate::stage::{Stage, end, failure};

#[tokio::test]
async fn a_bad_manifest_is_told_fault_by_fault_to_people_and_whole_to_programs() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    let error = failure(
        "manifest_invalid",
        "The manifest has 1 fault.",
        json!({"faults": [{"pointer": "/docker/image", "reason": "is missing", "fix": "name the image"}]}),
    );
    let child = stage.spawn(&["plugin", "install", "r/i:1", "--id", "focuser"]);
    let asked = plugin.asked(Operation::Install).await;
    plugin.answer(&asked, error.clone()).await;
    let ended = end(child).await;
    assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{ended:?}");
    let expected = "\
error: The manifest has 1 fault. (manifest_invalid)
  1. /docker/image  is missing
     fix: name the image
";
    assert_eq!(ended.err, expected);

    let child = stage.spawn(&["plugin", "install", "r/i:1", "--id", "focuser", "--json"]);
    let asked = plugin.asked(Operation::Install).await;
    plugin.answer(&asked, error.clone()).await;
    let ended = end(child).await;
    assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{ended:?}");
    let told: Value = serde_json::from_str(&ended.err).expect("JSON");
    assert_eq!(told["error"], error["error"]);
}

#[tokio::test]
async fn an_approval_that_is_needed_has_an_exit_code_of_its_own() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    let child = stage.spawn(&["plugin", "install", "r/i:1", "--id", "focuser", "--approve", "sha256:old"]);
    let asked = plugin.asked(Operation::Install).await;
    assert_eq!(asked.envelope.payload["approve"], "sha256:old");
    let details = json!({"digest": "sha256:new", "grants": ["publish to mount/control/slew"]});
    plugin.answer(&asked, failure("approval_required", "It asks for more.", details)).await;
    let ended = end(child).await;
    assert_eq!(ended.code, 5, "{ended:?}");
    assert!(ended.err.contains("publish to mount/control/slew"), "{ended:?}");
    assert!(ended.err.contains("--approve sha256:new"), "{ended:?}");
}

#[tokio::test]
async fn without_an_id_the_command_line_is_at_fault() {
    let stage = Stage::new().await;
    let ended = stage.run(&["plugin", "install", "r/i:1"]).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.err.contains("add --id"), "{ended:?}");
}

#[tokio::test]
async fn when_nobody_listens_it_says_so_at_once_and_what_to_look_at() {
    let stage = Stage::new().await;
    let ended = stage.run(&["plugin", "list"]).await;
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.err.contains("is the plugin coordinator running?"), "{ended:?}");
    assert!(ended.err.contains("docker compose ps"), "{ended:?}");
}

#[tokio::test]
async fn when_no_answer_comes_it_tells_what_was_last_heard_of_the_coordinator() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    let health = json!({"component": "plugin", "status": "degraded", "message": "no engine", "details": {}});
    plugin.retain(topic::coordinator::health(Coordinator::Plugin), health).await;
    let child = stage.spawn(&["plugin", "list", "--timeout", "1s"]);
    let asked = plugin.asked(Operation::List).await;
    let ended = end(child).await;
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.err.contains("did not answer list within 1 s"), "{ended:?}");
    assert!(ended.err.contains("degraded: no engine"), "{ended:?}");
    assert!(ended.err.contains(&asked.envelope.id), "{ended:?}");
}

#[tokio::test]
async fn a_request_that_waits_for_a_dead_coordinator_says_so() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    let will =
        json!({"component": "plugin", "status": "unhealthy", "message": "connection lost", "details": {}});
    let instance = "p-1".parse().expect("an id");
    plugin.retain(topic::coordinator::instance_health(Coordinator::Plugin, &instance), will).await;
    let child = stage.spawn(&["plugin", "list", "--timeout", "2s"]);
    plugin.asked(Operation::List).await;
    let ended = end(child).await;
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(
        ended.err.starts_with("warning: the plugin coordinator is down; the request waits for it for 2 s"),
        "{ended:?}"
    );
    assert!(ended.err.contains("down: connection lost"), "{ended:?}");
}

#[tokio::test]
async fn a_broker_that_is_not_there_and_one_that_refuses_are_told_apart() {
    let mut stage = Stage::new().await;
    stage.write_login("s3cret-x");
    let ended = stage.run(&["status"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.err.contains("refused the login"), "{ended:?}");
    assert!(ended.err.contains("operator.env"), "{ended:?}");
    assert!(!ended.err.contains("s3cret"), "{ended:?}");
    stage.broker.stop();
    let ended = stage.run(&["status", "--json"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    let told: Value = serde_json::from_str(&ended.err).expect("JSON");
    assert_eq!(told["error"]["code"], "no_connection");
    assert!(
        told["error"]["message"].as_str().is_some_and(|m| m.contains("cannot reach the broker")),
        "{told}"
    );
}

#[tokio::test]
async fn an_interrupted_command_says_that_the_operation_goes_on() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    let child = stage.spawn(&["plugin", "start", "focuser"]);
    plugin.asked(Operation::Start).await;
    let id = child.id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-s", "INT", &id]).status().expect("kill runs").success());
    let ended = end(child).await;
    assert_eq!(ended.code, 130, "{ended:?}");
    assert!(ended.err.contains("goes on with start"), "{ended:?}");
}
