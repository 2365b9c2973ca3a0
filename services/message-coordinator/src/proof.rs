//! Tries at the broker what no plugin may do, as two logins that are made like plugins'.
//!
//! What compares roles trusts what the broker says of itself; this does not. It is done after each connection
//! to a broker, at an interval and on request, one at a time, and needs nothing that other work waits for.

mod attempts;
pub(crate) mod canary;
mod client;
mod run;
mod waiting;

use std::time::Duration;

use chassis::config::BrokerLogin;
use chassis::health::Condition;
use chassis::{HealthBoard, Parts, Publisher};
use envelope::payload::event::{Event, EventKind};
use envelope::payload::watch::{Leak, Proof, Tried};
use serde_json::json;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::keeper::{Keeper, ProvisionError};
use crate::report::Cause;

pub(crate) use canary::is_canary;
use waiting::Waiting;

/// How long a proof may take. Mostly it takes a second.
const DEADLINE: Duration = Duration::from_secs(25);
/// How soon a proof is repeated that found something, or could not be done.
const SOON: Duration = Duration::from_secs(10);
const ASKED: &str = "asked for";
/// The part of the coordinator's health that tells of it.
const PART: &str = "topic permissions";
/// The part that tells that nothing is known of them.
const DOUBT: &str = "proof of the topic permissions";

/// Why nothing is proven, one way or the other.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ProofError {
    /// There are no canaries.
    #[error("the canaries' logins could not be made: {0}")]
    Logins(String),
    /// A canary could not connect, or its connection broke.
    #[error("the login {login} could not try: {why}")]
    Away {
        /// The canary's login.
        login: String,
        /// What went wrong.
        why: String,
    },
    /// It took too long.
    #[error("it was not done within {} s", DEADLINE.as_secs())]
    TooLong,
}

impl From<ProvisionError> for ProofError {
    fn from(error: ProvisionError) -> Self {
        Self::Logins(telemetry::chain(&error))
    }
}

/// What a proof came to.
pub(crate) type Outcome = Result<Proof, ProofError>;

/// Proves.
pub(crate) struct Prover {
    broker: BrokerLogin,
    interval: Duration,
    publisher: Publisher,
    health: HealthBoard,
    waiting: Waiting,
    compared: Notify,
    leaked: Notify,
}

impl Prover {
    /// One that tries every `interval`, once [`Prover::work`] runs.
    pub(crate) fn new(parts: &Parts, interval: Duration) -> Self {
        Self {
            broker: parts.broker.clone(),
            interval,
            publisher: parts.publisher.clone(),
            health: parts.health.clone(),
            waiting: Waiting::default(),
            compared: Notify::new(),
            leaked: Notify::new(),
        }
    }

    /// Everything at a broker was compared for the first time on this connection.
    pub(crate) fn compared(&self) {
        self.compared.notify_one();
    }

    /// Waits until a proof has found a leak.
    pub(crate) async fn leaked(&self) {
        self.leaked.notified().await;
    }

    /// Asks for a proof, and gives back what it comes to when it is done; nothing when this coordinator ends
    /// before. All who ask while a proof runs are told what the next one comes to.
    pub(crate) fn prove(&self) -> oneshot::Receiver<Outcome> {
        self.waiting.ask()
    }

    /// Proves for ever, whenever it is due.
    pub(crate) async fn work(&self, keeper: &Keeper) {
        let mut due: Option<Instant> = None;
        let mut rotation = 0;
        loop {
            let timer = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let why = tokio::select! {
                () = self.waiting.somebody() => ASKED,
                () = self.compared.notified() => "on a connection to the broker",
                () = timer => "at the interval",
            };
            if why != ASKED && keeper.ready().borrow().is_none() {
                // With the connection comes a comparison, and then a proof.
                due = None;
                continue;
            }
            let cause = Cause::new(format!("the topic permissions were tried out, {why}"));
            let waiters = self.waiting.take();
            let outcome = self.once(keeper, &mut rotation, &cause).await;
            self.tell(&outcome, &cause);
            let clean = outcome.as_ref().is_ok_and(|p| p.leaks.is_empty() && p.blocked.is_empty());
            due = Some(Instant::now() + if clean { self.interval } else { SOON.min(self.interval) });
            for waiter in waiters {
                // Whoever asked may have gone.
                let _ = waiter.send(outcome.clone());
            }
        }
    }

    async fn once(&self, keeper: &Keeper, rotation: &mut usize, cause: &Cause) -> Outcome {
        let run = async {
            let logins = keeper.canaries(cause).await?;
            let foreign = attempts::some_of(keeper.names(), rotation);
            run::run(&self.broker, logins, &foreign).await
        };
        tokio::time::timeout(DEADLINE, run).await.unwrap_or(Err(ProofError::TooLong))
    }

    fn tell(&self, outcome: &Outcome, cause: &Cause) {
        let proof = match outcome {
            Ok(proof) => proof,
            Err(error) => {
                tracing::warn!(%error, "the topic permissions could not be tried out");
                // A leak that was found is not undone by that.
                return self.doubt(error);
            }
        };
        let (condition, message) = verdict(proof);
        self.health.set(PART, condition);
        self.health.set(DOUBT, Condition::Good);
        self.health.figure("proven_at", proof.at.to_string());
        let event = Event {
            event: EventKind::Proof,
            plugin_id: None,
            operation_id: None,
            message,
            cause: cause.text.clone(),
            details: json!(proof),
        };
        self.publisher.event(event, &cause.correlation_id, None);
        if !proof.leaks.is_empty() {
            self.leaked.notify_one();
        }
    }

    fn doubt(&self, error: &ProofError) {
        let why = format!("they could not be tried out: {error}");
        self.health.set(DOUBT, Condition::Degraded(why));
    }
}

/// What a proof means for the coordinator's health, and in a sentence.
fn verdict(proof: &Proof) -> (Condition, String) {
    let some = |all: &[Leak], verb: fn(Tried) -> &'static str| {
        let mut text: Vec<String> =
            all.iter().take(5).map(|l| format!("{} {} {}", l.login, verb(l.tried), l.topic)).collect();
        if all.len() > 5 {
            text.push(format!("and {} more", all.len() - 5));
        }
        text.join(", ")
    };
    if !proof.leaks.is_empty() {
        let what = some(&proof.leaks, |tried| match tried {
            Tried::Publish => "could publish to",
            Tried::Subscribe => "could subscribe to",
            Tried::Receive => "was delivered",
        });
        let message = format!(
            "The broker lets plugins reach what is not theirs: {what}. Find out who changed its roles or \
             configuration; what can be put right is put right at once, and tried again in a few seconds."
        );
        return (Condition::Unhealthy(message.clone()), message);
    }
    if !proof.blocked.is_empty() {
        let what = some(&proof.blocked, |tried| match tried {
            Tried::Publish => "could not publish to",
            Tried::Subscribe => "could not subscribe to",
            Tried::Receive => "was not delivered",
        });
        let message = format!("The broker refuses plugins what is their own: {what}.");
        return (Condition::Degraded(message.clone()), message);
    }
    let (refused, allowed) = (proof.refused, proof.allowed);
    let message = format!(
        "The topic permissions hold: {refused} attempts at what is not a plugin's were refused, and {allowed} at \
         what is its own were not."
    );
    (Condition::Good, message)
}
