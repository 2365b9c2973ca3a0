//! Requests of a coordinator to another one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::{Bus, Delivered, Outgoing};
use envelope::topic::RequestTopic;
use envelope::{
    Answer, Coordinator, Envelope, ErrorBody, ErrorCode, MessageType, Operation, Principal, Timestamp,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

/// Asks other coordinators.
#[derive(Clone)]
pub struct Caller {
    coordinator: Coordinator,
    bus: Bus,
    pending: Arc<Mutex<HashMap<String, oneshot::Sender<Answer>>>>,
}

/// Why there is no answer, or no good one.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens to the request.
    #[error("the {callee} coordinator is not there to {operation}")]
    Absent {
        /// Who was asked.
        callee: Coordinator,
        /// For what.
        operation: Operation,
    },
    /// The broker did not take the request.
    #[error("the request to {operation} did not reach the {callee} coordinator")]
    Publish {
        /// Who was asked.
        callee: Coordinator,
        /// For what.
        operation: Operation,
        /// What went wrong.
        #[source]
        source: Box<bus::PublishError>,
    },
    /// No answer came in time.
    #[error("the {callee} coordinator did not answer {operation} within {} s", after.as_secs())]
    TimedOut {
        /// Who was asked.
        callee: Coordinator,
        /// For what.
        operation: Operation,
        /// How long it was waited for.
        after: Duration,
    },
    /// The other one said no.
    #[error("the {callee} coordinator refused to {operation}")]
    Refused {
        /// Who was asked.
        callee: Coordinator,
        /// For what.
        operation: Operation,
        /// What it said.
        #[source]
        source: ErrorBody,
    },
    /// The answer is not one.
    #[error("the {callee} coordinator's answer to {operation} cannot be used")]
    Answer {
        /// Who was asked.
        callee: Coordinator,
        /// For what.
        operation: Operation,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl CallError {
    /// Whether the same request may succeed later without anything being changed.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Absent { .. } | Self::TimedOut { .. } => true,
            Self::Publish { source, .. } => source.is_retryable(),
            Self::Refused { source, .. } => matches!(
                source.code,
                ErrorCode::DependencyUnavailable | ErrorCode::Internal | ErrorCode::TimedOut
            ),
            Self::Answer { .. } => false,
        }
    }
}

impl Caller {
    pub(crate) fn new(coordinator: Coordinator, bus: Bus) -> Self {
        Self { coordinator, bus, pending: Arc::default() }
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<Answer>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for an internal `operation` and waits up to `deadline` for the answer. Internal operations are
    /// idempotent, so a caller without an answer asks again.
    ///
    /// # Errors
    /// There is no answer, or it is a refusal.
    pub async fn call<T: DeserializeOwned>(
        &self,
        operation: Operation,
        payload: impl Serialize,
        correlation_id: &str,
        traceparent: Option<String>,
        deadline: Duration,
    ) -> Result<T, CallError> {
        let callee = operation.coordinator();
        let topic = RequestTopic::new(Principal::Coordinator(self.coordinator), operation);
        let mut request =
            Envelope::new(MessageType::Request, format!("coordinator:{}", self.coordinator), payload)
                .correlated(correlation_id)
                .traced(traceparent);
        request.expires_at = Some(Timestamp::now().after(deadline));
        let id = request.id.clone();
        let (sender, receiver) = oneshot::channel();
        self.pending().insert(id.clone(), sender);
        let _forget = Forget { caller: self, id: &id };
        let message = Outgoing::new(topic.to_string(), request.encode())
            .expires_in(deadline)
            .correlated_by(id.clone().into_bytes());
        let exchange = async {
            match self.bus.publish(message).await {
                Ok(Delivered::Subscribers | Delivered::Unconfirmed) => Ok(receiver.await),
                Ok(Delivered::Nobody) => Err(CallError::Absent { callee, operation }),
                Err(source) => Err(CallError::Publish { callee, operation, source: Box::new(source) }),
            }
        };
        let timed_out = CallError::TimedOut { callee, operation, after: deadline };
        match tokio::time::timeout(deadline, exchange).await {
            Ok(Ok(Ok(Answer::Success(data)))) => {
                serde_json::from_value(data).map_err(|source| CallError::Answer { callee, operation, source })
            }
            Ok(Ok(Ok(Answer::Failure(source)))) => Err(CallError::Refused { callee, operation, source }),
            Ok(Err(error)) => Err(error),
            Ok(Ok(Err(_))) | Err(_) => Err(timed_out),
        }
    }

    /// Hands an answer to whoever waits for it.
    pub(crate) fn answered(&self, delivery: &bus::Delivery) {
        let Some(id) = delivery.correlation_data.as_ref().and_then(|d| std::str::from_utf8(d).ok()) else {
            return tracing::warn!(topic = delivery.topic, "an answer without correlation is ignored");
        };
        match serde_json::from_slice::<Envelope<Answer>>(&delivery.payload) {
            Ok(response) => {
                if let Some(waiting) = self.pending().remove(id) {
                    // Whoever waited may just have given up.
                    let _ = waiting.send(response.payload);
                }
            }
            Err(error) => {
                tracing::warn!(topic = delivery.topic, %error, "an answer cannot be decoded");
            }
        }
    }
}

struct Forget<'a> {
    caller: &'a Caller,
    id: &'a str,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.caller.pending().remove(self.id);
    }
}
