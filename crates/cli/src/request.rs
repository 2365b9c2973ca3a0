//! A request to a coordinator: asking, waiting, and what came of it.

use std::time::Duration;

use bus::{Delivered, Delivery, Incoming, Outgoing};
use envelope::payload::event::{Event, EventKind, Progress};
use envelope::topic::{self, RequestTopic};
use envelope::{Coordinator, Envelope, MessageType, Operation, OperatorName, Principal, Timestamp};
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use crate::failure::{Failure, Refusal};
use crate::health::{self, Observed, Standing};
use crate::progress::View;
use crate::render::lasting;
use crate::screen::{Screen, Steps};
use crate::session::Session;

/// After this a coordinator must not begin any more with what was asked: whoever asked has gone.
const LONGEST_VALIDITY: Duration = Duration::from_secs(60);

/// Pause before a request is sent once more to a coordinator that is on its way back.
const AGAIN: Duration = Duration::from_millis(500);

/// After this people want to see that something is being waited for.
const PATIENT: Duration = Duration::from_millis(300);

/// How long an operation is waited for when nobody says: longer than it can reasonably take.
pub(crate) fn patience(operation: Operation) -> Duration {
    let minutes = match operation {
        Operation::Install
        | Operation::Update
        | Operation::Rollback
        | Operation::Config
        | Operation::Start
        | Operation::Restart
        | Operation::Approve
        | Operation::RevokeGrant => 10,
        Operation::Stop | Operation::Remove | Operation::Cancel => 5,
        Operation::Proof => 2,
        // It is asked of all, and what those say who are there must not wait for one who is not.
        Operation::Audit => return Duration::from_secs(10),
        _ => return Duration::from_secs(30),
    };
    Duration::from_secs(minutes * 60)
}

/// One request, ready to be sent as often as needed: a repeat has the same id, and its answer is
/// the first one's.
#[derive(Debug)]
pub(crate) struct Request {
    operation: Operation,
    topic: RequestTopic,
    envelope: Envelope,
    validity: Duration,
    /// Whether it ends the very connection on which it is asked for.
    cuts_off: bool,
}

/// What a message means to somebody who waits for an answer.
#[derive(Debug, PartialEq)]
enum Heard {
    /// The answer.
    Answer(Result<Value, Failed>),
    /// How far it is.
    Progress(Progress),
    /// Something else, or somebody else's.
    Nothing,
}

/// Why an answer is not one of success.
#[derive(Debug, PartialEq)]
enum Failed {
    /// It says so.
    Refused(Box<Refusal>),
    /// It cannot be read.
    Unreadable(String),
}

impl Request {
    /// A request of `operator`, valid for as long as it is waited for, at most a minute.
    pub(crate) fn new(
        operator: &OperatorName,
        operation: Operation,
        payload: &impl Serialize,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        Self::to(operation.coordinator(), operator, operation, payload, timeout)
    }

    /// The same of one that every coordinator does for itself.
    pub(crate) fn to(
        coordinator: Coordinator,
        operator: &OperatorName,
        operation: Operation,
        payload: &impl Serialize,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let principal = Principal::Operator(operator.clone());
        let payload = serde_json::to_value(payload).map_err(|error| Failure::Usage(error.to_string()))?;
        let validity = timeout.min(LONGEST_VALIDITY);
        let mut envelope = Envelope::new(MessageType::Request, principal.to_string(), payload);
        envelope.correlation_id = Some(envelope.id.clone());
        envelope.expires_at = Some(envelope.timestamp.after(validity));
        envelope.traceparent = Some(traceparent());
        let topic = RequestTopic::to(coordinator, principal, operation);
        envelope.reply_to = Some(topic.response());
        Ok(Self { operation, topic, envelope, validity, cuts_off: false })
    }

    /// The same request, which ends the very connection on which it is asked for: when that happens before
    /// the answer came, the waiting ends with [`Failure::CutOff`].
    pub(crate) fn cutting_off(self) -> Self {
        Self { cuts_off: true, ..self }
    }

    fn coordinator(&self) -> Coordinator {
        self.topic.coordinator
    }

    /// Finds the request in the coordinators' logs and events.
    fn correlation_id(&self) -> &str {
        &self.envelope.id
    }

