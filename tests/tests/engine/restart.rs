//! The engine goes and comes back while plugins start: what is wanted runs again, in the same generation, and every
//! start has one outcome, which is that it runs.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use envelope::{Operation, PluginId};
use futures_util::future::join_all;
use serde_json::{Value, json};
use testkit::eventually;
use tests::stack::command::Run;
use tests::stack::images::Script;
use tests::stack::listener::json as payload;
use tests::stack::requester::{Asked, Requester};
use tokio::time::{Instant, sleep};

use super::super::e2e::runner::Case;
use super::super::e2e::world::{Shared, World, id};
use super::own::{self, End};

/// How long it may take after the engine is back until all that is wanted runs.
const RETURN: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(500);
/// After so many seconds a plugin first says that it is healthy: until then its start waits.
const FIRST: u32 = 6;

pub fn cases() -> Vec<Case> {
    crate::alone![
        what_starts_while_the_engine_is_killed_runs_when_it_is_back,
        what_starts_while_the_engine_is_stopped_runs_when_it_is_back,
    ]
}

async fn what_starts_while_the_engine_is_killed_runs_when_it_is_back(world: Shared) {
    restart(&world, "killed", End::Killed).await.unwrap_or_else(|error| panic!("{error:#}"));
}

async fn what_starts_while_the_engine_is_stopped_runs_when_it_is_back(world: Shared) {
    restart(&world, "stopped", End::Stopped).await.unwrap_or_else(|error| panic!("{error:#}"));
}

fn manifest(id: &PluginId) -> Value {
    json!({
        "id": id, "name": "A test", "version": "1.0.0", "stop_timeout_seconds": 5, "start_timeout_seconds": 60,
        "docker": {"environment": {"FIRST": FIRST.to_string()}}
    })
}

/// The states that the coordinator tells, by plugin.
async fn states(requester: &mut Requester) -> Result<BTreeMap<String, Value>> {
    let mut listed = requester.must(Operation::List, json!({})).await?;
    let plugins = listed["plugins"].as_array_mut().map(std::mem::take).unwrap_or_default();
    Ok(plugins.into_iter().map(|p| (p["plugin_id"].as_str().unwrap_or_default().to_owned(), p)).collect())
}

