//! The desk: what was let in is recorded and acknowledged, or sent back, one after another. What cannot be recorded,
//! because the disk is full or the like, waits unacknowledged until it can be.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bus::Delivery;
use envelope::payload::event::{Event, EventKind};
use envelope::topic::RequestTopic;
use envelope::{ErrorBody, PluginId, Principal, Timestamp};
use serde_json::json;
use store::{Acceptance, Accepted, Entry};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::received::{self, Parcel, Returned, receive};
use super::{Router, fresh, shortened};
use crate::flood::InHand;
use crate::replies::RETRY;
use crate::service::Service;
use crate::turns::Turns;

/// What the door brings.
pub(super) enum Errand {
    /// A request.
    Letter(Box<Letter>),
    /// Some time has passed.
    Tick {
        /// Until when nothing waited in the broker.
        last_up: Option<Timestamp>,
    },
}

/// A request that was let in.
pub(super) struct Letter {
    pub(super) topic: RequestTopic,
    pub(super) delivery: Delivery,
    /// For how long it may have waited in the broker, where that is not known otherwise.
    pub(super) away: Option<Duration>,
    /// When it came.
    pub(super) at: Instant,
    /// None for coordinators, who are not counted.
    pub(super) in_hand: Option<InHand>,
}

impl Letter {
    fn is_internal(&self) -> bool {
        matches!(self.topic.caller, Principal::Coordinator(_))
    }

    fn repeats(&self, other: &Self) -> bool {
        let same = |a: &Delivery, b: &Delivery| {
            a.topic == b.topic && a.payload == b.payload && a.correlation_data == b.correlation_data
        };
        same(&self.delivery, &other.delivery)
    }
}

/// Requests that could not be recorded, in the order of their arrival. There are no more than the door lets in.
#[derive(Default)]
struct Held {
    letters: VecDeque<Letter>,
}

impl Held {
    fn waits(&self) -> bool {
        !self.letters.is_empty()
    }

    /// Behind the others; one that the broker delivers again in the place of its first copy, whose connection is gone.
    fn put(&mut self, letter: Letter) {
        let copy = self.letters.iter_mut().find(|held| letter.delivery.dup && held.repeats(&letter));
        match copy {
            // It is as old as it was. What is left of an expiry the broker tells anew.
            Some(copy) => {
                let (at, away) = (copy.at, copy.away);
                *copy = letter;
                if copy.delivery.expiry.is_none() {
                    (copy.at, copy.away) = (at, away.or(copy.away));
                }
            }
            None => self.letters.push_back(letter),
        }
    }

    fn first(&mut self) -> Option<Letter> {
        self.letters.pop_front()
    }

    fn put_back(&mut self, letter: Letter) {
        self.letters.push_front(letter);
    }
}

impl<S: Service> Router<S> {
    /// Works until the door has closed and everything is recorded that can be.
    pub(super) async fn record_all(self: Arc<Self>, mut errands: mpsc::UnboundedReceiver<Errand>) {
        let (mut turns, mut held) = (Turns::default(), Held::default());
        let mut resumed = self.resume(&mut turns).await;
        let mut ticks = 0_u64;
        let mut retry = tokio::time::interval(RETRY);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                errand = errands.recv() => match errand {
                    None => return,
                    // Coordinators' requests are not recorded.
                    Some(Errand::Letter(letter)) if letter.is_internal() => self.pass_on(*letter, &mut turns).await,
                    // What waits comes first.
                    Some(Errand::Letter(letter)) if !resumed || held.waits() => held.put(*letter),
                    Some(Errand::Letter(letter)) => {
                        if let Err(letter) = self.take(*letter, &mut turns).await {
                            held.put(letter);
                        }
                    }
                    Some(Errand::Tick { last_up }) => {
                        let waits = !resumed || held.waits();
                        // What waits here came before that.
                        self.tick(ticks, last_up.filter(|_| !waits), waits).await;
                        ticks = ticks.wrapping_add(1);
                    }
                },
                _ = retry.tick(), if !resumed || held.waits() => {
                    if !resumed {
                        resumed = self.resume(&mut turns).await;
                    }
                    while resumed && let Some(letter) = held.first() {
                        match self.take(letter, &mut turns).await {
                            Ok(()) => self.is_written_again(),
                            Err(letter) => {
                                held.put_back(letter);
                                break;
                            }
                        }
                    }
                }
            }
        }
    }

    /// Takes up what was accepted and not answered before a restart. False when that cannot be read.
    async fn resume(self: &Arc<Self>, turns: &mut Turns) -> bool {
        match self.store.journal().unanswered().await {
            Ok(open) => {
                for accepted in open {
                    tracing::info!(correlation_id = accepted.correlation_id, "a request is taken up again");
                    self.queue_again(accepted, turns);
                }
                true
            }
            Err(error) => {
                self.says_trouble(&error);
                false
            }
        }
    }

    /// Takes a coordinator's request.
    async fn pass_on(self: &Arc<Self>, letter: Letter, turns: &mut Turns) {
        let Letter { topic, delivery, .. } = letter;
        if delivery.retain {
            if self.record_refusal(&topic, None, &received::retained(), &fresh(), 1).await {
                delivery.ack().await;
            }
            return;
        }
        self.queue_internal(topic, delivery, turns);
    }

    /// Takes a request. One that cannot be recorded is given back, and is not acknowledged: should it be lost here, it
    /// comes again in the next session.
    async fn take(self: &Arc<Self>, letter: Letter, turns: &mut Turns) -> Result<(), Letter> {
        let Letter { topic, delivery, away, at, .. } = &letter;
        if delivery.retain {
            if !self.record_refusal(topic, None, &received::retained(), &fresh(), 1).await {
                return Err(letter);
            }
            delivery.ack().await;
            return Ok(());
        }
        let parcel = match receive(topic, delivery, *away, at.elapsed(), Timestamp::now()) {
            Ok(parcel) => parcel,
            Err(returned) => return self.refuse(letter, *returned).await,
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
                    received_at: received.received_at,
                    expires_at: Some(received.expires_at),
                };
                delivery.ack().await;
                self.queue(accepted, letter.in_hand, turns);
                return Ok(());
            }
            Ok(Acceptance::Pending) => {}
            Ok(Acceptance::Answered) => self.replies.deliver(),
            Ok(Acceptance::Conflict) => {
                let (error, correlation_id) = (received::conflict(), received.correlation_id);
                let returned = Returned { error, correlation_id, target };
                return self.refuse(letter, returned).await;
            }
            Err(error) => {
                self.says_trouble(&error);
                return Err(letter);
            }
        }
        delivery.ack().await;
        Ok(())
    }

    /// Records, answers and reports a request that was not accepted. It is given back when it cannot be recorded.
    async fn refuse(self: &Arc<Self>, letter: Letter, returned: Returned) -> Result<(), Letter> {
        let Letter { topic, delivery, .. } = &letter;
        let Returned { error, correlation_id, target } = returned;
        if !self.record_refusal(topic, target.as_deref(), &error, &correlation_id, 1).await {
            return Err(letter);
        }
        self.report_refusal(topic, &error, &correlation_id);
        self.send_back(topic, delivery, error, &correlation_id);
        delivery.ack().await;
        Ok(())
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
                self.says_trouble(&error);
                false
            }
        }
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
