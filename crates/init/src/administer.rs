//! Logins of coordinators at a running broker: made and taken away by the message coordinator's own login.

use std::time::Duration;

use acl::dynsec::{self, Answer, Command, Failure};
use bus::{Bus, Config, Inbox, Incoming, Outgoing, Password};
use envelope::topic::broker;

use crate::login::Login;

/// How long the broker may take to let us in.
const CONNECT: Duration = Duration::from_secs(10);
/// How long it may take to answer: it hashes passwords and writes its file.
const ANSWER: Duration = Duration::from_secs(20);

/// Why the broker's logins could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum AdministerError {
    /// There is no connection.
    #[error("the broker at {host}:{port} cannot be administered: {why}; is it running?")]
    Connect {
        /// Where.
        host: String,
        /// Where.
        port: u16,
        /// What was seen last.
        why: String,
    },
    /// It did not take the commands.
    #[error("the broker did not take the administrator's commands")]
    Publish(#[from] bus::PublishError),
    /// It did not let us hear its answers.
    #[error("the broker does not let the administrator hear its answers")]
    Subscribe(#[from] bus::SubscribeError),
    /// It did not answer.
    #[error("the broker did not answer the administrator within {} s", ANSWER.as_secs())]
    Silent,
    /// What it answered is none.
    #[error("the broker's answer cannot be used")]
    Answer(#[from] dynsec::AnswerError),
    /// It refused one.
    #[error(transparent)]
    Refused(#[from] Failure),
}

/// A connection of the administrator's.
pub struct Administrator {
    bus: Bus,
    inbox: Inbox,
}

impl Administrator {
    /// Connects with the message coordinator's login.
    pub async fn connect(host: &str, port: u16, login: &Login) -> Result<Self, AdministerError> {
        let id = format!("init.{}", uuid::Uuid::new_v4().simple());
        let config = Config::new(host, port, id).login(&login.username, Password::new(&login.password));
        let (bus, inbox) = Bus::connect(config);
        let mut link = bus.link();
        let up = tokio::time::timeout(CONNECT, link.wait_for(bus::Link::is_up)).await;
        if !matches!(up, Ok(Ok(_))) {
            let why = match &*bus.link().borrow() {
                bus::Link::Down { reason } => reason.clone(),
                bus::Link::Up { .. } => "it let us in too late".to_owned(),
            };
            return Err(AdministerError::Connect { host: host.to_owned(), port, why });
        }
        bus.subscribe(&[broker::control_answers().to_owned()]).await?;
        Ok(Self { bus, inbox })
    }

    /// Whether a login with this name exists.
    pub async fn has(&mut self, username: &str) -> Result<bool, AdministerError> {
        let command = Command::GetClient(username.to_owned());
        let answer = self.give(&command).await?;
        match answer.outcome(&command) {
            Ok(()) => Ok(true),
            Err(failure) if failure.is_missing() => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Carries a command out.
    pub async fn order(&mut self, command: &Command) -> Result<(), AdministerError> {
        Ok(self.give(command).await?.outcome(command)?)
    }

    async fn give(&mut self, command: &Command) -> Result<Answer, AdministerError> {
        let batch = uuid::Uuid::now_v7().to_string();
        let commands = std::slice::from_ref(command);
        self.bus.publish(Outgoing::new(broker::control(), dynsec::encode(&batch, commands))).await?;
        let answer = tokio::time::timeout(ANSWER, self.answer(&batch)).await;
        answer.map_err(|_| AdministerError::Silent)?
    }

    /// The answer to `batch`. Every permitted client hears every answer, those to others too.
    async fn answer(&mut self, batch: &str) -> Result<Answer, AdministerError> {
        loop {
            match self.inbox.recv().await {
                None => return Err(AdministerError::Silent),
                Some(Incoming::Message(message)) if message.topic == broker::control_answers() => {
                    let ours = |a: &Answer| {
                        a.correlation_data.as_deref().is_some_and(|c| c.split('/').next() == Some(batch))
                    };
                    if let Some(answer) = dynsec::decode(&message.payload)?.into_iter().find(ours) {
                        return Ok(answer);
                    }
                }
                Some(_) => {}
            }
        }
    }
}
