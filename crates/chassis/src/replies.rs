//! Responses: made once, kept in the journal, published until the broker has them.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, Outgoing, PublishError};
use envelope::{Answer, Coordinator, Envelope, ErrorBody, ErrorCode, MessageType, Timestamp};
use store::{Delivered, Journal, Owed};
use tokio::sync::Notify;

use crate::service::Shutdown;

/// How long what cannot be recorded waits for the next try.
pub(crate) const RETRY: Duration = Duration::from_secs(1);

const PAUSE: Duration = Duration::from_millis(500);

/// Most bytes of a response. The broker delivers packets of 1 MiB; beside the response there are up to 64 KiB
/// of correlation data, which is the caller's, and two topics.
const MAX_RESPONSE: usize = 900 * 1024;

/// Gives requests their answers.
#[derive(Clone)]
pub struct Replies {
    coordinator: Coordinator,
    journal: Journal,
    wake: Arc<Notify>,
    shutdown: Shutdown,
}

impl Replies {
    /// Answers to the requests in `journal`.
    pub fn new(coordinator: Coordinator, journal: Journal) -> Self {
        Self { coordinator, journal, wake: Arc::new(Notify::new()), shutdown: Shutdown::new() }
    }

    /// The same, in a coordinator that ends at `shutdown`.
    pub(crate) fn until(self, shutdown: Shutdown) -> Self {
        Self { shutdown, ..self }
    }

    /// The response's bytes, made once. One that no broker would deliver becomes a failure that says so.
    pub(crate) fn encode(
        &self,
        answer: &Answer,
        correlation_id: &str,
        traceparent: Option<String>,
    ) -> Vec<u8> {
        self.response(answer, correlation_id, traceparent).0
    }

