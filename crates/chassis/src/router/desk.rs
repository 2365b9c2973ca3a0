//! The desk: what was let in is recorded and acknowledged, or sent back, one after another.

use std::sync::Arc;
use std::time::Duration;

use bus::Delivery;
use envelope::payload::event::{Event, EventKind};
use envelope::topic::RequestTopic;
use envelope::{ErrorBody, PluginId, Principal, Timestamp};
use serde_json::json;
use store::{Acceptance, Accepted, Entry};
use tokio::sync::mpsc;

use super::received::{self, Parcel, Returned, receive};
use super::{Router, fresh, shortened};
use crate::flood::InHand;
use crate::health::Condition;
use crate::service::Service;
use crate::turns::Turns;

/// Ticks between two looks for plugins with too many requests in the journal.
const CROWDS: u64 = 6;

/// What the door brings.
pub(super) enum Errand {
    /// A request.
    Letter(Box<Letter>),
    /// The session is up, and some time has passed.
    Tick,
}

/// A request that was let in.
pub(super) struct Letter {
    pub(super) topic: RequestTopic,
    pub(super) delivery: Delivery,
    /// For how long it may have waited in the broker, where that is not known otherwise.
    pub(super) away: Option<Duration>,
    /// None for coordinators, who are not counted.
    pub(super) in_hand: Option<InHand>,
}

impl<S: Service> Router<S> {
    /// Works until the door has closed and everything is recorded.
    pub(super) async fn record_all(self: Arc<Self>, mut errands: mpsc::UnboundedReceiver<Errand>) {
        let mut turns = Turns::default();
        self.resume(&mut turns).await;
        let mut ticks = 0_u64;
        while let Some(errand) = errands.recv().await {
            match errand {
                Errand::Letter(letter) => self.take(*letter, &mut turns).await,
                Errand::Tick => {
                    self.tick(ticks).await;
                    ticks = ticks.wrapping_add(1);
                }
            }
        }
    }

    /// Notes that the session is up, and forgets requests that are old enough or too many.
    async fn tick(&self, ticks: u64) {
        let now = Timestamp::now();
        let noted = self.note_up(now).await;
        let forgotten = self.store.journal().forget(now).await.map(|_| ());
        let crowds = match ticks % CROWDS {
            0 => self.store.journal().forget_crowds().await.map(|_| ()),
            _ => Ok(()),
        };
        let condition = match noted.and(forgotten).and(crowds) {
            Ok(()) => Condition::Good,
            Err(e) => Condition::Unhealthy(format!("the database cannot be written: {e}")),
        };
        self.health.set("store", condition);
    }

    /// Takes up what was accepted and not answered before a restart.
    async fn resume(self: &Arc<Self>, turns: &mut Turns) {
        match self.store.journal().unanswered().await {
            Ok(open) => {
                for accepted in open {
                    tracing::info!(correlation_id = accepted.correlation_id, "a request is taken up again");
                    self.queue(accepted, None, turns);
                }
            }
            Err(error) => {
                tracing::error!(%error, "the journal cannot be read");
                self.health
                    .set("store", Condition::Unhealthy(format!("the journal cannot be read: {error}")));
            }
        }
    }

    /// Takes a request. What is not acknowledged comes again in the next session.
    async fn take(self: &Arc<Self>, letter: Letter, turns: &mut Turns) {
        let Letter { topic, delivery, away, in_hand } = letter;
        let internal = matches!(topic.caller, Principal::Coordinator(_));
        if delivery.retain {
            let error = received::retained();
            if self.record_refusal(&topic, None, &error, &fresh(), 1).await {
                delivery.ack().await;
            }
            return;
        }
        if internal {
            return self.queue_internal(topic, delivery, turns);
        }
        let parcel = match receive(&topic, &delivery, away, Timestamp::now()) {
            Ok(parcel) => parcel,
            Err(returned) => return self.refuse(&topic, &delivery, *returned).await,
        };
        let Parcel { received, target } = parcel;
        match self.store.journal().accept_on(&received, target.as_deref()).await {
            Ok(Acceptance::New) => {
                let accepted = Accepted {
                    id: received.id,
                    topic: received.topic,
                    body: received.body,
                    correlation_id: received.correlation_id,
                    traceparent: received.traceparent,
                };
                self.queue(accepted, in_hand, turns);
            }
            Ok(Acceptance::Pending) => {}
            Ok(Acceptance::Answered) => self.replies.deliver(),
            Ok(Acceptance::Conflict) => {
                let (error, correlation_id) = (received::conflict(), received.correlation_id);
                let returned = Returned { error, correlation_id, target };
                return self.refuse(&topic, &delivery, returned).await;
            }
            Err(error) => return self.cannot_record(&error),
        }
        delivery.ack().await;
    }

    /// Records, answers and reports a request that was not accepted.
    async fn refuse(self: &Arc<Self>, topic: &RequestTopic, delivery: &Delivery, returned: Returned) {
        let Returned { error, correlation_id, target } = returned;
        if !self.record_refusal(topic, target.as_deref(), &error, &correlation_id, 1).await {
            return;
        }
        self.report_refusal(topic, &error, &correlation_id);
        self.send_back(topic, delivery, error, &correlation_id);
        delivery.ack().await;
    }

    /// Writes a refusal to the audit trail. False when it could not be written.
    pub(super) async fn record_refusal(
        &self,
        topic: &RequestTopic,
        target: Option<&str>,
        error: &ErrorBody,
        correlation_id: &str,
        times: u32,
    ) -> bool {
        let principal = topic.caller.to_string();
        let entry = Entry::new(Timestamp::now(), &principal, &topic.operation, target, correlation_id);
        match self.store.audit().refused(&entry, error, times).await {
            Ok(()) => true,
            Err(error) => {
                self.cannot_record(&error);
                false
            }
        }
    }

    fn cannot_record(&self, error: &store::Error) {
        tracing::error!(%error, "a request cannot be recorded");
        self.health.set("store", Condition::Unhealthy(format!("cannot record requests: {error}")));
    }

    /// Tells an event of a refusal.
    pub(super) fn report_refusal(&self, topic: &RequestTopic, error: &ErrorBody, correlation_id: &str) {
        let event = Event {
            event: EventKind::Refused,
            plugin_id: plugin(&topic.caller),
            operation_id: None,
            message: error.message.clone(),
            cause: format!("{} asked for {}", topic.caller, shortened(&topic.operation)),
            details: json!({"code": error.code}),
        };
        self.publisher.event(event, correlation_id, None);
    }
}

/// The plugin that asked, if one did.
pub(super) fn plugin(caller: &Principal) -> Option<PluginId> {
    match caller {
        Principal::Plugin(id) => Some(id.clone()),
        _ => None,
    }
}
