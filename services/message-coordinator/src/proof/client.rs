//! A canary's connection: a plain MQTT 5 client with its login.

use std::time::Duration;

use bus::{Bus, Inbox, Incoming, Outgoing, PublishError, SubscribeError};
use chassis::config::BrokerLogin;
use envelope::PluginId;

use super::ProofError;
use crate::keeper::CanaryLogin;

/// How long the broker may take to let a canary in, and to answer each attempt.
const PATIENCE: Duration = Duration::from_secs(5);
/// Filters in one subscription.
const FILTERS: usize = 25;
/// After how long the broker forgets what was published.
const EXPIRY: Duration = Duration::from_secs(1);

/// A connected canary.
pub(super) struct Canary {
    pub(super) id: PluginId,
    pub(super) login: String,
    bus: Bus,
    inbox: Inbox,
}

impl Canary {
    pub(super) async fn connect(broker: &BrokerLogin, login: CanaryLogin) -> Result<Self, ProofError> {
        let client_id = format!("{}.{}", login.id, uuid::Uuid::new_v4().simple());
        let mut config = broker.session(client_id).login(&login.username, login.password.as_str());
        config.publish_deadline = PATIENCE;
        let (bus, inbox) = Bus::connect(config);
        let mut link = bus.link();
        let up = tokio::time::timeout(PATIENCE, link.wait_for(bus::Link::is_up)).await.is_ok();
        if !up {
            let why = match &*bus.link().borrow() {
                bus::Link::Down { reason } => reason.clone(),
                bus::Link::Up { .. } => "the broker let it in too late".to_owned(),
            };
            return Err(ProofError::Away { login: login.username, why });
        }
        Ok(Self { id: login.id, login: login.username, bus, inbox })
    }

    /// Whether the broker takes `payload` on `topic`.
    pub(super) async fn publishes(&self, topic: &str, payload: &str) -> Result<bool, ProofError> {
        let message = Outgoing::new(topic, payload.to_owned()).expires_in(EXPIRY);
        match self.bus.publish(message).await {
            Ok(_) => Ok(true),
            Err(PublishError::Refused { .. }) => Ok(false),
            Err(error) => Err(self.away(&error)),
        }
    }

    /// Subscribes; returns those of `filters` that the broker refuses.
    pub(super) async fn refused_of(&self, filters: &[String]) -> Result<Vec<String>, ProofError> {
        let mut refused = Vec::new();
        for some in filters.chunks(FILTERS) {
            let answer = tokio::time::timeout(PATIENCE, self.bus.subscribe(some)).await;
            match answer {
                Ok(Ok(())) => {}
                Ok(Err(SubscribeError::Refused { filters })) => {
                    refused.extend(filters.into_iter().map(|(filter, _)| filter));
                }
                Ok(Err(error)) => return Err(self.away(&error)),
                Err(_) => return Err(self.lost("the broker does not answer to a subscription")),
            }
        }
        Ok(refused)
    }

    /// The topics of all that is delivered before `payload` is, and whether that comes in time.
    pub(super) async fn delivered_until(&mut self, payload: &str) -> Result<(Vec<String>, bool), ProofError> {
        let mut topics = Vec::new();
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            match tokio::time::timeout_at(end, self.inbox.recv()).await {
                Err(_) => return Ok((topics, false)),
                Ok(None) => return Err(self.lost("its connection has ended")),
                Ok(Some(Incoming::Disconnected { reason })) => return Err(self.lost(&reason)),
                Ok(Some(Incoming::Message(delivery))) => {
                    if delivery.payload == payload.as_bytes() {
                        return Ok((topics, true));
                    }
                    topics.push(delivery.topic);
                }
                Ok(Some(
                    Incoming::Connected { .. } | Incoming::Refused { .. } | Incoming::Granted { .. },
                )) => {}
            }
        }
    }

    /// Leaves.
    pub(super) async fn leave(self) {
        self.bus.shutdown().await;
    }

    fn away(&self, error: &(dyn std::error::Error + 'static)) -> ProofError {
        self.lost(&telemetry::chain(error))
    }

    fn lost(&self, why: &str) -> ProofError {
        ProofError::Away { login: self.login.clone(), why: why.to_owned() }
    }
}
