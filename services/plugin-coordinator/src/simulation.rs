//! The plugin coordinator, simulated: its handlers, workers and supervisor on an engine, tables and other coordinators
//! in memory, on one thread, with a clock that does not wait. Everything that can go wrong goes wrong, where the seed
//! says: at each call of each port it can fail without an effect or with one, take long, or be where the coordinator is
//! killed. After each call is looked whether everything is as it must be, and in the end whether everything has come
//! to its end.
//!
//! A run is its seed: it is the same every time. One that breaks is told step by step, with the command that runs it
//! again.

#![expect(clippy::panic, reason = "a test fails by panicking, and says why")]

mod aside;
mod check;
mod engine_keeps;
mod life;
mod planted;
mod points;
mod ports;
mod requests;
mod told;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use life::{Purpose, live};
use points::{Points, Weather};
use world::{Plant, World};

/// So many runs are in an ordinary test run.
const RUNS: u64 = 10_000;
const THREADS: u64 = 2;
/// With this variable one run is told from its beginning to its end.
const SEED: &str = "BIGSKIES_SEED";
/// With this one there are more runs, or fewer.
const HOW_MANY: &str = "BIGSKIES_SEEDS";

/// What came of a run.
struct Run {
    broken: Option<String>,
    story: Vec<String>,
    points: u64,
    fingerprint: u64,
    lives: u64,
    answered: usize,
}

/// Runs a seed to its end.
fn run(seed: u64, plant: Option<Plant>, told: bool) -> Run {
    let points = Points::new(seed, told);
    let world = new_world(&points, plant);
    let weather = points.chance(|c| Weather {
        crashes: *c.one_of(&[0, 20, 60, 200]),
        failures: *c.one_of(&[0, 50, 150, 500]),
        late: *c.one_of(&[300, 2_000, 6_000]),
    });
    if plant == Some(Plant::OneBlocksAll) || points.chance(|c| c.below(8)) == 0 {
        world.state().slow = Some(points.chance(|c| c.one_of(&world.plugins).clone()));
    }
    let requests = points.chance(|c| if c.below(8) == 0 { 7 + c.below(6) } else { 3 + c.below(4) });
    let mut left = usize::try_from(requests).expect("a few");
    let mut lives = 0;
    while left > 0 && points.broken().is_none() {
        // One that is killed again and again would never come to anything.
        let crashes = if lives < 12 { weather.crashes } else { 0 };
        left = live(&world, Purpose::Work { requests: left, weather: Weather { crashes, ..weather } });
        lives += 1;
    }
    if points.broken().is_none() {
        live(&world, Purpose::Rest);
        lives += 1;
    }
    let accepted = world.state().accepted.clone();
    Run {
        broken: points.broken(),
        story: points.story(),
        points: points.count(),
        fingerprint: points.fingerprint(),
        lives,
        answered: accepted.iter().filter(|request| world.answer(&request.id).is_some()).count(),
    }
}

fn new_world(points: &Points, plant: Option<Plant>) -> Arc<World> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(World::new(points.clone(), plant))
}

/// Tells a run that broke, step by step.
fn told(seed: u64, plant: Option<Plant>) -> String {
    let run = run(seed, plant, true);
    let broken = run.broken.unwrap_or_else(|| "nothing, when it was run again".into());
    format!(
        "{}\n\nseed {seed} broke: {broken}\nTo see it again: {SEED}={seed} cargo test -p plugin-coordinator simulation -- --nocapture",
        run.story.join("\n")
    )
}

#[test]
fn whatever_fails_and_wherever_it_is_killed_everything_comes_to_its_end_and_is_as_it_must_be() {
    if let Some(seed) = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok()) {
        let run = run(seed, None, true);
        println!("{}", run.story.join("\n"));
        if let Some(broken) = run.broken {
            panic!("seed {seed} broke: {broken}");
        }
        println!("seed {seed}: {} points, {} lives, {} answers", run.points, run.lives, run.answered);
        return;
    }
    let runs = std::env::var(HOW_MANY).ok().and_then(|runs| runs.parse().ok()).unwrap_or(RUNS);
    let (next, first_broken) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
    let (points, lives, answers) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while first_broken.load(Ordering::SeqCst) == u64::MAX {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= runs {
                        break;
                    }
                    let run = run(seed, None, false);
                    points.fetch_add(run.points, Ordering::SeqCst);
                    lives.fetch_add(run.lives, Ordering::SeqCst);
                    answers.fetch_add(u64::try_from(run.answered).unwrap_or_default(), Ordering::SeqCst);
                    if run.broken.is_some() {
                        first_broken.fetch_min(seed, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    let broken = first_broken.load(Ordering::SeqCst);
    assert!(broken == u64::MAX, "{}", told(broken, None));
    let [points, lives, answers] = [points, lives, answers].map(AtomicU64::into_inner);
    println!("{runs} runs: {points} points, {lives} lives of the coordinator, {answers} answers");
    // Otherwise little was tried.
    assert!(points > runs * 50 && lives > runs * 2 && answers > runs * 3);
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    for seed in 0..40 {
        let (one, two) = (run(seed, None, false), run(seed, None, false));
        assert_eq!((one.fingerprint, one.points), (two.fingerprint, two.points), "seed {seed}");
        assert_eq!((one.lives, one.answered), (two.lives, two.answered), "seed {seed}");
    }
}
