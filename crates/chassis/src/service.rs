//! What a coordinator is to the chassis, and what the chassis gives it.

use std::sync::Arc;

use async_trait::async_trait;
use envelope::{Coordinator, ErrorBody, ErrorCode, InstanceId, Operation, Principal};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use store::{Migrator, Store};

use crate::caller::Caller;
use crate::config::Section;
use crate::health::HealthBoard;
use crate::publisher::Publisher;
use crate::replies::Replies;

pub use bus::Delivery;
pub use tokio_util::sync::CancellationToken as Shutdown;

/// A coordinator.
#[async_trait]
pub trait Service: Sized + Send + Sync + 'static {
    /// Which one.
    const COORDINATOR: Coordinator;
    /// Its own section of the configuration.
    type Settings: Section;

    /// The migrations of its own tables; their versions are 1000 and above.
    fn migrations() -> &'static Migrator;

    /// Makes it. The sessions with the broker may not be up yet, so nothing here waits for them.
    ///
    /// # Errors
    /// It cannot work at all; the process ends with this error.
    async fn build(settings: Self::Settings, parts: Parts) -> anyhow::Result<Arc<Self>>;

    /// The filters of the topics that it watches, beside its requests.
    fn watches(&self) -> Vec<String>;

    /// Takes a message of a watched topic. Messages come one after another, so this must not wait for
    /// anything slow.
    async fn observe(&self, delivery: Delivery);

    /// Hears that the telemetry session came up or went down: what happened while it was down was not seen.
    async fn link_changed(&self, _up: bool) {}

    /// Hears that the security coordinator has none of the keys any more that it signed with: it lost what it knew, and
    /// no token that is out is worth anything.
    async fn keys_replaced(&self) {}

    /// Handles a request. Requests about one plugin come one after another, in the order of their arrival.
    ///
    /// # Errors
    /// The request is not done, with what the caller is told.
    async fn handle(&self, permit: Permit, request: Request) -> Result<Reply, ErrorBody>;

    /// Whether a request, by its key, has begun what its answer tells the end of: [`Reply::Later`] was the answer to it
    /// before a restart. It is not handled again then, and does not expire. None while that cannot be found out: it is
    /// asked again.
    async fn has_begun(&self, _request_id: &str) -> Option<bool> {
        Some(false)
    }

    /// Hears that `principal` has asked more often than is allowed for 10 seconds without a pause, and again
    /// every 10 seconds while it goes on. What it asked over its bound was refused before anything was done.
    async fn flooding(&self, _principal: &Principal) {}

    /// Works in the background until `shutdown`, then drains.
    async fn run(self: Arc<Self>, shutdown: Shutdown);
}

/// What the chassis gives a coordinator.
#[derive(Clone)]
pub struct Parts {
    /// This process among the coordinator's replicas.
    pub instance: InstanceId,
    /// The coordinator's database.
    pub store: Store,
    /// Events and retained topics.
    pub publisher: Publisher,
    /// What the coordinator waits for.
    pub health: HealthBoard,
    /// Requests to other coordinators.
    pub caller: Caller,
    /// Answers to requests that took longer than their handler.
    pub replies: Replies,
    /// The telemetry session, to watch more topics than those of [`Service::watches`].
    pub bus: bus::Bus,
    /// Where the broker is and how to log in, for a session of the coordinator's own.
    pub broker: crate::config::BrokerLogin,
    /// Verifies tokens with the keys that the security coordinator publishes.
    pub verifier: token::Verifier,
}

/// Proof that the router let this principal ask for this operation. Only the router makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    principal: Principal,
    operation: Operation,
}

impl Permit {
    pub(crate) fn new(principal: Principal, operation: Operation) -> Self {
        Self { principal, operation }
    }

    /// A permit that no router has made, for tests of handlers.
    #[cfg(feature = "testing")]
    pub fn for_test(principal: Principal, operation: Operation) -> Self {
        Self::new(principal, operation)
    }

    /// Who asks.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// For what.
    pub fn operation(&self) -> Operation {
        self.operation
    }
}

/// A request that was let in.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its row in the journal: where a later answer goes.
    pub id: String,
    /// Joins everything that comes of it.
    pub correlation_id: String,
    /// Trace context to send on.
    pub traceparent: Option<String>,
    /// What it says.
    pub payload: Value,
}

impl Request {
    /// The payload as what the operation takes.
    ///
    /// # Errors
    /// `bad_request`, with what is wrong with it.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ErrorBody> {
        T::deserialize(&self.payload).map_err(|e| {
            let reason = without_values(&e);
            ErrorBody::new(
                ErrorCode::BadRequest,
                format!("The request's payload cannot be used: {reason}. See the schema of the operation."),
            )
        })
    }
}

/// What a handler answers.
#[derive(Debug)]
pub enum Reply {
    /// The answer's data.
    Now(Value),
    /// The answer comes when the recorded operation ends, through [`Replies`].
    Later,
}

impl Reply {
    /// The answer's data, from what the operation answers.
    pub fn now(data: &impl Serialize) -> Self {
        Self::Now(serde_json::to_value(data).expect("payload types have string keys"))
    }
}

/// What is wrong with a payload, without any value of it: that may be a password in the wrong form, and what a
/// caller is told is also logged and recorded.
pub(crate) fn without_values(error: &serde_json::Error) -> String {
    let told = error.to_string();
    let quotes =
        ["invalid type: ", "invalid value: ", "invalid length ", "unknown variant ", "unknown field "]
            .iter()
            .any(|beginning| told.starts_with(beginning));
    // What was expected comes last and is ours; what comes before it is the caller's.
    match told.rfind("expected ") {
        Some(at) if quotes => told[at..].to_owned(),
        None if quotes => "it has another form than the operation takes".to_owned(),
        _ => told,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its form matters")]
    struct Account {
        name: String,
        #[serde(default)]
        role: Option<envelope::OperatorRole>,
        #[serde(default)]
        password: Option<String>,
    }

    #[test]
    fn what_is_wrong_with_a_payload_is_told_without_its_values() {
        for payload in [
            json!({"name": "ann", "password": 47_114_711}),
            json!({"name": "ann", "password": ["expected 47114711"]}),
            json!({"name": "ann", "role": "47114711, expected 47114711"}),
            json!({"name": "ann", "47114711": 1}),
            json!("47114711"),
        ] {
            let request = Request {
                id: String::new(),
                correlation_id: String::new(),
                traceparent: None,
                payload: payload.clone(),
            };
            let told = request.parse::<Account>().expect_err("refused").message;
            assert!(told.contains("expected ") && !told.contains("47114711"), "{payload}: {told}");
        }
    }

    #[test]
    fn a_missing_field_is_named() {
        let error = serde_json::from_value::<Account>(json!({})).expect_err("refused");
        assert_eq!(without_values(&error), "missing field `name`");
    }
}
