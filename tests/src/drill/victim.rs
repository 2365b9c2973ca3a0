//! Killing a process, and starting it again.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::{Instant, sleep};

use super::table::Victim;
use crate::stack::command::Run;
use crate::stack::{COORDINATORS, Stack};

/// The variable that names the program which kills (`kill`) and starts (`start`) the engine of the drill.
pub const ENGINE: &str = "BIGSKIES_ENGINE_SCRIPT";
/// How long containers may take to run again after their engine does.
const RETURN: Duration = Duration::from_secs(60);

impl Victim {
    /// The service that it is, if it is one.
    pub fn service(self) -> Option<&'static str> {
        match self {
            Self::Plugin => Some("plugin-coordinator"),
            Self::Message => Some("message-coordinator"),
            Self::Security => Some("security-coordinator"),
            Self::Broker => Some("mqtt-broker"),
            Self::Engine => None,
        }
    }

    /// Whether everything else runs on while it is away.
    pub fn is_alone(self) -> bool {
        !matches!(self, Self::Broker | Self::Engine)
    }

    /// Kills it: it has no time for anything.
    ///
    /// # Errors
    /// It does not run.
    pub async fn kill(self, stack: &Stack) -> Result<()> {
        match self.service() {
            Some(service) => {
                Run::docker(["kill", "--signal", "KILL", &stack.container(service)]).ok().await?;
            }
            None => drop(Run::new(engine()?, ["kill"]).ok().await?),
        }
        Ok(())
    }

    /// Starts it again, and does not wait until it works.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(self, stack: &Stack) -> Result<()> {
        match self.service() {
            Some(service) => {
                Run::docker(["start", &stack.container(service)]).ok().await?;
                Ok(())
            }
            None => {
                Run::new(engine()?, ["start"]).ok().await?;
                Run::docker(["start", &stack.container("registry")]).ok().await?;
                framework_runs(stack).await
            }
        }
    }
}

/// Whether there is an engine that may be killed.
pub fn has_engine() -> bool {
    std::env::var_os(ENGINE).is_some()
}

fn engine() -> Result<String> {
    std::env::var(ENGINE).with_context(|| {
        format!("{ENGINE} is not set: an engine is killed only in one of the drill's own; run: make drill")
    })
}

/// The engine starts the framework again when it is back; what carries images for tests is started by hand.
async fn framework_runs(stack: &Stack) -> Result<()> {
    let end = Instant::now() + RETURN;
    for service in COORDINATORS.map(|(service, _)| service).into_iter().chain(["mqtt-broker"]) {
        let container = stack.container(service);
        loop {
            let asked =
                Run::docker(["inspect", "--format", "{{.State.Running}}", &container]).output().await?;
            if asked.text.trim() == "true" {
                break;
            }
            anyhow::ensure!(
                Instant::now() < end,
                "{container} does not run after {RETURN:?}: {}",
                asked.text
            );
            sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}
