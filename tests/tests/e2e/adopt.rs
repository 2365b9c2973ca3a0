//! A store that is new adopts what runs: each coordinator and the broker restarted without their data, while plugins
//! run, which nobody touches.

use std::time::Duration;

use envelope::topic::{coordinator, plugin};
use envelope::{Coordinator, ErrorCode, Operation, PluginId};
use serde_json::{Value, json};
use testkit::{Version, eventually};
use tests::stack::command::Run;
use tests::stack::image_of;
use tests::stack::images::Script;
use tests::stack::listener::{Listener, json as payload};
use tests::stack::operator::{Operator, retained};

use super::isolation::token;
use super::outages::{connects, start, stop};
use super::runner::Case;
use super::world::{Shared, World, id, login, minimal, sameness};

const PATIENCE: Duration = Duration::from_secs(60);
/// Keys among which none is known are a reason to ask for tokens again. It would be done every two minutes anyway.
const TOKENS: Duration = Duration::from_secs(30);

pub fn cases() -> Vec<Case> {
    crate::alone![
        a_plugin_coordinator_without_its_data_takes_over_what_runs,
        a_message_coordinator_without_its_data_keeps_the_logins_of_what_runs,
        a_security_coordinator_without_its_data_gives_new_tokens_to_what_runs,
        a_broker_without_its_data_is_provisioned_again,
        a_registry_that_is_put_back_has_again_what_was_removed_since,
    ]
}

/// Takes everything in /volume away.
const EMPTY: &str = "busybox rm -rf /volume/* /volume/.[!.]* && test -z \"$(busybox ls -A /volume)\"";

/// Stops a service and takes everything away that it has written.
async fn stop_and_empty(world: &World, service: &str, volume: &str) {
    stop(world, service).await;
    with_volumes(world, volume, EMPTY).await;
}

/// Runs a script with a service's volume at /volume, and one for copies at /copy.
async fn with_volumes(world: &World, volume: &str, script: &str) {
    let project = &world.stack.project;
    let (volume, copy) = (format!("{project}_{volume}:/volume"), format!("{}:/copy", copies(world)));
    let tools = image_of("tools");
    let arguments = [
        "run",
        "--rm",
        "--user",
        "0",
        "--network",
        "none",
        "--volume",
        &volume,
        "--volume",
        &copy,
        &tools,
        "sh",
        "-c",
        script,
    ];
    Run::docker(arguments).ok().await.expect("the script is run");
}

fn copies(world: &World) -> String {
    format!("{}_copies", world.stack.project)
}

async fn inspect(operator: &mut Operator, id: &PluginId) -> Value {
    operator.ask_about(Operation::Inspect, id).await.data().clone()
}

