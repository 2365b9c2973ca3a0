//! The other coordinators and the bus, as the steps use them.

#[cfg(test)]
pub(crate) mod fake;

use std::time::Duration;

use async_trait::async_trait;
use bus::{Delivered, Outgoing, PublishError};
use chassis::config::BrokerLogin;
use chassis::{CallError, Caller};
use envelope::payload::login::{DeprovisionRequest, Deprovisioned, ProvisionRequest, ProvisionResponse};
use envelope::payload::token::{IssueRequest, IssueResponse, RevokeRequest};
use envelope::{Envelope, MessageType, Operation, PluginId, topic};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::leftovers::{self, LeftoversError};

/// How long another coordinator may take to answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// The control command that asks for nothing.
const PING: &str = "ping";
const PING_SOURCE: &str = "coordinator:plugin";
/// What is not delivered by then tells a plugin nothing.
const PING_EXPIRY: Duration = Duration::from_secs(10);

/// What joins a request to the one that caused it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Thread {
    pub(crate) correlation_id: String,
    pub(crate) traceparent: Option<String>,
}

/// The message and the security coordinator. Every request is idempotent by its start: asked again, they do
/// and answer the same.
#[async_trait]
pub(crate) trait Peers: Send + Sync + 'static {
    /// Makes the login of a start.
    async fn provision(
        &self,
        request: ProvisionRequest,
        thread: &Thread,
    ) -> Result<ProvisionResponse, CallError>;

    /// Issues the token of a start.
    async fn issue(&self, request: IssueRequest, thread: &Thread) -> Result<(), CallError>;

    /// Revokes the token of a start.
    async fn revoke(&self, request: RevokeRequest, thread: &Thread) -> Result<(), CallError>;

    /// Takes the login of a start away.
    async fn deprovision(&self, request: DeprovisionRequest, thread: &Thread) -> Result<(), CallError>;

    /// Clears what is retained below these names of a plugin that is gone.
    async fn clear_leftovers(&self, names: &[PluginId]) -> Result<usize, LeftoversError>;

    /// Whether anybody listens to the control topics below any of these names of a plugin, as the broker says.
    async fn ping(&self, names: &[PluginId]) -> Result<bool, PublishError>;

    /// Hears these topics from now on, beside the usual ones.
    fn hear(&self, topics: Vec<String>);
}

/// The real ones.
pub(crate) struct OnTheBus {
    pub(crate) caller: Caller,
    pub(crate) bus: bus::Bus,
    pub(crate) login: BrokerLogin,
}

impl OnTheBus {
    async fn call<T: DeserializeOwned>(
        &self,
        operation: Operation,
        request: impl Serialize + Send,
        thread: &Thread,
    ) -> Result<T, CallError> {
        let traceparent = thread.traceparent.clone();
        self.caller.call(operation, request, &thread.correlation_id, traceparent, DEADLINE).await
    }
}

#[async_trait]
impl Peers for OnTheBus {
    async fn provision(
        &self,
        request: ProvisionRequest,
        thread: &Thread,
    ) -> Result<ProvisionResponse, CallError> {
        self.call(Operation::Provision, request, thread).await
    }

    async fn issue(&self, request: IssueRequest, thread: &Thread) -> Result<(), CallError> {
        let _: IssueResponse = self.call(Operation::Issue, request, thread).await?;
        Ok(())
    }

    async fn revoke(&self, request: RevokeRequest, thread: &Thread) -> Result<(), CallError> {
        let _: serde_json::Value = self.call(Operation::Revoke, request, thread).await?;
        Ok(())
    }

    async fn deprovision(&self, request: DeprovisionRequest, thread: &Thread) -> Result<(), CallError> {
        let _: Deprovisioned = self.call(Operation::Deprovision, request, thread).await?;
        Ok(())
    }

    async fn clear_leftovers(&self, names: &[PluginId]) -> Result<usize, LeftoversError> {
        leftovers::clear(&self.login, names).await
    }

    async fn ping(&self, names: &[PluginId]) -> Result<bool, PublishError> {
        ping(&self.bus, names).await
    }

    fn hear(&self, topics: Vec<String>) {
        let bus = self.bus.clone();
        tokio::spawn(async move {
            if let Err(error) = bus.subscribe(&topics).await {
                tracing::warn!(error = telemetry::chain(&error), "a topic is not heard");
            }
        });
    }
}

async fn ping(bus: &bus::Bus, names: &[PluginId]) -> Result<bool, PublishError> {
    let payload = Envelope::new(MessageType::Command, PING_SOURCE, json!({})).encode();
    for name in names {
        let message = Outgoing::new(topic::plugin::control_command(name, PING), payload.clone())
            .content_type("application/json")
            .expires_in(PING_EXPIRY);
        // MQTT 5, 3.4.2.1: 0x10 is answered when the message matches no subscription.
        if bus.publish(message).await? != Delivered::Nobody {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::{Broker, Client, Identities};

    fn id(text: &str) -> PluginId {
        PluginId::parse(text).expect("an id")
    }

    #[tokio::test]
    async fn the_broker_says_whether_anybody_listens_below_id_or_alias() {
        let identities = Identities::new().admin("test", "test").build();
        let broker = Broker::with_identities(identities).await;
        let config =
            bus::Config::new("127.0.0.1", broker.port(), "coordinator.plugin.test").login("test", "test");
        let (bus, _inbox) = bus::Bus::connect(config);
        let names = [id("guid"), id("focuser")];
        assert!(!ping(&bus, &names).await.expect("an answer"));
        for name in &names {
            let mut plugin = Client::at(broker.port(), name.as_str())
                .login("test", "test")
                .connect()
                .await
                .expect("connects");
            assert!(!ping(&bus, &names).await.expect("an answer"), "it is connected, and deaf");
            // A grant to listen to all of its own is a filter with a wildcard.
            plugin.subscribe(&topic::plugin::control(name)).await.expect("subscribes");
            assert!(ping(&bus, &names).await.expect("an answer"));
            let heard = plugin.recv(Duration::from_secs(5)).await.expect("the ping");
            assert_eq!(heard.topic, topic::plugin::control_command(name, "ping"));
            let message: Envelope<serde_json::Value> =
                serde_json::from_slice(&heard.payload).expect("an envelope");
            assert_eq!((message.kind, message.source.as_str()), (MessageType::Command, PING_SOURCE));
            plugin.disconnect().await;
            testkit::eventually(Duration::from_secs(5), || async {
                match ping(&bus, &names).await {
                    Ok(false) => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await;
        }
        bus.shutdown().await;
    }
}
