//! What the coordinators say about themselves, retained at the broker.

use std::collections::BTreeMap;

use envelope::payload::health::{Health, HealthStatus};
use envelope::{Coordinator, topic};
use serde_json::Value;

/// Whether `topic` is one of `coordinator`'s health topics.
pub(crate) fn is_health(coordinator: Coordinator, topic: &str) -> bool {
    let filter = topic::coordinator::health_all(coordinator);
    topic.strip_prefix(filter.trim_end_matches('+')).is_some_and(|rest| !rest.contains('/'))
}

/// What is known of one coordinator.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observed {
    whole: Option<Health>,
    instances: BTreeMap<String, Health>,
}

/// How a coordinator stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It says so itself.
    Says(HealthStatus),
    /// Every process of it is gone, as their last wills say.
    Down,
    /// Nothing is known of it: it has never been there since the broker's memory began.
    Unseen,
}

impl Standing {
    /// In one word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Says(status) => status.as_str(),
            Self::Down => "down",
            Self::Unseen => "not seen",
        }
    }
}

impl Observed {
    /// Takes in a message on one of `coordinator`'s health topics; an empty one clears.
    pub(crate) fn take(&mut self, coordinator: Coordinator, topic: &str, payload: &[u8]) {
        let health = decode(payload);
        if topic == topic::coordinator::health(coordinator) {
            self.whole = health;
        } else if let Some(health) = health {
            self.instances.insert(topic.to_owned(), health);
        } else {
            self.instances.remove(topic);
        }
    }

    /// How it stands. What it said last as a whole counts only while one of its processes is there.
    pub(crate) fn standing(&self) -> Standing {
        let unhealthy = |health: &Health| health.status == HealthStatus::Unhealthy;
        if !self.instances.is_empty() && self.instances.values().all(unhealthy) {
            return match &self.whole {
                // It is there, and says that it is not well.
                Some(whole) if unhealthy(whole) => Standing::Says(HealthStatus::Unhealthy),
                _ => Standing::Down,
            };
        }
        let said = self.whole.as_ref().or_else(|| self.instances.values().next());
        said.map_or(Standing::Unseen, |health| Standing::Says(health.status))
    }

    /// The sentence that belongs to the standing.
    pub(crate) fn message(&self) -> String {
        let health = match self.standing() {
            Standing::Down => self.instances.values().next(),
            Standing::Says(_) | Standing::Unseen => {
                self.whole.as_ref().or_else(|| self.instances.values().next())
            }
        };
        health.map(|health| health.message.clone()).unwrap_or_default()
    }

    /// For whom it waits, as it says in its details.
    pub(crate) fn waiting_for(&self) -> Vec<String> {
        let waiting = self.whole.as_ref().and_then(|health| health.details.get("waiting_for"));
        match waiting {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(Value::Object(many)) => many.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// Everything that it says, for programs.
    pub(crate) fn details(&self) -> Value {
        self.whole.as_ref().map_or(Value::Null, |health| serde_json::json!(health.details))
    }

    /// Standing and sentence in one line.
    pub(crate) fn summary(&self) -> Option<String> {
        let message = self.message();
        match self.standing() {
            Standing::Unseen => None,
            standing if message.is_empty() => Some(standing.as_str().to_owned()),
            standing => Some(format!("{}: {message}", standing.as_str())),
        }
    }
}

/// A health message, in an envelope or bare.
fn decode(payload: &[u8]) -> Option<Health> {
    let mut value: Value = serde_json::from_slice(payload).ok()?;
    if value.get("component").is_none() {
        value = value.get_mut("payload")?.take();
    }
    serde_json::from_value(value).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const C: Coordinator = Coordinator::Plugin;

    fn told(messages: &[(&str, &str)]) -> Observed {
        let mut observed = Observed::default();
        for (instance, status) in messages {
            let topic = match *instance {
                "" => topic::coordinator::health(C),
                id => topic::coordinator::instance_health(C, &id.parse().expect("an id")),
            };
            let health = json!({"component": "c", "status": status, "message": format!("is {status}"),
                "details": {"waiting_for": ["security"]}});
            observed.take(C, &topic, json!({"payload": health}).to_string().as_bytes());
        }
        observed
    }

    #[test]
    fn a_coordinator_whose_processes_are_all_gone_is_down_whatever_it_said_last() {
        let observed = told(&[("", "healthy"), ("i-1", "unhealthy"), ("i-2", "unhealthy")]);
        assert_eq!(observed.standing(), Standing::Down);
        assert_eq!(observed.summary().as_deref(), Some("down: is unhealthy"));
        let one_left = told(&[("", "healthy"), ("i-1", "unhealthy"), ("i-2", "healthy")]);
        assert_eq!(one_left.standing(), Standing::Says(HealthStatus::Healthy));
    }

    #[test]
    fn it_says_for_whom_it_waits() {
        let observed = told(&[("", "degraded")]);
        assert_eq!(observed.standing(), Standing::Says(HealthStatus::Degraded));
        assert_eq!(observed.waiting_for(), ["security"]);
    }

    #[test]
    fn what_is_not_health_is_as_if_nothing_was_said() {
        let mut observed = told(&[("", "healthy")]);
        observed.take(C, &topic::coordinator::health(C), b"");
        assert_eq!(observed.standing(), Standing::Unseen);
        observed.take(C, &topic::coordinator::health(C), b"[1]");
        observed.take(C, &topic::coordinator::health(C), b"{\"payload\":7}");
        assert_eq!(observed.summary(), None);
    }
}
