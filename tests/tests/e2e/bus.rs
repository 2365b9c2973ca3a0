//! The bus watches itself: what plugins can reach is tried out, and who is connected is told.

use std::time::Duration;

use acl::dynsec::{Command, DefaultAccess, encode};
use envelope::principal::coordinator_login;
use envelope::topic::{broker, coordinator};
use envelope::{Coordinator, Operation};
use serde_json::{Value, json};
use testkit::{Client, Version, eventually};
use tests::stack::images::Script;
use tests::stack::listener::{Listener, json as payload};

use super::runner::Case;
use super::world::{Shared, World, id, login, minimal};

const PATIENCE: Duration = Duration::from_secs(30);

pub fn cases() -> Vec<Case> {
    let mut cases = crate::beside![a_plugins_connection_is_told_with_its_login_while_it_lasts];
    cases.extend(crate::alone![a_broker_that_was_loosened_by_hand_is_found_out_and_put_right]);
    cases
}

async fn a_plugins_connection_is_told_with_its_login_while_it_lasts(world: Shared) {
    let id = id("is-connected");
    let source = Script::healthy(id.as_str()).label(minimal(&id)).push(&world.stack).await.expect("builds");
    let mut operator = world.operator().await;
    world.install_and_start(&mut operator, &id, &source).await;
    let (user, password) = login(&world.running(&id).await);
    let name = format!("connected-{}", uuid::Uuid::new_v4().simple());
    let client = Client::at(world.stack.mqtt_port, name.clone()).login(user.clone(), password);
    let client = client.connect().await.expect("its login");
    let found = eventually(PATIENCE, || async {
        session(&world, &name).await.ok_or_else(|| format!("no session of {name}"))
    })
    .await;
    assert_eq!(found["login"], user, "{found:#}");
    for part in ["address", "since"] {
        assert!(found[part].is_string(), "{part} is unknown: {found:#}");
    }
    client.disconnect().await;
    eventually(PATIENCE, || async {
        match session(&world, &name).await {
            Some(session) => Err(format!("{session:#}")),
            None => Ok(()),
        }
    })
    .await;
    world.remove(&mut operator, &id, &source).await;
}

/// The session of a client id, if it is told.
async fn session(world: &World, name: &str) -> Option<Value> {
    let told = world.operator().await.ask(Operation::Sessions, json!({})).await;
    let sessions = told.data()["sessions"].as_array().cloned().unwrap_or_default();
    sessions.into_iter().find(|session| session["client_id"] == name)
}

/// Who has the message coordinator's login, which administers the broker.
async fn root(world: &World) -> Client {
    let file = world.stack.file_of("message-coordinator", "/secrets/password").await.expect("it is there");
    let file = String::from_utf8(file).expect("a login is text");
    let usual = coordinator_login(Coordinator::Message);
    let (user, password) = file.trim().split_once('\n').unwrap_or((&usual, file.trim()));
    let client = world.stack.client(Version::V5).login(user, password).connect().await;
    client.expect("the coordinator's login")
}

async fn a_broker_that_was_loosened_by_hand_is_found_out_and_put_right(world: Shared) {
    let mut operator = world.operator().await;
    let proof = operator.ask(Operation::Proof, json!({})).await;
    let clean = |proof: &Value| proof["leaks"] == json!([]) && proof["blocked"] == json!([]);
    assert!(clean(proof.data()), "{:#}", proof.answer);
    assert!(proof.data()["refused"].as_u64() > Some(100), "{:#}", proof.answer);
    assert!(proof.data()["allowed"].as_u64() > Some(10), "{:#}", proof.answer);

    let client = world.stack.operator_client(Version::V5).await.expect("connects");
    let health = coordinator::health(Coordinator::Message);
    let mut watch = Listener::on(client, [&health]).await;
    let open = DefaultAccess {
        publish_client_send: true,
        subscribe: true,
        publish_client_receive: true,
        ..DefaultAccess::DENY
    };
    let loosen = encode("by-hand", &[Command::SetDefaultAccess(open)]);
    root(&world).await.publish(broker::control(), loosen, 1, false).await.expect("it may");
    let proof = operator.ask(Operation::Proof, json!({})).await;
    let leaks = proof.data()["leaks"].as_array().cloned().unwrap_or_default();
    assert!(!leaks.is_empty(), "{:#}", proof.answer);
    let topic = leaks[0]["topic"].as_str().expect("each leak names its topic").to_owned();
    let unhealthy = |m: &testkit::Message| {
        let said = payload(m);
        said["payload"]["status"] == "unhealthy" && said.to_string().contains(&topic)
    };
    watch.wait("that the coordinator is unhealthy, and why", PATIENCE, unhealthy).await;

    // What was found is put right without being asked, and known to be right when it was tried again.
    eventually(PATIENCE, || async {
        let proof = world.operator().await.ask(Operation::Proof, json!({})).await;
        if clean(proof.data()) { Ok(()) } else { Err(format!("{:#}", proof.answer)) }
    })
    .await;
    world.stack.healthy().await;
}
