//! Requests, and what comes of them.

use envelope::operation::Operation;
use envelope::principal::Coordinator;
use envelope::{MessageType, Timestamp};
use serde_json::json;

use crate::stage::{Stage, end, failure, state, success};

#[tokio::test]
async fn an_install_is_asked_for_as_the_operator_shown_while_it_runs_and_told_once() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    stage.file("plugin.json", r#"{"id": "focuser", "name": "Focuser Control"}"#);
    stage.file("config.json", r#"{"steps": 1200}"#);
    let args =
        ["plugin", "install", "registry/focuser:1", "--manifest", "plugin.json", "--config", "config.json"];
    let child = stage.spawn(&args);

    let asked = plugin.asked(Operation::Install).await;
    assert!(!asked.delivery.retain);
    let envelope = &asked.envelope;
    assert_eq!(envelope.kind, MessageType::Request);
    assert_eq!(envelope.source, "operator:ada");
    assert_eq!(envelope.reply_to, asked.delivery.response_topic);
    assert!(envelope.expires_at.expect("an end") > Timestamp::now());
    let trace = envelope.traceparent.clone().expect("a trace");
    assert!(asked.delivery.user_properties.contains(&("traceparent".to_owned(), trace)));
    assert_eq!(
        envelope.payload,
        json!({"plugin_id": "focuser", "source": "registry/focuser:1", "config": {"steps": 1200},
            "manifest": {"id": "focuser", "name": "Focuser Control"}})
    );

    plugin.progress(&asked, json!({"step": "pull the image", "done": 1, "total": 2, "unit": "bytes"})).await;
    plugin.progress(&asked, json!({"step": "pull the image", "done": 2, "total": 2, "unit": "bytes"})).await;
    plugin.progress(&asked, json!({"step": "check\u{1b}[2J"})).await;
    plugin.answer_as(&asked, "another".to_owned(), failure("busy", "for somebody else", json!(null))).await;
    let installed = success(json!({"plugin_id": "focuser", "name": "Focuser Control", "version": "1.0.0",
        "digest": "sha256:ab", "manifest_source": "request", "changed": true, "warnings": []}));
    plugin.answer(&asked, installed.clone()).await;
    plugin.answer(&asked, installed).await;

    let ended = end(child).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.err, "  pull the image\n  check\\x1b[2J\n");
    let expected = "\
focuser installed: Focuser Control 1.0.0
  Image      sha256:ab
  Manifest   from the request
  Next       bigskies plugin start focuser
";
    assert_eq!(ended.out, expected);
}

#[tokio::test]
async fn programs_get_the_exact_data_and_nothing_else() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    let child = stage.spawn(&["plugin", "start", "focuser", "--json"]);
    let asked = plugin.asked(Operation::Start).await;
    assert_eq!(asked.envelope.payload, json!({"plugin_id": "focuser"}));
    let mut data = state("focuser", "running", "healthy");
    data["from_the_future"] = json!({"kept": ["\u{9b}", 1.5]});
    plugin.progress(&asked, json!({"step": "wait"})).await;
    plugin.answer(&asked, success(data.clone())).await;
    let ended = end(child).await;
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
    assert_eq!(ended.json(), data);
}

#[tokio::test]
async fn each_lifecycle_command_asks_for_its_operation_and_says_how_the_plugin_is() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    for (command, operation, phase, text) in [
        ("start", Operation::Start, "running", "focuser is running and healthy\n"),
        ("restart", Operation::Restart, "running", "focuser is running and healthy\n"),
        ("stop", Operation::Stop, "stopped", "focuser is stopped\n"),
    ] {
        let child = stage.spawn(&["plugin", command, "focuser"]);
        let asked = plugin.asked(operation).await;
        plugin.answer(&asked, success(state("focuser", phase, "healthy"))).await;
        let ended = end(child).await;
        assert_eq!((ended.code, ended.out.as_str()), (0, text), "{ended:?}");
    }
}

#[tokio::test]
async fn data_is_deleted_only_when_somebody_says_so() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    let ended = stage.run(&["plugin", "remove", "focuser", "--volumes"]).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.err.contains("add --yes"), "{ended:?}");

    for (args, volumes) in [(&["--volumes", "--yes"][..], true), (&[], false)] {
        let child = stage.spawn(&[&["plugin", "remove", "focuser"], args].concat());
        // The one that was refused was never sent: the next request is this one.
        let asked = plugin.asked(Operation::Remove).await;
        assert_eq!(asked.envelope.payload, json!({"plugin_id": "focuser", "remove_volumes": volumes}));
        let removed =
            json!({"plugin_id": "focuser", "image_removed": true, "volumes_removed": [], "volumes_kept": []});
        plugin.answer(&asked, success(removed)).await;
        let ended = end(child).await;
        assert_eq!((ended.code, ended.out.as_str()), (0, "focuser is removed\n"), "{ended:?}");
    }
}

#[tokio::test]
async fn a_restart_of_the_broker_while_waiting_loses_no_answer() {
    let mut stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    let child = stage.spawn(&["plugin", "stop", "focuser"]);
    let first = plugin.asked(Operation::Stop).await;
    stage.broker.restart().await;
    // The same request comes again, with the id by which a coordinator knows it.
    let again = plugin.asked(Operation::Stop).await;
    assert_eq!(first.envelope, again.envelope);
    plugin.answer(&again, success(state("focuser", "stopped", "unknown"))).await;
    let ended = end(child).await;
    assert_eq!((ended.code, ended.out.as_str()), (0, "focuser is stopped\n"), "{ended:?}");
}

#[tokio::test]
async fn an_answer_of_a_later_version_is_shown_as_it_came() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    let child = stage.spawn(&["plugin", "list"]);
    let asked = plugin.asked(Operation::List).await;
    plugin.answer(&asked, success(json!({"plugins": [state("focuser", "dreaming", "healthy")]}))).await;
    let ended = end(child).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.json()["plugins"][0]["phase"], "dreaming");
    assert!(ended.err.contains("another version"), "{ended:?}");
}

#[tokio::test]
async fn message_and_security_are_asked_for_rules_and_tokens() {
    let stage = Stage::new().await;
    let mut message = stage.coordinator(Coordinator::Message).await;
    let mut security = stage.coordinator(Coordinator::Security).await;
    let child = stage.spawn(&["acl", "explain", "focuser", "publish", "a/b"]);
    let asked = message.asked(Operation::Explain).await;
    assert_eq!(asked.envelope.payload, json!({"plugin_id": "focuser", "access": "publish", "topic": "a/b"}));
    let explanation = json!({"plugin_id": "focuser", "access": "publish", "topic": "a/b", "allowed": true,
        "role": "plugin.focuser", "rule": "a/#", "reason": "its manifest declares a/#"});
    message.answer(&asked, success(explanation)).await;
    let ended = end(child).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.starts_with("focuser may publish to a/b\n"), "{ended:?}");

    let child = stage.spawn(&["token", "show", "focuser"]);
    let asked = security.asked(Operation::Introspect).await;
    assert_eq!(asked.envelope.payload, json!({"plugin_id": "focuser"}));
    security.answer(&asked, success(json!({"active": false, "reason": "it does not run"}))).await;
    let ended = end(child).await;
    assert_eq!(ended.out, "focuser has no valid token: it does not run\n");
}
