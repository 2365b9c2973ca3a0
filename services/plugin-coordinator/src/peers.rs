//! The other coordinators and the bus, as the steps use them.

use std::time::Duration;

use async_trait::async_trait;
use chassis::{CallError, Caller};
use envelope::Operation;
use envelope::payload::login::{DeprovisionRequest, Deprovisioned, ProvisionRequest, ProvisionResponse};
use envelope::payload::token::{IssueRequest, IssueResponse, RevokeRequest};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How long another coordinator may take to answer.
const DEADLINE: Duration = Duration::from_secs(10);

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

    /// Hears these topics from now on, beside the usual ones.
    fn hear(&self, topics: Vec<String>);
}

/// The real ones.
pub(crate) struct OnTheBus {
    pub(crate) caller: Caller,
    pub(crate) bus: bus::Bus,
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

    fn hear(&self, topics: Vec<String>) {
        let bus = self.bus.clone();
        tokio::spawn(async move {
            if let Err(error) = bus.subscribe(&topics).await {
                tracing::warn!(error = telemetry::chain(&error), "a topic is not heard");
            }
        });
    }
}