    fn message(&self) -> Outgoing {
        let mut message = Outgoing::new(self.topic.to_string(), self.envelope.encode())
            .expires_in(self.validity)
            .respond_to(self.topic.response())
            .correlated_by(self.envelope.id.clone())
            .content_type("application/json");
        if let Some(traceparent) = &self.envelope.traceparent {
            message = message.with_property("traceparent", traceparent.as_str());
        }
        message
    }

    fn is_valid(&self) -> bool {
        self.envelope.expires_at.is_some_and(|end| Timestamp::now() < end)
    }

    /// What `topic`, `correlation` (MQTT 5) and `payload` mean to this request.
    fn hear(&self, topic: &str, correlation: Option<&[u8]>, payload: &[u8]) -> Heard {
        let message: Option<Value> = serde_json::from_slice(payload).ok();
        let id = message.as_ref().and_then(|m| m["correlation_id"].as_str());
        let is_ours = match correlation {
            Some(data) => data == self.correlation_id().as_bytes(),
            None => id == Some(self.correlation_id()),
        };
        if topic == self.topic.response() && is_ours {
            return Heard::Answer(self.read_answer(message));
        }
        if id == Some(self.correlation_id()) {
            return message.and_then(read_progress).map_or(Heard::Nothing, Heard::Progress);
        }
        Heard::Nothing
    }

    /// Reads `{success, data, error}`, in an envelope or bare. Not by way of [`envelope::Answer`],
    /// whose list of codes ends with this program's version.
    fn read_answer(&self, message: Option<Value>) -> Result<Value, Failed> {
        let unreadable = |why: &str| Failed::Unreadable(why.to_owned());
        let mut answer = message.ok_or_else(|| unreadable("it is not JSON"))?;
        if answer.get("success").is_none() {
            answer = answer.get_mut("payload").map(Value::take).unwrap_or_default();
        }
        match answer["success"].as_bool() {
            Some(true) => Ok(answer["data"].take()),
            Some(false) => {
                let text = |part: &Value| part.as_str().map(str::to_owned);
                let error = &answer["error"];
                let code = text(&error["code"]).ok_or_else(|| unreadable("its error has no code"))?;
                Err(Failed::Refused(Box::new(Refusal {
                    operation: self.operation,
                    coordinator: self.coordinator(),
                    message: text(&error["message"]).unwrap_or_else(|| code.clone()),
                    code,
                    details: error["details"].clone(),
                    correlation_id: self.correlation_id().to_owned(),
                    again: None,
                })))
            }
            None => Err(unreadable("it does not say whether it was a success")),
        }
    }

    fn fail(&self, failed: Failed) -> Failure {
        match failed {
            Failed::Refused(refusal) => Failure::Refused(refusal),
            Failed::Unreadable(why) => {
                Failure::BadAnswer { coordinator: self.coordinator(), operation: self.operation, why }
            }
        }
    }
}

/// The progress in an event.
fn read_progress(message: Value) -> Option<Progress> {
    let event: Envelope<Event> = serde_json::from_value(message).ok()?;
    if event.payload.event != EventKind::Progress {
        return None;
    }
    serde_json::from_value(event.payload.details).ok()
}

/// A new trace (W3C Trace Context, version 00): sampled, begun here.
fn traceparent() -> String {
    let (trace, span) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    let span = span.simple().to_string();
    format!("00-{}-{}-01", trace.simple(), &span[..16])
}

/// Asks, and waits for the answer at most `timeout`. `waiting` is shown meanwhile.
///
/// # Errors
/// When it was not done, or nothing came back.
pub(crate) async fn ask(
    session: &mut Session,
    screen: &Screen,
    request: &Request,
    timeout: Duration,
    waiting: &str,
) -> Result<Value, Failure> {
    let deadline = Instant::now() + timeout;
    let coordinator = request.coordinator();
    session.subscribe(&[request.topic.response()]).await?;
    let mut extras = vec![topic::coordinator::health_all(coordinator)];
    if screen.progress() != Steps::Hidden {
        extras.push(topic::coordinator::events(coordinator));
    }
    // Good to have: a login without these rights can still ask.
    let _ = session.try_subscribe(&extras).await?;

    let mut view = View::new(screen, waiting);
    let mut waiter = Waiter { request, screen, health: Observed::default(), warned: false };
    let result = tokio::select! {
        result = waiter.wait(session, &mut view) => result,
        () = sleep_until(deadline) => Err(Failure::NoAnswer {
            coordinator,
            operation: request.operation,
            after: timeout,
            health: None,
            correlation_id: request.correlation_id().to_owned(),
        }),
        _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted { operation: Some(request.operation) }),
    };
    view.finish(result.is_ok());
    result.map_err(|failure| waiter.complete(failure))
}

