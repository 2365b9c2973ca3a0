//! A message that has arrived.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rumqttc::{ManualAck, PubAck, Publish, QoS};

use crate::message::Qos;
use crate::shared::Shared;

/// A message that has arrived. `Debug` shows sizes in place of contents, which may be secret.
pub struct Delivery {
    /// Where it was published.
    pub topic: String,
    /// What it says.
    pub payload: Bytes,
    /// The lower of the publisher's and the subscription's quality of service.
    pub qos: Qos,
    /// The broker had kept the message when we subscribed; false for what is published now, even
    /// when it is retained for others, unless [`crate::Config::tell_retained`] asks for that.
    pub retain: bool,
    /// The broker may have delivered this message before (MQTT 5, 3.3.1.1).
    pub dup: bool,
    /// What is left of the publisher's expiry, in whole seconds.
    pub expiry: Option<Duration>,
    /// Where the publisher wants an answer. Not to be trusted: any topic may stand here.
    pub response_topic: Option<String>,
    /// What the answer repeats.
    pub correlation_data: Option<Bytes>,
    /// Names and values, in order.
    pub user_properties: Vec<(String, String)>,
    /// What the payload is.
    pub content_type: Option<String>,
    handle: Option<Handle>,
}

/// What a durable session's QoS 1 message needs to be acknowledged.
struct Handle {
    shared: Arc<Shared>,
    epoch: u64,
    packet: u16,
    done: AtomicBool,
}

impl Delivery {
    /// A message that came over no connection, of which there is nothing to acknowledge: as tests need it of those who
    /// read messages.
    pub fn new(topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos: Qos::AtLeastOnce,
            retain: false,
            dup: false,
            expiry: None,
            response_topic: None,
            correlation_data: None,
            user_properties: Vec::new(),
            content_type: None,
            handle: None,
        }
    }

    /// Takes over a packet; `acknowledge` names the connection of a message that awaits its
    /// acknowledgement.
    pub(crate) fn from_packet(packet: Publish, acknowledge: Option<(Arc<Shared>, u64)>) -> Self {
        let handle = acknowledge.filter(|_| packet.qos == QoS::AtLeastOnce).map(|(shared, epoch)| Handle {
            shared,
            epoch,
            packet: packet.pkid,
            done: AtomicBool::new(false),
        });
        let properties = packet.properties.unwrap_or_default();
        Self {
            topic: String::from_utf8_lossy(&packet.topic).into_owned(),
            payload: packet.payload,
            qos: Qos::from_wire(packet.qos),
            retain: packet.retain,
            dup: packet.dup,
            expiry: properties.message_expiry_interval.map(|seconds| Duration::from_secs(seconds.into())),
            response_topic: properties.response_topic,
            correlation_data: properties.correlation_data,
            user_properties: properties.user_properties,
            content_type: properties.content_type,
            handle,
        }
    }

    /// Tells the broker that the effect of this message is stored, so that it forgets it.
    ///
    /// Nothing happens the second time, in a clean session, for QoS 0, and when the connection that
    /// delivered it is gone: then the broker delivers the message again.
    #[expect(clippy::unused_async, reason = "callers must not depend on an acknowledgement never waiting")]
    pub async fn ack(&self) {
        if let Some(handle) = &self.handle
            && !handle.done.swap(true, Ordering::AcqRel)
        {
            let ack = ManualAck::PubAck(PubAck::new(handle.packet, None));
            handle.shared.acknowledge(handle.epoch, ack);
        }
    }

    /// Whether the broker delivers this message again unless it is acknowledged.
    pub(crate) const fn awaits_ack(&self) -> bool {
        self.handle.is_some()
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("topic", &self.topic)
            .field("payload_bytes", &self.payload.len())
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("dup", &self.dup)
            .field("expiry", &self.expiry)
            .field("response_topic", &self.response_topic)
            .finish_non_exhaustive()
    }
}
