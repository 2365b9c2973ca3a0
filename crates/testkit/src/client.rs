//! A raw client of the broker: other people's software, well behaved or hostile.

mod v4;
mod v5;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long the broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
const MAX_PACKET: u32 = 16 * 1024 * 1024;

/// The version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1: learns of no refused publish.
    V3,
    /// MQTT 5.
    V5,
}

/// What the broker did not accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// How a client connects.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    pub(crate) port: u16,
    pub(crate) login: Option<(String, String)>,
    pub(crate) id: String,
    pub(crate) version: Version,
    pub(crate) clean: bool,
    pub(crate) will: Option<(String, Bytes)>,
}

impl ClientOptions {
    /// Sets login and password.
    #[must_use]
    pub fn login(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.login = Some((name.into(), password.into()));
        self
    }

    /// Speaks MQTT 3.1.1.
    #[must_use]
    pub const fn v3(mut self) -> Self {
        self.version = Version::V3;
        self
    }

    /// Sets the version of the protocol.
    #[must_use]
    pub const fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// Keeps the session at the broker, and takes over the one that is there.
    #[must_use]
    pub const fn durable(mut self) -> Self {
        self.clean = false;
        self
    }

    /// Sets the last will: QoS 1, not retained.
    #[must_use]
    pub fn will(mut self, topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        self.will = Some((topic.into(), payload.into()));
        self
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// When the broker refuses, in the words of its reason code.
    pub async fn connect(self) -> Result<Client, Refusal> {
        let connecting = async {
            match self.version {
                Version::V3 => v4::connect(&self).await,
                Version::V5 => v5::connect(&self).await,
            }
        };
        within(connecting).await?
    }
}

/// A message to publish.
#[derive(Clone, Debug, Default)]
pub struct Publish {
    /// Where it goes.
    pub topic: String,
    /// What it says.
    pub payload: Bytes,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Whether the broker keeps it.
    pub retain: bool,
    /// MQTT 5 only.
    pub response_topic: Option<String>,
    /// MQTT 5 only.
    pub correlation_data: Option<Bytes>,
    /// MQTT 5 only.
    pub expiry: Option<Duration>,
    /// MQTT 5 only.
    pub user_properties: Vec<(String, String)>,
}

/// A message that has arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub topic: String,
    /// What it says.
    pub payload: Bytes,
    /// 0, 1 or 2.
    pub qos: u8,
    /// The broker had kept it when we subscribed.
    pub retain: bool,
    /// The broker may have delivered it before.
    pub dup: bool,
    /// MQTT 5 only.
    pub response_topic: Option<String>,
    /// MQTT 5 only.
    pub correlation_data: Option<Bytes>,
    /// MQTT 5 only.
    pub user_properties: Vec<(String, String)>,
}

impl Message {
    /// The payload as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}

enum Handle {
    V3(rumqttc_v4::AsyncClient),
    V5(rumqttc_v5::AsyncClient),
}

/// A connected client. It never reconnects. Dropping it cuts the connection, so that its will is
/// published.
pub struct Client {
    handle: Handle,
    inbox: mpsc::UnboundedReceiver<Message>,
    task: JoinHandle<String>,
    session_present: bool,
}

impl Client {
    /// An anonymous MQTT 5 client with a clean session, to be connected.
    pub fn at(port: u16, id: impl Into<String>) -> ClientOptions {
        ClientOptions { port, login: None, id: id.into(), version: Version::V5, clean: true, will: None }
    }

    /// Connects with a login.
    ///
    /// # Errors
    ///
    /// When the broker refuses, in the words of its reason code.
    pub async fn connect(
        port: u16,
        login: (&str, &str),
        id: &str,
        version: Version,
    ) -> Result<Self, Refusal> {
        let options = Self::at(port, id).login(login.0, login.1).version(version);
        options.connect().await
    }

    /// Whether the broker had kept the session.
    #[must_use]
    pub const fn session_present(&self) -> bool {
        self.session_present
    }

    /// Publishes and returns the broker's reason code: 0x00 somebody is subscribed, 0x10 nobody,
    /// 0x87 not authorized. MQTT 3.1.1 and QoS 0 know 0x00 only.
    ///
    /// # Errors
    ///
    /// When the connection ends before the answer.
    pub async fn publish(
        &self,
        topic: &str,
        payload: impl Into<Bytes>,
        qos: u8,
        retain: bool,
    ) -> Result<u8, Refusal> {
        let message =
            Publish { topic: topic.to_owned(), payload: payload.into(), qos, retain, ..Publish::default() };
        self.send(message).await
    }

    /// Publishes a message with its properties; returns as [`Client::publish`].
    ///
    /// # Errors
    ///
    /// When the connection ends before the answer.
    pub async fn send(&self, message: Publish) -> Result<u8, Refusal> {
        within(async {
            match &self.handle {
                Handle::V3(client) => v4::publish(client, message).await,
                Handle::V5(client) => v5::publish(client, message).await,
            }
        })
        .await?
    }

    /// Subscribes with QoS 1.
    ///
    /// # Errors
    ///
    /// When the broker refuses, or the connection ends before the answer.
    pub async fn subscribe(&self, filter: &str) -> Result<(), Refusal> {
        within(async {
            match &self.handle {
                Handle::V3(client) => v4::subscribe(client, filter).await,
                Handle::V5(client) => v5::subscribe(client, filter).await,
            }
        })
        .await?
    }

    /// The next message, if one comes in time.
    pub async fn recv(&mut self, patience: Duration) -> Option<Message> {
        timeout(patience, self.inbox.recv()).await.ok().flatten()
    }

    /// Waits until the connection has ended, and says why.
    ///
    /// # Errors
    ///
    /// When it has not ended after 10 s.
    pub async fn ended(&mut self) -> Result<String, Refusal> {
        let why = within(&mut self.task).await?;
        Ok(why.unwrap_or_else(|e| e.to_string()))
    }

    /// Whether the connection is there.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        !self.task.is_finished()
    }

    /// Says goodbye: the broker publishes no will.
    pub async fn disconnect(mut self) {
        let asked = match &self.handle {
            Handle::V3(client) => client.disconnect().await.is_ok(),
            Handle::V5(client) => client.disconnect().await.is_ok(),
        };
        if asked {
            // When it does not end in time, dropping it ends it.
            let _ = self.ended().await;
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

async fn within<T>(answer: impl Future<Output = T>) -> Result<T, Refusal> {
    let late = |_| Refusal(format!("no answer within {PATIENCE:?}"));
    timeout(PATIENCE, answer).await.map_err(late)
}

fn refusal(error: impl fmt::Display) -> Refusal {
    Refusal(error.to_string())
}
