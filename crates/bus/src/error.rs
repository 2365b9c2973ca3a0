//! What can go wrong with a publish or a subscription, and whether trying again can help.

use std::time::Duration;

use thiserror::Error;

/// Why a publish is not known to be delivered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The broker answered and did not take the message.
    #[error(
        "the broker refused the publish to {topic}: {reason} (0x{code:02X}); check that this login may publish there"
    )]
    Refused {
        /// Where the message was to go.
        topic: String,
        /// The reason code of the PUBACK (MQTT 5, 3.4.2.1).
        code: u8,
        /// Its name.
        reason: &'static str,
    },
    /// The connection and the session ended before the broker acknowledged: the message may or may
    /// not have arrived.
    #[error(
        "the session with the broker ended before it acknowledged the publish to {topic}; the message may or may not have arrived, so publish again only what may arrive twice"
    )]
    Lost {
        /// Where the message was to go.
        topic: String,
    },
    /// The message is larger than the broker, or this side's own limit, accepts. It was not sent.
    #[error("the message to {topic} has {size} bytes and the limit is {limit}; it was not sent")]
    TooLarge {
        /// Where the message was to go.
        topic: String,
        /// Size of the packet in bytes.
        size: usize,
        /// The largest packet that is accepted, in bytes.
        limit: usize,
    },
    /// The broker would close the connection over this message. It was not sent.
    #[error("the publish to {topic:?} was not sent: {what} is not valid in MQTT: {why}")]
    Invalid {
        /// Where the message was to go.
        topic: String,
        /// Which part of the message is meant.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// No acknowledgement came in time.
    #[error(
        "the publish to {topic} was not acknowledged within {after:?} ({}); the link says why: see whether the broker is reachable",
        if *.handed_over { "it may still arrive" } else { "it was not sent" }
    )]
    TimedOut {
        /// Where the message was to go.
        topic: String,
        /// How long was waited.
        after: Duration,
        /// Whether the message had been handed over for sending: then it may still arrive.
        handed_over: bool,
    },
    /// This bus has been shut down.
    #[error("the publish to {topic} was not sent: this connection has been shut down")]
    Closed {
        /// Where the message was to go.
        topic: String,
    },
}

impl PublishError {
    /// Whether the same publish can succeed later without anything being changed.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Lost { .. } | Self::TimedOut { .. } => true,
            // "Quota exceeded" passes; "not authorized" and the others need somebody to act.
            Self::Refused { code, .. } => *code == 0x97,
            Self::TooLarge { .. } | Self::Invalid { .. } | Self::Closed { .. } => false,
        }
    }
}

/// Why a subscription is not in place.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The broker refused these filters. The others of the same call are in place.
    #[error(
        "the broker refused to subscribe to {}; check that this login may",
        .filters.iter().map(|(f, why)| format!("{f} ({why})")).collect::<Vec<_>>().join(", ")
    )]
    Refused {
        /// Each refused filter with the name of the broker's reason code (MQTT 5, 3.9.3).
        filters: Vec<(String, &'static str)>,
    },
    /// A filter is not valid; nothing of the call was sent.
    #[error("the topic filter {filter:?} is not valid in MQTT: {why}")]
    Invalid {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        why: String,
    },
    /// This bus has been shut down.
    #[error("this connection has been shut down")]
    Closed,
}
