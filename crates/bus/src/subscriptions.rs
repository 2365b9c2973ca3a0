//! What we want to be subscribed to, and the task that keeps the broker to it.
//!
//! One task sends every SUBSCRIBE and UNSUBSCRIBE, so that none overtakes another and none is sent
//! twice. A filter stays wanted from the call on, also when the caller stops waiting.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::{QoS, SubscribeFilterInput};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::error::SubscribeError;
use crate::link::Link;
use crate::reason;
use crate::shared::{Shared, State};

/// How long after a refusal a filter is asked for again on the same connection: rights can come back without the broker
/// ending it.
const AGAIN: Duration = Duration::from_secs(10);

/// Filters in one SUBSCRIBE; keeps packets far below every broker's limit.
const BATCH: usize = 64;

type Answer = oneshot::Sender<Result<(), SubscribeError>>;

/// What a bus asks of the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// A refusal is the answer.
    Subscribe,
    /// Asked for until it is granted.
    KeepSubscribed,
    Unsubscribe,
}

/// Filters, what becomes of them, and who waits for it.
pub(crate) struct Command {
    pub(crate) wish: Wish,
    pub(crate) filters: Vec<String>,
    pub(crate) answer: Answer,
}

/// Where a wanted filter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Not answered yet. Refused, it is forgotten unless it is to be kept.
    New { keep: bool },
    /// In place in this session of the broker.
    Granted { session: u64 },
    /// Refused on this connection, and still wanted.
    Refused { epoch: u64, at: Instant },
}

/// A call that waits for its filters.
struct Call {
    wish: Wish,
    open: usize,
    refused: Vec<(String, &'static str)>,
    answer: Answer,
}

pub(crate) struct Subscriptions {
    shared: Arc<Shared>,
    state: watch::Receiver<State>,
    commands: mpsc::Receiver<Command>,
    wanted: BTreeMap<String, Standing>,
    unwanted: Vec<String>,
    calls: BTreeMap<u64, Call>,
    waiting: Vec<(String, u64)>,
    next_call: u64,
    tell_retained: bool,
}

impl Subscriptions {
    pub(crate) fn new(shared: Arc<Shared>, commands: mpsc::Receiver<Command>, tell_retained: bool) -> Self {
        let state = shared.state.subscribe();
        Self {
            shared,
            state,
            commands,
            wanted: BTreeMap::new(),
            unwanted: Vec::new(),
            calls: BTreeMap::new(),
            waiting: Vec::new(),
            next_call: 0,
            tell_retained,
        }
    }

