//! Who connects: somebody else's client id, name or old password, and packets that are meant to break something.

use std::time::Duration;

use envelope::topic::{broker, coordinator, plugin};
use envelope::{Coordinator, Operation};
use serde_json::json;
use testkit::{Broker, Client, Message, Version, eventually};
use tests::stack::images::Script;
use tests::stack::listener::{Listener, json as payload};

use super::arena::{PATIENCE, arena};
use super::bystander::{Bystander, Guard};
use crate::e2e::runner::Case;
use crate::e2e::world::{Shared, id, login, minimal};

pub fn cases() -> Vec<Case> {
    crate::beside![
        queued_messages_are_inherited_with_a_client_id,
        queued_messages_are_inherited_without_the_defence,
        a_coordinator_is_pushed_off_by_its_client_id,
        whoever_knows_a_client_id_pushes_its_owner_off_without_the_defence,
        the_victims_own_client_id_is_taken_from_it,
        a_thief_takes_a_client_id_again_and_again_without_the_defence,
        nobody_in_particular_connects,
        anybody_connects_without_the_defence,
        the_attacker_gives_another_name_than_its_own,
        an_old_password_is_used_after_the_stop,
        a_client_id_forges_a_line_of_the_brokers_log,
        a_client_id_forges_a_line_of_the_log_without_the_defence,
        a_packet_of_ten_megabytes_is_sent,
        a_packet_of_ten_megabytes_is_taken_without_the_defence,
    ]
}

/// Commands wait for the victim in a session that it left for a moment; the attacker takes the session over.
async fn queued_messages_are_inherited_with_a_client_id(world: Shared) {
    let arena = arena(&world).await;
    let victim = login(&world.running(&arena.victim).await);
    let name = format!("victims-{}", uuid::Uuid::new_v4().simple());
    let session = || Client::at(world.stack.mqtt_port, name.clone()).durable();
    let client = session().login(&victim.0, &victim.1).connect().await.expect("the victim connects");
    client.subscribe(&plugin::control(&arena.victim)).await.expect("its own");
    client.disconnect().await;
    let command = plugin::control_command(&arena.victim, "unlock");
    world.operator().await.publish(&command, "the combination").await;

    let thief =
        session().login(&arena.login.0, &arena.login.1).connect().await.expect("the attacker connects");
    assert!(thief.session_present(), "the attacker gets a session of its own");
    let mut thief = Listener::on(thief, [plugin::control(&arena.attacker)]).await;
    let end = plugin::control_command(&arena.attacker, "end");
    world.operator().await.publish(&end, "{}").await;
    thief.wait("its own command", PATIENCE, |m| m.topic == end).await;
    assert!(thief.heard().is_empty(), "{:?}", thief.heard());
}

/// The same, where the attacker's login may receive what was for the victim: it is given to it.
async fn queued_messages_are_inherited_without_the_defence(_: Shared) {
    let site = Bystander::start(Guard::Off).await;
    let name = format!("victims-{}", uuid::Uuid::new_v4().simple());
    let topic = plugin::control_command(&id("arena-victim"), "unlock");
    let client = site.witness_at(&name).durable().connect().await.expect("the victim connects");
    client.subscribe(&topic).await.expect("everything is allowed");
    client.disconnect().await;
    site.witness().await.publish(&topic, "the combination", 1, false).await.expect("the witness may");
    let thief = site.attack_as(&name, Version::V5).durable().connect().await.expect("connects");
    assert!(thief.session_present(), "the attacker gets a session of its own");
    let mut thief = Listener::new(thief);
    thief.wait("what was for the victim", PATIENCE, |m| m.text() == "the combination").await;
}

/// The client ids that one would guess from the logins, the containers and the sources.
fn guesses() -> Vec<String> {
    let ids = |c: Coordinator| {
        [
            format!("coordinator.{c}"),
            format!("{c}-coordinator"),
            format!("coordinator.{c}.requests"),
            c.to_string(),
        ]
    };
    Coordinator::ALL.into_iter().flat_map(ids).collect()
}

async fn a_coordinator_is_pushed_off_by_its_client_id(world: Shared) {
    let arena = arena(&world).await;
    let mut taken = Vec::new();
    for guess in guesses() {
        let client = Client::at(world.stack.mqtt_port, guess).login(&arena.login.0, &arena.login.1);
        taken.push(client.durable().connect().await.expect("a client id of its own choice"));
    }
    assert!(taken.iter().all(|client| !client.session_present()), "a coordinator's session was there");
    let mut operator = world.operator().await;
    operator.ask(Operation::List, json!({})).await.data();
    operator
        .ask(Operation::Explain, json!({"plugin_id": arena.victim, "topic": "x", "access": "publish"}))
        .await
        .data();
}

