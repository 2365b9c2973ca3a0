//! The load: a thousand plugins that say their health each second, beside which a real one is installed, started,
//! stopped and removed.
//!
//! All of it is real but the containers of the thousand: an engine in front of the real one stands for them, and tasks
//! of this process for their processes, which connect to the broker with the logins that they were given.

mod book;
mod crowd;
mod engine;
mod lifecycle;
mod meter;
mod publisher;
mod report;
mod wire;
mod witness;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::{Instant, sleep, sleep_until};

use crate::repository::root;
use crate::stack::command::Run;
use crate::stack::images::Script;
use crate::stack::{COORDINATORS, Stack};
use engine::{Engine, Environment, MARK};
use lifecycle::Times;
use meter::{Meter, SERVICES, spent};
use publisher::Crowd;
pub use publisher::Fault;
use report::Phase;
pub use report::Report;
use witness::Witness;

/// How often the real plugin goes through its life.
const CYCLES: usize = 20;
/// What follows a start, and a restart of the coordinator, is over by then: each plugin is looked at after 10 s.
const SETTLES: Duration = Duration::from_secs(30);
/// How long it may take to notice that a plugin is silent, beyond three of its intervals.
const NOTICES: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long the load lasts.
    pub minutes: u64,
    /// How many plugins there are beside the real one.
    pub plugins: usize,
    /// How often the real one goes through its life, idle and under load.
    pub cycles: usize,
    /// How many seconds their manifests give between two health messages.
    pub interval: u32,
    /// What is wrong with one plugin, for seeing that it is noticed.
    pub plant: Option<Fault>,
}

impl Default for Options {
    fn default() -> Self {
        Self { minutes: 10, plugins: 1000, cycles: CYCLES, interval: 1, plant: None }
    }
}

/// Does all of it on `stack`.
///
/// # Errors
/// It did not get that far.
pub async fn run(stack: &Stack, options: &Options) -> Result<Report> {
    let crowd = Crowd::new(stack.mqtt_port);
    let engine = put_engine_between(stack, crowd.clone()).await?;
    let real = Script::healthy("load-real").push(stack).await?;
    let simulated = Script::healthy(MARK).push(stack).await?;
    // Its containers are simulated, and made from an image that is there.
    Run::docker(["pull", "--quiet", &simulated]).ok().await?;
    let (mut idle, mut loaded) = (Times::default(), Times::default());
    for _ in 0..options.cycles {
        idle.cycle(stack, &real).await?;
    }
    println!("load: a real plugin alone: {:?}", idle.medians());

    let witness = Witness::listen(stack, crowd.book.clone()).await?;
    let ids = crowd::ids(options.plugins)?;
    let mut phases = Phases { stack, engine: &engine, before: spent(stack).await?, done: Vec::new() };
    engine.calls();
    let took = crowd::install(stack, &ids, &simulated, options.interval).await?;
    phases.end("install all", took).await?;
    let took = crowd::start(stack, &ids).await?;
    crowd::well(&crowd.book, ids.len()).await?;
    phases.end("start all", took).await?;
    sleep(SETTLES).await;
    phases.end("all settle", SETTLES).await?;
    let took = crowd::restart(stack, &crowd.book, ids.len()).await?;
    // Its process is a new one.
    phases.before[0] = 0.0;
    phases.end("restart of the plugin coordinator until all are known to be healthy", took).await?;
    sleep(SETTLES).await;

    let suspect = ids.last().context("a crowd of nobody says nothing")?;
    engine.calls();
    let meter = Meter::begin(stack).await?;
    let begin = Instant::now();
    crowd.book.begin(options.interval);
    if let Some(fault) = options.plant {
        crowd.plant(suspect, fault);
    }
    let lasts = Duration::from_secs(options.minutes * 60);
    let each = lasts / u32::try_from(options.cycles.max(1)).context("too many cycles")?;
    for cycle in (0u32..).take(options.cycles) {
        sleep_until(begin + each * cycle).await;
        loaded.cycle(stack, &real).await?;
    }
    sleep_until(begin + lasts).await;
    let (totals, lasted, calls) = (crowd.book.end(), begin.elapsed(), engine.calls());
    let usages = meter.end()?;
    let dropped = dropped(stack).await?;
    ensure!(witness.listens(), "what was told of the crowd was not heard to the end");

    crowd.mend();
    let noticed = falls_silent(&crowd, suspect, options.interval).await;
    Ok(Report {
        crowd: (ids.len(), options.interval),
        lasted,
        brought_up: phases.done,
        totals,
        dropped,
        usages,
        calls,
        times: (idle, loaded),
        noticed,
    })
}

/// The parts of bringing the crowd up.
struct Phases<'a> {
    stack: &'a Stack,
    engine: &'a Engine,
    before: [f64; SERVICES.len()],
    done: Vec<Phase>,
}

impl Phases<'_> {
    /// One is done, and the next begins.
    async fn end(&mut self, what: &'static str, took: Duration) -> Result<()> {
        let now = spent(self.stack).await?;
        let mut since = now;
        for (since, before) in since.iter_mut().zip(self.before) {
            *since -= before;
        }
        self.before = now;
        let phase = Phase { what, took, spent: since, calls: self.engine.calls() };
        println!("load: {phase}");
        self.done.push(phase);
        Ok(())
    }
}

/// The plugin coordinator reaches the engine through ours from now on.
async fn put_engine_between(stack: &Stack, crowd: Crowd) -> Result<Engine> {
    let socket = stack.folder().join("engine.sock");
    let process = move |environment: Environment| tokio::spawn(crowd.clone().live(environment));
    let engine = Engine::listen(&socket, &testkit::engine(), Box::new(process))?;
    let file = root().join("tests/src/load/compose.yml").display().to_string();
    let up = ["--file", &file, "up", "--detach", "--no-deps", "--no-build", "plugin-coordinator"];
    let between = BTreeMap::from([("BIGSKIES_LOAD_SOCKET".to_owned(), socket.display().to_string())]);
    stack.compose(up).env(&between).ok().await?;
    stack.healthy().await;
    Ok(engine)
}

/// How long it takes until one that falls silent is told to be stale.
async fn falls_silent(crowd: &Crowd, id: &envelope::PluginId, interval: u32) -> Option<Duration> {
    let begin = Instant::now();
    let end = begin + Duration::from_secs(3 * u64::from(interval)) + NOTICES;
    crowd.plant(id, Fault::Silent);
    while Instant::now() < end {
        if let Some(at) = crowd.book.stale_at(id).filter(|at| *at >= begin) {
            return Some(at - begin);
        }
        sleep(PAUSE).await;
    }
    None
}

/// What the logs tell of messages that were dropped.
async fn dropped(stack: &Stack) -> Result<Vec<String>> {
    // The coordinators' inboxes, and the broker's queues.
    let words = ["inbox full", "messages are being dropped", "sends more messages than are taken"];
    let mut found = Vec::new();
    for service in SERVICES {
        let log = Run::docker(["logs", &stack.container(service)]).output().await?.text;
        found.extend(log.lines().filter(|line| words.iter().any(|w| line.contains(w))).map(str::to_owned));
    }
    ensure!(
        COORDINATORS.iter().all(|(service, _)| SERVICES.contains(service)),
        "not all coordinators are looked at"
    );
    Ok(found)
}
