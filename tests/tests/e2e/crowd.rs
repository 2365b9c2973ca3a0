//! Twenty plugins at once: a hundred operations while the broker is killed, and every coordinator restarted beside them.

use std::collections::BTreeMap;
use std::time::Duration;

use envelope::topic::coordinator;
use envelope::{Envelope, MessageType, Operation, PluginId};
use futures_util::future::join_all;
use serde_json::{Value, json};
use testkit::{Version, eventually};
use tests::stack::COORDINATORS;
use tests::stack::command::Run;
use tests::stack::images::Script;
use tests::stack::listener::json as payload;
use tests::stack::operator::{Operator, retained};
use tokio::time::Instant;

use super::outages::{start, stop};
use super::runner::Case;
use super::world::{Shared, World, id, sameness};

const PLUGINS: usize = 20;
/// What each plugin is asked for, one after the other: a hundred in all.
const OPERATIONS: [Operation; 5] =
    [Operation::Start, Operation::Restart, Operation::Stop, Operation::Start, Operation::Restart];
const KILLS: usize = 3;
/// How long one request may take, with all that comes in between.
const PATIENCE: Duration = Duration::from_secs(150);
/// After so long without an answer a caller asks again, with the same id.
const AGAIN: Duration = Duration::from_secs(15);

pub fn cases() -> Vec<Case> {
    crate::alone![twenty_plugins_converge_through_kills_of_the_broker_and_restarts_of_every_coordinator]
}

/// A plugin that costs next to nothing.
fn script() -> Script {
    Script::new(
        "crowd",
        r#"trap 'exit 0' TERM
while :; do
  mosquitto_pub -h "$MQTT_HOST" -p "$MQTT_PORT" -u "$MQTT_USERNAME" -P "$MQTT_PASSWORD" -i "$PLUGIN_ID" -q 1 \
    -t "bigskies/plugin/$PLUGIN_ID/health" \
    -m '{"id":"1","source":"plugin:'"$PLUGIN_ID"'","type":"status","timestamp":"2026-01-16T00:00:00Z","payload":{"component":"script","status":"healthy","message":"well","details":{}}}'
  sleep 5 &
  wait $!
done
"#,
    )
}

fn manifest(id: &PluginId) -> Value {
    json!({
        "id": id, "name": "One of many", "version": "1.0.0", "start_timeout_seconds": 120,
        "health_check": {"topic": format!("bigskies/plugin/{id}/health"), "interval_seconds": 30}
    })
}

/// Asks as somebody does who means it: connects again when the connection is lost, and asks again with the same id.
/// Answers what came, and how many different answers there were.
async fn insist(world: &World, operation: Operation, asked: Value) -> Vec<Value> {
    let envelope = Envelope::new(MessageType::Request, "tests", asked);
    let (request, end) = (envelope.encode(), Instant::now() + PATIENCE);
    let mut answers = Vec::new();
    while answers.is_empty() && Instant::now() < end {
        let Ok(mut operator) = Operator::connect(&world.stack, Version::V5).await else {
            tokio::task::yield_now().await;
            continue;
        };
        let topic = operator.request(operation).to_string();
        if operator.listener.client().publish(&topic, request.clone(), 1, false).await.is_err() {
            continue;
        }
        let ours = |m: &testkit::Message| payload(m)["correlation_id"] == envelope.id;
        let mut patience = AGAIN;
        while let Some(message) = operator.listener.find(patience, ours).await {
            let answer = payload(&message)["payload"].clone();
            if !answers.contains(&answer) {
                answers.push(answer);
            }
            patience = Duration::from_millis(200);
        }
    }
    answers
}

async fn kill_the_broker(world: &World, stacks: usize) {
    let broker = world.stack.container("mqtt-broker");
    for _ in 0..stacks {
        world.stack.healthy().await;
        Run::docker(["kill", &broker]).ok().await.expect("it is killed");
        Run::docker(["start", &broker]).ok().await.expect("it starts");
    }
}

async fn lives(world: &World, ids: &[PluginId]) -> BTreeMap<PluginId, (Value, Value, Value)> {
    let mut seen = BTreeMap::new();
    for id in ids {
        seen.insert(id.clone(), sameness(&world.running(id).await));
    }
    seen
}

async fn twenty_plugins_converge_through_kills_of_the_broker_and_restarts_of_every_coordinator(
    world: Shared,
) {
    let begin = Instant::now();
    let source = script().push(&world.stack).await.expect("builds");
    let ids: Vec<PluginId> = (0..PLUGINS).map(|n| id(&format!("crowd-{n:02}"))).collect();
    let mut operator = world.operator().await;
    for id in &ids {
        let request = json!({"plugin_id": id, "source": source, "manifest": manifest(id)});
        operator.ask(Operation::Install, request).await.data();
    }
    let installed = begin.elapsed();

    let life = async |id: &PluginId| {
        for operation in OPERATIONS {
            let answers = insist(&world, operation, json!({"plugin_id": id})).await;
            assert_eq!(answers.len(), 1, "{operation} of {id} has not one answer: {answers:#?}");
            assert_eq!(answers[0]["success"], true, "{operation} of {id}: {:#}", answers[0]);
        }
    };
    let begin = Instant::now();
    tokio::join!(join_all(ids.iter().map(life)), kill_the_broker(&world, KILLS));
    let operated = begin.elapsed();
    world.stack.healthy().await;
    eventually(Duration::from_secs(30), || async {
        let states = retained(&world.stack, &[coordinator::states()]).await;
        let of = |m: &testkit::Message| {
            payload(m)["payload"]["plugin_id"].as_str().unwrap_or_default().starts_with("crowd-")
        };
        let states: Vec<Value> =
            states.iter().filter(|m| of(m)).map(|m| payload(m)["payload"]["phase"].clone()).collect();
        let running = states.iter().filter(|phase| **phase == "running").count();
        if running == PLUGINS { Ok(()) } else { Err(format!("{states:?}")) }
    })
    .await;

    let begin = Instant::now();
    let before = lives(&world, &ids).await;
    for (service, _) in COORDINATORS {
        stop(&world, service).await;
        start(&world, service).await;
        world.stack.healthy().await;
        assert_eq!(lives(&world, &ids).await, before, "{service} touched plugins");
    }
    println!(
        "figure: {PLUGINS} plugins: installed in {:.0} s, {} operations through {KILLS} kills of the broker in {:.0} s, \
         three coordinators restarted in {:.0} s",
        installed.as_secs_f64(),
        PLUGINS * OPERATIONS.len(),
        operated.as_secs_f64(),
        begin.elapsed().as_secs_f64()
    );
    let mut operator = world.operator().await;
    let mut removals = Vec::new();
    for id in &ids {
        removals
            .push(operator.send(Operation::Remove, json!({"plugin_id": id, "remove_volumes": true})).await);
    }
    for removal in &removals {
        operator.answer(removal).await.data();
    }
}
