//! Health, in the format of the SDK.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::token::Verdict;

/// How often health is told; the manifest promises the same.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// The SDK's three words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Everything works.
    Healthy,
    /// It works, with something missing.
    Degraded,
    /// It does not work.
    Unhealthy,
}

/// What health is made of.
pub struct Facts<'a> {
    /// What an operator asked to be told instead of the truth, to try things out.
    pub forced: Option<Status>,
    /// What is wrong with the plugin's settings or its rights.
    pub faults: &'a [String],
    /// What its token is worth.
    pub token: &'a Verdict,
    /// Since when it runs.
    pub uptime: Duration,
    /// How many control messages it has had.
    pub control_messages: u64,
    /// How often it has connected.
    pub connects: u64,
}

impl Facts<'_> {
    /// How the plugin is, and the same in a sentence.
    pub fn status(&self) -> (Status, String) {
        if let Some(status) = self.forced {
            return (status, "Set by a control message; send set-health healthy to end it".to_owned());
        }
        if let Some(first) = self.faults.first() {
            return (Status::Degraded, first.clone());
        }
        // A plugin that asks nobody for anything can do without a token, but not with a bad one:
        // that is a fault of clocks or keys which somebody should hear of.
        if let Verdict::Refused(reason) = self.token {
            return (Status::Degraded, format!("The token is refused: {reason}"));
        }
        (Status::Healthy, "Plugin is operational".to_owned())
    }

    /// The payload of a health message.
    pub fn payload(&self, component: &str) -> Value {
        let (status, message) = self.status();
        json!({
            "component": component,
            "status": status,
            "message": message,
            "details": {
                "running": true,
                "uptime_seconds": self.uptime.as_secs(),
                "token": self.token.describe(),
                "custom_metrics": {
                    "control_messages": self.control_messages,
                    "connects": self.connects,
                },
            },
        })
    }
}

/// Puts `payload` into the SDK's message format. `id` is made from time and `serial`, so that it
/// does not repeat.
pub fn message(plugin: &str, now: Timestamp, serial: u64, payload: Value) -> Value {
    json!({
        "id": format!("{}-{serial}", now.as_millisecond()),
        "source": format!("plugin:{plugin}"),
        "type": "status",
        "timestamp": now.to_string(),
        "payload": payload,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts<'a>(faults: &'a [String], token: &'a Verdict) -> Facts<'a> {
        let uptime = Duration::from_millis(12_999);
        Facts { forced: None, faults, token, uptime, control_messages: 3, connects: 1 }
    }

    #[test]
    fn a_health_message_has_the_form_of_the_sdk() {
        let until = Verdict::Valid { until: 1_800_000_000, scope: String::new() };
        let now = Timestamp::from_millisecond(1_700_000_000_123).expect("in range");
        let message = message("hello-rust", now, 7, facts(&[], &until).payload("Hello"));
        assert_eq!(
            message,
            json!({
                "id": "1700000000123-7",
                "source": "plugin:hello-rust",
                "type": "status",
                "timestamp": "2023-11-14T22:13:20.123Z",
                "payload": {
                    "component": "Hello",
                    "status": "healthy",
                    "message": "Plugin is operational",
                    "details": {
                        "running": true,
                        "uptime_seconds": 12,
                        "token": "valid until 2027-01-15T08:00:00Z",
                        "custom_metrics": {"control_messages": 3, "connects": 1},
                    },
                },
            })
        );
    }

    #[test]
    fn faults_and_a_refused_token_degrade_and_a_missing_token_does_not() {
        let refused = Verdict::Refused("no".to_owned());
        assert_eq!(facts(&[], &Verdict::Missing).status().0, Status::Healthy);
        assert_eq!(facts(&[], &refused).status().0, Status::Degraded);
        let faults = ["a fault".to_owned()];
        assert_eq!(facts(&faults, &Verdict::Missing).status(), (Status::Degraded, "a fault".to_owned()));
    }

    #[test]
    fn what_an_operator_sets_wins() {
        let facts = Facts { forced: Some(Status::Unhealthy), ..facts(&[], &Verdict::Missing) };
        assert_eq!(facts.status().0, Status::Unhealthy);
    }
}
