//! What was heard on the specs' topics and is not worked off yet: the newest of each plugin.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use envelope::payload::spec::Spec;
use envelope::{Envelope, PluginId};
use serde_json::Value;
use tokio::sync::Notify;

use crate::report::Cause;

/// What was published on a spec's topic.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A spec.
    Spec {
        /// What it says.
        spec: Box<Spec>,
        /// Why it comes.
        cause: Cause,
        /// Whether the broker had kept it, so that it may be an old one. What is said now is not.
        kept: bool,
    },
    /// Nothing any more.
    Cleared(PluginId),
}

/// Keeps the newest message of each plugin until somebody takes it.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    waiting: Mutex<BTreeMap<PluginId, Heard>>,
    filled: Notify,
}

impl Inbox {
    /// Puts a message in the place of an older one of the same plugin.
    pub(crate) fn put(&self, id: PluginId, heard: Heard) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id, heard);
        self.filled.notify_one();
    }

    /// Puts messages back that could not be worked off, where no newer ones have come.
    pub(crate) fn put_back(&self, all: Vec<Heard>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for heard in all {
            let id = match &heard {
                Heard::Spec { spec, .. } => spec.plugin_id.clone(),
                Heard::Cleared(id) => id.clone(),
            };
            waiting.entry(id).or_insert(heard);
        }
        self.filled.notify_one();
    }

    /// Waits for messages and takes them all.
    pub(crate) async fn take(&self) -> Vec<Heard> {
        loop {
            let all = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            if !all.is_empty() {
                return all.into_values().collect();
            }
            self.filled.notified().await;
        }
    }
}

/// Why what was published on a spec's topic is not one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpecError {
    #[error("it cannot be decoded: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("it is about the plugin {0}")]
    OfAnother(PluginId),
}

/// Reads a spec, in an envelope or bare, from the topic of the plugin `id`; `kept` says whether the broker had kept it.
pub(crate) fn decode(id: &PluginId, payload: &[u8], kept: bool) -> Result<Heard, SpecError> {
    let value: Value = serde_json::from_slice(payload)?;
    let (spec, cause): (Spec, Cause) = if value.get("payload").is_some() && value.get("type").is_some() {
        let envelope: Envelope<Spec> = serde_json::from_value(value)?;
        let cause = Cause::new("the plugin coordinator published a spec");
        let cause = match envelope.correlation_id {
            Some(correlation_id) => Cause { correlation_id, ..cause },
            None => cause,
        };
        (envelope.payload, Cause { traceparent: envelope.traceparent, ..cause })
    } else {
        (serde_json::from_value(value)?, Cause::new("the plugin coordinator published a spec"))
    };
    if spec.plugin_id != *id {
        return Err(SpecError::OfAnother(spec.plugin_id));
    }
    Ok(Heard::Spec { spec: Box::new(spec), cause, kept })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> PluginId {
        PluginId::parse(text).expect("an id")
    }

    #[test]
    fn what_is_no_spec_of_this_plugin_is_told_apart() {
        for text in ["", "{", "[]", "{}", r#"{"type":"status","payload":{}}"#] {
            let decoded = decode(&id("p1"), text.as_bytes(), false);
            assert!(matches!(decoded, Err(SpecError::Malformed(_))), "{text}");
        }
        let bare = r#"{"plugin_id":"p1","uid":"0197a2c4-0000-7000-8000-000000000000","generation":1,"node":"n",
            "presence":"present","client_ids":[],"publish":[],"subscribe":[],"health_topic":"t","permissions":[],
            "manifest_digest":""}"#;
        assert!(matches!(decode(&id("p1"), bare.as_bytes(), true), Ok(Heard::Spec { kept: true, .. })));
        assert!(matches!(decode(&id("p2"), bare.as_bytes(), false), Err(SpecError::OfAnother(_))));
        let wrapped = format!(
            r#"{{"id":"1","type":"status","source":"s","timestamp":"2026-01-01T00:00:00Z","correlation_id":"c","payload":{bare}}}"#
        );
        assert!(
            matches!(decode(&id("p1"), wrapped.as_bytes(), false), Ok(Heard::Spec { cause, .. }) if cause.correlation_id == "c")
        );
    }

    #[tokio::test]
    async fn only_the_newest_message_of_a_plugin_is_kept() {
        let inbox = Inbox::default();
        inbox.put(id("p1"), Heard::Cleared(id("p1")));
        inbox.put(id("p2"), Heard::Cleared(id("p2")));
        inbox.put(id("p1"), Heard::Cleared(id("p1")));
        inbox.put_back(vec![Heard::Cleared(id("p2"))]);
        let taken = inbox.take().await;
        assert!(
            matches!(taken.as_slice(), [Heard::Cleared(a), Heard::Cleared(b)] if *a == id("p1") && *b == id("p2")),
            "{taken:?}"
        );
    }
}
