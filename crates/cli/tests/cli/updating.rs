//! Another image, another configuration, and back again.

use envelope::operation::Operation;
use envelope::principal::Coordinator;
use serde_json::{Value, json};

use crate::stage::{Stage, end, failure, state, success};

fn updated(changed: bool) -> Value {
    success(json!({"plugin_id": "focuser", "version": "1.1.0", "previous_version": "1.0.0",
        "digest": "sha256:new", "previous_digest": "sha256:old", "changed": changed, "downtime_ms": 1_840,
        "warnings": []}))
}

const UPDATE: [&str; 4] = ["plugin", "update", "focuser", "r/i:2"];

#[tokio::test]
async fn an_update_is_asked_for_with_its_files_and_told_with_versions_and_downtime() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    stage.file("plugin.json", r#"{"id": "focuser"}"#);
    stage.file("config.json", r#"{"steps": 1200}"#);
    let files = ["--manifest", "plugin.json", "--config", "config.json"];
    let child = stage.spawn(&[&UPDATE[..], &files].concat());
    let asked = plugin.asked(Operation::Update).await;
    assert_eq!(
        asked.envelope.payload,
        json!({"plugin_id": "focuser", "source": "r/i:2", "config": {"steps": 1200},
            "manifest": {"id": "focuser"}})
    );
    plugin.progress(&asked, json!({"step": "pull"})).await;
    plugin.progress(&asked, json!({"step": "await_acl"})).await;
    plugin.answer(&asked, updated(true)).await;
    let ended = end(child).await;
    assert_eq!((ended.code, ended.err.as_str()), (0, "  pull\n  await_acl\n"), "{ended:?}");
    let expected = "\
focuser updated: 1.0.0 -> 1.1.0
  Image      sha256:new
  Before     sha256:old
  Downtime   1.8 s until it was ready again
  Next       bigskies plugin rollback focuser   brings back what was before
";
    assert_eq!(ended.out, expected);
}

#[tokio::test]
async fn an_update_without_an_image_leaves_it_to_the_coordinator_and_programs_get_the_exact_data() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    let child = stage.spawn(&["plugin", "update", "focuser", "--json"]);
    let asked = plugin.asked(Operation::Update).await;
    assert_eq!(asked.envelope.payload, json!({"plugin_id": "focuser"}));
    plugin.answer(&asked, updated(false)).await;
    let ended = end(child).await;
    assert_eq!((ended.code, ended.json()), (0, updated(false)["data"].clone()), "{ended:?}");
}

#[tokio::test]
async fn an_update_that_was_rolled_back_fails_with_the_last_lines_of_the_new_version() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    let error = failure(
        "rolled_back",
        "focuser 1.1.0 was not ready in time, so 1.0.0 runs again.",
        json!({"code": "not_ready", "failure": {"exit_code": 1, "log_tail": "no device\n"}}),
    );
    let child = stage.spawn(&UPDATE);
    let asked = plugin.asked(Operation::Update).await;
    plugin.answer(&asked, error.clone()).await;
    let ended = end(child).await;
    assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{ended:?}");
    for part in ["so 1.0.0 runs again. (rolled_back)\n", "the new version wrote:\n    | no device\n"] {
        assert!(ended.err.contains(part), "{part}: {ended:?}");
    }
    let child = stage.spawn(&[&UPDATE[..], &["--json"]].concat());
    let asked = plugin.asked(Operation::Update).await;
    plugin.answer(&asked, error.clone()).await;
    let ended = end(child).await;
    assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{ended:?}");
    let told: Value = serde_json::from_str(&ended.err).expect("JSON");
    assert_eq!(told["error"], error["error"]);
}

