//! Which containers of plugins the engine made and started, as its events tell: what is over before anybody looks
//! is in it too.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use envelope::{PluginId, Timestamp};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::Stack;

const PAUSE: Duration = Duration::from_millis(100);

/// What happened to the containers of plugins.
pub struct Ledger {
    entries: Arc<Mutex<Vec<Entry>>>,
    /// Of what was made twice, what was told.
    told: Mutex<BTreeSet<String>>,
    task: JoinHandle<()>,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    plugin: String,
    action: String,
    start: String,
}

/// How often something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Containers that were made.
    pub made: usize,
    /// Processes that were started.
    pub started: usize,
}

impl Ledger {
    /// Begins to write down what happens to plugins of this framework.
    ///
    /// # Errors
    /// The engine cannot be asked.
    pub fn open(stack: &Stack) -> Result<Self> {
        let installation = format!("label=org.bigskies.installation={}", stack.installation);
        let entries: Arc<Mutex<Vec<Entry>>> = Arc::default();
        let first = follow(&installation)?;
        let written = entries.clone();
        let task = tokio::spawn(async move {
            let mut next = Some(first);
            loop {
                if let Some(mut events) = next.take()
                    && let Some(out) = events.stdout.take()
                {
                    let mut lines = BufReader::new(out).lines();
                    while let Ok(Some(line)) = lines.next_line().await {
                        let entry = entry(&line);
                        written.lock().unwrap_or_else(PoisonError::into_inner).extend(entry);
                    }
                }
                // The engine was killed.
                sleep(PAUSE).await;
                next = follow(&installation).ok();
            }
        });
        Ok(Self { entries, told: Mutex::default(), task })
    }

    /// What has happened to a plugin up to now.
    pub fn count(&self, plugin: &PluginId) -> Count {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |action: &str| {
            entries.iter().filter(|e| e.plugin == plugin.as_str() && e.action == action).count()
        };
        Count { made: of("create"), started: of("start") }
    }

    /// Starts for which more than one container was made since this was last asked: plugin and start.
    pub fn made_twice(&self) -> Vec<String> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut seen, mut twice) = (BTreeSet::new(), BTreeSet::new());
        for entry in entries.iter().filter(|e| e.action == "create" && !e.start.is_empty()) {
            if !seen.insert(&entry.start) {
                twice.insert(format!("{} {}", entry.plugin, entry.start));
            }
        }
        twice.into_iter().filter(|start| told.insert(start.clone())).collect()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// From now on, also when the engine takes its time to listen to us.
fn follow(installation: &str) -> Result<Child> {
    let since = Timestamp::now().to_string();
    let filters = ["type=container", "event=create", "event=start", "label=org.bigskies.role=plugin"];
    Command::new("docker")
        .args(["events", "--since", &since, "--format", "{{json .}}", "--filter", installation])
        .args(filters.iter().flat_map(|filter| ["--filter", filter]))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("the engine's events cannot be followed")
}

fn entry(line: &str) -> Option<Entry> {
    let event: Value = serde_json::from_str(line).ok()?;
    let plugin = event["Actor"]["Attributes"]["org.bigskies.plugin_id"].as_str()?.to_owned();
    let start = event["Actor"]["Attributes"]["org.bigskies.start_id"].as_str().unwrap_or_default().to_owned();
    Some(Entry { plugin, action: event["Action"].as_str()?.to_owned(), start })
}