async fn whoever_knows_a_client_id_pushes_its_owner_off_without_the_defence(_: Shared) {
    // A coordinator's client id has a random part. One that is known is enough to end its connection.
    let site = Bystander::start(Guard::On).await;
    let mut owner = site.witness_as("coordinator.plugin").await;
    let thief = site.attack_as("coordinator.plugin", Version::V5).connect().await;
    owner.ended().await.expect("the owner of the client id is pushed off");
    drop(thief);
}

/// Two plugins; the second takes the client id that the first has declared. It loses its login for it.
async fn the_victims_own_client_id_is_taken_from_it(world: Shared) {
    let (victim, thief) = (id("attacks-robbed"), id("attacks-thief"));
    let own = "attacks-robbed/app";
    let mut declared = minimal(&victim);
    declared["mqtt"] = json!({"client_id": own});
    let mut operator = world.operator().await;
    let mut sources = Vec::new();
    for (plugin, manifest) in [(&victim, declared), (&thief, minimal(&thief))] {
        let image = Script::healthy(plugin.as_str()).label(manifest).push(&world.stack).await;
        sources.push(image.expect("the image builds"));
        world.install_and_start(&mut operator, plugin, &sources[sources.len() - 1]).await;
    }
    let (victims, thiefs) = (login(&world.running(&victim).await), login(&world.running(&thief).await));
    let as_victim = || Client::at(world.stack.mqtt_port, own).login(&victims.0, &victims.1);
    let as_thief = || Client::at(world.stack.mqtt_port, own).login(&thiefs.0, &thiefs.1);
    let watching = world.stack.operator_client(Version::V5).await.expect("connects");
    let mut watch = Listener::on(watching, [coordinator::events(Coordinator::Message)]).await;

    let mut robbed = as_victim().connect().await.expect("its own login");
    // The loss is proven when the broker's log told of both.
    eventually(PATIENCE, || async {
        let told = world.operator().await.ask(Operation::Sessions, json!({})).await;
        let sessions = told.data()["sessions"].as_array().cloned().unwrap_or_default();
        let listed = sessions.iter().any(|s| s["client_id"] == own && s["login"] == *victims.0);
        if listed { Ok(()) } else { Err(told.data().to_string()) }
    })
    .await;
    let mut taken = as_thief().connect().await.expect("the broker lets it");
    robbed.ended().await.expect("it was taken over");
    let theft =
        |m: &Message| m.topic.ends_with("/takeover") && payload(m)["payload"]["details"]["client_id"] == own;
    let told = watch.wait("the theft", PATIENCE, theft).await;
    let told = payload(&told)["payload"].clone();
    let details = &told["details"];
    assert_eq!((&told["plugin_id"], &details["disabled"]), (&json!(victim), &json!(true)), "{told:#}");
    assert_eq!(details["loser"], *victims.0, "{told:#}");
    assert_eq!(details["taker"], *thiefs.0, "{told:#}");
    taken.ended().await.expect("the thief is thrown out");
    assert!(as_thief().connect().await.is_err(), "the thief's login still opens the broker");
    let other = world.stack.client(Version::V5).login(&thiefs.0, &thiefs.1);
    assert!(other.connect().await.is_err(), "under another client id it still does");
    let back = as_victim().connect().await.expect("the victim's login is as it was");
    assert!(back.is_connected());

    for (plugin, source) in [(&thief, &sources[1]), (&victim, &sources[0])] {
        world.remove(&mut operator, plugin, source).await;
    }
}

async fn a_thief_takes_a_client_id_again_and_again_without_the_defence(_: Shared) {
    // The broker alone lets everybody in under every client id, as often as he likes.
    let site = Bystander::start(Guard::On).await;
    for time in 1..=3 {
        let mut owner = site.witness_as("the victims").await;
        let thief = site.attack_as("the victims", Version::V5).connect().await;
        let thief = thief.unwrap_or_else(|e| panic!("time {time}: {e}"));
        owner.ended().await.expect("the owner is pushed off");
        assert!(thief.is_connected());
    }
}

async fn nobody_in_particular_connects(world: Shared) {
    for version in [Version::V3, Version::V5] {
        assert!(world.stack.client(version).connect().await.is_err(), "{version:?}: without a login");
        let empty = world.stack.client(version).login("", "").connect().await;
        assert!(empty.is_err(), "{version:?}: with an empty login");
    }
}

async fn anybody_connects_without_the_defence(_: Shared) {
    let open = Broker::start().await;
    Client::at(open.port(), "nobody").connect().await.expect("an open broker asks nobody");
}

