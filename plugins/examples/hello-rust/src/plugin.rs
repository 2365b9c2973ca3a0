//! What the plugin does with a message. No connection is needed for that, nor is one made here.

use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::control::{self, Command};
use crate::health::{self, Facts, Status};
use crate::log;
use crate::settings::Settings;
use crate::token::{Verdict, Watch};
use crate::topics::Topics;

/// The plugin's state.
pub struct Plugin {
    /// Its topics.
    pub topics: Topics,
    id: String,
    name: String,
    greeting: String,
    faults: Vec<String>,
    refused_filters: Vec<String>,
    token: Watch,
    forced: Option<Status>,
    started: Instant,
    control_messages: u64,
    connects: u64,
    serial: u64,
}

/// A message to publish.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// Where.
    pub topic: String,
    /// What.
    pub message: Value,
}

impl Plugin {
    /// The plugin as it starts.
    pub fn new(settings: &Settings) -> Self {
        Self {
            topics: Topics::of(&settings.id),
            id: settings.id.clone(),
            name: settings.name.clone(),
            greeting: settings.config.greeting.clone(),
            faults: settings.faults.clone(),
            refused_filters: Vec::new(),
            token: Watch::new(&settings.id),
            forced: None,
            started: Instant::now(),
            control_messages: 0,
            connects: 0,
            serial: 0,
        }
    }

    /// A connection stands; the broker refused the subscriptions `refused`.
    pub fn on_connect(&mut self, refused: Vec<String>) {
        self.connects += 1;
        self.refused_filters = refused
            .into_iter()
            .map(|filter| format!("The broker refused the subscription to {filter}"))
            .collect();
    }

    /// The health message of this moment.
    pub fn health(&mut self, now: Timestamp) -> Outgoing {
        let payload = self.with_facts(now, |facts| facts.payload(&self.name));
        self.outgoing(self.topics.health.clone(), now, payload)
    }

    /// How the plugin is, for Docker.
    pub fn status(&self, now: Timestamp) -> (Status, String) {
        self.with_facts(now, |facts| facts.status())
    }

    /// Takes a message and returns what to publish because of it.
    pub fn on_message(
        &mut self,
        topic: &str,
        payload: &[u8],
        retained: bool,
        now: Timestamp,
    ) -> Vec<Outgoing> {
        if topic == self.topics.token || topic == self.topics.keys {
            return self.on_security(topic, payload, now);
        }
        if let Some(command) = self.topics.command(topic) {
            if retained {
                // It was meant for whoever listened then, and would come again at every connect.
                log::warn("retained control message ignored", json!({"topic": topic}));
            } else {
                return self.on_control(command, payload, now);
            }
        }
        Vec::new()
    }

    /// Takes a token or keys, and tells at once when that changes what the token is worth.
    fn on_security(&mut self, topic: &str, payload: &[u8], now: Timestamp) -> Vec<Outgoing> {
        let before = self.token.verdict(now);
        let after = if topic == self.topics.token {
            self.token.on_token(payload, now)
        } else {
            self.token.on_keys(payload, now)
        };
        if *after == before {
            return Vec::new();
        }
        match after {
            Verdict::Refused(_) => log::warn("token", json!({"token": after.describe()})),
            _ => log::info("token", json!({"token": after.describe()})),
        }
        vec![self.health(now)]
    }

    fn on_control(&mut self, name: &str, payload: &[u8], now: Timestamp) -> Vec<Outgoing> {
        self.control_messages += 1;
        let control = control::read(name, payload);
        let (success, answer) = match control.command {
            Command::Ping => (true, "pong".to_owned()),
            Command::SetHealth(status) => {
                self.forced = status;
                (true, "health is set".to_owned())
            }
            Command::Refused(reason) => (false, reason),
        };
        log::info(
            "control message",
            json!({"command": name, "success": success, "answer": answer, "correlation_id": control.correlation_id}),
        );
        let payload = json!({
            "command": name,
            "heard": control.heard,
            "success": success,
            "answer": answer,
            "greeting": self.greeting,
        });
        let mut status = self.outgoing(self.topics.status.clone(), now, payload);
        if let Some(id) = control.correlation_id {
            status.message["correlation_id"] = Value::String(id);
        }
        // Whoever set the health wants to see it now.
        if name == "set-health" { vec![status, self.health(now)] } else { vec![status] }
    }

    fn with_facts<T>(&self, now: Timestamp, f: impl FnOnce(&Facts<'_>) -> T) -> T {
        let token = self.token.verdict(now);
        let faults: Vec<String> = self.faults.iter().chain(&self.refused_filters).cloned().collect();
        f(&Facts {
            forced: self.forced,
            faults: &faults,
            token: &token,
            uptime: self.started.elapsed(),
            control_messages: self.control_messages,
            connects: self.connects,
        })
    }

    fn outgoing(&mut self, topic: String, now: Timestamp, payload: Value) -> Outgoing {
        self.serial += 1;
        Outgoing { topic, message: health::message(&self.id, now, self.serial, payload) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin() -> Plugin {
        Plugin::new(&Settings::load(|_| None, |_| Ok(r#"{"greeting": "Good seeing"}"#.to_owned())))
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).expect("in range")
    }

    #[test]
    fn a_ping_is_answered_with_what_was_heard_and_the_configured_greeting() {
        let sent =
            plugin().on_message("bigskies/plugin/hello-rust/control/ping", b"are you there?", false, now());
        assert_eq!(sent.len(), 1, "{sent:?}");
        let Outgoing { topic, message } = &sent[0];
        assert_eq!(topic, "bigskies/plugin/hello-rust/status");
        assert_eq!(
            message["payload"],
            json!({"command": "ping", "heard": "are you there?", "success": true, "answer": "pong", "greeting": "Good seeing"})
        );
    }

    #[test]
    fn health_that_was_set_is_told_at_once_until_it_is_set_back() {
        let mut plugin = plugin();
        let mut set = |to: &str| {
            let topic = "bigskies/plugin/hello-rust/control/set-health";
            let sent = plugin.on_message(topic, to.as_bytes(), false, now());
            sent.last().expect("health").message["payload"]["status"].clone()
        };
        assert_eq!(set("unhealthy"), "unhealthy");
        assert_eq!(set("degraded"), "degraded");
        assert_eq!(set("healthy"), "healthy");
    }

    #[test]
    fn retained_control_messages_and_foreign_topics_are_not_answered() {
        let mut plugin = plugin();
        assert_eq!(plugin.on_message("bigskies/plugin/hello-rust/control/ping", b"", true, now()), []);
        assert_eq!(plugin.on_message("bigskies/plugin/other/control/ping", b"", false, now()), []);
    }

    #[test]
    fn a_refused_subscription_degrades_until_the_next_connect_succeeds() {
        let mut plugin = plugin();
        plugin.on_connect(vec!["a/#".to_owned()]);
        assert_eq!(plugin.status(now()).0, Status::Degraded);
        plugin.on_connect(vec![]);
        assert_eq!(plugin.status(now()).0, Status::Healthy);
    }

    #[test]
    fn two_messages_never_have_the_same_id() {
        let mut plugin = plugin();
        assert_ne!(plugin.health(now()).message["id"], plugin.health(now()).message["id"]);
    }
}
