//! The sample plugin, from its image's label to its removal.

use std::time::Duration;

use envelope::Operation;
use envelope::topic::plugin;
use serde_json::{Value, json};
use testkit::Version;
use tests::stack::command::Run;
use tests::stack::engine;
use tests::stack::images;
use tests::stack::listener::{Listener, json as payload};

use super::runner::Case;
use super::world::{Shared, login, sameness};

const PATIENCE: Duration = Duration::from_secs(20);

pub fn cases() -> Vec<Case> {
    crate::beside![the_sample_plugin_is_configured_started_talked_to_restarted_stopped_and_removed]
}

async fn the_sample_plugin_is_configured_started_talked_to_restarted_stopped_and_removed(world: Shared) {
    let (id, _held) = world.hello_id().await;
    let source = world.hello().await.to_owned();
    let mut operator = world.operator().await;
    let client = world.stack.operator_client(Version::V5).await.expect("connects");
    let mut watch = Listener::on(client, [plugin::health(&id), plugin::status(&id)]).await;

    let request = json!({"plugin_id": id, "source": source, "config": {"greeting": "Good seeing tonight"}});
    let installed = operator.ask(Operation::Install, request.clone()).await;
    assert_eq!(installed.data()["manifest_source"], "label");
    assert_eq!(installed.data()["warnings"], json!([]));
    let again = operator.ask(Operation::Install, request).await;
    assert_eq!(again.data()["changed"], false, "the same image again is a success without a change");

    let started = operator.ask_about(Operation::Start, &id).await;
    assert_eq!(started.data()["phase"], "running");
    let container = world.running(&id).await;
    assert_hardened(&container);
    assert_configured(&container).await;

    // Its own verdict on its token, and the security coordinator's.
    let valid = |message: &testkit::Message| {
        let details = &payload(message)["payload"]["details"];
        details["token"].as_str().is_some_and(|token| token.starts_with("valid until"))
    };
    watch.wait("health with a valid token", PATIENCE, valid).await;
    let token = operator.ask_about(Operation::Introspect, &id).await;
    assert_eq!(token.data()["active"], true);
    let claims = &token.data()["claims"];
    assert_eq!(claims["sub"], format!("plugin:{id}"));
    assert_eq!(claims["scope"], "system:read");
    assert_eq!(claims["aud"], "bigskies");

    operator.publish(&plugin::control_command(&id, "ping"), r#"{"say": "hello"}"#).await;
    let pong = watch.wait("pong", PATIENCE, |m| m.topic == plugin::status(&id)).await;
    let pong = &payload(&pong)["payload"];
    assert_eq!(pong["answer"], "pong");
    assert_eq!(pong["greeting"], "Good seeing tonight");
    assert!(world.log(&mut operator, &id).await.contains("control message"));

    let restarted = operator.ask_about(Operation::Restart, &id).await;
    assert_eq!(restarted.data()["phase"], "running");
    let after = world.running(&id).await;
    assert_eq!(after["Id"], container["Id"], "a restart keeps the container");
    assert_ne!(sameness(&after), sameness(&container), "a restart starts the process anew");
    assert_eq!(login(&after), login(&container), "a restart keeps the login");

    let inspected = operator.ask_about(Operation::Inspect, &id).await;
    assert_eq!(inspected.data()["container"]["id"], container["Id"]);
    assert_eq!(inspected.data()["manifest"], images::hello_manifest().expect("readable"));
    assert_eq!(inspected.data()["dns_names"], json!(["hello-rust"]));

    operator.ask_about(Operation::Stop, &id).await.data();
    assert!(!world.has_container(&id).await, "a stop removes the container");
    let exit = operator.ask_about(Operation::Inspect, &id).await.data()["last_exit"].clone();
    assert_eq!(exit["code"], 0, "it obeys SIGTERM: {exit:#}");
    let token = operator.ask_about(Operation::Introspect, &id).await;
    assert_eq!(token.data()["active"], false, "a stop revokes the token");

    let stopped = operator.ask_about(Operation::Stop, &id).await;
    assert_eq!(stopped.data()["phase"], "stopped", "what is stopped already is a success");
    world.remove(&mut operator, &id, &source).await;
}

/// What a plugin cannot switch off.
fn assert_hardened(container: &Value) {
    let host = &container["HostConfig"];
    assert_eq!(host["CapDrop"], json!(["ALL"]));
    assert_eq!(host["Privileged"], false);
    assert_eq!(host["RestartPolicy"]["Name"], "no");
    let options = host["SecurityOpt"].to_string();
    assert!(options.contains("no-new-privileges"), "{options}");
    for limit in ["Memory", "PidsLimit", "NanoCpus"] {
        assert!(host[limit].as_u64().unwrap_or_default() > 0, "{limit} is {}", host[limit]);
    }
    assert_eq!(container["Config"]["User"], "64000:64000");
}

/// The configuration of the install request is where the SDK document and the environment say.
async fn assert_configured(container: &Value) {
    let name = container["Id"].as_str().unwrap_or_default();
    for path in ["/config/plugin.json"] {
        let archive = Run::docker(["cp", &format!("{name}:{path}"), "-"]).ok().await.expect("it is there");
        assert!(archive.contains("Good seeing tonight"), "{archive}");
    }
    for (variable, value) in
        [("PLUGIN_ID", "hello-rust"), ("PLUGIN_NAME", "Hello from Rust"), ("LOG_LEVEL", "info")]
    {
        assert_eq!(engine::variable(container, variable).as_deref(), Some(value), "{variable}");
    }
    let (user, password) = login(container);
    let url = engine::variable(container, "MQTT_BROKER");
    assert_eq!(url, Some(format!("tcp://{user}:{password}@mqtt-broker:1883")));
    let labels = container["Config"]["Labels"].to_string();
    assert!(!labels.contains(&password), "a password stands in a label");
}
