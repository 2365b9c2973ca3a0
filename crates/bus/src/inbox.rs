//! What has arrived and is not read yet, bounded.
//!
//! The task of the connection only ever puts in and never waits. When the inbox is full, a clean
//! session drops its oldest message, and a durable one a newcomer of QoS 0. What waits for our
//! acknowledgement is always taken: the broker sends at most the receive maximum of it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::delivery::Delivery;

/// What a bus receives.
#[derive(Debug)]
pub enum Incoming {
    /// The broker has accepted the connection. When several came unread, they are told as one,
    /// without the session when any was without.
    Connected {
        /// The broker kept the session. Otherwise everything retained is to be published again.
        session_present: bool,
    },
    /// The connection has ended; a new one is being made.
    Disconnected {
        /// Why, in words for an operator.
        reason: String,
    },
    /// The broker refused a subscription that it had granted before, or that is kept
    /// ([`Bus::keep_subscribed`](crate::Bus::keep_subscribed)). It is asked for again on the next
    /// connection, and every few seconds on this one.
    Refused {
        /// The topic filter.
        filter: String,
        /// The name of the broker's reason code.
        reason: String,
    },
    /// The broker granted a subscription that it had refused.
    Granted {
        /// The topic filter.
        filter: String,
    },
    /// A message.
    Message(Delivery),
}

/// The receiving end of a [`crate::Bus`].
#[derive(Debug)]
pub struct Inbox {
    queue: Arc<Queue>,
}

impl Inbox {
    pub(crate) const fn new(queue: Arc<Queue>) -> Self {
        Self { queue }
    }

    /// Waits for the next arrival; `None` when the bus has ended and everything is read.
    ///
    /// Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<Incoming> {
        loop {
            {
                let mut items = self.queue.items();
                if let Some(next) = items.pop() {
                    return Some(next);
                }
                if items.closed {
                    return None;
                }
            }
            self.queue.changed.notified().await;
        }
    }
}

/// The bounded queue between the task of the connection and the [`Inbox`].
#[derive(Debug)]
pub(crate) struct Queue {
    items: Mutex<Items>,
    changed: Notify,
    capacity: usize,
    drop_oldest: bool,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Items {
    queue: VecDeque<Incoming>,
    messages: usize,
    closed: bool,
}

impl Items {
    fn pop(&mut self) -> Option<Incoming> {
        let next = self.queue.pop_front();
        if matches!(next, Some(Incoming::Message(_))) {
            self.messages -= 1;
        }
        next
    }