/// Waits until these run, with one container each, and in their generation; and this one does not.
async fn all_run(world: &World, wanted: &BTreeMap<&PluginId, Value>, stopped: &PluginId) -> Result<Duration> {
    let begin = Instant::now();
    let mut requester = Requester::connect_when_there(&world.stack).await?;
    loop {
        let seen = look(world, &mut requester, wanted, stopped).await;
        match seen {
            Ok(()) => return Ok(begin.elapsed()),
            Err(error) if begin.elapsed() > RETURN => return Err(error.context(format!("after {RETURN:?}"))),
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn look(
    world: &World,
    requester: &mut Requester,
    wanted: &BTreeMap<&PluginId, Value>,
    stopped: &PluginId,
) -> Result<()> {
    let states = states(requester).await?;
    for (id, generation) in wanted {
        let state = states.get(id.as_str()).with_context(|| format!("{id} is not listed"))?;
        ensure!(state["phase"] == "running" && state["operation"].is_null(), "{state}");
        ensure!(
            state["health"] == "healthy" && state["generation"] == *generation,
            "{state}, not {generation}"
        );
        let container = world.stack.plugin_container(id).await?;
        let container = container.with_context(|| format!("{id} has no container"))?;
        ensure!(container["State"]["Running"] == true, "{id}: {}", container["State"]);
    }
    let state = states.get(stopped.as_str()).with_context(|| format!("{stopped} is not listed"))?;
    ensure!(state["phase"] == "stopped", "{state}");
    ensure!(!world.has_container(stopped).await, "{stopped} has a container");
    Ok(())
}

/// A start that was asked for, and who asked.
struct Start {
    id: PluginId,
    asked: Asked,
    requester: Requester,
}

impl Start {
    async fn send(world: &World, id: &PluginId) -> Result<Self> {
        let mut requester = Requester::connect(&world.stack).await?;
        requester.patience = PATIENCE;
        let asked = Asked::new(Operation::Start, json!({"plugin_id": id}));
        requester.send(&asked).await?;
        Ok(Self { id: id.clone(), asked, requester })
    }

    /// Sees that there is one outcome, that it is a success, and that it is told again when it is asked for again.
    async fn succeeded(&mut self) -> Result<()> {
        let before =
            self.requester.answers(&self.asked, 1).await.with_context(|| format!("start of {}", self.id))?;
        self.requester.send(&self.asked).await?;
        let answers = self.requester.answers(&self.asked, before.len() + 1).await?;
        let first = answers.first().context("it was said that there is one")?;
        ensure!(
            answers.iter().all(|a| a.payload == first.payload),
            "{} has two answers: {answers:?}",
            self.id
        );
        let answer = &payload(first)["payload"];
        ensure!(
            answer["data"]["phase"] == "running",
            "the start of {} was answered with {answer:#}",
            self.id
        );
        Ok(())
    }
}

/// Pushes an image to the registry, which no engine starts again when it was killed.
async fn pushed(world: &World, script: &Script) -> Result<String> {
    Run::docker(["start", &world.stack.container("registry")]).ok().await?;
    let begin = Instant::now();
    loop {
        match script.push(&world.stack).await {
            Err(_) if begin.elapsed() < RETURN => sleep(PAUSE).await,
            pushed => return pushed,
        }
    }
}

async fn restart(world: &World, name: &str, how: End) -> Result<()> {
    let source = pushed(world, &Script::throw_away(&format!("restart-{name}"))).await?;
    let [ran, stopped, waits, waits_too, begins, begins_too] =
        ["ran", "idle", "waits-1", "waits-2", "begins-1", "begins-2"]
            .map(|part| id(&format!("{part}-{name}")));
    let all = [&ran, &stopped, &waits, &waits_too, &begins, &begins_too];
    let mut requester = Requester::connect(&world.stack).await?;
    for id in all {
        let request = json!({"plugin_id": id, "source": source, "manifest": manifest(id)});
        requester.must(Operation::Install, request).await?;
    }
    // Each has run before, so that the engine has seen a container of it.
    for operation in [Operation::Start, Operation::Stop] {
        requester.must(operation, json!({"plugin_id": stopped})).await?;
    }
    requester.must(Operation::Start, json!({"plugin_id": ran})).await?;
    let before = world.running(&ran).await;

    let mut starts = Vec::new();
    for id in [&waits, &waits_too] {
        starts.push(Start::send(world, id).await?);
    }
    eventually(PATIENCE, || async {
        for id in [&waits, &waits_too] {
            let container = world.stack.plugin_container(id).await.expect("the engine answers");
            let state = container.unwrap_or_default()["State"]["Status"].clone();
            if state != "running" {
                return Err(format!("{id} is {state}"));
            }
        }
        Ok(())
    })
    .await;
    let told = states(&mut requester).await?;
    for id in [&waits, &waits_too] {
        let state = &told[id.as_str()];
        ensure!(state["phase"] == "starting", "the engine goes too late: {state}");
    }
    for id in [&begins, &begins_too] {
        starts.push(Start::send(world, id).await?);
    }
    own::end(how).await;
    own::start().await;
    let back = Instant::now();

    let wanted: BTreeMap<&PluginId, Value> = all
        .into_iter()
        .filter(|id| **id != stopped)
        .map(|id| (id, told[id.as_str()]["generation"].clone()))
        .collect();
    let (runs, succeeded) =
        tokio::join!(all_run(world, &wanted, &stopped), join_all(starts.iter_mut().map(Start::succeeded)));
    let faults: Vec<String> =
        succeeded.into_iter().filter_map(|start| Some(format!("{:#}", start.err()?))).collect();
    ensure!(faults.is_empty(), "{}\nall: {runs:?}", faults.join("\n"));
    let runs = runs?;
    ensure!(world.running(&ran).await["Id"] == before["Id"], "{ran} has a new container");
    world.stack.healthy().await;
    println!(
        "figure: the engine was {name} amid 4 starts: 5 plugins run {:.0} s after it is back, all is healthy after {:.0} s",
        runs.as_secs_f64(),
        back.elapsed().as_secs_f64()
    );
    for id in all {
        requester.must(Operation::Remove, json!({"plugin_id": id, "remove_volumes": true})).await?;
    }
    world.assert_nothing_is_left(&stopped, &source).await;
    Ok(())
}
