//! The handle of a connection.

use std::sync::Arc;
use std::time::Duration;

use rumqttc::{ClientError, PubAckReason, PublishNoticeError, PublishOptions, PublishResult};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::config::{Config, Session};
use crate::connection::Connection;
use crate::error::{PublishError, SubscribeError};
use crate::inbox::{Inbox, Queue};
use crate::link::Link;
use crate::message::{Delivered, Outgoing};
use crate::reason;
use crate::shared::{Limits, Shared};
use crate::subscriptions::{Command, Subscriptions, Wish};
use crate::text;

/// How long a shutdown waits for what is in flight to be acknowledged.
const DRAIN: Duration = Duration::from_secs(2);
/// How long it then waits for the connection to end: an attempt that is under way takes 5 s.
const LAST_CALL: Duration = Duration::from_secs(6);

/// A connection to the broker. Clones are the same connection; when the last is dropped, it is cut,
/// and the broker publishes the last will.
#[derive(Clone, Debug)]
pub struct Bus {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    tasks: [AbortHandle; 2],
    publish_deadline: Duration,
}

impl Drop for Inner {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.shared.inbox.close();
    }
}

impl Bus {
    /// Starts to connect, and keeps connecting for ever; what goes wrong is told by
    /// [`Bus::link`].
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    #[must_use]
    pub fn connect(config: Config) -> (Self, Inbox) {
        let drop_oldest = config.session == Session::Clean;
        let queue = Arc::new(Queue::new(config.inbox_size(), drop_oldest));
        let (client, events) = config.build();
        let limits = Limits {
            max_packet_size: usize::try_from(config.max_packet_size).unwrap_or(usize::MAX),
            retain: true,
        };
        let shared = Arc::new(Shared::new(client, Arc::clone(&queue), limits));
        let (commands, receiver) = mpsc::channel(64);
        let publish_deadline = config.publish_deadline;

        let subscriptions = Subscriptions::new(Arc::clone(&shared), receiver, config.tell_retained);
        let connection = Connection::new(config, Arc::clone(&shared));
        let tasks = [
            tokio::spawn(connection.run(events)).abort_handle(),
            tokio::spawn(subscriptions.run()).abort_handle(),
        ];
        let inner = Inner { shared, commands, tasks, publish_deadline };
        let bus = Self { inner: Arc::new(inner) };
        (bus, Inbox::new(queue))
    }

    /// Publishes and waits until the broker has acknowledged (QoS 1) or the message is written
    /// (QoS 0), at most [`Config::publish_deadline`].
    ///
    /// While the connection is down it waits. A message in flight when the connection breaks is
    /// sent again when the broker kept the session, and otherwise told as
    /// [`PublishError::Lost`]. Dropping the future does not take back what was handed over.
    ///
    /// # Errors
    ///
    /// When the message is not known to be delivered, and why.
    pub async fn publish(&self, message: Outgoing) -> Result<Delivered, PublishError> {
        message.check()?;
        let topic = message.topic.clone();
        let after = self.inner.publish_deadline;
        let mut handed_over = false;
        let delivery = self.deliver(message, &mut handed_over);
        match timeout(after, delivery).await {
            Ok(result) => result,
            Err(_elapsed) => Err(PublishError::TimedOut { topic, after, handed_over }),
        }
    }

    async fn deliver(&self, message: Outgoing, handed_over: &mut bool) -> Result<Delivered, PublishError> {
        let topic = &message.topic;
        let closed = || PublishError::Closed { topic: topic.clone() };
        let notice = loop {
            let limits = self.until_up().await.ok_or_else(closed)?;
            self.check_limits(&message, limits)?;
            let options = PublishOptions::new(message.qos.to_wire())
                .retain(message.retain)
                .properties(message.properties());
            let client = self.inner.shared.client();
            match client.publish_tracked(topic.as_str(), message.payload.clone(), options).await {
                Ok(notice) => break notice,
                Err(ClientError::InvalidRequest(_)) => {
                    return Err(PublishError::Invalid {
                        topic: topic.clone(),
                        what: "the message",
                        why: "the client library refuses it".to_owned(),
                    });
                }
                // The connection's task has ended, or has put a fresh client in place.
                Err(_) => tokio::task::yield_now().await,
            }
        };
        *handed_over = true;
        match notice.wait_async().await {
            Ok(PublishResult::Qos0Flushed) => Ok(Delivered::Unconfirmed),
            Ok(PublishResult::Qos1(puback)) => match puback.reason {
                PubAckReason::Success => Ok(Delivered::Subscribers),
                PubAckReason::NoMatchingSubscribers => Ok(Delivered::Nobody),
                code => Err(PublishError::Refused {
                    topic: topic.clone(),
                    code: code as u8,
                    reason: reason::of_publish(code),
                }),
            },
            Err(PublishNoticeError::RetainNotSupported) => Err(retain_refused(topic)),
            Ok(_) | Err(_) => Err(PublishError::Lost { topic: topic.clone() }),
        }
    }