#[tokio::test]
async fn an_update_that_asks_for_more_is_shown_asked_about_and_approved() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    let details = json!({"grants": [{"key": "root", "risk": "high", "sentence": "run as root", "grant": {}}],
        "approve": "sha256:one", "rating": {"score": 2, "reasons": []}});
    let error = failure("approval_required", "focuser asks for more than it has.", details);
    let (child, mut terminal) = stage.spawn_at_terminal(&UPDATE);
    let asked = plugin.asked(Operation::Update).await;
    assert_eq!(asked.envelope.payload.get("approve"), None);
    plugin.answer(&asked, error.clone()).await;
    let shown = terminal.shows("Approve and update? [y/N] ").await;
    assert!(shown.contains("run as root") && shown.contains("sha256:one"), "{shown}");
    terminal.types("y");
    let asked = plugin.asked(Operation::Update).await;
    let approved = json!({"plugin_id": "focuser", "source": "r/i:2", "approve": "sha256:one"});
    assert_eq!(asked.envelope.payload, approved);
    plugin.answer(&asked, updated(true)).await;
    assert_eq!(end(child).await.code, 0);

    let child = stage.spawn(&UPDATE);
    let asked = plugin.asked(Operation::Update).await;
    plugin.answer(&asked, error).await;
    let ended = end(child).await;
    assert_eq!(ended.code, 5, "{ended:?}");
    assert!(ended.err.contains("plugin update focuser r/i:2 --approve sha256:one`\n"), "{ended:?}");
}

#[tokio::test]
async fn a_rollback_is_told_like_an_update_and_one_without_a_past_says_why_not() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    let child = stage.spawn(&["plugin", "rollback", "focuser"]);
    let asked = plugin.asked(Operation::Rollback).await;
    assert_eq!(asked.envelope.payload, json!({"plugin_id": "focuser"}));
    plugin.answer(&asked, updated(true)).await;
    let ended = end(child).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.starts_with("focuser rolled back: 1.0.0 -> 1.1.0\n"), "{ended:?}");

    let child = stage.spawn(&["plugin", "rollback", "focuser"]);
    let asked = plugin.asked(Operation::Rollback).await;
    plugin.answer(&asked, failure("invalid_phase", "focuser was never updated.", Value::Null)).await;
    let ended = end(child).await;
    assert_eq!((ended.code, ended.err.as_str()), (1, "error: focuser was never updated. (invalid_phase)\n"));
}

#[tokio::test]
async fn a_configuration_is_replaced_from_a_file_or_taken_away_and_never_shown() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    stage.file("config.json", r#"{"pin": "0815"}"#);
    for (option, config, verb) in [
        (&["--file", "config.json"][..], json!({"pin": "0815"}), "replaced"),
        (&["--clear"], Value::Null, "taken away"),
    ] {
        let child = stage.spawn(&[&["plugin", "config", "focuser"], option].concat());
        let asked = plugin.asked(Operation::Config).await;
        assert_eq!(asked.envelope.payload, json!({"plugin_id": "focuser", "config": config}));
        plugin.answer(&asked, success(state("focuser", "running", "healthy"))).await;
        let ended = end(child).await;
        let expected = format!("the configuration of focuser is {verb}\nfocuser is running and healthy\n");
        assert_eq!((ended.code, ended.out), (0, expected));
        assert!(!ended.err.contains("0815"), "{}", ended.err);
    }

    let child = stage.spawn(&["plugin", "config", "focuser", "--file", "config.json"]);
    let asked = plugin.asked(Operation::Config).await;
    let faults = json!({"faults": [{"pointer": "/pin", "reason": "is too short"}]});
    plugin.answer(&asked, failure("config_invalid", "It does not fit.", faults)).await;
    let ended = end(child).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("1. /pin  is too short"), "{ended:?}");
}

#[tokio::test]
async fn a_file_that_says_null_takes_no_configuration_away() {
    let stage = Stage::new().await;
    stage.file("config.json", "null");
    for (options, hint) in [(&["--file", "config.json"][..], "--clear"), (&[], "--file")] {
        let ended = stage.run(&[&["plugin", "config", "focuser"], options].concat()).await;
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{ended:?}");
        assert!(ended.err.contains(hint), "{ended:?}");
    }
}
