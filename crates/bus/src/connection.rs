//! The task that owns the connection.
//!
//! It never waits for anything but the network and its own pauses: a publish or a subscription from
//! here would wait for the very task that serves it.

use std::sync::Arc;
use std::time::Instant;

use rumqttc::{ConnAck, ConnectionError, Event, EventLoop, Packet, Publish};
use tokio::sync::watch;

use crate::backoff::Backoff;
use crate::config::{Config, Session};
use crate::delivery::Delivery;
use crate::link::Link;
use crate::reason;
use crate::shared::{Limits, Shared};

/// After so many connections in a row that ended over a packet of ours, what is in flight is given
/// up: it would end the next one too.
const PATIENCE: u32 = 2;

pub(crate) struct Connection {
    config: Config,
    shared: Arc<Shared>,
    closing: watch::Receiver<bool>,
    backoff: Backoff,
    epoch: u64,
    up_since: Option<Instant>,
    blamed: u32,
}

impl Connection {
    pub(crate) fn new(config: Config, shared: Arc<Shared>) -> Self {
        let closing = shared.closing.subscribe();
        Self { config, shared, closing, backoff: Backoff::default(), epoch: 0, up_since: None, blamed: 0 }
    }

    /// Runs until the bus is shut down.
    pub(crate) async fn run(mut self, mut events: EventLoop) {
        let reason = loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(connack))) => {
                    // The empty session has done its work; from here on the library's memory
                    // is the truth, and copying it at every packet would be waste.
                    events.options.clear_session_store();
                    self.on_connected(&connack);
                }
                Ok(Event::Incoming(Packet::Publish(publish))) => self.on_message(publish),
                Ok(_) => {}
                Err(ConnectionError::RequestsDone) => break "shut down".to_owned(),
                Err(error) => {
                    let reason = reason::of_connection(&error, &self.config.broker());
                    events = self.on_disconnected(events, &error, &reason);
                    if self.pause().await {
                        break reason;
                    }
                }
            }
            // A busy broker must not keep other tasks of this worker waiting.
            tokio::task::coop::consume_budget().await;
        };
        drop(events);
        self.tell(Link::Down { reason }, None);
        self.shared.inbox.close();
        self.shared.ended.send_replace(true);
    }

    fn on_connected(&mut self, connack: &ConnAck) {
        self.epoch += 1;
        self.up_since = Some(Instant::now());
        let session_present = connack.session_present;
        self.shared.set_epoch(self.epoch);
        self.shared.inbox.connected(session_present);
        self.tell(
            Link::Up { epoch: self.epoch, session_present },
            Some(limits(connack, self.config.max_packet_size)),
        );
        tracing::info!(broker = %self.config.broker(), session_present, "connected");
    }

    fn on_message(&self, publish: Publish) {
        let acknowledge = match self.config.session {
            Session::Clean => None,
            Session::Durable { .. } => Some((Arc::clone(&self.shared), self.epoch)),
        };
        self.shared.inbox.message(Delivery::from_packet(publish, acknowledge));
    }

    fn on_disconnected(&mut self, mut events: EventLoop, error: &ConnectionError, reason: &str) -> EventLoop {
        let lasted = self.up_since.take().map(|since| since.elapsed());
        self.backoff.connection_ended(lasted);
        self.shared.set_epoch(0);
        // Acknowledgements that came between the library's own cleaning and the line above.
        events.clean();

        self.blamed = if reason::blames_a_packet(error) { self.blamed + 1 } else { 0 };
        if self.blamed >= PATIENCE {
            tracing::warn!(reason, "what was in flight is given up: it ended several connections");
            self.blamed = 0;
            let (client, fresh) = self.config.build();
            self.shared.set_client(client);
            // Dropping the old one resolves what was in flight as lost.
            events = fresh;
        }

        if lasted.is_some() {
            tracing::warn!(broker = %self.config.broker(), reason, "disconnected");
            self.shared.inbox.disconnected(reason.to_owned());
        } else {
            tracing::debug!(broker = %self.config.broker(), reason, "not connected");
        }
        self.tell(Link::Down { reason: reason.to_owned() }, None);
        events
    }

    /// Waits before the next attempt; true when the bus is being shut down.
    async fn pause(&mut self) -> bool {
        let pause = self.backoff.next_pause();
        let closing = self.closing.wait_for(|closing| *closing);
        match tokio::time::timeout(pause, closing).await {
            Ok(_) => true,
            Err(_elapsed) => false,
        }
    }

    fn tell(&self, link: Link, limits: Option<Limits>) {
        let mut state = self.shared.state.borrow().clone();
        if matches!(link, Link::Up { session_present, .. } if !session_present || state.session == 0) {
            state.session += 1;
        }
        state.link = link;
        state.limits = limits.unwrap_or(state.limits);
        self.shared.set_state(state);
    }
}

/// What the broker accepts, never more than our own limit.
pub(crate) fn limits(connack: &ConnAck, own: u32) -> Limits {
    let properties = connack.properties.as_ref();
    let theirs = properties.and_then(|p| p.max_packet_size).unwrap_or(u32::MAX);
    Limits {
        max_packet_size: usize::try_from(theirs.min(own)).unwrap_or(usize::MAX),
        retain: properties.and_then(|p| p.retain_available) != Some(0),
    }
}
