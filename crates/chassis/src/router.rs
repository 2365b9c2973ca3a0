//! The request session: decode, tell repeats, record, acknowledge, authorise, hand over, answer.
//!
//! A request is acknowledged to the broker when it is in the journal, and not before. Requests between
//! coordinators are not journalled: they are idempotent, their caller asks again, and their answers hold
//! secrets that are not to be written down.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use bus::{Bus, Inbox, Incoming, Outgoing};
use envelope::message::{Incoming as Decoded, decode};
use envelope::payload::event::{Event, EventKind};
use envelope::topic::RequestTopic;
use envelope::{Answer, ErrorBody, ErrorCode, PluginId, Principal, Timestamp, topic};
use serde_json::{Value, json};
use store::{Acceptance, Accepted, Received, Store};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span, field};

use crate::health::{Condition, HealthBoard};
use crate::publisher::Publisher;
use crate::refusal::{authorise, internal};
use crate::replies::Replies;
use crate::service::{Delivery, Reply, Request, Service, Shutdown};
use crate::turns::Turns;

/// How long a request is valid that says nothing about it, while nobody takes it.
const VALID: Duration = Duration::from_secs(60);
const LAST_UP: &str = "request_session_last_up";

pub(crate) struct Router<S> {
    pub(crate) service: Arc<S>,
    pub(crate) store: Store,
    pub(crate) bus: Bus,
    pub(crate) replies: Replies,
    pub(crate) publisher: Publisher,
    pub(crate) health: HealthBoard,
    pub(crate) verifier: token::Verifier,
    pub(crate) tasks: TaskTracker,
}

/// The message in the session after which everything was sent while we were connected.
struct Marker {
    id: String,
    away: Duration,
}

