//! What a plugin that is gone has left retained in its namespace: it is cleared, so that whoever gets the name
//! next does not read what another wrote.
//!
//! A plugin's requests and their responses are none of the plugin coordinator's, and it may not write there; a
//! retained request is ignored by whoever it reaches.

use std::time::Duration;

use bus::{Bus, Inbox, Incoming, Outgoing, PublishError, SubscribeError};
use chassis::config::BrokerLogin;
use envelope::{PluginId, topic};
use tokio::time::timeout;

/// So many topics are cleared; a plugin that left more was not well.
const MOST: usize = 1000;
/// When nothing was heard for so long, nothing more will come: the broker sends what it kept at once.
const QUIET: Duration = Duration::from_secs(1);
/// How long all of it may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// Above what the broker takes, so that there is nothing that it cannot deliver.
const MAX_PACKET: u32 = 2 * 1024 * 1024;
/// Unread messages at a time, each as large as one can be. What is dropped is found by looking again.
const UNREAD: usize = 32;

/// Why something may be left.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeftoversError {
    /// The broker is away, or too slow.
    #[error("the broker did not answer in time while the topics of a removed plugin were cleared")]
    Away,
    /// The broker does not let us listen there.
    #[error("the topics of a removed plugin cannot be read")]
    Unreadable(#[source] SubscribeError),
    /// The broker does not let us write there.
    #[error("a topic of a removed plugin cannot be cleared")]
    Uncleared(#[source] PublishError),
}

impl LeftoversError {
    /// Whether it may succeed later without anything being changed.
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            Self::Away => true,
            Self::Unreadable(_) | Self::Uncleared(_) => false,
        }
    }
}

/// Clears what is retained below `names`, in a session of its own. Answers how many topics that were, at most
/// [`MOST`].
pub(crate) async fn clear(login: &BrokerLogin, names: &[PluginId]) -> Result<usize, LeftoversError> {
    // A client id can be taken over by whoever knows it.
    let secret = uuid::Uuid::new_v4().simple();
    let mut config = login.session(format!("coordinator.plugin.leftovers.{secret}"));
    config.max_packet_size = MAX_PACKET;
    config.inbox_capacity = UNREAD;
    let (bus, mut inbox) = Bus::connect(config);
    let filters: Vec<String> = names.iter().map(topic::plugin::namespace).collect();
    let cleared = timeout(DEADLINE, passes(&bus, &mut inbox, &filters)).await;
    bus.shutdown().await;
    cleared.unwrap_or(Err(LeftoversError::Away))
}

/// Looks until a look finds nothing.
async fn passes(bus: &Bus, inbox: &mut Inbox, filters: &[String]) -> Result<usize, LeftoversError> {
    let mut cleared = 0;
    loop {
        let found = pass(bus, inbox, filters, MOST - cleared).await?;
        cleared += found;
        if found == 0 || cleared >= MOST {
            return Ok(cleared);
        }
    }
}

async fn pass(
    bus: &Bus,
    inbox: &mut Inbox,
    filters: &[String],
    most: usize,
) -> Result<usize, LeftoversError> {
    bus.subscribe(filters).await.map_err(LeftoversError::Unreadable)?;
    let mut cleared = 0;
    while cleared < most {
        let Ok(incoming) = timeout(QUIET, inbox.recv()).await else { break };
        match incoming {
            None => return Err(LeftoversError::Away),
            Some(Incoming::Disconnected { .. }) => return Err(LeftoversError::Away),
            Some(Incoming::Message(message)) if message.retain => {
                let empty = Outgoing::new(message.topic, "").retained();
                bus.publish(empty).await.map_err(|error| match error {
                    PublishError::Refused { .. } | PublishError::Invalid { .. } => {
                        LeftoversError::Uncleared(error)
                    }
                    _ => LeftoversError::Away,
                })?;
                cleared += 1;
            }
            Some(_) => {}
        }
    }
    bus.unsubscribe(filters).await.map_err(LeftoversError::Unreadable)?;
    Ok(cleared)
}

#[cfg(test)]
mod tests {
    use acl::fixed::coordinator_role;
    use chassis::config::BrokerSettings;
    use envelope::Coordinator;
    use envelope::principal::coordinator_login;
    use serde_json::json;
    use testkit::{Broker, Client, Identities};

    use super::*;

    const PASSWORD: &str = "of-the-coordinator";

    fn id(text: &str) -> PluginId {
        PluginId::parse(text).expect("an id")
    }

    /// A broker at which the coordinator has the role that it has everywhere, and the coordinator's login.
    async fn broker() -> (Broker, BrokerLogin, tempfile::TempDir) {
        let name = coordinator_login(Coordinator::Plugin);
        let mut identities = Identities::new().login(&name, PASSWORD, &[], &[]).admin("test", "test").build();
        let role = coordinator_role(Coordinator::Plugin);
        identities["clients"][0]["roles"] = json!([{"rolename": role.rolename}]);
        identities["roles"][0] = serde_json::to_value(role).expect("encodes");
        let broker = Broker::with_identities(identities).await;
        let folder = tempfile::tempdir().expect("a folder");
        let password_file = folder.path().join("password");
        std::fs::write(&password_file, PASSWORD).expect("writes");
        let settings = BrokerSettings {
            host: "127.0.0.1".into(),
            port: broker.port(),
            username: name,
            password_file,
            ..BrokerSettings::default()
        };
        let login = BrokerLogin::read(&settings).expect("a login");
        (broker, login, folder)
    }

    #[tokio::test]
    async fn what_a_plugin_left_is_cleared_and_nothing_of_others() {
        let (broker, login, _folder) = broker().await;
        let mut client =
            Client::at(broker.port(), "test").login("test", "test").connect().await.expect("connects");
        let leave = async |topic: String| client.publish(&topic, "left", 1, true).await.expect("publishes");
        for n in 0..200 {
            leave(topic::plugin::control_command(&id("focuser"), &format!("deep/{n}"))).await;
        }
        leave(topic::plugin::health(&id("alias"))).await;
        let foreign = topic::plugin::health(&id("focuser2"));
        leave(foreign.clone()).await;
        let names = [id("focuser"), id("alias")];
        assert_eq!(clear(&login, &names).await.expect("clears"), 201);
        assert_eq!(clear(&login, &names).await.expect("finds nothing"), 0);
        client.subscribe(&topic::plugin::all()).await.expect("subscribes");
        let left = client.recv(Duration::from_secs(5)).await.expect("what is another's");
        assert_eq!(left.topic, foreign);
    }
}
