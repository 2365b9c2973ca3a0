//! Text of an attacker that comes to the operator's terminal: what `bigskies` prints of it.

use std::collections::BTreeMap;
use std::time::Duration;

use envelope::payload::event::{Event, EventKind};
use envelope::topic::{self, coordinator};
use envelope::{Coordinator, Envelope, MessageType, PluginId};
use serde_json::json;
use testkit::{Broker, Client, Version, eventually};
use tests::stack::command::Output;
use tests::stack::images::Script;
use tests::stack::listener::{Listener, json as payload};

use super::arena::PATIENCE;
use crate::e2e::runner::Case;
use crate::e2e::world::{Shared, World, id, minimal};

pub fn cases() -> Vec<Case> {
    crate::beside![
        health_clears_the_operators_screen,
        an_event_clears_the_operators_screen,
        a_coordinator_in_wrong_hands_clears_the_operators_screen,
    ]
}

/// Clears the screen in two spellings, names the window, rings, and turns the direction of reading.
const HOSTILE: &str = "\u{1b}[2J\u{9b}2J\u{1b}]0;owned\u{7}\u{202e}all-is-well";
/// The part of it that is text.
const TEXT: &str = "all-is-well";

/// What the command line prints, at the broker of this port.
async fn printed(world: &World, port: u16, login: &(String, String), arguments: &[&str]) -> Output {
    let environment = BTreeMap::from([
        ("MQTT_HOST".to_owned(), "127.0.0.1".to_owned()),
        ("MQTT_PORT".to_owned(), port.to_string()),
        ("MQTT_USERNAME".to_owned(), login.0.clone()),
        ("MQTT_PASSWORD".to_owned(), login.1.clone()),
    ]);
    world.stack.command_line(arguments.iter().copied()).env(&environment).output().await.expect("it runs")
}

/// The events of ten seconds, for people and for programs, while `tell` goes on.
async fn shown(
    world: &World,
    port: u16,
    login: (String, String),
    tell: impl Future<Output = ()>,
) -> [Output; 2] {
    let both = async {
        tokio::join!(
            printed(world, port, &login, &["events", "--timeout", "10s"]),
            printed(world, port, &login, &["--json", "events", "--timeout", "10s"])
        )
    };
    tokio::select! {
        (people, programs) = both => [people, programs],
        () = tell => unreachable!("it goes on"),
    }
}

fn assert_harmless(shown: &[Output], for_people: bool) {
    for Output { text, .. } in shown {
        assert!(text.contains(TEXT), "it was not shown: {text:?}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        assert!(!for_people || !text.contains('\u{202e}'), "it would read backwards: {text:?}");
    }
}

/// A plugin that runs, a client with its login, and the source of its image.
async fn started(world: &World, name: &str) -> (PluginId, Client, String) {
    let plugin = id(name);
    let source = Script::healthy(name).label(minimal(&plugin)).push(&world.stack).await;
    let source = source.expect("the image builds");
    world.install_and_start(&mut world.operator().await, &plugin, &source).await;
    let client = world.plugin_client(&plugin, Version::V5).await;
    (plugin, client, source)
}

/// What the plugin says in its health. As it says it, it would clear the screen of whoever prints it.
fn hostile_health(plugin: &PluginId) -> Vec<u8> {
    let health = json!({"component": "x", "status": "degraded", "message": HOSTILE, "details": {}});
    let said = Envelope::new(MessageType::Status, format!("plugin:{plugin}"), health).encode();
    let text = String::from_utf8_lossy(&said);
    assert!(text.contains('\u{9b}') && text.contains("\\u001b"), "{text:?}");
    said
}

async fn health_clears_the_operators_screen(world: Shared) {
    let (plugin, client, source) = started(&world, "attacks-health-control").await;
    let (said, operator) = (hostile_health(&plugin), world.stack.operator());
    // Its program says in between that it is well.
    let show = |arguments: &'static [&'static str]| {
        eventually(PATIENCE, || async {
            client.publish(&topic::plugin::health(&plugin), said.clone(), 1, false).await.expect("its own");
            let output = printed(&world, world.stack.mqtt_port, &operator, arguments).await;
            if output.text.contains(TEXT) { Ok(output) } else { Err(output.text) }
        })
    };
    let people = show(&["plugin", "inspect", "attacks-health-control"]).await;
    assert_harmless(&[people], true);
    let programs = show(&["--json", "plugin", "list"]).await;
    assert_harmless(&[programs], false);
    world.remove(&mut world.operator().await, &plugin, &source).await;
}

/// The plugin coordinator makes an event of what the plugin says.
async fn an_event_clears_the_operators_screen(world: Shared) {
    let (plugin, client, source) = started(&world, "attacks-event-control").await;
    let said = hostile_health(&plugin);
    let watching = world.stack.operator_client(Version::V5).await.expect("connects");
    let mut watch = Listener::on(watching, [coordinator::events(Coordinator::Plugin)]).await;
    // Its program says in between that it is well: each time it is news again.
    let tell = async {
        loop {
            client.publish(&topic::plugin::health(&plugin), said.clone(), 1, false).await.expect("its own");
            watch.find(Duration::from_millis(500), |m| m.text().contains(TEXT)).await;
        }
    };
    let [people, programs] = shown(&world, world.stack.mqtt_port, world.stack.operator(), tell).await;
    assert_harmless(&[people], true);
    assert_harmless(&[programs], false);
    world.remove(&mut world.operator().await, &plugin, &source).await;
}

/// Events as a coordinator would send them that lets everything through: the command line trusts none.
async fn a_coordinator_in_wrong_hands_clears_the_operators_screen(world: Shared) {
    let broker = Broker::open().start().await;
    let liar = Client::at(broker.port(), "a coordinator").connect().await.expect("an open broker");
    let topic = coordinator::event(Coordinator::Message, EventKind::Session.as_str());
    let watching = Client::at(broker.port(), "whoever prints what comes").connect().await.expect("the same");
    let mut watch = Listener::on(watching, [&topic]).await;
    let event = Event {
        event: EventKind::Session,
        plugin_id: None,
        operation_id: None,
        message: format!("The plugin connected, with the client id {HOSTILE}."),
        cause: HOSTILE.to_owned(),
        details: json!({"client_id": HOSTILE}),
    };
    let event = Envelope::new(MessageType::Event, HOSTILE, event).encode();
    let mut came = String::new();
    let tell = async {
        loop {
            liar.publish(&topic, event.clone(), 1, false).await.expect("everybody may");
            if let Some(message) = watch.find(Duration::from_millis(500), |_| true).await {
                came = payload(&message)["payload"]["message"].as_str().unwrap_or_default().to_owned();
            }
        }
    };
    let nobody = ("operator.operator".to_owned(), "any".to_owned());
    let [people, programs] = shown(&world, broker.port(), nobody, tell).await;
    assert_harmless(&[people], true);
    assert_harmless(&[programs], false);
    // Whoever prints what came clears the screen.
    assert!(came.contains(HOSTILE), "{came:?}");
}
