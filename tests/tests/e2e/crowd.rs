//! Twenty plugins at once: a hundred operations while the broker is killed, and every coordinator restarted beside them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use envelope::{Operation, PluginId};
use serde_json::{Value, json};
use testkit::{Message, eventually};
use tests::drill::Victim;
use tests::stack::command::Run;
use tests::stack::images::Script;
use tests::stack::ledger::{Count, Ledger};
use tests::stack::listener::json as payload;
use tests::stack::requester::{Asked, Requester};
use tests::stack::{COORDINATORS, engine};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use super::outages::{start, stop};
use super::runner::Case;
use super::world::{Shared, World, id};

const PLUGINS: usize = 20;
/// What each plugin is asked for, one after the other: a hundred in all.
const OPERATIONS: [Operation; 5] =
    [Operation::Start, Operation::Restart, Operation::Stop, Operation::Start, Operation::Restart];
/// What that takes for each plugin, when nothing is done twice: a restart keeps the container.
const WANTED: Count = Count { made: 2, started: 4 };
const KILLS: usize = 3;
/// How long one request may take, with all that comes in between.
const PATIENCE: Duration = Duration::from_secs(150);
/// How long it may take until all is known again after a coordinator was away.
const RETURN: Duration = Duration::from_secs(60);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(500);

pub fn cases() -> Vec<Case> {
    crate::alone![
        twenty_plugins_converge_through_kills_of_the_broker_and_no_coordinator_touches_them_when_it_starts
    ]
}

