//! What may have waited in the broker while we were away. After a reconnect to a kept session we send a
//! message to ourselves: what arrives before it may be as old as our absence.

use std::sync::Arc;
use std::time::Duration;

use bus::{Delivery, Outgoing};
use envelope::{Timestamp, topic};

use super::received::VALID;
use super::{Router, fresh};
use crate::service::Service;

const LAST_UP: &str = "request_session_last_up";

/// The message in the session after which everything was sent while we were connected.
pub(super) struct Marker {
    id: String,
    /// For how long we were away before it.
    pub(super) away: Duration,
}

impl Marker {
    pub(super) fn is(&self, delivery: &Delivery) -> bool {
        delivery.payload == self.id
    }
}

impl<S: Service> Router<S> {
    /// When the session was last known to be up.
    pub(super) async fn last_up(&self) -> Option<Timestamp> {
        let text = self.store.meta(LAST_UP).await.ok().flatten()?;
        text.parse().ok()
    }

    pub(super) async fn note_up(&self, now: Timestamp) -> Result<(), store::Error> {
        self.store.set_meta(LAST_UP, &now.to_string()).await
    }

    /// Sends the marker, when what is queued before it can be too old.
    pub(super) fn mark(self: &Arc<Self>, last_up: Option<Timestamp>) -> Option<Marker> {
        let away = last_up.map_or(Duration::MAX, |at| Timestamp::now().since(at));
        if away <= VALID {
            return None;
        }
        let id = fresh();
        let message = Outgoing::new(topic::coordinator::marker(S::COORDINATOR), id.clone().into_bytes());
        let bus = self.bus.clone();
        self.tasks.spawn(async move {
            if let Err(error) = bus.publish(message).await {
                tracing::warn!(error = telemetry::chain(&error), "the marker was not sent");
            }
        });
        Some(Marker { id, away })
    }
}
