//! Serving: whoever was let in is authorised, handed to the service in its turn, and answered.

use std::sync::Arc;
use std::time::Duration;

use bus::{Delivery, Outgoing};
use envelope::message::{Incoming as Decoded, decode};
use envelope::topic::RequestTopic;
use envelope::{Answer, ErrorBody, Operation, OperatorRole, Timestamp};
use serde_json::Value;
use store::Accepted;
use store::audit::is_refusal;
use tracing::{Instrument, Span, field};

use super::received::{Validity, bad_request, expired, lay};
use super::{Router, fresh, shortened};
use crate::audit;
use crate::contained::contained;
use crate::flood::InHand;
use crate::refusal::{authorise, internal};
use crate::replies::RETRY;
use crate::service::{Permit, Reply, Request, Service};
use crate::turns::Turns;

/// How long a request with a token waits for keys and revocations.
const KEYS: Duration = Duration::from_secs(30);

impl<S: Service> Router<S> {
    /// Serves a journalled request in its turn, and answers it through the journal.
    pub(super) fn queue(self: &Arc<Self>, accepted: Accepted, in_hand: Option<InHand>, turns: &mut Turns) {
        self.queue_as(accepted, in_hand, false, turns);
    }

    /// The same for one that was accepted before a restart.
    pub(super) fn queue_again(self: &Arc<Self>, accepted: Accepted, turns: &mut Turns) {
        self.queue_as(accepted, None, true, turns);
    }

    fn queue_as(
        self: &Arc<Self>,
        accepted: Accepted,
        in_hand: Option<InHand>,
        again: bool,
        turns: &mut Turns,
    ) {
        let Some(topic) = RequestTopic::parse(&accepted.topic) else { return };
        let (payload, token, until) = match decode(&accepted.body) {
            Ok(Decoded::Enveloped(envelope)) => (envelope.payload, envelope.token, envelope.expires_at),
            Ok(Decoded::Raw(payload)) => (payload, None, None),
            Err(error) => return tracing::error!(%error, "a journalled request cannot be decoded"),
        };
        let request = Request {
            id: accepted.id,
            correlation_id: accepted.correlation_id,
            traceparent: accepted.traceparent,
            payload,
        };
        let validity = Validity { until, came: accepted.received_at, expires: accepted.expires_at };
        let key = turn(&topic, &request.payload);
        let router = self.clone();
        turns.queue(&key, &self.tasks, async move {
            let _until_answered = in_hand;
            let (id, correlation_id) = (request.id.clone(), request.correlation_id.clone());
            if again && router.goes_on(&id).await {
                return;
            }
            let (result, traceparent) = if again && validity.is_over(Timestamp::now()) {
                (Err(lay()), request.traceparent)
            } else {
                if token.is_some() && !router.keys().await {
                    return;
                }
                router.clone().serve(&topic, token, request).await
            };
            let answer = match result {
                Ok(Reply::Later) => return,
                Ok(Reply::Now(data)) => Answer::Success(data),
                Err(error) => {
                    if is_refusal(error.code) {
                        router.report_refusal(&topic, &error, &correlation_id);
                    }
                    Answer::Failure(error)
                }
            };
            let fails = |error: &store::Error| router.says_trouble(error);
            router.replies.answer_at_last(&id, &answer, &correlation_id, traceparent, fails).await;
        });
    }