/// A plugin that costs next to nothing: it says that it is healthy until the broker has it, and again now and then.
fn script() -> Script {
    Script::new(
        "crowd",
        r#"trap 'exit 0' TERM
while :; do
  pause=1
  mosquitto_pub -h "$MQTT_HOST" -p "$MQTT_PORT" -u "$MQTT_USERNAME" -P "$MQTT_PASSWORD" -i "$PLUGIN_ID" -q 1 \
    -t "bigskies/plugin/$PLUGIN_ID/health" \
    -m '{"id":"1","source":"plugin:'"$PLUGIN_ID"'","type":"status","timestamp":"2026-01-16T00:00:00Z","payload":{"component":"script","status":"healthy","message":"well","details":{}}}' &&
    pause=10
  sleep "$pause" &
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

/// All operations on one plugin, one after the other, and the answer to each.
async fn life(world: Shared, id: PluginId, done: Arc<AtomicUsize>) -> Result<Vec<(Asked, Message)>> {
    let mut requester = Requester::connect(&world.stack).await?;
    requester.patience = PATIENCE;
    let mut answered = Vec::new();
    for operation in OPERATIONS {
        let asked = Asked::new(operation, json!({"plugin_id": id}));
        requester.send(&asked).await?;
        let answers = requester.answers(&asked, 1).await.with_context(|| format!("{operation} of {id}"))?;
        let first = answers.into_iter().next().context("it was said that there is one")?;
        let answer = &payload(&first)["payload"];
        ensure!(answer["success"] == true, "{operation} of {id}: {answer:#}");
        done.fetch_add(1, Ordering::Relaxed);
        answered.push((asked, first));
    }
    Ok(answered)
}

/// Kills the broker again and again while there is work, and tells after how many operations.
async fn kill_the_broker(world: &World, done: &AtomicUsize) -> [usize; KILLS] {
    let all = PLUGINS * OPERATIONS.len();
    let mut kills = [0; KILLS];
    for (place, kill) in kills.iter_mut().enumerate() {
        let least = all * (2 * place + 1) / (2 * KILLS);
        eventually(PATIENCE, || async {
            let done = done.load(Ordering::Relaxed);
            if done >= least { Ok(()) } else { Err(format!("{done} operations of {least} are done")) }
        })
        .await;
        Victim::Broker.kill(&world.stack).await.expect("it is killed");
        *kill = done.load(Ordering::Relaxed);
        Victim::Broker.start(&world.stack).await.expect("it starts");
    }
    kills
}

/// Each plugin with its container, since when that runs, and how it is.
async fn lives(world: &World) -> Vec<String> {
    let ours =
        [format!("label=org.bigskies.installation={}", world.stack.installation), "name=crowd-".to_owned()];
    let containers = engine::containers(&ours).await.expect("the engine answers");
    let format = r#"{{index .Config.Labels "org.bigskies.plugin_id"}} {{.State.Status}} {{.Id}} {{.State.StartedAt}} {{.RestartCount}}"#;
    let inspect =
        ["container", "inspect", "--format", format].into_iter().chain(containers.iter().map(String::as_str));
    let mut lives = Run::docker(inspect).lines().await.expect("the engine answers");
    lives.sort();
    lives
}

/// Waits until the coordinator says of each that it runs and is healthy.
async fn all_are_well(world: &World) {
    let pause = Mutex::new(interval(PAUSE));
    eventually(RETURN, || async {
        // Not as fast as it is answered: what an operator may ask has a bound.
        pause.lock().await.tick().await;
        let mut operator = world.operator().await;
        let listed = operator.ask(Operation::List, json!({})).await;
        let plugins = listed.data()["plugins"].as_array().cloned().unwrap_or_default();
        let is_ours = |p: &&Value| p["plugin_id"].as_str().unwrap_or_default().starts_with("crowd-");
        let is_well =
            |p: &&Value| p["phase"] == "running" && p["health"] == "healthy" && p["operation"].is_null();
        let well = plugins.iter().filter(is_ours).filter(is_well).count();
        if well == PLUGINS { Ok(()) } else { Err(format!("{well} of {PLUGINS} are well: {plugins:#?}")) }
    })
    .await;
}

/// Asks everything once more, with the same ids: the same bytes are the answer.
async fn ask_again(world: &World, answered: &[(Asked, Message)]) {
    let mut requester = Requester::connect(&world.stack).await.expect("connects");
    for (asked, _) in answered {
        requester.send(asked).await.expect("the broker takes it");
    }
    for (asked, first) in answered {
        for again in requester.answers(asked, 1).await.expect("it is answered again") {
            assert_eq!(again.text(), first.text(), "{asked:?} has two answers");
        }
    }
}

async fn twenty_plugins_converge_through_kills_of_the_broker_and_no_coordinator_touches_them_when_it_starts(
    world: Shared,
) {
    let begin = Instant::now();
    let source = script().push(&world.stack).await.expect("builds");
    let ids: Vec<PluginId> = (0..PLUGINS).map(|n| id(&format!("crowd-{n:02}"))).collect();
    let mut operator = world.operator().await;
    let mut installs = Vec::new();
    for id in &ids {
        let request = json!({"plugin_id": id, "source": source, "manifest": manifest(id)});
        installs.push(operator.send(Operation::Install, request).await);
    }
    for install in &installs {
        operator.answer(install).await.data();
    }
    let installed = begin.elapsed();

    let begin = Instant::now();
    let ledger = Ledger::open(&world.stack).expect("the engine answers");
    let (mut running, done) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    for id in &ids {
        running.spawn(life(world.clone(), id.clone(), done.clone()));
    }
    let kills = kill_the_broker(&world, &done).await;
    let mut answered = Vec::new();
    while let Some(ended) = running.join_next().await {
        answered.extend(ended.expect("no life panics").unwrap_or_else(|error| panic!("{error:#}")));
    }
    let operated = begin.elapsed();
    assert_eq!(answered.len(), PLUGINS * OPERATIONS.len());
    assert!(kills[0] > 0 && kills[KILLS - 1] < answered.len(), "killed after {kills:?} operations");
    ask_again(&world, &answered).await;
    world.stack.healthy().await;
    all_are_well(&world).await;
    for id in &ids {
        eventually(RETURN, || async {
            let count = ledger.count(id);
            if count == WANTED { Ok(()) } else { Err(format!("{id} has {count:?}, not {WANTED:?}")) }
        })
        .await;
    }

    let begin = Instant::now();
    let before = lives(&world).await;
    assert_eq!(before.len(), PLUGINS, "{before:#?}");
    assert!(before.iter().all(|life| life.contains(" running ")), "{before:#?}");
    for (service, _) in COORDINATORS {
        if service == "plugin-coordinator" {
            Victim::Plugin.kill(&world.stack).await.expect("it is killed");
        } else {
            stop(&world, service).await;
        }
        start(&world, service).await;
        world.stack.healthy().await;
        all_are_well(&world).await;
        assert_eq!(lives(&world).await, before, "{service} touched plugins");
    }
    println!(
        "figure: {PLUGINS} plugins: installed in {:.0} s, {} operations in {:.0} s with the broker killed after \
         {kills:?} of them, three coordinators started again in {:.0} s",
        installed.as_secs_f64(),
        answered.len(),
        operated.as_secs_f64(),
        begin.elapsed().as_secs_f64()
    );
    let mut operator = world.operator().await;
    let (last, others) = ids.split_last().expect("there are some");
    let mut removals = Vec::new();
    for id in others {
        removals
            .push(operator.send(Operation::Remove, json!({"plugin_id": id, "remove_volumes": true})).await);
    }
    for removal in &removals {
        operator.answer(removal).await.data();
    }
    // By itself: of two that go at the same time each may leave the image to the other, and the sweep of images to both.
    world.remove(&mut operator, last, &source).await;
}
