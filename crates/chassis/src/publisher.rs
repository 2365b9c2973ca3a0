//! What a coordinator tells the world: events, and topics that are kept (retained).
//!
//! Saying something never waits: it is queued and published until the broker has confirmed it. What the broker refuses
//! is told in health and published again after a pause. What is retained is published again in every new session,
//! because a broker that was killed has lost what it had not saved.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::{Bus, Delivered, Link, Outgoing, PublishError};
use bytes::Bytes;
use envelope::payload::event::Event;
use envelope::{Coordinator, Envelope, MessageType, Timestamp, topic};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use crate::health::{Condition, HealthBoard};
use crate::service::Shutdown;

/// Most events that wait for a broker that is away; older ones are dropped, counted and logged.
const MAX_EVENTS: usize = 10_000;
/// How long a cleared topic is remembered: longer than a broker goes without saving.
const CLEARED: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_millis(500);
/// How long after a refusal the broker is asked again: rights can come back without the session's end.
const AGAIN: Duration = Duration::from_secs(10);

/// The part of the coordinator's health that says whether the broker takes what it tells.
const PUBLISHING: &str = "publishing";

/// Publishes events and retained topics in the background.
#[derive(Clone)]
pub struct Publisher {
    inner: Arc<Inner>,
}

struct Inner {
    coordinator: Coordinator,
    state: Mutex<State>,
    wake: Notify,
    idle: Notify,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Item>,
    /// What the broker refused, until it is asked again.
    refused: VecDeque<Item>,
    /// The topics that it refused last, with the reason.
    refusals: BTreeMap<String, String>,
    retained: BTreeMap<String, Retained>,
    in_flight: bool,
}

enum Item {
    Event(Outgoing),
    Retained(String),
}

struct Retained {
    /// Empty: the topic is cleared.
    payload: Bytes,
    expires_at: Option<Timestamp>,
    queued: bool,
    cleared_at: Option<Timestamp>,
}

