//! Coordinators and the broker come and go while a plugin runs: it is not touched, and everything catches up.

use std::time::Duration;

use envelope::topic::{coordinator, plugin};
use envelope::{Coordinator, Envelope, MessageType, Operation};
use serde_json::json;
use testkit::{Version, eventually};
use tests::stack::COORDINATORS;
use tests::stack::command::Run;
use tests::stack::listener::{Listener, json as payload};
use tests::stack::operator::{Operator, request, retained};

use super::runner::Case;
use super::world::{Shared, World, login, sameness};

const PATIENCE: Duration = Duration::from_secs(60);
/// How long a coordinator is away.
const AWAY: Duration = Duration::from_secs(10);

pub fn cases() -> Vec<Case> {
    crate::alone![
        a_coordinator_that_is_away_for_a_while_touches_no_plugin_and_catches_up,
        a_stop_succeeds_without_the_other_coordinators_and_what_is_owed_is_done_later,
        coordinators_start_in_any_order_with_the_broker_last,
    ]
}

pub(super) async fn stop(world: &World, service: &str) {
    Run::docker(["stop", "--time", "30", &world.stack.container(service)]).ok().await.expect("it stops");
}

pub(super) async fn start(world: &World, service: &str) {
    Run::docker(["start", &world.stack.container(service)]).ok().await.expect("it starts");
}

/// How often the sample plugin has connected, from its next health message.
pub(super) async fn connects(world: &World) -> u64 {
    let client = world.stack.operator_client(Version::V5).await.expect("connects");
    let topic = plugin::health(&super::world::id("hello-rust"));
    let mut watch = Listener::on(client, [&topic]).await;
    let health = payload(&watch.wait("health of the plugin", PATIENCE, |m| m.topic == topic).await);
    let connects = &health["payload"]["details"]["custom_metrics"]["connects"];
    connects.as_u64().unwrap_or_else(|| panic!("no number of connects in {health:#}"))
}

/// A question that a coordinator answers from what it knows.
fn question(c: Coordinator) -> (Operation, serde_json::Value) {
    let asked = json!({"plugin_id": "hello-rust"});
    match c {
        Coordinator::Plugin => (Operation::Inspect, asked),
        Coordinator::Security => (Operation::Introspect, asked),
        Coordinator::Message => {
            let topic = plugin::status(&super::world::id("hello-rust"));
            (Operation::Explain, json!({"plugin_id": "hello-rust", "access": "publish", "topic": topic}))
        }
    }
}

async fn a_coordinator_that_is_away_for_a_while_touches_no_plugin_and_catches_up(world: Shared) {
    let (id, _held) = world.hello_id().await;
    let source = world.hello().await.to_owned();
    let mut operator = world.operator().await;
    world.install_and_start(&mut operator, &id, &source).await;
    let before = sameness(&world.running(&id).await);
    for (service, c) in COORDINATORS {
        stop(&world, service).await;
        let begin = tokio::time::Instant::now();
        eventually(AWAY, || async {
            let mut said = Vec::new();
            for (other, _) in COORDINATORS.iter().filter(|(other, _)| *other != service) {
                said.push(world.stack.health_of(other).await);
            }
            if said.iter().all(|health| health.as_str() != "healthy") {
                Ok(())
            } else {
                Err(format!("without {service} the others say {said:?}"))
            }
        })
        .await;
        let (operation, asked) = question(c);
        let id = operator.send(operation, asked).await;
        tokio::time::sleep_until(begin + AWAY).await;
        start(&world, service).await;
        operator.answer(&id).await.data();
        world.stack.healthy().await;
        assert_eq!(
            sameness(&world.running(&super::world::id("hello-rust")).await),
            before,
            "{service} touched the plugin"
        );
    }
    assert_eq!(connects(&world).await, 1, "the plugin lost its connection");
    let state = operator.ask_about(Operation::Inspect, &id).await.data()["state"].clone();
    assert_eq!((&state["phase"], &state["health"]), (&json!("running"), &json!("healthy")), "{state:#}");
    world.remove(&mut operator, &id, &source).await;
}

async fn a_stop_succeeds_without_the_other_coordinators_and_what_is_owed_is_done_later(world: Shared) {
    let (id, _held) = world.hello_id().await;
    let source = world.hello().await.to_owned();
    let mut operator = world.operator().await;
    world.install_and_start(&mut operator, &id, &source).await;
    let old = login(&world.running(&id).await);
    let claims = operator.ask_about(Operation::Introspect, &id).await.data()["claims"].clone();
    stop(&world, "message-coordinator").await;
    stop(&world, "security-coordinator").await;

    let stopped = operator.ask_about(Operation::Stop, &id).await;
    assert_eq!(stopped.data()["phase"], "stopped");
    assert!(!world.has_container(&id).await);

    start(&world, "message-coordinator").await;
    start(&world, "security-coordinator").await;
    world.stack.healthy().await;
    eventually(PATIENCE, || async {
        let client = world.stack.client(Version::V5).login(&old.0, &old.1);
        if client.connect().await.is_ok() {
            return Err("the old login still opens the broker".to_owned());
        }
        let revoked = retained(&world.stack, &[coordinator::revoked()]).await;
        let sid = claims["sid"].as_str().unwrap_or_default();
        if revoked.iter().any(|m| m.text().contains(sid)) {
            Ok(())
        } else {
            Err(format!("{sid} is not revoked: {revoked:?}"))
        }
    })
    .await;
    world.remove(&mut operator, &id, &source).await;
}

async fn coordinators_start_in_any_order_with_the_broker_last(world: Shared) {
    let (id, _held) = world.hello_id().await;
    let source = world.hello().await.to_owned();
    let mut operator = world.operator().await;
    world.install_and_start(&mut operator, &id, &source).await;
    let before = sameness(&world.running(&id).await);
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let services = order.map(|place| COORDINATORS[place].0);
        stop(&world, "mqtt-broker").await;
        for service in services {
            stop(&world, service).await;
        }
        for service in services {
            start(&world, service).await;
        }
        eventually(PATIENCE, || async {
            for service in services {
                let said = world.stack.health_of(service).await;
                if !said.starts_with("unhealthy") {
                    return Err(format!("without the broker {service} says {said}"));
                }
            }
            Ok(())
        })
        .await;
        start(&world, "mqtt-broker").await;
        world.stack.healthy().await;
        assert_eq!(sameness(&world.running(&id).await), before, "{services:?} touched the plugin");
        // Connected again, and told what it is told.
        assert!(connects(&world).await > 1, "the broker was away and the plugin did not notice");
        let client = world.stack.operator_client(Version::V5).await.expect("connects");
        let mut watch = Listener::on(client, [plugin::status(&id)]).await;
        watch
            .client()
            .publish(&plugin::control_command(&id, "ping"), "{}", 1, false)
            .await
            .expect("published");
        watch.wait("pong", PATIENCE, |m| payload(m)["payload"]["answer"] == "pong").await;
    }
    let mut operator = Operator::connect(&world.stack, Version::V5).await.expect("connects");
    let asked = Envelope::new(MessageType::Request, "tests", json!({}));
    operator.publish(&request(Operation::List).to_string(), asked.encode()).await;
    operator.answer(&asked.id).await.data();
    world.remove(&mut operator, &id, &source).await;
}
