//! Responses: made once, kept in the journal, published until the broker has them.

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, Outgoing};
use envelope::{Answer, Coordinator, Envelope, MessageType, Timestamp};
use store::{Journal, Owed};
use tokio::sync::Notify;

use crate::service::Shutdown;

const PAUSE: Duration = Duration::from_millis(500);

/// Gives requests their answers.
#[derive(Clone)]
pub struct Replies {
    coordinator: Coordinator,
    journal: Journal,
    wake: Arc<Notify>,
}

impl Replies {
    /// Answers to the requests in `journal`.
    pub fn new(coordinator: Coordinator, journal: Journal) -> Self {
        Self { coordinator, journal, wake: Arc::new(Notify::new()) }
    }

    /// The response's bytes, made once.
    pub(crate) fn encode(
        &self,
        answer: &Answer,
        correlation_id: &str,
        traceparent: Option<String>,
    ) -> Vec<u8> {
        Envelope::new(MessageType::Response, format!("coordinator:{}", self.coordinator), answer)
            .correlated(correlation_id)
            .traced(traceparent)
            .encode()
    }

    /// Answers a request inside the caller's transaction; [`deliver`](Self::deliver) after the commit.
    /// A request that has its answer keeps it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn settle(
        &self,
        connection: &mut store::Connection,
        request_id: &str,
        answer: &Answer,
        correlation_id: &str,
        traceparent: Option<String>,
    ) -> Result<(), store::Error> {
        let response = self.encode(answer, correlation_id, traceparent);
        let success = matches!(answer, Answer::Success(_));
        Journal::settle(connection, request_id, &response, success, Timestamp::now()).await?;
        Ok(())
    }

    /// Answers a request at once.
    ///
    /// # Errors
    /// The database failed.
    pub async fn answer(
        &self,
        request_id: &str,
        answer: &Answer,
        correlation_id: &str,
        traceparent: Option<String>,
    ) -> Result<(), store::Error> {
        let response = self.encode(answer, correlation_id, traceparent);
        let success = matches!(answer, Answer::Success(_));
        self.journal.settle_now(request_id, &response, success, Timestamp::now()).await?;
        self.deliver();
        Ok(())
    }

    /// Says that there are responses to publish.
    pub fn deliver(&self) {
        self.wake.notify_one();
    }

    /// Publishes responses until `shutdown`.
    pub(crate) async fn work(self, bus: Bus, shutdown: Shutdown) {
        loop {
            let pause = match self.publish_owed(&bus).await {
                Ok(()) => None,
                Err(error) => {
                    tracing::warn!(error, "responses are owed and cannot be delivered yet");
                    Some(PAUSE)
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.wake.notified(), if pause.is_none() => {}
                () = tokio::time::sleep(pause.unwrap_or(Duration::from_secs(30))) => {}
            }
        }
    }

    async fn publish_owed(&self, bus: &Bus) -> Result<(), String> {
        loop {
            let owed = self.journal.owed().await.map_err(|e| e.to_string())?;
            if owed.is_empty() {
                return Ok(());
            }
            for response in owed {
                let id = response.id.clone();
                if let Err(error) = bus.publish(message(response)).await {
                    if error.is_retryable() {
                        return Err(telemetry::chain(&error));
                    }
                    let error = telemetry::chain(&error);
                    tracing::error!(request = id, error, "a response cannot be delivered at all");
                }
                self.journal.delivered(&id).await.map_err(|e| e.to_string())?;
            }
        }
    }
}

fn message(owed: Owed) -> Outgoing {
    let mut message = Outgoing::new(owed.response_topic, owed.response);
    message.correlation_data = owed.correlation_data.map(Into::into);
    if let Some(traceparent) = owed.traceparent {
        message = message.with_property(telemetry::TRACEPARENT, traceparent);
    }
    message
}