    /// Whether somebody else answers a request that is taken up again: its operation at its end, or the next life.
    async fn goes_on(&self, id: &str) -> bool {
        loop {
            if let Some(begun) = self.service.has_begun(id).await {
                return begun;
            }
            tokio::select! {
                () = self.shutdown.cancelled() => return true,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    /// Waits for what tokens are verified with: right after a start, or after the telemetry session was down, it has not
    /// come yet. False when the coordinator is stopped meanwhile: then the request is the next life's.
    async fn keys(&self) -> bool {
        let ready = async {
            while !self.verifier.is_ready() {
                tokio::time::sleep(RETRY).await;
            }
        };
        tokio::select! {
            () = self.shutdown.cancelled() => return false,
            waited = tokio::time::timeout(KEYS, ready) => if waited.is_err() {
                tracing::warn!("no keys have come: a request with a token is refused");
            }
        }
        true
    }

    /// Serves a request of another coordinator in its turn, and answers it once. It is acknowledged when it is
    /// answered, and in the audit trail only when it is refused.
    pub(super) fn queue_internal(
        self: &Arc<Self>,
        topic: RequestTopic,
        delivery: Delivery,
        turns: &mut Turns,
    ) {
        let now = Timestamp::now();
        let decoded = decode(&delivery.payload);
        let (payload, correlation_id, traceparent, expires_at) = match decoded {
            Ok(Decoded::Enveloped(e)) => {
                (Ok(e.payload), e.correlation_id.unwrap_or(e.id), e.traceparent, e.expires_at)
            }
            Ok(Decoded::Raw(payload)) => (Ok(payload), fresh(), None, None),
            Err(error) => (Err(bad_request(&error, &delivery.payload)), fresh(), None, None),
        };
        let late = expires_at.is_some_and(|at| at < now);
        let payload = payload.and_then(|payload| if late { Err(expired()) } else { Ok(payload) });
        let key = payload.as_ref().map(|payload| turn(&topic, payload)).unwrap_or_default();
        let target = payload.as_ref().ok().and_then(audit::target).map(str::to_owned);
        let router = self.clone();
        turns.queue(&key, &self.tasks, async move {
            let at_the_door = payload.is_err();
            let (result, traceparent) = match payload {
                Err(error) => (Err(error), traceparent),
                Ok(payload) => {
                    let request =
                        Request { id: fresh(), correlation_id: correlation_id.clone(), traceparent, payload };
                    router.clone().serve(&topic, None, request).await
                }
            };
            let answer = match result {
                Ok(Reply::Now(data)) => Answer::Success(data),
                Ok(Reply::Later) => {
                    Answer::Failure(internal(&std::io::Error::other("an internal answer came too late")))
                }
                Err(error) => {
                    if at_the_door || is_refusal(error.code) {
                        router.record_refusal(&topic, target.as_deref(), &error, &correlation_id, 1).await;
                    }
                    Answer::Failure(error)
                }
            };
            let response = router.replies.encode(&answer, &correlation_id, traceparent);
            let mut message = Outgoing::new(topic.response(), response);
            message.correlation_data = delivery.correlation_data.clone();
            if let Err(error) = router.bus.publish(message).await {
                tracing::warn!(error = telemetry::chain(&error), "an internal answer was not delivered");
            }
            delivery.ack().await;
        });
    }

    /// Authorises and handles one request, and logs it once. Returns the trace context to answer with.
    async fn serve(
        self: Arc<Self>,
        topic: &RequestTopic,
        token: Option<String>,
        request: Request,
    ) -> (Result<Reply, ErrorBody>, Option<String>) {
        let span = tracing::info_span!(
            "handler",
            operation = shortened(&topic.operation),
            principal = %topic.caller,
            plugin_id = field::Empty,
            correlation_id = request.correlation_id,
            trace_id = field::Empty,
        );
        if let Some(id) = request.payload["plugin_id"].as_str() {
            span.record("plugin_id", shortened(id));
        }
        telemetry::join(&span, request.traceparent.as_deref());
        let traceparent = telemetry::traceparent(&span);
        let request = Request { traceparent: traceparent.clone(), ..request };
        let work = async {
            let permit = authorise(topic, token.as_deref(), &self.verifier, Timestamp::now())?;
            self.handle(permit, request).await
        };
        let result = match contained(work.instrument(span.clone())).await {
            Ok(result) => result,
            Err(panicked) => Err(span.in_scope(|| internal(&panicked))),
        };
        log(&span, &result);
        (result, traceparent)
    }

    async fn handle(&self, permit: Permit, request: Request) -> Result<Reply, ErrorBody> {
        match permit.operation() {
            Operation::Audit => audit::handle(S::COORDINATOR, &self.store, &request).await,
            _ => self.service.handle(permit, request).await,
        }
    }
}

/// Whose turn it is: orders about one plugin or account come one after another, whoever gives them. Questions about it
/// wait only for those that the same caller asked before, so that nobody's questions delay an order; so does what is
/// about neither.
fn turn(topic: &RequestTopic, payload: &Value) -> String {
    let named = |field: &str| payload[field].as_str().filter(|name| name.len() <= 64);
    let caller = &topic.caller;
    let about = match (named("plugin_id"), named("name")) {
        (Some(plugin), _) => plugin.to_owned(),
        (None, Some(account)) => format!("account {account}"),
        (None, None) => return format!("caller {caller}"),
    };
    // What the role may ask that may ask least changes nothing.
    let reads = topic.known_operation().is_some_and(|operation| operation.is_open_to(OperatorRole::Viewer));
    if reads { format!("{about} for {caller}") } else { about }
}

fn log(span: &Span, result: &Result<Reply, ErrorBody>) {
    let _entered = span.enter();
    match result {
        Ok(Reply::Now(_)) => tracing::info!("answered"),
        Ok(Reply::Later) => tracing::info!("accepted"),
        Err(error) => tracing::warn!(code = error.code.as_str(), reason = error.message, "refused"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_only_reads_waits_for_no_order_and_holds_none_up() {
        let key = |topic: &str, payload: Value| {
            turn(&RequestTopic::parse(topic).expect("a request's topic"), &payload)
        };
        let about = || json!({"plugin_id": "cam"});
        let stop = key("bigskies/operator/ann/request/plugin/stop", about());
        assert_eq!(key("bigskies/operator/bob/request/plugin/start", about()), stop);
        assert_eq!(key("bigskies/coordinator/plugin/start", about()), stop);
        let logs = key("bigskies/plugin/cam/request/plugin/logs", about());
        assert!(logs != stop);
        assert_eq!(key("bigskies/plugin/cam/request/plugin/inspect", about()), logs);
        assert!(key("bigskies/operator/ann/request/plugin/logs", about()) != logs);
        let list = |name: &str| key(&format!("bigskies/operator/{name}/request/plugin/list"), json!({}));
        assert!(list("ann") != list("bob"));
    }
}