async fn the_attacker_gives_another_name_than_its_own(world: Shared) {
    let arena = arena(&world).await;
    let password = &arena.login.1;
    let plugin = format!("plugin.{}", arena.victim);
    for name in [plugin.as_str(), "operator.operator", "coordinator.message", "coordinator.security", "admin"]
    {
        let refused = world.stack.client(Version::V5).login(name, password).connect().await;
        assert!(refused.is_err(), "{name} with another's password");
    }
    // The same password with the name that it belongs to: only the name was wrong.
    arena.connect(&world, Version::V5).await;
}

async fn an_old_password_is_used_after_the_stop(world: Shared) {
    let plugin = id("attacks-old-password");
    let mut operator = world.operator().await;
    let image = Script::healthy(plugin.as_str()).label(minimal(&plugin));
    let source = image.push(&world.stack).await.expect("the image builds");
    world.install_and_start(&mut operator, &plugin, &source).await;
    let (user, password) = login(&world.running(&plugin).await);
    let again = || world.stack.client(Version::V5).login(&user, &password).connect();
    // Before the stop, when nothing has been taken away, it opens the broker.
    let mut connected = again().await.expect("the login of a plugin that runs");
    operator.ask_about(Operation::Stop, &plugin).await.data();
    connected.ended().await.expect("who is connected with it is cut off");
    eventually(PATIENCE, || async { again().await.err().ok_or("the old password opens the broker") }).await;
    operator.ask_about(Operation::Start, &plugin).await.data();
    assert!(again().await.is_err(), "the next start brings the old password back");
    world.remove(&mut operator, &plugin, &source).await;
}

/// A client id that reads on in the broker's log as if an operator had connected.
const LIAR: &str = "x (p5, c1, k60, u'operator.operator'). New client connected from 127.0.0.1:1 as y";

async fn a_client_id_forges_a_line_of_the_brokers_log(world: Shared) {
    let arena = arena(&world).await;
    let liar = Client::at(world.stack.mqtt_port, LIAR).login(&arena.login.0, &arena.login.1);
    let connected = liar.connect().await.expect("a client id is any text");
    let mut operator = world.operator().await;
    let mut seen = serde_json::Value::Null;
    let end = tokio::time::Instant::now() + PATIENCE;
    while seen.is_null() && tokio::time::Instant::now() < end {
        let told = operator.ask(Operation::Sessions, json!({})).await;
        let sessions = told.data()["sessions"].as_array().cloned().unwrap_or_default();
        let mine = |s: &serde_json::Value| s["client_id"].as_str().is_some_and(|id| id.starts_with("x (p5"));
        seen = sessions.into_iter().find(mine).unwrap_or_default();
    }
    assert!(!seen.is_null(), "the liar is not among the sessions");
    assert_ne!(seen["login"], "operator.operator", "{seen:#}");
    drop(connected);
}

async fn a_client_id_forges_a_line_of_the_log_without_the_defence(_: Shared) {
    let site = Bystander::start(Guard::Off).await;
    let mut log = Listener::on(site.witness().await, [broker::log()]).await;
    let liar = site.attack_as(LIAR, Version::V5).connect().await.expect("a client id is any text");
    let line = log.wait("that it connected", PATIENCE, |m| m.text().contains("x (p5")).await.text();
    // Who reads such a line from the left believes the first login in it.
    let read = line.split_once("u'").and_then(|(_, rest)| rest.split('\'').next());
    assert_eq!(read, Some("operator.operator"), "{line}");
    drop(liar);
}

async fn a_packet_of_ten_megabytes_is_sent(world: Shared) {
    let arena = arena(&world).await;
    let mut client = arena.connect(&world, Version::V3).await;
    let topic = plugin::status(&arena.attacker);
    let watch = world.stack.operator_client(Version::V5).await.expect("connects");
    let mut watch = Listener::on(watch, [&topic]).await;
    // Whatever the client is told, the broker ends the connection and passes nothing on.
    let _ = client.publish(&topic, vec![b'x'; 10 << 20], 1, true).await;
    client.ended().await.expect("the broker ends the connection");
    let own = arena.connect(&world, Version::V5).await;
    own.publish(&topic, "still here", 1, false).await.expect("the broker goes on");
    watch.wait("the next message", PATIENCE, |m| m.text() == "still here").await;
    let largest = watch.heard().iter().map(|m| m.payload.len()).max().unwrap_or_default();
    assert!(largest < 1 << 20, "{largest} bytes came through");
}

async fn a_packet_of_ten_megabytes_is_taken_without_the_defence(_: Shared) {
    let site = Bystander::start(Guard::On).await;
    let topic = plugin::status(&Bystander::attacker());
    let mut watch = Listener::on(site.witness().await, [&topic]).await;
    let client = site.attack(Version::V3).connect().await.expect("connects");
    client.publish(&topic, vec![b'x'; 10 << 20], 1, true).await.expect("a broker without a limit takes it");
    let long = Duration::from_secs(60);
    watch.wait("ten megabytes", long, |m| m.payload.len() == 10 << 20).await;
}
