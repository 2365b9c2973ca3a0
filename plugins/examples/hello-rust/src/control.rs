//! Control messages: what an operator, or another part of the framework, tells the plugin to do.
//!
//! The last levels of the topic are the command. The payload is its argument, bare
//! (`degraded`), as JSON (`"degraded"`, `{"status": "degraded"}`), or in an envelope around those.

use serde_json::Value;

use crate::health::Status;

/// Most characters of a message that are repeated in the answer.
const LONGEST_HEARD: usize = 500;

/// What a control message asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Answer.
    Ping,
    /// Tell this health from now on; none to tell the truth again.
    SetHealth(Option<Status>),
    /// Something that this plugin does not know, or not in this form; the text says which.
    Refused(String),
}

/// A control message, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// What it asks for.
    pub command: Command,
    /// Its payload as text, cut short.
    pub heard: String,
    /// What joins the answer to it.
    pub correlation_id: Option<String>,
}

/// Reads the message `payload` for the command `name`.
pub fn read(name: &str, payload: &[u8]) -> Control {
    let heard: String = String::from_utf8_lossy(payload).chars().take(LONGEST_HEARD).collect();
    let mut argument = serde_json::from_slice::<Value>(payload)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(payload).trim().to_owned()));
    let mut correlation_id = None;
    if let Value::Object(envelope) = &mut argument
        && let Some(inner) = envelope.remove("payload")
    {
        let text = |name: &str| envelope.get(name).and_then(Value::as_str).map(str::to_owned);
        correlation_id = text("correlation_id").or_else(|| text("id"));
        argument = inner;
    }
    let command = match name {
        "ping" => Command::Ping,
        "set-health" => set_health(&argument),
        other => Command::Refused(format!("unknown command {other:?}; try ping or set-health")),
    };
    Control { command, heard, correlation_id }
}

fn set_health(argument: &Value) -> Command {
    match argument.get("status").unwrap_or(argument).as_str() {
        Some("healthy") => Command::SetHealth(None),
        Some("degraded") => Command::SetHealth(Some(Status::Degraded)),
        Some("unhealthy") => Command::SetHealth(Some(Status::Unhealthy)),
        _ => Command::Refused("set-health takes healthy, degraded or unhealthy".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(name: &str, payload: &str) -> Command {
        read(name, payload.as_bytes()).command
    }

    #[test]
    fn an_argument_is_taken_bare_as_json_and_in_an_envelope() {
        for payload in [
            "degraded",
            " degraded\n",
            r#""degraded""#,
            r#"{"status": "degraded"}"#,
            r#"{"payload": "degraded"}"#,
            r#"{"id": "1", "payload": {"status": "degraded"}}"#,
        ] {
            let want = Command::SetHealth(Some(Status::Degraded));
            assert_eq!(command("set-health", payload), want, "{payload}");
        }
        assert_eq!(command("set-health", "healthy"), Command::SetHealth(None));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_advice() {
        for (name, payload) in
            [("set-health", ""), ("set-health", "[1]"), ("set-health", "sick"), ("", ""), ("slew", "")]
        {
            assert!(matches!(command(name, payload), Command::Refused(_)), "{name} {payload}");
        }
    }

    #[test]
    fn an_answer_is_joined_by_the_correlation_id_or_else_the_id() {
        let id = |payload: &str| read("ping", payload.as_bytes()).correlation_id;
        assert_eq!(id(r#"{"id": "1", "correlation_id": "2", "payload": {}}"#).as_deref(), Some("2"));
        assert_eq!(id(r#"{"id": "1", "payload": null}"#).as_deref(), Some("1"));
        assert_eq!(id(r#"{"id": "1"}"#), None);
        assert_eq!(id("hello"), None);
    }

    #[test]
    fn any_bytes_are_heard_and_long_ones_cut_short() {
        let control = read("ping", &[0xff; 10_000]);
        assert_eq!((control.command, control.heard.chars().count()), (Command::Ping, 500));
    }
}
