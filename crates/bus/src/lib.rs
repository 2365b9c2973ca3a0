//! The MQTT client: confirmed publishes, durable sessions, manual acknowledgement.
//!
//! This crate is the only one that knows the MQTT library. It decides nothing about topics and
//! reads no payload; it owns one connection and tells the truth about it:
//!
//! * [`Bus::publish`] resolves when the broker has acknowledged, and says when it has not.
//! * [`Bus::subscribe`] is remembered and sent again whenever the broker has lost the session, and
//!   [`Bus::keep_subscribed`] also when it is refused.
//! * [`Inbox::recv`] yields messages in order; in a durable session each stays the broker's until
//!   [`Delivery::ack`].
//! * [`Bus::link`] says whether the connection is up, and in words why it is not.
//!
//! Dropping the last [`Bus`] cuts the connection, so that the broker publishes the last will;
//! [`Bus::shutdown`] leaves politely, so that it does not.

mod backoff;
mod bus;
mod config;
mod connection;
mod delivery;
mod dial;
mod error;
mod inbox;
mod link;
mod message;
mod reason;
mod resume;
mod shared;
mod subscriptions;
mod text;
mod wire;

pub use bus::Bus;
pub use config::{Config, Password, Session, Tls};
pub use delivery::Delivery;
pub use error::{PublishError, SubscribeError};
pub use inbox::{Inbox, Incoming};
pub use link::Link;
pub use message::{Delivered, Outgoing, Qos};
pub use text::is_topic;
