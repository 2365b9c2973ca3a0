//! An engine of one's own: `deploy/drill-engine.sh`, around this program.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use tests::repository::root;
use tests::stack::command::Run;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

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
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let done = tokio::select! {
        done = inside() => done,
        _ = terminate.recv() => Err(anyhow::anyhow!("ended by SIGTERM")),
        _ = interrupt.recv() => Err(anyhow::anyhow!("ended by SIGINT")),
    };
    command(&["down"]).status().await?;
    done
}

async fn inside() -> Result<bool> {
    let up = command(&["up"]).status().await.context("deploy/drill-engine.sh cannot be run")?;
    anyhow::ensure!(up.success(), "no engine of the tests' own came up, see above");
    let program = env::current_exe().context("where this program is cannot be told")?;
    let mut run = command(&["run"]);
    run.arg(program).args(env::args_os().skip(1)).env(HERE, "1");
    Ok(run.status().await.context("this program cannot be run with its engine")?.success())
}

fn script() -> PathBuf {
    root().join("deploy/drill-engine.sh")
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