    /// The response's bytes, and the failure that they tell.
    fn response<'a>(
        &self,
        answer: &'a Answer,
        correlation_id: &str,
        traceparent: Option<String>,
    ) -> (Vec<u8>, Option<Cow<'a, ErrorBody>>) {
        let encode = |answer: &Answer| {
            Envelope::new(MessageType::Response, format!("coordinator:{}", self.coordinator), answer)
                .correlated(correlation_id)
                .traced(traceparent.clone())
                .encode()
        };
        let bytes = encode(answer);
        if bytes.len() > MAX_RESPONSE {
            tracing::error!(bytes = bytes.len(), correlation_id, "an answer is too large to be delivered");
            let error = too_large(bytes.len());
            return (encode(&Answer::Failure(error.clone())), Some(Cow::Owned(error)));
        }
        let error = match answer {
            Answer::Success(_) => None,
            Answer::Failure(error) => Some(Cow::Borrowed(error)),
        };
        (bytes, error)
    }

    /// Answers a request inside the caller's transaction; [`deliver`](Self::deliver) after the commit. Its
    /// audit record gets the same result in it. A request that has its answer keeps it.
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
        let (response, error) = self.response(answer, correlation_id, traceparent);
        Journal::settle(connection, request_id, &response, error.as_deref(), Timestamp::now()).await?;
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
        let (response, error) = self.response(answer, correlation_id, traceparent);
        self.journal.settle_now(request_id, &response, error.as_deref(), Timestamp::now()).await?;
        self.deliver();
        Ok(())
    }

    /// Answers a request, as soon as that can be recorded: while the database fails, as on a full disk, it is tried again
    /// and each failure told to `fails`. What is not recorded when the coordinator ends stays without an answer, and is
    /// handled again at the next start.
    pub async fn answer_at_last(
        &self,
        request_id: &str,
        answer: &Answer,
        correlation_id: &str,
        traceparent: Option<String>,
        fails: impl Fn(&store::Error) + Send,
    ) {
        while let Err(error) = self.answer(request_id, answer, correlation_id, traceparent.clone()).await {
            fails(&error);
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    /// Says that there are responses to publish.
    pub fn deliver(&self) {
        self.wake.notify_one();
    }

    /// Publishes responses until `shutdown`.
    pub(crate) async fn work(self, bus: Bus, shutdown: Shutdown) {
        // Delivered, and not noted yet: they are not published again for that.
        let mut unnoted = Vec::new();
        loop {
            let pause = match self.publish_owed(&bus, &mut unnoted).await {
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

    async fn publish_owed(&self, bus: &Bus, unnoted: &mut Vec<Delivered>) -> Result<(), String> {
        loop {
            self.note(unnoted).await?;
            let owed = self.journal.owed().await.map_err(|e| e.to_string())?;
            if owed.is_empty() {
                return Ok(());
            }
            for response in owed {
                let delivered = response.delivered();
                let id = response.id.clone();
                if let Err(error) = bus.publish(message(response)).await {
                    // The next life delivers what this one is closed for.
                    if error.is_retryable() || matches!(error, PublishError::Closed { .. }) {
                        return Err(telemetry::chain(&error));
                    }
                    let error = telemetry::chain(&error);
                    tracing::error!(request = id, error, "a response cannot be delivered at all");
                }
                unnoted.push(delivered);
                self.note(unnoted).await?;
            }
        }
    }

    async fn note(&self, unnoted: &mut Vec<Delivered>) -> Result<(), String> {
        while let Some(delivered) = unnoted.last() {
            self.journal.delivered(delivered).await.map_err(|e| e.to_string())?;
            unnoted.pop();
        }
        Ok(())
    }
}

fn too_large(bytes: usize) -> ErrorBody {
    ErrorBody::new(
        ErrorCode::Internal,
        format!(
            "It was done, and the answer has {bytes} bytes, more than the {MAX_RESPONSE} that can be delivered. \
             Ask for less at once."
        ),
    )
}

fn message(owed: Owed) -> Outgoing {
    let mut message = Outgoing::new(owed.response_topic, owed.response);
    message.correlation_data = owed.correlation_data.map(Into::into);
    if let Some(traceparent) = owed.traceparent {
        message = message.with_property(telemetry::TRACEPARENT, traceparent);
    }
    message
}

#[cfg(test)]
mod tests {
    use store::{Received, Store};

    use super::*;

    static MIGRATIONS: store::Migrator = store::Migrator::DEFAULT;

    #[tokio::test]
    async fn an_answer_that_is_never_recorded_holds_up_no_stop() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("x.db"), &MIGRATIONS).await.expect("opens");
        let shutdown = Shutdown::new();
        let replies = Replies::new(Coordinator::Plugin, store.journal()).until(shutdown.clone());
        store.close().await;
        let fails = |_: &store::Error| shutdown.cancel();
        let answer = Answer::Success(serde_json::json!({}));
        let ends = replies.answer_at_last("r", &answer, "c", None, fails);
        tokio::time::timeout(Duration::from_secs(20), ends).await.expect("it ends");
    }

    #[tokio::test]
    async fn what_is_owed_when_the_session_is_closed_is_owed_still() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("x.db"), &MIGRATIONS).await.expect("opens");
        let replies = Replies::new(Coordinator::Plugin, store.journal());
        let received = Received {
            id: "r".into(),
            principal: "operator:ada".into(),
            request_id: Some("r".into()),
            content_hash: "h".into(),
            redelivery: false,
            topic: "t".into(),
            body: b"{}".to_vec(),
            response_topic: "answers".into(),
            correlation_data: None,
            correlation_id: "c".into(),
            traceparent: None,
            received_at: Timestamp::now(),
            expires_at: Timestamp::now().after(Duration::from_secs(60)),
        };
        store.journal().accept(&received).await.expect("accepts");
        replies.answer("r", &Answer::Success(serde_json::json!({})), "c", None).await.expect("settles");
        // A broker that is away, and then a stop.
        let (bus, _inbox) = Bus::connect(bus::Config::new("127.0.0.1", 1, "stopped"));
        bus.clone().shutdown().await;
        replies.publish_owed(&bus, &mut Vec::new()).await.expect_err("it cannot be delivered");
        assert_eq!(store.journal().owed().await.expect("reads").len(), 1);
    }
}
