//! An engine of one's own: `deploy/own-engine.sh`, around this program.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use tests::repository::root;
use tests::stack::command::Run;
use tokio::process::Command;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The variable that tells this program that it runs with an engine of its own.
const HERE: &str = "BIGSKIES_ENGINE_IS_OWN";
/// The variable that names the engine: those with different names do not meet.
const NAME: &str = "BIGSKIES_OWN_ENGINE";
/// Its name, when none is given.
const DEFAULT: &str = "bigskies-engine-test";

/// Whether this program runs with an engine of its own.
pub fn is_here() -> bool {
    env::var_os(HERE).is_some()
}

/// Brings an engine up, runs this program in its network, with the same arguments, and ends it.
pub fn around_this_program() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.context("no runtime").and_then(|runtime| runtime.block_on(around()));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(101),
        Err(error) => {
            eprintln!("engine: {error:#}");
            ExitCode::from(101)
        }
    }
}

async fn around() -> Result<bool> {
    // Taken before the engine is there: whoever ends this program ends the engine too.
    let mut ends =
        Ends { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
    let up = command(&["up"]).status();
    let done = tokio::select! {
        up = up => match up {
            Ok(status) if status.success() => inside(&mut ends).await,
            Ok(_) => Err(anyhow::anyhow!("no engine of the tests' own came up, see above")),
            Err(error) => Err(error).context("deploy/own-engine.sh cannot be run"),
        },
        signal = ends.asked() => Err(anyhow::anyhow!("ended by {signal}")),
    };
    let down = command(&["down"]).status().await?;
    ensure!(down.success(), "the engine of the tests' own was not ended, see above");
    done
}

/// What asks this program to end.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Ends {
    async fn asked(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Runs this program with its engine; one that is asked to end first takes down what it brought up.
async fn inside(ends: &mut Ends) -> Result<bool> {
    let program = env::current_exe().context("where this program is cannot be told")?;
    let mut run = command(&["run"]);
    run.arg(program).args(env::args_os().skip(1)).env(HERE, "1");
    let mut run = run.spawn().context("this program cannot be run with its engine")?;
    let process = run.id().context("it was just started")?.to_string();
    tokio::select! {
        ended = run.wait() => return Ok(ended?.success()),
        _ = ends.asked() => {}
    }
    Run::new("kill", [process.as_str()]).output().await?;
    Ok(run.wait().await?.success())
}

fn script() -> PathBuf {
    root().join("deploy/own-engine.sh")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(script());
    command.args(arguments).kill_on_drop(true);
    if env::var_os(NAME).is_none() {
        command.env(NAME, DEFAULT);
    }
    command
}

/// How an engine goes.
#[derive(Debug, Clone, Copy)]
pub enum End {
    /// SIGKILL: it has no time for anything.
    Killed,
    /// SIGTERM, as when its host goes down: it ends what it runs.
    Stopped,
}

/// Ends the engine that this program runs with.
///
/// # Panics
/// It does not run, or does not end.
pub async fn end(how: End) {
    let word = match how {
        End::Killed => "kill",
        End::Stopped => "stop",
    };
    Run::new(script(), [word]).ok().await.unwrap_or_else(|error| panic!("{error:#}"));
}

/// Starts it again, and returns when it answers.
///
/// # Panics
/// It does not come up.
pub async fn start() {
    Run::new(script(), ["start"]).ok().await.unwrap_or_else(|error| panic!("{error:#}"));
}