pub(crate) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Somebody who waits for an answer.
struct Waiter<'a> {
    request: &'a Request,
    screen: &'a Screen,
    health: Observed,
    warned: bool,
}

impl Waiter<'_> {
    async fn wait(&mut self, session: &mut Session, view: &mut View<'_>) -> Result<Value, Failure> {
        if self.send(session).await? == Delivered::Nobody {
            return Err(Failure::NobodyListens {
                coordinator: self.request.coordinator(),
                operation: self.request.operation,
            });
        }
        let mut again = None;
        let mut patient = Some(Instant::now() + PATIENT);
        loop {
            let incoming = tokio::select! {
                incoming = session.next() => incoming?,
                () = until(again) => {
                    again = self.send_again(session).await?;
                    continue;
                }
                () = until(patient) => {
                    patient = None;
                    view.show();
                    continue;
                }
            };
            match incoming {
                Incoming::Message(delivery) if self.take_health(&delivery) => self.warn(view),
                Incoming::Message(delivery) => match self.hear(&delivery) {
                    Heard::Answer(answer) => return answer.map_err(|failed| self.request.fail(failed)),
                    Heard::Progress(progress) => view.update(&progress),
                    Heard::Nothing => {}
                },
                Incoming::Connected { .. } => again = self.send_again(session).await?,
                Incoming::Disconnected { reason } if self.request.cuts_off => {
                    return Err(Failure::CutOff { reason });
                }
                Incoming::Disconnected { .. } => again = None,
                Incoming::Refused { filter, reason } if filter == self.request.topic.response() => {
                    return Err(Failure::Broker(format!(
                        "the broker no longer lets us hear {filter}: {reason}"
                    )));
                }
                Incoming::Refused { .. } | Incoming::Granted { .. } => {}
            }
        }
    }

    /// The answer may have come while we were away: the same request again gets it. When to try once more,
    /// because after a restart of the broker the coordinator may be on its way back as well.
    async fn send_again(&self, session: &Session) -> Result<Option<Instant>, Failure> {
        if !self.request.is_valid() {
            return Ok(None);
        }
        let delivered = self.send(session).await?;
        Ok((delivered == Delivered::Nobody).then(|| Instant::now() + AGAIN))
    }

    async fn send(&self, session: &Session) -> Result<Delivered, Failure> {
        let operation = self.request.operation;
        let what = format!("ask for {operation}");
        session.publish(self.request.message(), &what, |role| operation.is_open_to(role)).await
    }

    fn hear(&self, delivery: &Delivery) -> Heard {
        if delivery.retain {
            return Heard::Nothing;
        }
        self.request.hear(&delivery.topic, delivery.correlation_data.as_deref(), &delivery.payload)
    }

    fn take_health(&mut self, delivery: &Delivery) -> bool {
        let coordinator = self.request.coordinator();
        let is_health = health::is_health(coordinator, &delivery.topic);
        if is_health {
            self.health.take(coordinator, &delivery.topic, &delivery.payload);
        }
        is_health
    }

    /// The broker keeps a request for a coordinator that is away for a while, and says nothing.
    fn warn(&mut self, view: &View<'_>) {
        if self.health.standing() == Standing::Down && !self.warned {
            self.warned = true;
            let coordinator = self.request.coordinator();
            let validity = lasting(self.request.validity);
            view.aside(|| {
                self.screen.warn(&format!(
                    "the {coordinator} coordinator is down; the request waits for it for {validity}"
                ));
            });
        }
    }

    fn complete(&self, mut failure: Failure) -> Failure {
        if let Failure::NoAnswer { health, .. } = &mut failure {
            *health = self.health.summary();
        }
        failure
    }
}

#[cfg(test)]
mod tests;
