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
    /// The marker that is needed when what is queued before it can be too old. A time that has not come yet says
    /// nothing: the clock was put back.
    pub(super) fn new(last_up: Option<Timestamp>) -> Option<Self> {
        let now = Timestamp::now();
        let away = last_up.filter(|at| *at <= now).map_or(Duration::MAX, |at| now.since(at));
        (away > VALID).then(|| Self { id: fresh(), away })
    }

    pub(super) fn is(&self, delivery: &Delivery) -> bool {
        delivery.payload == self.id
    }
}

impl<S: Service> Router<S> {
    /// Until when nothing waited in the broker, as was noted last.
    pub(super) async fn last_up(&self) -> Option<Timestamp> {
        let text = self.store.meta(LAST_UP).await.ok().flatten()?;
        text.parse().ok()
    }

    pub(super) async fn note_up(&self, at: Timestamp) -> Result<(), store::Error> {
        self.store.set_meta(LAST_UP, &at.to_string()).await
    }

    /// Sends the marker.
    pub(super) fn send(self: &Arc<Self>, marker: &Marker) {
        let topic = topic::coordinator::marker(S::COORDINATOR);
        let message = Outgoing::new(topic, marker.id.clone().into_bytes());
        let bus = self.bus.clone();
        self.tasks.spawn(async move {
            if let Err(error) = bus.publish(message).await {
                tracing::warn!(error = telemetry::chain(&error), "the marker was not sent");
            }
        });
    }
}
