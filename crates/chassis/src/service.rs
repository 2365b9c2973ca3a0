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

    /// Handles a request. Requests about one plugin come one after another, in the order of their arrival.
    ///
    /// # Errors
    /// The request is not done, with what the caller is told.
    async fn handle(&self, permit: Permit, request: Request) -> Result<Reply, ErrorBody>;

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
            ErrorBody::new(
                ErrorCode::BadRequest,
                format!("The request's payload cannot be used: {e}. See the schema of the operation."),
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
