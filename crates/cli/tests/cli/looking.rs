//! Commands that look, listen or tell.

use bus::Outgoing;
use envelope::operation::Operation;
use envelope::payload::event::{Event, EventKind};
use envelope::principal::Coordinator;
use envelope::topic;
use envelope::{Envelope, MessageType, PluginId};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::stage::{Stage, end, failure, state, success};

fn id(text: &str) -> PluginId {
    PluginId::parse(text).expect("an id")
}

#[tokio::test]
async fn status_needs_nobody_but_the_broker() {
    let stage = Stage::new().await;
    let ended = stage.run(&["status"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.out.matches("not seen").count(), 3, "{ended:?}");

    let fake = stage.client().await;
    let health = |status: &str, message: &str, details: Value| json!({"component": "c", "status": status, "message": message, "details": details});
    let waiting = health("degraded", "no tokens", json!({"waiting_for": ["security"]}));
    fake.retain(topic::coordinator::health(Coordinator::Plugin), waiting).await;
    fake.retain(topic::coordinator::health(Coordinator::Message), health("healthy", "", json!({}))).await;
    let dead = topic::coordinator::instance_health(Coordinator::Message, &"m-1".parse().expect("an id"));
    fake.retain(dead, health("unhealthy", "connection lost", json!({}))).await;
    for number in 0..100 {
        let plugin = format!("plugin-{number}");
        fake.retain(topic::coordinator::state(&id(&plugin)), state(&plugin, "running", "healthy")).await;
    }
    let ended = stage.run(&["status"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    for expected in [
        "\nplugin        degraded   no tokens; waiting for security\n",
        "\nmessage       down       connection lost\n",
        "\nsecurity      not seen   ",
        "\n100 plugins: 100 running\n",
    ] {
        assert!(ended.out.contains(expected), "{expected:?} in {}", ended.out);
    }
    let data = stage.run(&["status", "--json"]).await.json();
    assert_eq!(data["plugins"].as_array().map(Vec::len), Some(100));
    assert_eq!(data["coordinators"][1]["status"], "down");
}

#[tokio::test]
async fn logs_are_the_plugins_lines_and_cannot_drive_the_terminal() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    let child = stage.spawn(&["plugin", "logs", "focuser", "--tail", "2"]);
    let asked = plugin.asked(Operation::Logs).await;
    assert_eq!(asked.envelope.payload, json!({"plugin_id": "focuser", "tail": 2}));
    let text = "one\n\u{1b}]0;owned\u{7}two\n";
    let logs = json!({"plugin_id": "focuser", "text": text, "truncated": true, "ended": true});
    plugin.answer(&asked, success(logs)).await;
    let ended = end(child).await;
    assert_eq!(ended.out, "one\n\\x1b]0;owned\\x07two\n");
    assert!(ended.err.contains("does not run"), "{ended:?}");
}

#[tokio::test]
async fn a_control_command_reaches_the_plugin_in_an_envelope_or_as_it_is() {
    let stage = Stage::new().await;
    let mut focuser = stage.client().await;
    focuser.bus.subscribe(&[topic::plugin::control(&id("focuser"))]).await.expect("subscribed");
    let child = stage.spawn(&["plugin", "control", "focuser", "move/in", r#"{"steps": 10}"#]);
    let heard = focuser.next().await;
    assert_eq!(heard.topic, topic::plugin::control_command(&id("focuser"), "move/in"));
    let envelope: Envelope = serde_json::from_slice(&heard.payload).expect("an envelope");
    assert_eq!(envelope.kind, MessageType::Command);
    assert_eq!((envelope.source.as_str(), envelope.payload), ("operator:ada", json!({"steps": 10})));
    let ended = end(child).await;
    assert_eq!(ended.out, "sent to bigskies/plugin/focuser/control/move/in\n");

    let child = stage.spawn(&["plugin", "control", "focuser", "move", "--raw", "10 in"]);
    assert_eq!(focuser.next().await.payload, "10 in");
    assert_eq!(end(child).await.code, 0);
}

#[tokio::test]
async fn a_control_command_finds_a_plugin_that_listens_under_its_alias() {
    let stage = Stage::new().await;
    let mut plugin = stage.coordinator(Coordinator::Plugin).await;
    let mut sample = stage.client().await;
    sample.bus.subscribe(&[topic::plugin::control(&id("sample"))]).await.expect("subscribed");
    let manifest = json!({"health_check": {"topic": topic::plugin::health(&id("sample"))}});

    let child = stage.spawn(&["plugin", "control", "guid-1", "park"]);
    let asked = plugin.asked(Operation::Inspect).await;
    plugin.answer(&asked, success(json!({"manifest": manifest}))).await;
    assert_eq!(sample.next().await.topic, topic::plugin::control_command(&id("sample"), "park"));
    assert_eq!(end(child).await.code, 0);

    sample.bus.shutdown().await;
    let child = stage.spawn(&["plugin", "control", "guid-1", "park"]);
    let asked = plugin.asked(Operation::Inspect).await;
    plugin.answer(&asked, success(json!({"manifest": manifest}))).await;
    let ended = end(child).await;
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.err.contains("nobody listens on"), "{ended:?}");

    let child = stage.spawn(&["plugin", "control", "guid-2", "park"]);
    let asked = plugin.asked(Operation::Inspect).await;
    plugin.answer(&asked, failure("unknown_plugin", "guid-2 is not installed.", json!(null))).await;
    let ended = end(child).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("bigskies plugin list"), "{ended:?}");
}

#[tokio::test]
async fn events_are_followed_and_chosen_by_plugin() {
    let stage = Stage::new().await;
    let fake = stage.client().await;
    let mut child = stage.spawn(&["events", "--follow", "--plugin", "focuser", "--json"]);
    let out = child.stdout.take().expect("piped");
    let mut lines = BufReader::new(out).lines();
    let event = |plugin: &str| {
        let event = Event {
            event: EventKind::Phase,
            plugin_id: Some(id(plugin)),
            operation_id: None,
            message: "starting -> running".to_owned(),
            cause: "test".to_owned(),
            details: json!(null),
        };
        let topic = topic::coordinator::event(Coordinator::Plugin, "phase");
        Outgoing::new(topic, Envelope::new(MessageType::Event, "fake", event).encode())
    };
    // The broker says when the program has subscribed.
    while fake.bus.publish(event("focuser")).await.expect("published") == bus::Delivered::Nobody {
        tokio::task::yield_now().await;
    }
    fake.publish(event("mount")).await;
    fake.publish(event("focuser")).await;
    for _ in 0..2 {
        let line = lines.next_line().await.expect("readable").expect("a line");
        let line: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(line["message"]["payload"]["plugin_id"], "focuser");
        assert_eq!(line["topic"], topic::coordinator::event(Coordinator::Plugin, "phase").as_str());
    }
    let process = child.id().expect("it runs").to_string();
    let kill = std::process::Command::new("kill").args(["-s", "INT", &process]).status();
    assert!(kill.expect("kill runs").success());
    assert_eq!(end(child).await.code, 0);
}
