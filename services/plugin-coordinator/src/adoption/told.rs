//! What the retained topics tell of installed plugins: the specs that an earlier registry published.
//!
//! Only this coordinator may write there, so what stands there was decided by it. That a topic is empty says nothing:
//! a broker that was killed has lost what it was told last.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bus::{Bus, Inbox, Incoming, SubscribeError};
use chassis::config::BrokerLogin;
use envelope::payload::spec::Spec;
use envelope::{Envelope, PluginId, topic};
use tokio::time::timeout;

/// When nothing was heard for so long, nothing more will come: the broker sends what it kept at once.
const QUIET: Duration = Duration::from_secs(1);
/// How long all of it may take.
const DEADLINE: Duration = Duration::from_secs(30);
const MAX_PACKET: u32 = 2 * 1024 * 1024;
/// Unread specs at a time.
const UNREAD: usize = 1024;

/// The specs that are retained, by plugin.
pub(crate) type Specs = BTreeMap<PluginId, Spec>;

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToldError {
    /// The broker is away, or too slow.
    #[error("the broker does not answer, which keeps what was told of installed plugins")]
    Away,
    /// The broker does not let us listen there.
    #[error("the retained specs of plugins cannot be read")]
    Unreadable(#[source] SubscribeError),
}

/// Where specs are kept beside the registry.
#[async_trait]
pub(crate) trait Told: Send + Sync + 'static {
    /// All of them.
    async fn specs(&self) -> Result<Specs, ToldError>;
}

/// The broker's retained topics, heard in a session of their own.
pub(crate) struct Retained {
    pub(crate) login: BrokerLogin,
}

#[async_trait]
impl Told for Retained {
    async fn specs(&self) -> Result<Specs, ToldError> {
        // A client id can be taken over by whoever knows it.
        let secret = uuid::Uuid::new_v4().simple();
        let mut config = self.login.session(format!("coordinator.plugin.specs.{secret}"));
        config.max_packet_size = MAX_PACKET;
        config.inbox_capacity = UNREAD;
        let (bus, mut inbox) = Bus::connect(config);
        let heard = timeout(DEADLINE, hear(&bus, &mut inbox)).await;
        bus.shutdown().await;
        heard.unwrap_or(Err(ToldError::Away))
    }
}

async fn hear(bus: &Bus, inbox: &mut Inbox) -> Result<Specs, ToldError> {
    bus.subscribe(&[topic::coordinator::specs()]).await.map_err(ToldError::Unreadable)?;
    let mut specs = Specs::new();
    loop {
        match timeout(QUIET, inbox.recv()).await {
            Err(_) => return Ok(specs),
            Ok(None | Some(Incoming::Disconnected { .. })) => return Err(ToldError::Away),
            Ok(Some(Incoming::Message(message))) => {
                let Some(id) = topic::coordinator::spec_id(&message.topic) else { continue };
                match serde_json::from_slice::<Envelope<Spec>>(&message.payload) {
                    Ok(told) if told.payload.plugin_id == id => drop(specs.insert(id, told.payload)),
                    Ok(_) => tracing::warn!(topic = message.topic, "the spec of another plugin stands there"),
                    Err(_) if message.payload.is_empty() => drop(specs.remove(&id)),
                    Err(error) => tracing::warn!(topic = message.topic, %error, "cannot be decoded"),
                }
            }
            Ok(Some(_)) => {}
        }
    }
}
