//! The sessions of a coordinator with the broker: a durable one for requests, so that a restart loses none,
//! and a clean one for telemetry, so that a flood of that cannot crowd out a request.

use std::time::Duration;

use bus::{Bus, Inbox};
use envelope::{Coordinator, InstanceId, topic};
use store::Store;

use crate::config::{BrokerLogin, Common};
use crate::health::last_will;

/// How long the broker keeps requests for a coordinator that is away.
const REQUESTS_KEPT: Duration = Duration::from_secs(600);

/// The broker takes packets of up to 1 MiB, and delivers each a little larger than it came: with properties
/// that MQTT 3.1.1 does not have. What is larger than we take it drops without a word, so we take more.
const MAX_PACKET: u32 = 1024 * 1024 + 64 * 1024;

/// Who this process is to the broker.
pub(crate) struct Identity {
    pub(crate) instance: InstanceId,
    /// Client ids are taken over by whoever knows them, so ours cannot be guessed.
    secret: String,
}

impl Identity {
    /// The identity of this database's coordinator, made at the first start.
    pub(crate) async fn load(
        coordinator: Coordinator,
        common: &Common,
        store: &Store,
    ) -> anyhow::Result<Self> {
        let secret = kept(store, "client_id_secret", || uuid::Uuid::new_v4().simple().to_string()).await?;
        let configured = common.instance.clone();
        let instance = match configured {
            Some(name) => name,
            None => {
                let made = || format!("{coordinator}-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
                kept(store, "instance", made).await?
            }
        };
        Ok(Self { instance: InstanceId::parse(&instance)?, secret })
    }

    fn client_id(&self, coordinator: Coordinator, purpose: &str) -> String {
        format!("{coordinator}.{}.{purpose}.{}", self.instance, self.secret)
    }
}

async fn kept(store: &Store, name: &str, make: impl Fn() -> String) -> Result<String, store::Error> {
    if let Some(value) = store.meta(name).await? {
        return Ok(value);
    }
    let value = make();
    store.set_meta(name, &value).await?;
    Ok(value)
}

/// The session for requests.
pub(crate) fn requests(coordinator: Coordinator, login: &BrokerLogin, identity: &Identity) -> (Bus, Inbox) {
    let mut config = login
        .session(identity.client_id(coordinator, "requests"))
        .durable(REQUESTS_KEPT)
        // A retained request is none, also when it arrives as it is published.
        .tell_retained()
        .last_will(last_will(coordinator, topic::coordinator::health(coordinator)));
    config.max_packet_size = MAX_PACKET;
    Bus::connect(config)
}

/// The session for telemetry, and for everything that the coordinator tells.
pub(crate) fn telemetry(coordinator: Coordinator, login: &BrokerLogin, identity: &Identity) -> (Bus, Inbox) {
    let will = topic::coordinator::instance_health(coordinator, &identity.instance);
    let config =
        login.session(identity.client_id(coordinator, "telemetry")).last_will(last_will(coordinator, will));
    Bus::connect(config)
}