    /// Runs until the bus is gone.
    pub(crate) async fn run(mut self) {
        loop {
            while let Ok(command) = self.commands.try_recv() {
                self.take(command);
            }
            let state = self.state.borrow_and_update().clone();
            if let Link::Up { epoch, .. } = state.link
                && self.work(epoch, state.session).await
            {
                continue;
            }
            let again = self.wanted.values().filter_map(|standing| match standing {
                Standing::Refused { at, .. } => Some(*at + AGAIN),
                Standing::New { .. } | Standing::Granted { .. } => None,
            });
            let again = again.min();
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.take(command),
                    None => return,
                },
                () = until(again), if state.link.is_up() => {}
                changed = self.state.changed() => if changed.is_err() { return },
            }
        }
    }

    fn take(&mut self, Command { wish, filters, answer }: Command) {
        let id = self.next_call;
        self.next_call += 1;
        self.calls.insert(id, Call { wish, open: filters.len(), refused: Vec::new(), answer });
        for filter in filters {
            self.unwanted.retain(|f| *f != filter);
            if wish == Wish::Unsubscribe {
                self.wanted.remove(&filter);
                self.unwanted.push(filter.clone());
            } else {
                self.wanted.insert(filter.clone(), Standing::New { keep: wish == Wish::KeepSubscribed });
            }
            self.waiting.push((filter, id));
        }
        self.answer_complete_calls();
    }

    /// Sends the next packet that is due and handles its answer; false when there is none.
    async fn work(&mut self, epoch: u64, session: u64) -> bool {
        if !self.unwanted.is_empty() {
            let filters = self.unwanted.iter().take(BATCH).cloned().collect();
            self.unsubscribe(filters).await;
            return true;
        }
        let due: Vec<String> = self
            .wanted
            .iter()
            .filter(|(_, standing)| match **standing {
                Standing::New { .. } => true,
                Standing::Granted { session: granted } => granted != session,
                Standing::Refused { epoch: refused, at } => refused != epoch || at.elapsed() >= AGAIN,
            })
            .map(|(filter, _)| filter.clone())
            .take(BATCH)
            .collect();
        if due.is_empty() {
            return false;
        }
        self.subscribe(due, epoch, session).await;
        true
    }

    async fn subscribe(&mut self, filters: Vec<String>, epoch: u64, session: u64) {
        let client = self.shared.client();
        let inputs = filters.iter().map(|filter| {
            SubscribeFilterInput::new(filter.as_str(), QoS::AtLeastOnce).preserve_retain(self.tell_retained)
        });
        let answer = match client.subscribe_many_tracked(inputs).await {
            Ok(notice) => notice.wait_async().await.map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match answer {
            Ok(suback) => {
                for (filter, code) in filters.into_iter().zip(suback.return_codes) {
                    self.subscribed(filter, reason::of_subscribe(code), epoch, session);
                }
                self.answer_complete_calls();
            }
            // The session ended before the answer; the next connection starts over.
            Err(why) => self.wait_for_another_connection(&why, epoch).await,
        }
    }

    fn subscribed(&mut self, filter: String, refusal: Option<&'static str>, epoch: u64, session: u64) {
        let before = self.wanted.get(&filter).copied();
        match (refusal, before) {
            (None, _) => {
                self.wanted.insert(filter.clone(), Standing::Granted { session });
                if matches!(before, Some(Standing::Refused { .. })) {
                    self.shared.inbox.granted(filter.clone());
                }
            }
            (Some(_), Some(Standing::New { keep: false })) => {
                self.wanted.remove(&filter);
            }
            (Some(reason), _) => {
                let standing = Standing::Refused { epoch, at: Instant::now() };
                self.wanted.insert(filter.clone(), standing);
                if !matches!(before, Some(Standing::Refused { epoch: e, .. }) if e == epoch) {
                    tracing::warn!(filter, reason, "subscription refused");
                    self.shared.inbox.refused(filter.clone(), reason.to_owned());
                }
            }
        }
        self.settle(&filter, refusal);
    }

    async fn unsubscribe(&mut self, filters: Vec<String>) {
        let client = self.shared.client();
        let answer = match client.unsubscribe_many_tracked(filters.clone()).await {
            Ok(notice) => notice.wait_async().await.ok(),
            Err(_) => None,
        };
        // No answer means that the session has ended, and with it the subscriptions.
        let reasons = answer.map(|unsuback| unsuback.reasons).unwrap_or_default();
        for (i, filter) in filters.into_iter().enumerate() {
            let refusal = reasons.get(i).and_then(|code| reason::of_unsubscribe(*code));
            self.unwanted.retain(|f| *f != filter);
            self.settle(&filter, refusal);
        }
        self.answer_complete_calls();
    }

    /// Counts a filter as answered for every call that waits for it.
    fn settle(&mut self, filter: &str, refusal: Option<&'static str>) {
        let calls = &mut self.calls;
        self.waiting.retain(|(waiting, id)| {
            if waiting != filter {
                return true;
            }
            let Some(call) = calls.get_mut(id) else { return false };
            if call.wish == Wish::KeepSubscribed && refusal.is_some() {
                return true;
            }
            call.open = call.open.saturating_sub(1);
            call.refused.extend(refusal.map(|reason| (filter.to_owned(), reason)));
            false
        });
    }

    fn answer_complete_calls(&mut self) {
        // One that nobody waits for any more may never be granted.
        let done = |call: &Call| call.open == 0 || call.answer.is_closed();
        let complete: Vec<u64> =
            self.calls.iter().filter(|(_, call)| done(call)).map(|(id, _)| *id).collect();
        for call in complete.iter().filter_map(|id| self.calls.remove(id)) {
            let answer = if call.refused.is_empty() {
                Ok(())
            } else {
                Err(SubscribeError::Refused { filters: call.refused })
            };
            // A caller that stopped waiting is no fault.
            let _ = call.answer.send(answer);
        }
    }

    async fn wait_for_another_connection(&mut self, why: &str, epoch: u64) {
        tracing::debug!(why, "subscription not answered");
        let other = |state: &State| !matches!(state.link, Link::Up { epoch: e, .. } if e == epoch);
        // An error means that the bus has ended, which the caller sees next.
        let _ = self.state.wait_for(other).await;
    }
}

/// Waits until `at`; for ever when there is no such moment.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
