//! What is published.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rumqttc::{LastWill, LastWillProperties, PublishProperties, QoS};

use crate::error::PublishError;
use crate::text::{self, BadText};

/// Quality of service of a message. QoS 2 is not offered: requests carry ids, which do more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Qos {
    /// QoS 0: sent once, never confirmed.
    AtMostOnce,
    /// QoS 1: confirmed by the broker; may arrive twice.
    #[default]
    AtLeastOnce,
}

impl Qos {
    pub(crate) const fn to_wire(self) -> QoS {
        match self {
            Self::AtMostOnce => QoS::AtMostOnce,
            Self::AtLeastOnce => QoS::AtLeastOnce,
        }
    }

    pub(crate) const fn from_wire(qos: QoS) -> Self {
        match qos {
            QoS::AtMostOnce => Self::AtMostOnce,
            QoS::AtLeastOnce | QoS::ExactlyOnce => Self::AtLeastOnce,
        }
    }
}

/// What the broker said of a publish that it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// Acknowledged with 0x00: somebody is subscribed, or the broker does not say.
    Subscribers,
    /// Acknowledged with 0x10: the broker took it, and nobody is subscribed.
    Nobody,
    /// QoS 0: written to the connection, which is all that can be known.
    Unconfirmed,
}

/// A message to publish. `Debug` shows sizes in place of contents, which may be secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Where it goes.
    pub topic: String,
    /// What it says.
    pub payload: Bytes,
    /// How it is delivered.
    pub qos: Qos,
    /// Whether the broker keeps it for later subscribers; with an empty payload it forgets the one
    /// that it kept.
    pub retain: bool,
    /// After how long the broker drops it undelivered, rounded up to seconds (MQTT 5, 3.3.2.3.3).
    pub expiry: Option<Duration>,
    /// Where the answer is wanted (MQTT 5, 3.3.2.3.5).
    pub response_topic: Option<String>,
    /// What the answer repeats (MQTT 5, 3.3.2.3.6).
    pub correlation_data: Option<Bytes>,
    /// Names and values, in order (MQTT 5, 3.3.2.3.7).
    pub user_properties: Vec<(String, String)>,
    /// What the payload is, such as `application/json` (MQTT 5, 3.3.2.3.9).
    pub content_type: Option<String>,
}

