//! `events`: what happens, as it happens.

use std::time::Duration;

use bus::Incoming;
use envelope::payload::event::{Event, EventKind};
use envelope::{Coordinator, Envelope, PluginId, topic};
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Context;
use crate::args::Events;
use crate::failure::Failure;
use crate::render::{Ink, clean, ink};
use crate::request::until;
use crate::session::Session;

/// How long is listened when nobody says.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn run(args: &Events, context: &Context) -> Result<(), Failure> {
    let mut session = context.open().await?;
    session.subscribe(&Coordinator::ALL.map(topic::coordinator::events)).await?;
    let end = context.options.timeout.or((!args.follow).then_some(PATIENCE)).map(|t| Instant::now() + t);
    context.screen.note(match end {
        Some(_) => "listening for events; --follow goes on until interrupted",
        None => "listening for events until interrupted",
    });
    let result = tokio::select! {
        result = follow(&mut session, args.plugin.as_ref(), context) => result,
        () = until(end) => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    session.close().await;
    result
}

async fn follow(session: &mut Session, plugin: Option<&PluginId>, context: &Context) -> Result<(), Failure> {
    let zone = TimeZone::system();
    loop {
        match session.next().await? {
            Incoming::Message(delivery) => {
                let Ok(message) = serde_json::from_slice::<Value>(&delivery.payload) else { continue };
                if !is_about(&message, plugin) {
                    continue;
                }
                if context.screen.json {
                    context.screen.data_line(&json!({ "topic": delivery.topic, "message": message }))?;
                } else {
                    context.screen.say(&render(&delivery.topic, message, &zone))?;
                }
            }
            // Events are not kept for those who are away.
            Incoming::Disconnected { reason } => {
                context.screen.warn(&format!("{}; events may be missing here", clean(&reason)));
            }
            Incoming::Connected { .. } => context.screen.note("connected again"),
            Incoming::Granted { .. } => {}
            Incoming::Refused { filter, reason } => {
                return Err(Failure::Broker(format!("the broker no longer lets us hear {filter}: {reason}")));
            }
        }
    }
}

fn is_about(message: &Value, plugin: Option<&PluginId>) -> bool {
    plugin.is_none_or(|id| message["payload"]["plugin_id"] == id.as_str())
}

/// One line: when, who, what kind, about which plugin, what, and why.
fn render(topic: &str, message: Value, zone: &TimeZone) -> String {
    let who = Coordinator::ALL
        .into_iter()
        .find(|c| topic.starts_with(topic::coordinator::events(*c).trim_end_matches('#')))
        .map_or("?", Coordinator::as_str);
    let event: Envelope<Event> = match serde_json::from_value(message.clone()) {
        Ok(event) => event,
        // Of a later version: shown rather than dropped.
        Err(_) => return format!("{:8}  {who:8}  {}", "", clean(&message.to_string())),
    };
    let time = jiff::Timestamp::from_millisecond(event.timestamp.as_millis())
        .map(|time| time.to_zoned_datetime(zone.clone()).strftime("%H:%M:%S").to_string())
        .unwrap_or_default();
    let Event { event: kind, plugin_id, message, cause, .. } = event.payload;
    let plugin = plugin_id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let mut line = format!(
        "{}  {who:8}  {}{}  {}  {}",
        ink(Ink::Faint, &time),
        ink(colour(kind), kind.as_str()),
        " ".repeat(8_usize.saturating_sub(kind.as_str().len())),
        ink(Ink::Strong, &format!("{plugin:12}")),
        clean(&message),
    );
    if !cause.is_empty() {
        line.push_str(&ink(Ink::Faint, &format!("  ({})", clean(&cause))));
    }
    line
}

fn colour(kind: EventKind) -> Ink {
    match kind {
        EventKind::Refused | EventKind::Login | EventKind::Takeover | EventKind::Flood => Ink::Bad,
        EventKind::Drift | EventKind::Deaf => Ink::Warn,
        EventKind::Progress => Ink::Faint,
        EventKind::Outcome => Ink::Good,
        EventKind::Phase
        | EventKind::Health
        | EventKind::Acl
        | EventKind::Token
        | EventKind::Key
        | EventKind::Grant
        | EventKind::Account
        | EventKind::Session
        | EventKind::Proof => Ink::Strong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::finish;

    fn message(kind: &str) -> Value {
        json!({"id": "1", "source": "s", "type": "event", "timestamp": "2026-01-16T21:05:09Z", "payload": {
            "event": kind, "plugin_id": "focuser", "message": "starting -> running\u{7}",
            "cause": "start by operator:operator"}})
    }

    #[test]
    fn an_event_is_one_line_with_its_cause() {
        let topic = topic::coordinator::event(Coordinator::Plugin, "phase");
        assert_eq!(
            finish(&render(&topic, message("phase"), &TimeZone::UTC), false),
            "21:05:09  plugin    phase     focuser       starting -> running\\x07  (start by operator:operator)"
        );
    }

    #[test]
    fn an_event_of_a_later_version_is_shown_as_it_came() {
        let topic = topic::coordinator::event(Coordinator::Security, "x");
        let line = finish(&render(&topic, message("weather"), &TimeZone::UTC), false);
        assert!(line.starts_with("          security  {"), "{line}");
        assert!(!line.chars().any(char::is_control), "{line}");
    }

    #[test]
    fn events_are_chosen_by_plugin() {
        let (focuser, mount) = (PluginId::parse("focuser").ok(), PluginId::parse("mount").ok());
        assert!(is_about(&message("phase"), focuser.as_ref()));
        assert!(!is_about(&message("phase"), mount.as_ref()));
        assert!(is_about(&json!(7), None));
        assert!(!is_about(&json!(7), mount.as_ref()));
    }
}
