//! How to connect.

use std::fmt;
use std::time::Duration;

use rumqttc::{AckMode, AsyncClient, Broker, ConnectProperties, EventLoop, MqttOptions, NetworkOptions};

use crate::dial::dial;
use crate::message::Outgoing;
use crate::resume::EmptySession;

/// Publishes that may await their acknowledgement at the same time; brokers set lower limits.
const IN_FLIGHT: u16 = 100;

/// How to connect, and what to do with what arrives.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name or address of the broker.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The login; empty for an anonymous one.
    pub username: String,
    /// The login's password.
    pub password: Password,
    /// Who we are to the broker; a durable session belongs to it.
    pub client_id: String,
    /// What the broker keeps while we are away.
    pub session: Session,
    /// After how much silence the broker is asked whether it is there, in whole seconds.
    pub keep_alive: Duration,
    /// What the broker publishes when the connection ends without a [`crate::Bus::shutdown`].
    pub last_will: Option<Outgoing>,
    /// Encryption; `None` is plain TCP.
    pub tls: Option<Tls>,
    /// The largest packet that is sent or accepted, in bytes. Brokers do not deliver larger ones
    /// (MQTT 5, 3.1.2.11.4).
    pub max_packet_size: u32,
    /// How many QoS 1 messages the broker may deliver before one is acknowledged (MQTT 5,
    /// 3.1.2.11.3). In a durable session this is what bounds the inbox.
    pub receive_maximum: u16,
    /// How many unread messages a clean session keeps before it drops the oldest; a durable one
    /// keeps at least `receive_maximum`.
    pub inbox_capacity: usize,
    /// How long a publish waits for the connection and its acknowledgement.
    pub publish_deadline: Duration,
    /// Whether [`crate::Delivery::retain`] also tells of messages that are published now, and that their
    /// publisher wants kept (MQTT 5, 3.8.3.1: Retain As Published).
    pub tell_retained: bool,
}

impl Config {
    /// A clean, anonymous session over plain TCP: the fields say the rest.
    pub fn new(host: impl Into<String>, port: u16, client_id: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port,
            username: String::new(),
            password: Password::default(),
            client_id: client_id.into(),
            session: Session::Clean,
            keep_alive: Duration::from_secs(15),
            last_will: None,
            tls: None,
            max_packet_size: 1024 * 1024,
            receive_maximum: 64,
            inbox_capacity: 1024,
            publish_deadline: Duration::from_secs(10),
            tell_retained: false,
        }
    }

    /// Sets login and password.
    #[must_use]
    pub fn login(mut self, username: impl Into<String>, password: impl Into<Password>) -> Self {
        self.username = username.into();
        self.password = password.into();
        self
    }

    /// Makes the session durable for `expiry` after a disconnect.
    #[must_use]
    pub const fn durable(mut self, expiry: Duration) -> Self {
        self.session = Session::Durable { expiry };
        self
    }

    /// Also tells of a message that is published now that its publisher wants it kept.
    #[must_use]
    pub const fn tell_retained(mut self) -> Self {
        self.tell_retained = true;
        self
    }

    /// Sets the last will.
    #[must_use]
    pub fn last_will(mut self, will: Outgoing) -> Self {
        self.last_will = Some(will);
        self
    }

    pub(crate) fn broker(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// At least as large as what the broker may deliver unacknowledged: a durable session then
    /// never has to drop a QoS 1 message.
    pub(crate) fn inbox_size(&self) -> usize {
        match self.session {
            Session::Clean => self.inbox_capacity.max(1),
            Session::Durable { .. } => self.inbox_capacity.max(usize::from(self.receive())),
        }
    }

    fn receive(&self) -> u16 {
        self.receive_maximum.max(1)
    }

    /// A client of the library with nothing in flight.
    pub(crate) fn build(&self) -> (AsyncClient, EventLoop) {
        // Every delivery that awaits its acknowledgement must find room here, because an
        // acknowledgement never waits.
        let capacity = usize::from(self.receive()) + 64;
        AsyncClient::builder(self.options()).capacity(capacity).build()
    }

    fn options(&self) -> MqttOptions {
        let broker = Broker::tcp(self.host.clone(), self.port);
        let mut options = MqttOptions::new(self.client_id.clone(), broker);
        if !self.username.is_empty() {
            options.set_credentials(self.username.clone(), self.password.0.clone());
        }
        let mut properties = ConnectProperties::new();
        properties.receive_maximum = Some(self.receive());
        properties.max_packet_size = Some(self.max_packet_size.max(1024));
        match self.session {
            Session::Clean => {
                options.set_clean_start(true);
                options.set_ack_mode(AckMode::Automatic);
            }
            Session::Durable { expiry } => {
                let expiry = u32::try_from(expiry.as_secs().max(1)).unwrap_or(u32::MAX);
                properties.session_expiry_interval = Some(expiry);
                options.set_clean_start(false);
                options.set_ack_mode(AckMode::Manual);
                options.set_session_store(EmptySession { expiry, in_flight: IN_FLIGHT });
            }
        }
        options.set_connect_properties(properties);
        options.set_outgoing_inflight_upper_limit(IN_FLIGHT);
        options.set_max_request_batch(32);
        options.set_keep_alive(u16::try_from(self.keep_alive.as_secs().max(1)).unwrap_or(u16::MAX));
        if let Some(will) = &self.last_will {
            options.set_last_will(will.to_last_will());
        }
        // Without it a request and its answer wait for the timers of TCP: 0.4 ms become 50.
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        let (host, tls) = (self.host.clone(), self.tls.clone());
        options
            .set_socket_connector(move |address, network| dial(address, network, host.clone(), tls.clone()));
        options
    }
}

/// What the broker keeps while this client is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// Nothing. Messages are acknowledged as they arrive, and when the inbox is full the oldest is
    /// dropped: for telemetry, where the newest counts.
    Clean,
    /// Subscriptions and QoS 1 messages. Each delivery is acknowledged by
    /// [`crate::Delivery::ack`], and those that were not come again: for requests.
    Durable {
        /// For how long after a disconnect, in whole seconds.
        expiry: Duration,
    },
}

/// Encryption of the connection.
#[derive(Clone)]
pub struct Tls {
    /// The certificates (PEM) by one of which the broker's must be signed.
    pub ca_pem: Vec<u8>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// A password. `Debug` does not show it, and there is no `Display`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Wraps a password.
    pub fn new(password: impl Into<String>) -> Self {
        Self(password.into())
    }
}

impl From<String> for Password {
    fn from(password: String) -> Self {
        Self(password)
    }
}

impl From<&str> for Password {
    fn from(password: &str) -> Self {
        Self(password.to_owned())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_never_shows_a_password() {
        let config = Config::new("h", 1883, "c").login("u", "s3cret");
        assert!(!format!("{config:?}").contains("s3cret"));
    }

    #[test]
    fn a_durable_inbox_holds_all_that_may_be_unacknowledged() {
        let mut config = Config::new("h", 1883, "c").durable(Duration::from_secs(60));
        config.inbox_capacity = 1;
        config.receive_maximum = 20;
        assert_eq!(config.inbox_size(), 20);
    }
}