impl Outgoing {
    /// A QoS 1 message that is not retained.
    pub fn new(topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos: Qos::AtLeastOnce,
            retain: false,
            expiry: None,
            response_topic: None,
            correlation_data: None,
            user_properties: Vec::new(),
            content_type: None,
        }
    }

    /// Sets the quality of service.
    #[must_use]
    pub const fn qos(mut self, qos: Qos) -> Self {
        self.qos = qos;
        self
    }

    /// Makes the broker keep the message for later subscribers.
    #[must_use]
    pub const fn retained(mut self) -> Self {
        self.retain = true;
        self
    }

    /// Makes the broker drop the message when it is undelivered for this long.
    #[must_use]
    pub const fn expires_in(mut self, expiry: Duration) -> Self {
        self.expiry = Some(expiry);
        self
    }

    /// Names the topic on which an answer is wanted.
    #[must_use]
    pub fn respond_to(mut self, topic: impl Into<String>) -> Self {
        self.response_topic = Some(topic.into());
        self
    }

    /// Sets the data that an answer repeats.
    #[must_use]
    pub fn correlated_by(mut self, data: impl Into<Bytes>) -> Self {
        self.correlation_data = Some(data.into());
        self
    }

    /// Adds a user property.
    #[must_use]
    pub fn with_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.user_properties.push((name.into(), value.into()));
        self
    }

    /// Says what the payload is.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Refuses what a broker would answer by closing the connection.
    pub(crate) fn check(&self) -> Result<(), PublishError> {
        let bad = |what| {
            move |why: BadText| PublishError::Invalid {
                topic: self.topic.clone(),
                what,
                why: why.to_string(),
            }
        };
        text::check_topic(&self.topic).map_err(bad("the topic"))?;
        if let Some(topic) = &self.response_topic {
            text::check_topic(topic).map_err(bad("the response topic"))?;
        }
        for (name, value) in &self.user_properties {
            text::check(name).map_err(bad("the name of a user property"))?;
            text::check(value).map_err(bad("the value of a user property"))?;
        }
        if let Some(content_type) = &self.content_type {
            text::check(content_type).map_err(bad("the content type"))?;
        }
        if let Some(data) = &self.correlation_data
            && data.len() > usize::from(u16::MAX)
        {
            return Err(bad("the correlation data")(BadText::TooLong));
        }
        // The library's own encoder has the last word: what it cannot write would end the
        // connection from this side.
        let mut probe = rumqttc::Publish::new(
            self.topic.clone(),
            self.qos.to_wire(),
            Bytes::new(),
            Some(self.properties()),
        );
        probe.pkid = 1;
        match probe.write(&mut BytesMut::new()) {
            Ok(_) => Ok(()),
            Err(error) => Err(PublishError::Invalid {
                topic: self.topic.clone(),
                what: "the message",
                why: error.to_string(),
            }),
        }
    }

    /// Size of the whole packet in bytes.
    pub(crate) fn packet_size(&self) -> usize {
        let mut packet = rumqttc::Publish::new(
            self.topic.clone(),
            self.qos.to_wire(),
            self.payload.clone(),
            Some(self.properties()),
        );
        packet.pkid = 1;
        packet.size()
    }

    pub(crate) fn properties(&self) -> PublishProperties {
        PublishProperties {
            message_expiry_interval: self.expiry.map(whole_seconds),
            response_topic: self.response_topic.clone(),
            correlation_data: self.correlation_data.clone(),
            user_properties: self.user_properties.clone(),
            content_type: self.content_type.clone(),
            ..PublishProperties::default()
        }
    }

    pub(crate) fn to_last_will(&self) -> LastWill {
        LastWill {
            topic: Bytes::copy_from_slice(self.topic.as_bytes()),
            message: self.payload.clone(),
            qos: self.qos.to_wire(),
            retain: self.retain,
            properties: Some(LastWillProperties {
                delay_interval: None,
                payload_format_indicator: None,
                message_expiry_interval: self.expiry.map(whole_seconds),
                content_type: self.content_type.clone(),
                response_topic: self.response_topic.clone(),
                correlation_data: self.correlation_data.clone(),
                user_properties: self.user_properties.clone(),
            }),
        }
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("topic", &self.topic)
            .field("payload_bytes", &self.payload.len())
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("expiry", &self.expiry)
            .field("response_topic", &self.response_topic)
            .finish_non_exhaustive()
    }
}

/// Rounds up, so that a message never expires earlier than asked, and never at once.
fn whole_seconds(duration: Duration) -> u32 {
    let seconds = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    u32::try_from(seconds.max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_is_rounded_up_to_seconds() {
        assert_eq!(whole_seconds(Duration::ZERO), 1);
        assert_eq!(whole_seconds(Duration::from_millis(1001)), 2);
        assert_eq!(whole_seconds(Duration::MAX), u32::MAX);
    }

    #[test]
    fn debug_output_never_shows_a_payload() {
        let message = Outgoing::new("t", "s3cret").correlated_by("s3cret");
        assert!(!format!("{message:?}").contains("s3cret"));
    }

    #[test]
    fn text_that_would_end_the_connection_is_refused_before_it_is_queued() {
        assert!(Outgoing::new("a/b", "x").check().is_ok());
        for bad in [
            Outgoing::new("a/\u{1}", "x"),
            Outgoing::new("a/#", "x"),
            Outgoing::new("a", "x").respond_to("b/+"),
            Outgoing::new("a", "x").with_property("k", "\0"),
            Outgoing::new("a", "x").correlated_by(vec![0; 70_000]),
            Outgoing::new("a", "x").content_type("\u{7F}"),
        ] {
            let refused = bad.check();
            assert!(matches!(refused, Err(PublishError::Invalid { .. })), "{refused:?}");
        }
    }
}
