//! The connection to the broker, from login to goodbye.

use std::time::Duration;

use bus::{Bus, Config, Delivered, Inbox, Incoming, Link, Outgoing, SubscribeError};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::login::Login;

/// How long a connection, and then each subscription, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take to see whether anything listens at the broker's address.
const PROBE: Duration = Duration::from_secs(1);
/// Unread messages that are kept: the retained states of all plugins may come at once.
const UNREAD: usize = 16 * 1024;

/// A connection with an operator's rights.
#[derive(Debug)]
pub(crate) struct Session {
    bus: Bus,
    inbox: Inbox,
    /// As whom, and where.
    pub(crate) login: Login,
}

impl Session {
    /// Connects.
    ///
    /// # Errors
    /// When the first attempt fails: unlike a service, a command does not wait for the broker.
    pub(crate) async fn open(login: Login) -> Result<Self, Failure> {
        let client_id = format!("bigskies-cli-{}", uuid::Uuid::new_v4().simple());
        let mut config = Config::new(login.host.clone(), login.port, client_id)
            .login(login.username.clone(), login.password.clone());
        config.inbox_capacity = UNREAD;
        config.receive_maximum = 1024;
        let (bus, mut inbox) = Bus::connect(config);
        let mut link = bus.link();
        // What the link says before the first attempt is no news.
        link.mark_unchanged();
        let first = async {
            if link.changed().await.is_err() {
                return Err("the connection ended".to_owned());
            }
            match &*link.borrow() {
                Link::Up { .. } => Ok(()),
                Link::Down { reason } => Err(reason.clone()),
            }
        };
        let reason = match timeout(PATIENCE, first).await {
            Ok(Ok(())) => None,
            Ok(Err(reason)) => Some(reason),
            Err(_elapsed) => Some(format!(
                "the broker at {}:{} did not answer within {PATIENCE:?}",
                login.host, login.port
            )),
        };
        if let Some(reason) = reason {
            let attempt = TcpStream::connect((login.host.as_str(), login.port));
            let reachable = timeout(PROBE, attempt).await.is_ok_and(|connected| connected.is_ok());
            return Err(Failure::NoConnection { reason, origin: login.origin, reachable });
        }
        // The news of this first connection, so that later ones can be told from it.
        let _ = timeout(PATIENCE, inbox.recv()).await;
        Ok(Self { bus, inbox, login })
    }

    /// Subscribes, and waits for the broker's consent.
    ///
    /// # Errors
    /// When the broker refuses, or does not answer.
    pub(crate) async fn subscribe(&self, filters: &[String]) -> Result<(), Failure> {
        self.try_subscribe(filters).await?.map_err(|error| Failure::Broker(error.to_string()))
    }

    /// The same, where a refusal is no failure.
    pub(crate) async fn try_subscribe(
        &self,
        filters: &[String],
    ) -> Result<Result<(), SubscribeError>, Failure> {
        timeout(PATIENCE, self.bus.subscribe(filters)).await.map_err(|_elapsed| self.lost())
    }

    /// Publishes, and waits for the broker's acknowledgement.
    ///
    /// # Errors
    /// When the broker refuses, or does not answer.
    pub(crate) async fn publish(&self, message: Outgoing) -> Result<Delivered, Failure> {
        self.bus.publish(message).await.map_err(|error| Failure::Broker(error.to_string()))
    }

    /// The next that arrives.
    ///
    /// # Errors
    /// When the connection has ended for good.
    pub(crate) async fn next(&mut self) -> Result<Incoming, Failure> {
        self.inbox.recv().await.ok_or_else(|| self.lost())
    }

    /// Says goodbye.
    pub(crate) async fn close(self) {
        self.bus.shutdown().await;
    }

    fn lost(&self) -> Failure {
        let reason = match &*self.bus.link().borrow() {
            Link::Down { reason } => reason.clone(),
            Link::Up { .. } => "the broker does not answer any more".to_owned(),
        };
        Failure::NoConnection { reason, origin: self.login.origin.clone(), reachable: false }
    }
}
