//! The connection to the broker, from login to goodbye.

use std::time::Duration;

use bus::{Bus, Config, Delivered, Inbox, Incoming, Link, Outgoing, PublishError, SubscribeError, Tls};
use tokio::net::TcpStream;
use tokio::time::timeout;

use envelope::OperatorRole;

use crate::failure::Failure;
use crate::login::{ENCRYPTED, Login};

/// How long a connection, and then each subscription, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take to see whether anything listens at the broker's address.
const PROBE: Duration = Duration::from_secs(1);
/// Unread messages that are kept: the retained states of all plugins may come at once.
const UNREAD: usize = 16 * 1024;

/// The reason code of a publish that the login has no right to (MQTT 5, 3.4.2.1).
const NOT_AUTHORIZED: u8 = 0x87;

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
        config.tls = login.tls.as_ref().map(|tls| Tls { ca_pem: tls.pem.clone() });
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
            let hint = hint(&login, &reason, reachable);
            return Err(Failure::NoConnection { reason, origin: login.origin, reachable, hint });
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

    /// Publishes, and waits for the broker's acknowledgement. `what` is done by it, and the `roles` that
    /// allow it are told when this account's does not.
    ///
    /// # Errors
    /// When the broker refuses, or does not answer.
    pub(crate) async fn publish(
        &self,
        message: Outgoing,
        what: &str,
        roles: impl Fn(OperatorRole) -> bool,
    ) -> Result<Delivered, Failure> {
        self.bus.publish(message).await.map_err(|error| match error {
            PublishError::Refused { code: NOT_AUTHORIZED, .. } => Failure::NotAllowed {
                account: self.login.username.clone(),
                what: what.to_owned(),
                roles: OperatorRole::ALL.into_iter().filter(|role| roles(*role)).collect(),
            },
            error => Failure::Broker(error.to_string()),
        })
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
        Failure::NoConnection { reason, origin: self.login.origin.clone(), reachable: false, hint: None }
    }
}

/// What to do about a connection that could not be made, where encryption may be the cause.
///
/// The bus tells its reasons in words alone. One that is not known here gets the general advice.
fn hint(login: &Login, reason: &str, reachable: bool) -> Option<String> {
    let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    let Login { host, port, .. } = login;
    let Some(tls) = &login.tls else {
        return (reachable && !says(&["refused the login"])).then(|| {
            format!("if port {port} of {host} is an encrypted listener, name its CA's certificate: --tls-ca")
        });
    };
    let ca = tls.path.display();
    if says(&["not valid for name", "NotValidForName"]) {
        Some(format!(
            "the broker's certificate is for another name than {host}: --host must be one that it has"
        ))
    } else if says(&["UnknownIssuer", "BadSignature"]) {
        Some(format!("the broker's certificate is not signed by one in {ca}: --tls-ca must name its CA's"))
    } else if says(&["Expired", "NotValidYet", "expired", "not valid yet"]) {
        Some(
            "the broker's certificate is not valid now: see whether this machine's clock is right".to_owned(),
        )
    } else if says(&["CA certificate"]) {
        Some(format!("{ca} must hold one or more certificates, each between BEGIN and END CERTIFICATE"))
    } else if reachable && !says(&["refused the login"]) {
        Some(format!(
            "see whether port {port} of {host} speaks TLS: encrypted listeners usually have {ENCRYPTED}"
        ))
    } else {
        None
    }
}
