//! The telemetry session: watched topics, keys, the health of other coordinators, answers between coordinators.

use std::sync::Arc;
use std::time::Duration;

use bus::{Inbox, Incoming};
use envelope::payload::health::{Health, HealthStatus};
use envelope::payload::token::{Jwks, Revoked};
use envelope::{Coordinator, Envelope, Timestamp, topic};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::caller::Caller;
use crate::contained::contained;
use crate::health::{Condition, HealthBoard};
use crate::listening::Listening;
use crate::service::{Delivery, Service, Shutdown};

/// A coordinator that is silent for so long is away, whatever it said last.
const SILENT: Duration = Duration::from_secs(35);

pub(crate) struct Watch<S> {
    pub(crate) service: Arc<S>,
    pub(crate) caller: Caller,
    pub(crate) health: HealthBoard,
    pub(crate) verifier: token::Verifier,
    pub(crate) listening: Listening,
}

/// What the chassis itself watches for a coordinator.
pub(crate) fn filters(own: Coordinator) -> Vec<String> {
    let mut filters: Vec<String> =
        Coordinator::ALL.into_iter().filter(|c| *c != own).map(topic::coordinator::health).collect();
    if own != Coordinator::Security {
        filters.extend([topic::coordinator::jwks(), topic::coordinator::revoked()]);
    }
    if own == Coordinator::Plugin {
        filters.push(topic::internal_responses(own));
    }
    filters
}

impl<S: Service> Watch<S> {
    pub(crate) async fn work(self, mut inbox: Inbox, shutdown: Shutdown) {
        // Each says in its health when one of the others is away.
        let mut heard: Vec<(Coordinator, Option<Instant>)> =
            Coordinator::ALL.into_iter().filter(|c| *c != S::COORDINATOR).map(|c| (c, None)).collect();
        let mut check = tokio::time::interval(Duration::from_secs(5));
        for (coordinator, _) in &heard {
            self.dependency(*coordinator, Condition::Degraded("has not been heard of yet".into()));
        }
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = check.tick() => {
                    for (coordinator, last) in &heard {
                        if last.is_some_and(|at| at.elapsed() > SILENT) {
                            let silent = Condition::Degraded("has stopped reporting health".into());
                            self.dependency(*coordinator, silent);
                        }
                    }
                }
                incoming = inbox.recv() => match incoming {
                    None => return,
                    Some(Incoming::Connected { .. }) => self.service.link_changed(true).await,
                    Some(Incoming::Disconnected { reason }) => {
                        tracing::warn!(reason, "the telemetry session is down");
                        // The session for requests may be up: nothing that was revoked meanwhile is to be believed. The
                        // list is retained, and comes again with the session. The security coordinator has its own.
                        if S::COORDINATOR != Coordinator::Security {
                            self.verifier.doubt_revocations();
                        }
                        self.service.link_changed(false).await;
                    }
                    Some(Incoming::Refused { filter, reason }) => self.listening.refused(&filter, &reason),
                    Some(Incoming::Granted { filter }) => self.listening.granted(&filter),
                    Some(Incoming::Message(delivery)) => {
                        if let Some(c) = topic::coordinator::health_of(&delivery.topic)
                            && c != S::COORDINATOR
                        {
                            if let Some((_, last)) = heard.iter_mut().find(|(known, _)| *known == c) {
                                *last = Some(Instant::now());
                                self.heard(c, &delivery);
                            }
                        } else {
                            // One message that brings a fault to light is lost, and none after it.
                            let _logged = contained(self.take(delivery)).await;
                        }
                    }
                }
            }
        }
    }

    async fn take(&self, delivery: Delivery) {
        if delivery.topic == topic::coordinator::jwks() {
            if let Some(keys) = decode::<Jwks>(&delivery) {
                let replaced = self.verifier.is_replaced_by(&keys);
                for fault in self.verifier.set_keys(&keys) {
                    tracing::warn!(%fault, "a published key cannot be used");
                }
                if replaced {
                    self.service.keys_replaced().await;
                }
            }
        } else if delivery.topic == topic::coordinator::revoked() {
            if let Some(list) = decode::<Revoked>(&delivery) {
                self.verifier.set_revoked(&list);
            }
        } else if topic::is_internal_response(&delivery.topic, S::COORDINATOR) {
            self.caller.answered(&delivery);
        } else {
            self.service.observe(delivery).await;
        }
    }

    fn heard(&self, coordinator: Coordinator, delivery: &Delivery) {
        let Ok(message) = serde_json::from_slice::<Envelope<Health>>(&delivery.payload) else {
            return self.dependency(coordinator, Condition::Degraded("sends no readable health".into()));
        };
        let is_old = delivery.retain && Timestamp::now().since(message.timestamp) > SILENT;
        self.dependency(coordinator, condition(&message.payload, is_old));
    }

    fn dependency(&self, coordinator: Coordinator, condition: Condition) {
        self.health.set(&format!("{coordinator} coordinator"), condition);
    }
}

/// What the health of another coordinator means for ours.
fn condition(health: &Health, is_old: bool) -> Condition {
    match health.status {
        // Why, its own health says. Quoted here, it would come back to it in ours, and grow with each turn.
        HealthStatus::Unhealthy => Condition::Degraded("is unhealthy".into()),
        // A retained message outlives its sender.
        _ if is_old => Condition::Degraded("has stopped reporting health".into()),
        _ => Condition::Good,
    }
}

fn decode<T: DeserializeOwned>(delivery: &Delivery) -> Option<T> {
    match serde_json::from_slice(&delivery.payload) {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::warn!(topic = delivery.topic, %error, "a message cannot be decoded");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_coordinator_says_of_itself_is_not_said_again() {
        let health = |status, message: &str| Health {
            component: "message-coordinator".into(),
            status,
            message: message.into(),
            details: Default::default(),
        };
        let unhealthy = |message| condition(&health(HealthStatus::Unhealthy, message), false);
        assert_eq!(unhealthy("the broker is away"), Condition::Degraded("is unhealthy".into()));
        assert_eq!(unhealthy("plugin coordinator: is unhealthy"), unhealthy("the broker is away"));
        let healthy = health(HealthStatus::Healthy, "works");
        assert_eq!(condition(&healthy, false), Condition::Good);
        assert_eq!(condition(&healthy, true), Condition::Degraded("has stopped reporting health".into()));
    }
}
