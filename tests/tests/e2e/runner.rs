//! Runs the tests as libtest would, and prints what it prints, around one framework for all of them.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, set_hook};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tests::stack::Stack;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::world::World;

/// Tests that run at the same time: they wait for containers and intervals, mostly.
const BESIDE_EACH_OTHER: usize = 6;
/// How long one test may take.
const PATIENCE: Duration = Duration::from_secs(300);

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A test.
pub struct Case {
    /// What holds, as a path.
    pub name: &'static str,
    /// Whether it changes the framework for all: then nothing else runs.
    pub alone: bool,
    /// The test.
    pub run: fn(Arc<World>) -> Running,
}

/// A test that can run beside others: the name of a function that takes the world.
#[macro_export]
macro_rules! beside {
    ($($test:ident),* $(,)?) => {
        vec![$($crate::e2e::runner::Case {
            name: concat!(module_path!(), "::", stringify!($test)),
            alone: false,
            run: |world| Box::pin($test(world)),
        }),*]
    };
}

/// A test that must have the framework to itself.
#[macro_export]
macro_rules! alone {
    ($($test:ident),* $(,)?) => {
        vec![$($crate::e2e::runner::Case {
            name: concat!(module_path!(), "::", stringify!($test)),
            alone: true,
            run: |world| Box::pin($test(world)),
        }),*]
    };
}

thread_local! {
    /// What the panic that is being caught on this thread said, with its place.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What was asked for on the command line: the part of libtest's that matters here.
#[derive(Default)]
struct Arguments {
    list: bool,
    exact: bool,
    wanted: Vec<String>,
    unwanted: Vec<String>,
}

impl Arguments {
    fn read() -> Self {
        let mut arguments = Self::default();
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--list" => arguments.list = true,
                "--exact" => arguments.exact = true,
                "--skip" => arguments.unwanted.extend(words.next()),
                "--test-threads" | "--format" | "--color" => drop(words.next()),
                word if word.starts_with('-') => {}
                word => arguments.wanted.push(word.to_owned()),
            }
        }
        arguments
    }

    fn takes(&self, name: &str) -> bool {
        let matches = |word: &String| if self.exact { name == word } else { name.contains(word.as_str()) };
        (self.wanted.is_empty() || self.wanted.iter().any(matches)) && !self.unwanted.iter().any(matches)
    }
}

/// What became of all tests.
#[derive(Default)]
struct Tally {
    passed: usize,
    failures: Vec<(String, String)>,
}

/// Whether the command line asks for any of these to be run, and not for their names.
#[expect(clippy::allow_attributes, reason = "not every program of tests asks")]
#[allow(dead_code)]
pub fn is_asked_for(cases: &[Case]) -> bool {
    let arguments = Arguments::read();
    !arguments.list && cases.iter().any(|case| arguments.takes(shown(case.name)))
}