impl<S: Service> Router<S> {
    pub(crate) async fn work(self, mut inbox: Inbox, shutdown: Shutdown) {
        let router = Arc::new(self);
        let mut turns = Turns::default();
        let mut marker = None;
        let mut last_up = router.last_up().await;
        router.resume(&mut turns).await;
        let mut tick = tokio::time::interval(Duration::from_secs(10));
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                _ = tick.tick() => {
                    if router.bus.link().borrow().is_up() {
                        last_up = Some(Timestamp::now());
                        router.tick().await;
                    }
                }
                incoming = inbox.recv() => match incoming {
                    None => break,
                    Some(Incoming::Connected { session_present }) => {
                        router.health.set("broker", Condition::Good);
                        marker = session_present.then(|| router.mark(last_up)).flatten();
                    }
                    Some(Incoming::Disconnected { reason }) => {
                        router.health.set("broker", Condition::Unhealthy(reason));
                    }
                    Some(Incoming::Refused { filter, reason }) => {
                        tracing::error!(filter, reason, "the broker refuses a subscription");
                        let why = format!("refuses the subscription to {filter}: {reason}");
                        router.health.set("broker roles", Condition::Unhealthy(why));
                    }
                    Some(Incoming::Message(delivery)) => {
                        if delivery.topic == topic::coordinator::marker(S::COORDINATOR) {
                            marker = marker.take_if(|m: &mut Marker| delivery.payload != m.id);
                            delivery.ack().await;
                        } else {
                            let away = marker.as_ref().map(|m| m.away);
                            router.take(delivery, away, &mut turns).await;
                        }
                    }
                }
            }
        }
        router.tick().await;
    }

    async fn last_up(&self) -> Option<Timestamp> {
        let text = self.store.meta(LAST_UP).await.ok().flatten()?;
        text.parse().ok()
    }

    /// Notes that the session is up, and forgets requests that are old enough.
    async fn tick(&self) {
        let now = Timestamp::now();
        let noted = self.store.set_meta(LAST_UP, &now.to_string()).await;
        let forgotten = self.store.journal().forget(now).await;
        let condition = match noted.and(forgotten.map(|_| ())) {
            Ok(()) => Condition::Good,
            Err(e) => Condition::Unhealthy(format!("the database cannot be written: {e}")),
        };
        self.health.set("store", condition);
    }

    /// Sends a message through the broker to ourselves, when what is queued before it can be too old.
    fn mark(self: &Arc<Self>, last_up: Option<Timestamp>) -> Option<Marker> {
        let away = last_up.map_or(Duration::MAX, |at| Timestamp::now().since(at));
        if away <= VALID {
            return None;
        }
        let id = uuid::Uuid::now_v7().to_string();
        let message = Outgoing::new(topic::coordinator::marker(S::COORDINATOR), id.clone().into_bytes());
        let bus = self.bus.clone();
        self.tasks.spawn(async move {
            if let Err(error) = bus.publish(message).await {
                tracing::warn!(error = telemetry::chain(&error), "the marker was not sent");
            }
        });
        Some(Marker { id, away })
    }

    /// Takes up what was accepted and not answered before a restart.
    async fn resume(self: &Arc<Self>, turns: &mut Turns) {
        match self.store.journal().unanswered().await {
            Ok(open) => {
                for accepted in open {
                    tracing::info!(correlation_id = accepted.correlation_id, "a request is taken up again");
                    self.queue(accepted, turns);
                }
            }
            Err(error) => {
                tracing::error!(%error, "the journal cannot be read");
                self.health
                    .set("store", Condition::Unhealthy(format!("the journal cannot be read: {error}")));
            }
        }
    }

    async fn take(self: &Arc<Self>, delivery: Delivery, away: Option<Duration>, turns: &mut Turns) {
        let Some(topic) = RequestTopic::parse(&delivery.topic) else {
            tracing::warn!(topic = delivery.topic, "a message that is no request is ignored");
            return delivery.ack().await;
        };
        if delivery.retain {
            tracing::warn!(topic = delivery.topic, "a retained request is ignored");
            return delivery.ack().await;
        }
        if matches!(topic.caller, Principal::Coordinator(_)) {
            return self.queue_internal(topic, delivery, turns);
        }
        let received = match receive(&topic, &delivery, away, Timestamp::now()) {
            Ok(received) => received,
            Err(error) => {
                self.refuse(&topic, &delivery, error);
                return delivery.ack().await;
            }
        };
        match self.store.journal().accept(&received).await {
            Ok(Acceptance::New) => {
                let accepted = Accepted {
                    id: received.id,
                    topic: received.topic,
                    body: received.body,
                    correlation_id: received.correlation_id,
                    traceparent: received.traceparent,
                };
                self.queue(accepted, turns);
            }
            Ok(Acceptance::Pending) => {}
            Ok(Acceptance::Answered) => self.replies.deliver(),
            Ok(Acceptance::Conflict) => {
                let error = ErrorBody::new(
                    ErrorCode::Conflict,
                    "Another request with this id and other content came before. Give each request an id \
                     of its own; only a repeat of the same request may repeat it.",
                );
                self.refuse(&topic, &delivery, error);
            }
            Err(error) => {
                // Not acknowledged: the broker delivers it again in the next session.
                tracing::error!(%error, "a request cannot be recorded");
                self.health.set("store", Condition::Unhealthy(format!("cannot record requests: {error}")));
                return;
            }
        }
        delivery.ack().await;
    }

    /// Answers a request that was not accepted, and reports it.
    fn refuse(self: &Arc<Self>, topic: &RequestTopic, delivery: &Delivery, error: ErrorBody) {
        let correlation_id = loose_correlation(delivery);
        self.report_refusal(topic, &error, &correlation_id);
        let response = self.replies.encode(&Answer::Failure(error), &correlation_id, None);
        let mut message = Outgoing::new(topic.response(), response);
        message.correlation_data = delivery.correlation_data.clone();
        let bus = self.bus.clone();
        self.tasks.spawn(async move {
            if let Err(error) = bus.publish(message).await {
                tracing::warn!(error = telemetry::chain(&error), "a refusal was not delivered");
            }
        });
    }

    fn report_refusal(&self, topic: &RequestTopic, error: &ErrorBody, correlation_id: &str) {
        let event = Event {
            event: EventKind::Refused,
            plugin_id: match &topic.caller {
                Principal::Plugin(id) => Some(id.clone()),
                _ => None,
            },
            operation_id: None,
            message: error.message.clone(),
            cause: format!("{} asked for {}", topic.caller, shortened(&topic.operation)),
            details: json!({"code": error.code}),
        };
        self.publisher.event(event, correlation_id, None);
    }

    fn queue(self: &Arc<Self>, accepted: Accepted, turns: &mut Turns) {
        let Some(topic) = RequestTopic::parse(&accepted.topic) else { return };
        let (payload, token) = match decode(&accepted.body) {
            Ok(Decoded::Enveloped(envelope)) => (envelope.payload, envelope.token),
            Ok(Decoded::Raw(payload)) => (payload, None),
            Err(error) => return tracing::error!(%error, "a journalled request cannot be decoded"),
        };
        let request = Request {
            id: accepted.id,
            correlation_id: accepted.correlation_id,
            traceparent: accepted.traceparent,
            payload,
        };
        let key = turn(&request.payload);
        let router = self.clone();
        turns.queue(&key, &self.tasks, async move {
            let (id, correlation_id) = (request.id.clone(), request.correlation_id.clone());
            let (result, traceparent) = router.clone().serve(&topic, token, request).await;
            let answer = match result {
                Ok(Reply::Later) => return,
                Ok(Reply::Now(data)) => Answer::Success(data),
                Err(error) => {
                    if matches!(error.code, ErrorCode::Forbidden | ErrorCode::TokenInvalid) {
                        router.report_refusal(&topic, &error, &correlation_id);
                    }
                    Answer::Failure(error)
                }
            };
            if let Err(error) = router.replies.answer(&id, &answer, &correlation_id, traceparent).await {
                // The row stays without a response, and is handled again at the next start.
                tracing::error!(%error, correlation_id, "an answer cannot be recorded");
            }
        });
    }

    fn queue_internal(self: &Arc<Self>, topic: RequestTopic, delivery: Delivery, turns: &mut Turns) {
        let now = Timestamp::now();
        let decoded = decode(&delivery.payload);
        let (payload, correlation_id, traceparent, expires_at) = match decoded {
            Ok(Decoded::Enveloped(e)) => {
                (Ok(e.payload), e.correlation_id.unwrap_or(e.id), e.traceparent, e.expires_at)
            }
            Ok(Decoded::Raw(payload)) => (Ok(payload), fresh(), None, None),
            Err(error) => (Err(error), fresh(), None, None),
        };
        let key = payload.as_ref().map(turn).unwrap_or_default();
        let router = self.clone();
        turns.queue(&key, &self.tasks, async move {
            let late = expires_at.is_some_and(|at| at < now);
            let (result, traceparent) = match payload {
                _ if late => (Err(expired()), traceparent),
                Err(error) => (Err(bad_request(&error)), traceparent),
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
                Err(error) => Answer::Failure(error),
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
        let permit = authorise(topic, token.as_deref(), &self.verifier, Timestamp::now());
        let result = match permit {
            Err(error) => Err(error),
            Ok(permit) => {
                let service = self.service.clone();
                let work = async move { service.handle(permit, request).await }.instrument(span.clone());
                // In a task of its own, so that a bug in one handler is an answer and not an end.
                match tokio::spawn(work).await {
                    Ok(result) => result,
                    Err(error) => Err(span.in_scope(|| internal(&error))),
                }
            }
        };
        log(&span, &result);
        (result, traceparent)
    }
}

fn log(span: &Span, result: &Result<Reply, ErrorBody>) {
    let _entered = span.enter();
    match result {
        Ok(Reply::Now(_)) => tracing::info!("answered"),
        Ok(Reply::Later) => tracing::info!("accepted"),
        Err(error) => tracing::warn!(code = error.code.as_str(), reason = error.message, "refused"),
    }
}

/// What the router needs to know of a request, or what the caller is told at once. `away` is set while the
/// request may have waited in the broker for as long as we were away.
fn receive(
    topic: &RequestTopic,
    delivery: &Delivery,
    away: Option<Duration>,
    now: Timestamp,
) -> Result<Received, ErrorBody> {
    let decoded = decode(&delivery.payload).map_err(|e| bad_request(&e))?;
    let envelope = match &decoded {
        Decoded::Enveloped(envelope) => Some(envelope),
        Decoded::Raw(_) => None,
    };
    let expired = match envelope.and_then(|e| e.expires_at) {
        Some(at) => at < now,
        None => {
            let age_unknown = delivery.expiry.is_none() && away.is_some();
            age_unknown && envelope.is_none_or(|e| now.since(e.timestamp) > VALID)
        }
    };
    if expired {
        return Err(self::expired());
    }
    let reply_to = delivery.response_topic.as_ref().or(envelope.and_then(|e| e.reply_to.as_ref()));
    if let Some(aimed) = reply_to
        && !topic.may_answer_on(aimed)
    {
        return Err(ErrorBody::new(
            ErrorCode::ReplyRefused,
            format!(
                "The answer cannot go to {:?}: a response topic must lie in your own response space, such \
                 as {}. Leave it out to have the answer there.",
                shortened(aimed),
                topic.response()
            ),
        ));
    }
    let traceparent = delivery
        .user_properties
        .iter()
        .find(|(name, _)| name == telemetry::TRACEPARENT)
        .map(|(_, value)| value.clone())
        .or(envelope.and_then(|e| e.traceparent.clone()));
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(delivery.topic.as_bytes());
    hash.update(&[0]);
    hash.update(&delivery.payload);
    let content_hash = hash.finish().as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let request_id = envelope.map(|e| e.id.clone());
    Ok(Received {
        id: fresh(),
        principal: topic.caller.to_string(),
        correlation_id: envelope
            .and_then(|e| e.correlation_id.clone())
            .or(request_id.clone())
            .unwrap_or_else(|| loose_correlation(delivery)),
        request_id,
        content_hash,
        redelivery: delivery.dup,
        topic: delivery.topic.clone(),
        body: delivery.payload.to_vec(),
        response_topic: reply_to.cloned().unwrap_or_else(|| topic.response()),
        correlation_data: delivery.correlation_data.as_ref().map(|d| d.to_vec()),
        traceparent: traceparent.filter(|t| t.len() <= 64),
        received_at: now,
    })
}

/// A correlation id for a request that names none in an envelope: the MQTT 5 correlation data where it is
/// short text, else a new one.
fn loose_correlation(delivery: &Delivery) -> String {
    delivery
        .correlation_data
        .as_ref()
        .filter(|d| !d.is_empty() && d.len() <= 128 && d.iter().all(u8::is_ascii_graphic))
        .and_then(|d| String::from_utf8(d.to_vec()).ok())
        .unwrap_or_else(fresh)
}

fn fresh() -> String {
    uuid::Uuid::now_v7().to_string()
}

fn turn(payload: &Value) -> String {
    payload["plugin_id"].as_str().filter(|id| id.len() <= PluginId::MAX).unwrap_or_default().to_owned()
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

fn bad_request(error: &envelope::message::DecodeError) -> ErrorBody {
    ErrorBody::new(ErrorCode::BadRequest, format!("The request cannot be read: {error}."))
}

fn expired() -> ErrorBody {
    ErrorBody::new(
        ErrorCode::Expired,
        "The request had waited for longer than it was valid, and was not carried out. Send it again if it \
         is still wanted.",
    )
}