/// What must be the same before and after, as the operator is told it.
fn identity(inspected: &Value) -> Value {
    let of = ["generation", "uid", "manifest", "installed_at", "source", "grants"];
    of.into_iter()
        .map(|name| (name.to_owned(), inspected[name].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// A spec as it is retained.
async fn spec(world: &World, id: &PluginId) -> Value {
    let found = retained(&world.stack, &[coordinator::spec(id)]).await;
    found.first().map(|message| payload(message)["payload"].clone()).unwrap_or_default()
}

/// It answers a control message.
async fn answers(world: &World, id: &PluginId) {
    let client = world.stack.operator_client(Version::V5).await.expect("connects");
    let mut watch = Listener::on(client, [plugin::status(id)]).await;
    let ping = plugin::control_command(id, "ping");
    watch.client().publish(&ping, "{}", 1, false).await.expect("published");
    watch.wait("pong", PATIENCE, |m| payload(m)["payload"]["answer"] == "pong").await;
}

async fn a_plugin_coordinator_without_its_data_takes_over_what_runs(world: Shared) {
    let (hello, _held) = world.hello_id().await;
    let source = world.hello().await.to_owned();
    let mut operator = world.operator().await;
    let config = json!({"greeting": "Still here"});
    let request = json!({"plugin_id": hello, "source": source, "config": config});
    operator.ask(Operation::Install, request).await.data();
    operator.ask_about(Operation::Start, &hello).await.data();
    // A manifest nearly as large as any, which came with the request, and a plugin that does not run.
    let (large, stopped) = (id("adopt-large"), id("adopt-stopped"));
    let other = Script::healthy("adopt").push(&world.stack).await.expect("builds");
    let mut manifest = minimal(&large);
    // A key that is not known is a warning, and stays in the document.
    manifest["notes"] = "x".repeat(200 * 1024).into();
    let requests = [(&large, manifest), (&stopped, minimal(&stopped))];
    for (id, manifest) in &requests {
        let request = json!({"plugin_id": id, "source": other, "manifest": manifest});
        operator.ask(Operation::Install, request).await.data();
    }
    operator.ask_about(Operation::Start, &large).await.data();
    let mut before = Vec::new();
    for id in [&hello, &large] {
        let told = inspect(&mut operator, id).await;
        before.push((sameness(&world.running(id).await), identity(&told), spec(&world, id).await));
    }

    stop_and_empty(&world, "plugin-coordinator", "plugin-data").await;
    start(&world, "plugin-coordinator").await;
    eventually(PATIENCE, || async {
        let told = retained(&world.stack, &[coordinator::health(Coordinator::Plugin)]).await;
        let said = told.first().map(|m| payload(m)["payload"].to_string()).unwrap_or_default();
        if said.contains("adopt-stopped") && said.contains("install") { Ok(()) } else { Err(said) }
    })
    .await;
    for (id, before) in [&hello, &large].into_iter().zip(before) {
        // It is running for the new registry when it has been heard.
        let end = tokio::time::Instant::now() + PATIENCE;
        let mut told = inspect(&mut operator, id).await;
        while told["state"]["phase"] == "starting" && tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_secs(1)).await;
            told = inspect(&mut operator, id).await;
        }
        assert_eq!(told["state"]["phase"], "running", "{:#}", told["state"]);
        let after = (sameness(&world.running(id).await), identity(&told), spec(&world, id).await);
        assert_eq!(after, before, "{id}");
    }
    assert_eq!(connects(&world).await, 1, "the plugin lost its connection");

    // What is left of the stopped one is its spec, which stays until it is installed again.
    assert_eq!(spec(&world, &stopped).await["presence"], "present");
    let request = json!({"plugin_id": stopped, "source": other, "manifest": minimal(&stopped)});
    operator.ask(Operation::Install, request).await.data();
    world.stack.healthy().await;

    // As any other plugin from then on, with the configuration that it had.
    operator.ask_about(Operation::Stop, &hello).await.data();
    operator.ask_about(Operation::Start, &hello).await.data();
    let container = world.running(&hello).await;
    let name = container["Id"].as_str().unwrap_or_default();
    let archive = Run::docker(["cp", &format!("{name}:/config/plugin.json"), "-"]).ok().await;
    assert!(archive.expect("it is there").contains("Still here"));
    world.remove(&mut operator, &hello, &source).await;
    for id in [&large, &stopped] {
        operator.ask(Operation::Remove, json!({"plugin_id": id, "remove_volumes": true})).await.data();
        assert!(!world.has_container(id).await);
    }
}

async fn a_message_coordinator_without_its_data_keeps_the_logins_of_what_runs(world: Shared) {
    let (id, _held) = world.hello_id().await;
    let source = world.hello().await.to_owned();
    let mut operator = world.operator().await;
    world.install_and_start(&mut operator, &id, &source).await;
    let before = world.running(&id).await;

    stop_and_empty(&world, "message-coordinator", "message-data").await;
    start(&world, "message-coordinator").await;
    world.stack.healthy().await;
    answers(&world, &id).await;
    let topic = plugin::status(&id);
    let asked = json!({"plugin_id": id, "access": "publish", "topic": topic});
    assert_eq!(operator.ask(Operation::Explain, asked).await.data()["allowed"], true);
    assert_eq!(sameness(&world.running(&id).await), sameness(&before));
    assert_eq!(connects(&world).await, 1, "the plugin lost its connection");

    // Its login is known again: a stop takes it away, a start makes another.
    operator.ask_about(Operation::Stop, &id).await.data();
    let (user, password) = login(&before);
    eventually(PATIENCE, || async {
        match world.stack.client(Version::V5).login(&user, &password).connect().await {
            Ok(_) => Err("the old login still opens the broker".to_owned()),
            Err(_) => Ok(()),
        }
    })
    .await;
    operator.ask_about(Operation::Start, &id).await.data();
    answers(&world, &id).await;
    world.remove(&mut operator, &id, &source).await;
}

async fn a_security_coordinator_without_its_data_gives_new_tokens_to_what_runs(world: Shared) {
    let (id, _held) = world.hello_id().await;
    let source = world.hello().await.to_owned();
    let mut operator = world.operator().await;
    world.install_and_start(&mut operator, &id, &source).await;
    let (before, old) = (world.running(&id).await, token(&world, &id).await);

    stop_and_empty(&world, "security-coordinator", "security-data").await;
    start(&world, "security-coordinator").await;
    world.stack.healthy().await;
    let asked = operator.ask(Operation::Introspect, json!({"token": old})).await;
    assert_eq!(
        asked.data()["active"],
        false,
        "nobody has the key of the old token any more: {:#}",
        asked.answer
    );
    eventually(TOKENS, || async {
        let new = token(&world, &id).await;
        if new == old { Err("the token is the old one".to_owned()) } else { Ok(()) }
    })
    .await;
    let asked = operator.ask_about(Operation::Introspect, &id).await;
    assert_eq!(asked.data()["active"], true, "{:#}", asked.answer);
    assert_eq!(asked.data()["claims"]["scope"], "system:read");
    let client = world.stack.operator_client(Version::V5).await.expect("connects");
    let mut watch = Listener::on(client, [plugin::health(&id)]).await;
    let valid = |message: &testkit::Message| {
        let details = &payload(message)["payload"]["details"];
        details["token"].as_str().is_some_and(|token| token.starts_with("valid until"))
    };
    watch.wait("the plugin's own verdict on its new token", PATIENCE, valid).await;
    assert_eq!(sameness(&world.running(&id).await), sameness(&before));
    assert_eq!(connects(&world).await, 1, "the plugin lost its connection");
    world.remove(&mut operator, &id, &source).await;
}

async fn a_broker_without_its_data_is_provisioned_again(world: Shared) {
    let (hello, _held) = world.hello_id().await;
    let source = world.hello().await.to_owned();
    let mut operator = world.operator().await;
    world.install_and_start(&mut operator, &hello, &source).await;
    let stopped = id("adopt-stopped");
    let other = Script::healthy("adopt").push(&world.stack).await.expect("builds");
    let request = json!({"plugin_id": stopped, "source": other, "manifest": minimal(&stopped)});
    operator.ask(Operation::Install, request).await.data();
    let topics = [
        coordinator::specs(),
        coordinator::states(),
        coordinator::acls(),
        coordinator::jwks(),
        format!("bigskies/coordinator/security/plugin/{hello}/token"),
    ];
    let told = |messages: Vec<testkit::Message>| {
        let mut topics: Vec<String> = messages.into_iter().map(|message| message.topic).collect();
        topics.sort();
        topics
    };
    let readable = &topics[..4];
    let (before, kept) = (world.running(&hello).await, told(retained(&world.stack, readable).await));

    stop_and_empty(&world, "mqtt-broker", "broker-data").await;
    start(&world, "mqtt-broker").await;
    world.stack.healthy().await;
    eventually(PATIENCE, || async {
        let now = told(retained(&world.stack, readable).await);
        if now == kept { Ok(()) } else { Err(format!("retained: {now:?}, not {kept:?}")) }
    })
    .await;
    let (user, password) = login(&before);
    eventually(PATIENCE, || async {
        world
            .stack
            .client(Version::V5)
            .login(&user, &password)
            .connect()
            .await
            .map(drop)
            .map_err(|e| e.to_string())
    })
    .await;
    // The login that the plugin has opens the broker again, and it hears what it is told.
    answers(&world, &hello).await;
    assert_eq!(sameness(&world.running(&hello).await), sameness(&before));
    let mut operator = world.operator().await;
    operator.ask_about(Operation::Start, &stopped).await.data();
    operator.ask(Operation::Remove, json!({"plugin_id": stopped, "remove_volumes": true})).await.data();
    world.remove(&mut operator, &hello, &source).await;
}

async fn a_registry_that_is_put_back_has_again_what_was_removed_since(world: Shared) {
    let id = id("adopt-put-back");
    let mut operator = world.operator().await;
    let image = Script::healthy("adopt-put-back").push(&world.stack).await.expect("builds");
    let request = json!({"plugin_id": id, "source": image, "manifest": minimal(&id)});
    operator.ask(Operation::Install, request).await.data();
    let uid = inspect(&mut operator, &id).await["uid"].clone();
    stop(&world, "plugin-coordinator").await;
    with_volumes(&world, "plugin-data", "busybox cp -a /volume/. /copy").await;
    start(&world, "plugin-coordinator").await;
    world.stack.healthy().await;
    operator.ask(Operation::Remove, json!({"plugin_id": id, "remove_volumes": true})).await.data();

    // The message coordinator is away, so it hears from the broker what is said meanwhile.
    for service in ["plugin-coordinator", "message-coordinator"] {
        stop(&world, service).await;
    }
    let put_back = format!("{EMPTY} && busybox cp -a /copy/. /volume");
    with_volumes(&world, "plugin-data", &put_back).await;
    start(&world, "plugin-coordinator").await;
    eventually(PATIENCE, || async {
        let told = spec(&world, &id).await;
        if told["uid"] == uid { Ok(()) } else { Err(told) }
    })
    .await;
    start(&world, "message-coordinator").await;
    world.stack.healthy().await;
    eventually(PATIENCE, || async {
        let found = retained(&world.stack, &[coordinator::acl(&id)]).await;
        let told = found.first().map(|message| payload(message)["payload"].clone()).unwrap_or_default();
        let is_there = told["uid"] == uid && told["outcome"]["result"] == "applied";
        if is_there { Ok(()) } else { Err(told) }
    })
    .await;
    // Its image went with it, and an update has it again.
    let mut operator = world.operator().await;
    let refused = operator.ask_about(Operation::Start, &id).await;
    let message = refused.error(ErrorCode::StartFailed)["message"].to_string();
    assert!(message.contains("bigskies plugin update"), "{message}");
    let request = json!({"plugin_id": id, "source": image, "manifest": minimal(&id)});
    operator.ask(Operation::Update, request).await.data();
    operator.ask_about(Operation::Start, &id).await.data();
    world.running(&id).await;
    operator.ask(Operation::Remove, json!({"plugin_id": id, "remove_volumes": true})).await.data();
    Run::docker(["volume", "rm", &copies(&world)]).ok().await.expect("it is removed");
}