    fn check_limits(&self, message: &Outgoing, limits: Limits) -> Result<(), PublishError> {
        if message.retain && !limits.retain {
            return Err(retain_refused(&message.topic));
        }
        let size = message.packet_size();
        if size > limits.max_packet_size {
            return Err(PublishError::TooLarge {
                topic: message.topic.clone(),
                size,
                limit: limits.max_packet_size,
            });
        }
        Ok(())
    }

    /// Waits for the connection; `None` when the bus is shut down.
    async fn until_up(&self) -> Option<Limits> {
        let mut closing = self.inner.shared.closing.subscribe();
        let mut state = self.inner.shared.state.subscribe();
        tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => None,
            up = state.wait_for(|state| state.link.is_up()) => up.ok().map(|state| state.limits),
        }
    }

    /// Subscribes (QoS 1) and waits until the broker has answered for every filter.
    ///
    /// While the connection is down it waits. The filters are remembered from the call on, also
    /// when the future is dropped, and sent again to every new session of the broker. A filter
    /// that was never granted is forgotten when it is refused.
    ///
    /// # Errors
    ///
    /// When a filter is not valid (then nothing is sent), or refused (then the others are in
    /// place), or the bus is shut down.
    pub async fn subscribe(&self, filters: &[String]) -> Result<(), SubscribeError> {
        self.command(filters, Wish::Subscribe).await
    }

    /// Subscribes (QoS 1) and waits until the broker has granted every filter, for as long as that takes.
    ///
    /// A filter that is refused is told as [`Incoming::Refused`](crate::Incoming::Refused) and asked for again, on the
    /// next connection and every few seconds on this one: rights can come later. Otherwise as [`Bus::subscribe`].
    ///
    /// # Errors
    ///
    /// When a filter is not valid (then nothing is sent), or the bus is shut down.
    pub async fn keep_subscribed(&self, filters: &[String]) -> Result<(), SubscribeError> {
        self.command(filters, Wish::KeepSubscribed).await
    }

    /// Unsubscribes and waits for the broker's answer; a filter that was not subscribed is no
    /// error.
    ///
    /// # Errors
    ///
    /// As for [`Bus::subscribe`].
    pub async fn unsubscribe(&self, filters: &[String]) -> Result<(), SubscribeError> {
        self.command(filters, Wish::Unsubscribe).await
    }

    async fn command(&self, filters: &[String], wish: Wish) -> Result<(), SubscribeError> {
        for filter in filters {
            text::check_filter(filter)
                .map_err(|why| SubscribeError::Invalid { filter: filter.clone(), why: why.to_string() })?;
        }
        let mut filters = filters.to_vec();
        filters.sort_unstable();
        filters.dedup();
        let mut closing = self.inner.shared.closing.subscribe();
        let (sender, answer) = oneshot::channel();
        if self.inner.commands.send(Command { wish, filters, answer: sender }).await.is_err() {
            return Err(SubscribeError::Closed);
        }
        tokio::select! {
            answer = answer => answer.unwrap_or(Err(SubscribeError::Closed)),
            _ = closing.wait_for(|closing| *closing) => Err(SubscribeError::Closed),
        }
    }

    /// Watches whether the connection is up.
    #[must_use]
    pub fn link(&self) -> watch::Receiver<Link> {
        self.inner.shared.link.subscribe()
    }

    /// How many messages were dropped because the inbox was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.inner.shared.inbox.dropped()
    }

    /// Waits a moment for what is in flight, says goodbye to the broker, which then publishes no
    /// last will, and ends the connection for all clones. A durable session stays at the broker.
    pub async fn shutdown(self) {
        let shared = &self.inner.shared;
        shared.closing.send_replace(true);
        let client = shared.client();
        let mut ended = shared.ended.subscribe();
        // A full channel is emptied by the connection's task, a closed one needs no goodbye.
        let farewell = async {
            let _ = client.disconnect().await;
            let _ = ended.wait_for(|ended| *ended).await;
        };
        if timeout(DRAIN, farewell).await.is_err() {
            let _ = client.disconnect_now().await;
            let last_call = timeout(LAST_CALL, ended.wait_for(|ended| *ended)).await;
            if last_call.is_err() {
                tracing::warn!("the connection did not end in time and is cut");
            }
        }
        for task in &self.inner.tasks {
            task.abort();
        }
        shared.inbox.close();
    }
}

fn retain_refused(topic: &str) -> PublishError {
    PublishError::Refused { topic: topic.to_owned(), code: 0x9A, reason: "retain not supported" }
}
