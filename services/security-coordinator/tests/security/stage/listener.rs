//! Somebody who hears what the coordinator tells.

use envelope::payload::event::{Event, EventKind};
use envelope::payload::token::{Jwks, Revoked, TokenMessage};
use envelope::{Coordinator, Envelope, PluginId, topic};
use testkit::{Client, Message};
use token::Verifier;

use super::PATIENCE;

/// Hears tokens, keys, revocations and events.
pub(crate) struct Listener {
    pub(super) client: Client,
}

impl Listener {
    /// The next message of a topic that is as wanted; others are passed over.
    pub(crate) async fn next(&mut self, topic: &str, wanted: impl Fn(&Message) -> bool) -> Message {
        loop {
            let message = self.client.recv(PATIENCE).await;
            let message = message.unwrap_or_else(|| panic!("nothing more came, wanted {topic}"));
            if message.topic == topic && wanted(&message) {
                return message;
            }
        }
    }

    pub(crate) async fn token(&mut self, plugin: &PluginId) -> TokenMessage {
        let topic = topic::coordinator::token(plugin);
        let message = self.next(&topic, |m| !m.payload.is_empty()).await;
        serde_json::from_slice(&message.payload).expect("a token message")
    }

    /// The next event of a kind about such a change, also as it was written.
    pub(crate) async fn event(&mut self, kind: EventKind, change: &str) -> (Envelope<Event>, String) {
        let topic = topic::coordinator::event(Coordinator::Security, kind.as_str());
        let change = format!("\"change\":\"{change}\"");
        let message = self.next(&topic, |m| m.text().contains(&change)).await;
        (serde_json::from_slice(&message.payload).expect("an event"), message.text())
    }

    /// The key set that comes next.
    pub(crate) async fn keys(&mut self) -> Jwks {
        let keys = self.next(&topic::coordinator::jwks(), |_| true).await;
        serde_json::from_slice(&keys.payload).expect("a key set")
    }

    /// The keys and the revocations that come next, in this order.
    pub(crate) async fn verifier(&mut self) -> Verifier {
        let verifier = Verifier::new();
        let keys = self.keys().await;
        assert_eq!(verifier.set_keys(&keys), []);
        let revoked = self.next(&topic::coordinator::revoked(), |_| true).await;
        verifier.set_revoked(&revocations(&revoked));
        verifier
    }
}

pub(crate) fn revocations(message: &Message) -> Revoked {
    serde_json::from_slice(&message.payload).expect("a list of revocations")
}
