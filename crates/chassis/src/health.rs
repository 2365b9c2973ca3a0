//! The coordinator's own health: what it waits for and what is wrong, in the SDK's health format.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use envelope::payload::health::{Health, HealthStatus};
use envelope::{Coordinator, Envelope, InstanceId, MessageType, Timestamp, topic};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::publisher::Publisher;
use crate::service::Shutdown;

/// How often health is reported when nothing changes.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// How old a health file may be before it counts as that of a process that hangs.
const STALE: Duration = Duration::from_secs(35);

/// How one thing is that the coordinator depends on or does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Works.
    Good,
    /// Something is missing and the rest works; why, in a sentence.
    Degraded(String),
    /// The coordinator cannot do its work; why, in a sentence.
    Unhealthy(String),
}

/// Where every part of a coordinator says how it is.
#[derive(Clone)]
pub struct HealthBoard {
    inner: Arc<Inner>,
}

struct Inner {
    coordinator: Coordinator,
    instance: InstanceId,
    started: Timestamp,
    conditions: Mutex<BTreeMap<String, Condition>>,
    figures: Mutex<BTreeMap<String, Value>>,
    changed: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HealthBoard {
    /// A board on which nothing stands yet.
    pub fn new(coordinator: Coordinator, instance: InstanceId) -> Self {
        Self {
            inner: Arc::new(Inner {
                coordinator,
                instance,
                started: Timestamp::now(),
                conditions: Mutex::default(),
                figures: Mutex::default(),
                changed: Notify::new(),
            }),
        }
    }

    /// Says how `part` is. A part is a short name, such as `broker` or `message coordinator`.
    pub fn set(&self, part: &str, condition: Condition) {
        let before = lock(&self.inner.conditions).insert(part.to_owned(), condition.clone());
        if before.as_ref() != Some(&condition) {
            match &condition {
                Condition::Good if before.is_some() => tracing::info!(part, "is well again"),
                Condition::Good => {}
                Condition::Degraded(reason) | Condition::Unhealthy(reason) => {
                    tracing::warn!(part, reason, "waiting");
                }
            }
            self.inner.changed.notify_one();
        }
    }

    /// A number or the like to tell with the health.
    pub fn figure(&self, name: &str, value: impl Into<Value>) {
        lock(&self.inner.figures).insert(name.to_owned(), value.into());
    }

    /// The health as it is now.
    pub fn health(&self) -> Health {
        let conditions = lock(&self.inner.conditions).clone();
        let waiting: BTreeMap<&String, &String> = conditions
            .iter()
            .filter_map(|(part, c)| match c {
                Condition::Good => None,
                Condition::Degraded(why) | Condition::Unhealthy(why) => Some((part, why)),
            })
            .collect();
        let unhealthy = conditions.values().any(|c| matches!(c, Condition::Unhealthy(_)));
        let status = match (unhealthy, waiting.is_empty()) {
            (true, _) => HealthStatus::Unhealthy,
            (false, false) => HealthStatus::Degraded,
            (false, true) => HealthStatus::Healthy,
        };
        let message = if waiting.is_empty() {
            "works".to_owned()
        } else {
            waiting.iter().map(|(part, why)| format!("{part}: {why}")).collect::<Vec<_>>().join("; ")
        };
        let mut details = BTreeMap::from([
            ("running".to_owned(), json!(true)),
            ("uptime_seconds".to_owned(), json!(Timestamp::now().since(self.inner.started).as_secs())),
            ("instance".to_owned(), json!(self.inner.instance)),
            ("version".to_owned(), json!(crate::FRAMEWORK_VERSION)),
            ("waiting_for".to_owned(), json!(waiting)),
        ]);
        details.extend(lock(&self.inner.figures).clone());
        Health { component: component(self.inner.coordinator), status, message, details }
    }

    /// Reports on both health topics and into the health file, at once on a change and at an interval.
    pub(crate) async fn report(self, publisher: Publisher, file: PathBuf, shutdown: Shutdown) {
        let mut told = None;
        loop {
            let health = self.health();
            if let Err(error) = write_file(&file, health.status) {
                tracing::warn!(%error, file = %file.display(), "cannot write the health file");
            }
            if told.as_ref() != Some(&health.message) {
                tracing::info!(status = health.status.as_str(), reason = health.message, "health");
                told = Some(health.message.clone());
            }
            self.publish(&publisher, health);
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.inner.changed.notified() => {}
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }

    /// Says on both health topics that the coordinator stopped by itself.
    pub(crate) fn say_goodbye(&self, publisher: &Publisher) {
        self.publish(publisher, gone(self.inner.coordinator, "stopped"));
    }

    fn publish(&self, publisher: &Publisher, health: Health) {
        let message = envelope(self.inner.coordinator, health);
        let c = self.inner.coordinator;
        publisher.retain(topic::coordinator::instance_health(c, &self.inner.instance), message.clone());
        publisher.retain(topic::coordinator::health(c), message);
    }
}

fn component(coordinator: Coordinator) -> String {
    format!("{coordinator}-coordinator")
}

fn gone(coordinator: Coordinator, message: &str) -> Health {
    Health {
        component: component(coordinator),
        status: HealthStatus::Unhealthy,
        message: message.to_owned(),
        details: BTreeMap::from([("running".to_owned(), json!(false))]),
    }
}

fn envelope(coordinator: Coordinator, health: Health) -> Vec<u8> {
    Envelope::new(MessageType::Status, format!("coordinator:{coordinator}"), health).encode()
}

/// What the broker says on the coordinator's behalf when its connection is lost.
pub(crate) fn last_will(coordinator: Coordinator, topic: String) -> bus::Outgoing {
    let health = gone(coordinator, "the connection to the broker was lost");
    bus::Outgoing::new(topic, envelope(coordinator, health)).retained()
}

#[derive(Serialize, Deserialize)]
struct HealthFile {
    status: HealthStatus,
    at: Timestamp,
}

fn write_file(path: &Path, status: HealthStatus) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let next = path.with_extension("next");
    std::fs::write(&next, serde_json::to_vec(&HealthFile { status, at: Timestamp::now() })?)?;
    std::fs::rename(next, path)
}

/// Whether the process that writes this health file is up and not unhealthy; else why not.
///
/// # Errors
/// The sentence to show.
pub fn check_file(path: &Path) -> Result<HealthStatus, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("no health file {}: {e}", path.display()))?;
    let file: HealthFile = serde_json::from_slice(&bytes)
        .map_err(|e| format!("the health file {} cannot be read: {e}", path.display()))?;
    let age = Timestamp::now().since(file.at);
    if age > STALE {
        return Err(format!("the last health report is {} s old", age.as_secs()));
    }
    match file.status {
        HealthStatus::Unhealthy => Err("unhealthy; the log says why".to_owned()),
        status => Ok(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_names_whom_it_waits_for() {
        let board = HealthBoard::new(Coordinator::Plugin, InstanceId::parse("one").expect("id"));
        assert_eq!(board.health().status, HealthStatus::Healthy);
        board.set("message coordinator", Condition::Degraded("does not answer".into()));
        let health = board.health();
        assert_eq!(health.status, HealthStatus::Degraded);
        assert_eq!(health.message, "message coordinator: does not answer");
        board.set("broker", Condition::Unhealthy("refused the login".into()));
        assert_eq!(board.health().status, HealthStatus::Unhealthy);
        board.set("broker", Condition::Good);
        board.set("message coordinator", Condition::Good);
        assert_eq!(board.health().status, HealthStatus::Healthy);
    }

    #[test]
    fn a_health_file_that_is_old_or_missing_is_no_health() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("run/health");
        assert!(check_file(&path).is_err());
        write_file(&path, HealthStatus::Degraded).expect("writes");
        assert_eq!(check_file(&path), Ok(HealthStatus::Degraded));
        let old = HealthFile { status: HealthStatus::Healthy, at: Timestamp::from_seconds(0) };
        std::fs::write(&path, serde_json::to_vec(&old).expect("json")).expect("writes");
        assert!(check_file(&path).expect_err("old").contains("s old"));
    }
}
