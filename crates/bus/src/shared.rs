//! What the connection's task and the handles of a bus know together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rumqttc::{AsyncClient, ManualAck};
use tokio::sync::watch;

use crate::inbox::Queue;
use crate::link::Link;

/// What the broker told in its last CONNACK (MQTT 5, 3.2.2.3).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The largest packet that it accepts, in bytes.
    pub(crate) max_packet_size: usize,
    /// Whether it keeps retained messages.
    pub(crate) retain: bool,
}

/// The link with what subscriptions need to know of it.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) link: Link,
    /// Counts the broker's sessions: a new number means that it has no subscription of ours.
    pub(crate) session: u64,
    pub(crate) limits: Limits,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) inbox: Arc<Queue>,
    pub(crate) state: watch::Sender<State>,
    pub(crate) link: watch::Sender<Link>,
    /// Somebody has called for a shutdown.
    pub(crate) closing: watch::Sender<bool>,
    /// The connection's task has finished.
    pub(crate) ended: watch::Sender<bool>,
    gate: Mutex<Gate>,
}

/// The library's handle, and the connection to which an acknowledgement must belong.
#[derive(Debug)]
struct Gate {
    client: AsyncClient,
    /// The epoch of the connection that is up; 0 when none is.
    epoch: u64,
}

impl Shared {
    pub(crate) fn new(client: AsyncClient, inbox: Arc<Queue>, limits: Limits) -> Self {
        let link = Link::Down { reason: "not connected yet".to_owned() };
        Self {
            inbox,
            state: watch::Sender::new(State { link: link.clone(), session: 0, limits }),
            link: watch::Sender::new(link),
            closing: watch::Sender::new(false),
            ended: watch::Sender::new(false),
            gate: Mutex::new(Gate { client, epoch: 0 }),
        }
    }

    pub(crate) fn client(&self) -> AsyncClient {
        self.gate().client.clone()
    }

    pub(crate) fn set_client(&self, client: AsyncClient) {
        self.gate().client = client;
    }

    pub(crate) fn set_epoch(&self, epoch: u64) {
        self.gate().epoch = epoch;
    }

    /// Publishes the state of the link to everybody who watches it.
    pub(crate) fn set_state(&self, state: State) {
        self.link.send_replace(state.link.clone());
        self.state.send_replace(state);
    }

    /// Queues an acknowledgement when the connection of the delivery is still up.
    ///
    /// On any other connection the packet identifier means another message or none, and the
    /// library ends the connection over the latter. The lock makes check and queueing one step.
    pub(crate) fn acknowledge(&self, epoch: u64, ack: ManualAck) {
        let gate = self.gate();
        if gate.epoch != epoch {
            tracing::debug!(epoch, "acknowledgement of an earlier connection dropped");
            return;
        }
        if gate.client.try_manual_ack(ack).is_err() {
            tracing::warn!("acknowledgement not queued; the broker will deliver the message again");
        }
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