impl Publisher {
    /// A publisher whose queue is worked off by [`work`](Self::work).
    pub fn new(coordinator: Coordinator) -> Self {
        Self {
            inner: Arc::new(Inner {
                coordinator,
                state: Mutex::default(),
                wake: Notify::new(),
                idle: Notify::new(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps `payload` on `topic` until it is replaced or cleared.
    pub fn retain(&self, topic: String, payload: impl Into<Bytes>) {
        self.put(topic, payload.into(), None);
    }

    /// Keeps `payload` on `topic` until `expires_at` at the latest.
    pub fn retain_until(&self, topic: String, payload: impl Into<Bytes>, expires_at: Timestamp) {
        self.put(topic, payload.into(), Some(expires_at));
    }

    /// Clears `topic`.
    pub fn clear(&self, topic: String) {
        self.put(topic, Bytes::new(), None);
    }

    fn put(&self, topic: String, payload: Bytes, expires_at: Option<Timestamp>) {
        let cleared_at = payload.is_empty().then(Timestamp::now);
        let mut state = self.state();
        let queued = state.retained.get(&topic).is_some_and(|r| r.queued);
        state.retained.insert(topic.clone(), Retained { payload, expires_at, queued: true, cleared_at });
        if !queued {
            state.queue.push_back(Item::Retained(topic));
        }
        drop(state);
        self.inner.wake.notify_one();
    }

    /// Tells an event, on the topic of its kind.
    pub fn event(&self, event: Event, correlation_id: &str, traceparent: Option<String>) {
        let topic = topic::coordinator::event(self.inner.coordinator, event.event.as_str());
        tracing::info!(
            event = event.event.as_str(),
            plugin_id = event.plugin_id.as_ref().map(|p| p.as_str()),
            correlation_id,
            cause = event.cause,
            "{}",
            event.message
        );
        let source = format!("coordinator:{}", self.inner.coordinator);
        let message =
            Envelope::new(MessageType::Event, source, event).correlated(correlation_id).traced(traceparent);
        let mut state = self.state();
        if state.queue.iter().filter(|i| matches!(i, Item::Event(_))).count() >= MAX_EVENTS
            && let Some(oldest) = state.queue.iter().position(|i| matches!(i, Item::Event(_)))
        {
            state.queue.remove(oldest);
            tracing::warn!("an event was dropped: the broker has been away for too long");
        }
        state.queue.push_back(Item::Event(Outgoing::new(topic, message.encode())));
        drop(state);
        self.inner.wake.notify_one();
    }

    /// Waits until the broker has everything that was said before, or `deadline` has passed. Returns whether
    /// it has. What it refused counts only on these `topics`.
    pub async fn flushed(&self, topics: &[String], deadline: Duration) -> bool {
        let wait = async {
            loop {
                let idle = self.inner.idle.notified();
                tokio::pin!(idle);
                idle.as_mut().enable();
                {
                    let state = self.state();
                    let is_refused = topics.iter().any(|topic| state.refusals.contains_key(topic));
                    if state.queue.is_empty() && !is_refused && !state.in_flight {
                        return;
                    }
                }
                idle.await;
            }
        };
        tokio::time::timeout(deadline, wait).await.is_ok()
    }

    /// Publishes what is queued until `shutdown`; after each loss of the session everything retained again.
    pub(crate) async fn work(self, bus: Bus, health: HealthBoard, shutdown: Shutdown) {
        let mut link = bus.link();
        let mut epoch = None;
        let mut again = tokio::time::interval(AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let up = match *link.borrow_and_update() {
                Link::Up { epoch, .. } => Some(epoch),
                Link::Down { .. } => None,
            };
            if let Some(now) = up
                && epoch.replace(now).is_some_and(|before| before != now)
            {
                self.queue_all();
            }
            let next = up.and_then(|_| self.next());
            let Some((item, message)) = next else {
                self.inner.idle.notify_waiters();
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = self.inner.wake.notified() => continue,
                    _ = again.tick() => {
                        self.state().queue_refused();
                        continue;
                    }
                    changed = link.changed() => if changed.is_err() { return } else { continue },
                }
            };
            let topic = message.topic.clone();
            let result = bus.publish(message).await;
            let is_done = self.published(item, &topic, result);
            health.set(PUBLISHING, self.condition());
            if is_done {
                continue;
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Takes note of what became of a publish. False when it is to be tried again after a pause.
    fn published(&self, item: Item, topic: &str, result: Result<Delivered, PublishError>) -> bool {
        let mut state = self.state();
        state.in_flight = false;
        match result {
            Ok(_) => {
                state.refusals.remove(topic);
                true
            }
            Err(error) if error.is_retryable() || matches!(error, PublishError::Closed { .. }) => {
                state.requeue(item);
                false
            }
            Err(error) => {
                let is_refused = matches!(error, PublishError::Refused { .. });
                let error = telemetry::chain(&error);
                if !is_refused {
                    tracing::error!(topic, error, "cannot be published");
                    state.refusals.remove(topic);
                    return true;
                }
                if state.refusals.insert(topic.to_owned(), error.clone()).is_none() {
                    tracing::error!(topic, error, "cannot be published, and is tried again");
                }
                state.put_aside(item);
                true
            }
        }
    }

    fn condition(&self) -> Condition {
        match self.state().refusals.values().next() {
            None => Condition::Good,
            Some(error) => Condition::Unhealthy(error.clone()),
        }
    }

    fn next(&self) -> Option<(Item, Outgoing)> {
        let mut state = self.state();
        loop {
            let item = state.queue.pop_front()?;
            let message = match &item {
                Item::Event(message) => message.clone(),
                Item::Retained(topic) => {
                    let Some(kept) = state.retained.get_mut(topic) else { continue };
                    kept.queued = false;
                    match kept.message(topic) {
                        Some(message) => message,
                        None => {
                            state.retained.remove(topic);
                            state.refusals.remove(topic);
                            continue;
                        }
                    }
                }
            };
            state.in_flight = true;
            return Some((item, message));
        }
    }

    fn queue_all(&self) {
        let mut state = self.state();
        let now = Timestamp::now();
        state.queue_refused();
        state.retained.retain(|_, r| r.queued || r.cleared_at.is_none_or(|at| now.since(at) < CLEARED));
        let State { queue, retained, .. } = &mut *state;
        for (topic, kept) in retained.iter_mut().filter(|(_, r)| !r.queued) {
            kept.queued = true;
            queue.push_back(Item::Retained(topic.clone()));
        }
    }
}

impl State {
    fn requeue(&mut self, item: Item) {
        if let Item::Retained(topic) = &item {
            match self.retained.get_mut(topic) {
                // It was said anew meanwhile, and stands in the queue already.
                Some(kept) if kept.queued => return,
                Some(kept) => kept.queued = true,
                None => return,
            }
        }
        self.queue.push_front(item);
    }

    /// Lets the broker be asked again for what it refused.
    fn queue_refused(&mut self) {
        while let Some(item) = self.refused.pop_back() {
            self.requeue(item);
        }
    }

    /// Keeps what was refused until the broker is asked again.
    fn put_aside(&mut self, item: Item) {
        if let Item::Retained(topic) = &item
            && self.refused.iter().any(|other| matches!(other, Item::Retained(t) if t == topic))
        {
            return;
        }
        if self.refused.len() >= MAX_EVENTS {
            self.refused.pop_front();
            tracing::warn!("what the broker refuses was dropped: it is too much");
        }
        self.refused.push_back(item);
    }
}

impl Retained {
    /// The message as it goes out now; none when it has expired.
    fn message(&self, topic: &str) -> Option<Outgoing> {
        let message = Outgoing::new(topic, self.payload.clone()).retained();
        match self.expires_at {
            None => Some(message),
            Some(at) => {
                let left = at.since(Timestamp::now());
                (left > Duration::ZERO).then(|| message.expires_in(left))
            }
        }
    }
}