    fn remove_oldest_message(&mut self) -> Option<Incoming> {
        let oldest = self.queue.iter().position(|i| matches!(i, Incoming::Message(_)))?;
        self.messages -= 1;
        self.queue.remove(oldest)
    }
}

impl Queue {
    pub(crate) fn new(capacity: usize, drop_oldest: bool) -> Self {
        Self {
            items: Mutex::default(),
            changed: Notify::new(),
            capacity,
            drop_oldest,
            dropped: AtomicU64::new(0),
        }
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn message(&self, delivery: Delivery) {
        let mut items = self.items();
        let mut lost = None;
        if items.messages >= self.capacity {
            if self.drop_oldest {
                lost = items.remove_oldest_message();
            } else if !delivery.awaits_ack() {
                drop(items);
                self.count_dropped(&delivery);
                return;
            }
        }
        items.messages += 1;
        items.queue.push_back(Incoming::Message(delivery));
        drop(items);
        if let Some(Incoming::Message(lost)) = lost {
            self.count_dropped(&lost);
        }
        self.changed.notify_one();
    }

    /// Tells of a new connection. With the session kept, the broker delivers again what was not
    /// acknowledged, so its unread copies of the earlier connection go.
    pub(crate) fn connected(&self, mut session_present: bool) {
        let mut items = self.items();
        if session_present {
            items.queue.retain(|i| !matches!(i, Incoming::Message(d) if d.awaits_ack()));
        }
        items.queue.retain(|item| match item {
            Incoming::Connected { session_present: earlier } => {
                session_present &= earlier;
                false
            }
            _ => true,
        });
        items.messages = items.queue.iter().filter(|i| matches!(i, Incoming::Message(_))).count();
        items.queue.push_back(Incoming::Connected { session_present });
        drop(items);
        self.changed.notify_one();
    }

    pub(crate) fn disconnected(&self, reason: String) {
        let mut items = self.items();
        items.queue.retain(|i| !matches!(i, Incoming::Disconnected { .. }));
        items.queue.push_back(Incoming::Disconnected { reason });
        drop(items);
        self.changed.notify_one();
    }

    pub(crate) fn refused(&self, filter: String, reason: String) {
        self.say_of(&filter.clone(), Incoming::Refused { filter, reason });
    }

    pub(crate) fn granted(&self, filter: String) {
        self.say_of(&filter.clone(), Incoming::Granted { filter });
    }

    /// In the place of what was said of the filter before, and is not read.
    fn say_of(&self, filter: &str, said: Incoming) {
        let mut items = self.items();
        let of_it = |i: &Incoming| matches!(i, Incoming::Refused { filter: f, .. } | Incoming::Granted { filter: f } if f == filter);
        items.queue.retain(|item| !of_it(item));
        items.queue.push_back(said);
        drop(items);
        self.changed.notify_one();
    }

    pub(crate) fn close(&self) {
        self.items().closed = true;
        self.changed.notify_one();
    }

    fn count_dropped(&self, lost: &Delivery) {
        let total = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
        // Each doubling, so that a flood of messages is not a flood of log lines.
        if total.is_power_of_two() {
            tracing::warn!(topic = %lost.topic, total, "inbox full: messages dropped");
        }
    }

    fn items(&self) -> MutexGuard<'_, Items> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use rumqttc::{Publish, QoS};

    use super::*;
    use crate::config::Config;
    use crate::shared::{Limits, Shared};

    fn message(topic: &str) -> Delivery {
        Delivery::from_packet(Publish::new(topic, QoS::AtMostOnce, "", None), None)
    }

    fn unread(queue: &Queue) -> Vec<String> {
        std::iter::from_fn(|| queue.items().pop())
            .map(|item| match item {
                Incoming::Message(delivery) => delivery.topic,
                Incoming::Connected { session_present } => format!("connected {session_present}"),
                Incoming::Disconnected { reason } | Incoming::Refused { reason, .. } => reason,
                Incoming::Granted { filter } => format!("granted {filter}"),
            })
            .collect()
    }

    #[test]
    fn a_full_clean_inbox_drops_the_oldest_message_and_counts_it() {
        let queue = Queue::new(2, true);
        queue.connected(false);
        for topic in ["a", "b", "c"] {
            queue.message(message(topic));
        }
        assert_eq!(unread(&queue), ["connected false", "b", "c"]);
        assert_eq!(queue.dropped(), 1);
    }

    #[test]
    fn a_full_durable_inbox_drops_the_newcomer_unless_it_is_to_be_acknowledged() {
        let queue = Queue::new(2, false);
        for topic in ["a", "b", "c"] {
            queue.message(message(topic));
        }
        let (client, _events) = Config::new("localhost", 1883, "c").build();
        let limits = Limits { max_packet_size: 1024, retain: true };
        let shared = Arc::new(Shared::new(client, Arc::new(Queue::new(1, false)), limits));
        let owed = Publish::new("d", QoS::AtLeastOnce, "", None);
        queue.message(Delivery::from_packet(owed, Some((shared, 1))));
        assert_eq!(unread(&queue), ["a", "b", "d"]);
        assert_eq!(queue.dropped(), 1);
    }

    #[test]
    fn reconnects_that_nobody_reads_stay_two_entries_and_a_lost_session_is_not_forgotten() {
        let queue = Queue::new(2, true);
        for present in [true, false, true] {
            queue.connected(present);
            queue.disconnected("gone".to_owned());
        }
        queue.connected(true);
        assert_eq!(unread(&queue), ["gone", "connected false"]);
    }

    #[test]
    fn of_a_filter_only_the_last_is_told() {
        let queue = Queue::new(2, true);
        queue.refused("x".to_owned(), "not authorized".to_owned());
        queue.refused("y".to_owned(), "not authorized".to_owned());
        queue.granted("x".to_owned());
        assert_eq!(unread(&queue), ["not authorized", "granted x"]);
    }

    #[tokio::test]
    async fn a_closed_inbox_is_read_to_its_end() {
        let queue = Arc::new(Queue::new(2, true));
        let mut inbox = Inbox::new(Arc::clone(&queue));
        queue.message(message("a"));
        queue.close();
        assert!(inbox.recv().await.is_some());
        assert!(inbox.recv().await.is_none());
    }
}
