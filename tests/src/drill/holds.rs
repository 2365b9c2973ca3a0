//! The points at which the plugin coordinator holds: set as files on its volume, seen in its log.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use envelope::{PluginId, Timestamp};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::stack::Stack;
use crate::stack::command::Run;

const SERVICE: &str = "plugin-coordinator";
const LOOK: Duration = Duration::from_millis(20);

/// Holds that were set together, and are released together.
pub struct Holds {
    token: String,
    reached: Arc<Mutex<BTreeSet<(String, String)>>>,
    /// Follows the log until this is dropped.
    _log: Child,
}

impl Holds {
    /// Makes the plugin coordinator hold for these plugins, each at its point, once.
    ///
    /// # Errors
    /// The coordinator's container is not there.
    pub async fn set(stack: &Stack, points: &[(PluginId, String)]) -> Result<Self> {
        let token = uuid::Uuid::new_v4().simple().to_string();
        let holds = Self::follow(stack, token)?;
        let folder = stack.folder().join(&holds.token).join("holds");
        fs::create_dir_all(&folder)?;
        for (plugin, point) in points {
            fs::write(folder.join(plugin.as_str()), format!("{point} {}", holds.token))?;
        }
        let to = format!("{}:/data/", stack.container(SERVICE));
        Run::docker(["cp", &folder.display().to_string(), &to]).ok().await.context("no hold was set")?;
        fs::remove_dir_all(stack.folder().join(&holds.token))?;
        Ok(holds)
    }

    fn follow(stack: &Stack, token: String) -> Result<Self> {
        let since = Timestamp::now().to_string();
        let mut log = Command::new("docker")
            .args(["logs", "--follow", "--since", &since, &stack.container(SERVICE)])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("the log of the plugin coordinator cannot be followed")?;
        let reached = Arc::default();
        if let (Some(out), Some(err)) = (log.stdout.take(), log.stderr.take()) {
            tokio::spawn(read(out, Arc::clone(&reached)));
            tokio::spawn(read(err, Arc::clone(&reached)));
        }
        Ok(Self { token, reached, _log: log })
    }

    /// Waits until the coordinator holds for this plugin there.
    ///
    /// # Errors
    /// It does not come there in time.
    pub async fn reached(&self, plugin: &PluginId, point: &str, patience: Duration) -> Result<()> {
        let (wanted, end) = ((plugin.to_string(), point.to_owned()), Instant::now() + patience);
        while !self.reached.lock().unwrap_or_else(PoisonError::into_inner).contains(&wanted) {
            anyhow::ensure!(Instant::now() < end, "{point} was not reached within {patience:?}");
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Lets the coordinator go on everywhere.
    ///
    /// # Errors
    /// Its container is not there.
    pub async fn release(&self, stack: &Stack) -> Result<()> {
        let folder = stack.folder().join(&self.token).join("holds");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(".release"), &self.token)?;
        let to = format!("{}:/data/", stack.container(SERVICE));
        Run::docker(["cp", &folder.display().to_string(), &to]).ok().await.context("no hold was released")?;
        fs::remove_dir_all(stack.folder().join(&self.token))?;
        Ok(())
    }
}

/// Notes who holds where, from the lines of a log.
async fn read(from: impl AsyncRead + Unpin, reached: Arc<Mutex<BTreeSet<(String, String)>>>) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(held) = held(&line) {
            reached.lock().unwrap_or_else(PoisonError::into_inner).insert(held);
        }
    }
}

/// Plugin and point of a line of the log that says that it holds.
fn held(line: &str) -> Option<(String, String)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let said = |name: &str| line[name].as_str().or_else(|| line["fields"][name].as_str()).map(str::to_owned);
    (said("message")? == "holds").then_some((said("held")?, said("point")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_read_from_the_log_and_nothing_else_is() {
        let line = r#"{"level":"INFO","message":"holds","held":"a","point":"start:begin:before"}"#;
        assert_eq!(held(line), Some(("a".to_owned(), "start:begin:before".to_owned())));
        let fields = r#"{"fields":{"message":"holds","held":"a","point":"p"}}"#;
        assert_eq!(held(fields), Some(("a".to_owned(), "p".to_owned())));
        assert_eq!(held(&line.replace("holds", "goes on")), None);
        assert_eq!(held("holds"), None);
    }
}