/// Runs what the command line asks for.
pub fn main(cases: Vec<Case>) -> ExitCode {
    let arguments = Arguments::read();
    let all = cases.len();
    let cases: Vec<Case> = cases.into_iter().filter(|case| arguments.takes(shown(case.name))).collect();
    if arguments.list {
        for case in &cases {
            println!("{}: test", shown(case.name));
        }
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", cases.len());
    let begin = Instant::now();
    let filtered = all - cases.len();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let tally = match runtime {
        Ok(runtime) if !cases.is_empty() => runtime.block_on(run(cases)),
        Ok(_) => Tally::default(),
        Err(error) => Tally { passed: 0, failures: vec![("the framework".to_owned(), error.to_string())] },
    };
    summarise(&tally, filtered, begin.elapsed())
}

/// The name without the crate's and the common module's.
fn shown(name: &'static str) -> &'static str {
    name.trim_start_matches("e2e::").trim_start_matches("attacks::").trim_start_matches("engine::")
}

async fn run(cases: Vec<Case>) -> Tally {
    keep_what_panics_say();
    let mut tally = Tally::default();
    tokio::select! {
        () = bring_up_and_run(cases, &mut tally) => {}
        signal = asked_to_end() => tally.failures.push(("all tests".to_owned(), format!("ended by {signal}"))),
    }
    if let Err(error) = Stack::clear().await {
        tally.failures.push(("the framework leaves nothing behind".to_owned(), format!("{error:#}")));
    }
    tally
}

async fn bring_up_and_run(cases: Vec<Case>, tally: &mut Tally) {
    let why = match AssertUnwindSafe(Stack::up()).catch_unwind().await {
        Ok(Ok(stack)) => return all(cases, &Arc::new(World::new(stack)), tally).await,
        Ok(Err(error)) => format!("{error:#}"),
        Err(panic) => said(&*panic),
    };
    for case in &cases {
        println!("test {} ... FAILED", shown(case.name));
        tally.failures.push((shown(case.name).to_owned(), format!("the framework did not come up: {why}")));
    }
}

async fn asked_to_end() -> &'static str {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

async fn all(cases: Vec<Case>, world: &Arc<World>, tally: &mut Tally) {
    let (alone, beside): (Vec<Case>, Vec<Case>) = cases.into_iter().partition(|case| case.alone);
    let places = Arc::new(Semaphore::new(BESIDE_EACH_OTHER));
    let mut running = JoinSet::new();
    for case in beside {
        let (places, world) = (places.clone(), world.clone());
        running.spawn(async move {
            let _place = places.acquire_owned().await;
            (case.name, one(&case, world).await)
        });
    }
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok((name, result)) => tally.note(name, result),
            Err(error) => tally.failures.push(("a test".to_owned(), error.to_string())),
        }
    }
    for case in alone {
        let result = one(&case, world.clone()).await;
        tally.note(case.name, result);
    }
}

/// Runs one test; how long it took, or why it failed.
async fn one(case: &Case, world: Arc<World>) -> Result<Duration, String> {
    let begin = Instant::now();
    let run = AssertUnwindSafe((case.run)(world)).catch_unwind();
    match tokio::time::timeout(PATIENCE, run).await {
        Ok(Ok(())) => Ok(begin.elapsed()),
        Ok(Err(panic)) => Err(said(&*panic)),
        Err(_) => Err(format!("it did not end within {PATIENCE:?}")),
    }
}

impl Tally {
    fn note(&mut self, name: &'static str, result: Result<Duration, String>) {
        let name = shown(name);
        match result {
            Ok(took) => {
                println!("test {name} ... ok <{:.1}s>", took.as_secs_f64());
                self.passed += 1;
            }
            Err(why) => {
                println!("test {name} ... FAILED");
                self.failures.push((name.to_owned(), why));
            }
        }
    }
}

/// Panics happen on whichever thread runs the test then; they are caught on the same thread.
fn keep_what_panics_say() {
    set_hook(Box::new(|info| SAID.set(Some(info.to_string()))));
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = || {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned()
    };
    let said = SAID.take().unwrap_or_else(text);
    // Errors bring along where they were made, which is less than the place of the panic tells.
    said.split("\n\nStack backtrace:").next().unwrap_or_default().to_owned()
}

fn summarise(tally: &Tally, filtered: usize, took: Duration) -> ExitCode {
    if !tally.failures.is_empty() {
        println!("\nfailures:");
        for (name, why) in &tally.failures {
            println!("\n---- {name} ----\n{why}");
        }
        println!("\nfailures:");
        for (name, _) in &tally.failures {
            println!("    {name}");
        }
    }
    let outcome = if tally.failures.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {outcome}. {} passed; {} failed; 0 ignored; 0 measured; {filtered} filtered out; finished in {:.2}s\n",
        tally.passed,
        tally.failures.len(),
        took.as_secs_f64()
    );
    if tally.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(101) }
}
