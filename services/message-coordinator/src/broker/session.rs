//! The session for administration: one batch of commands at a time, each with one answer.
//!
//! It is the coordinator's only session that may write to `$CONTROL`, and carries nothing else, so that no
//! flood of other messages delays a login.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use acl::dynsec::{self, Answer, AnswerError, Command};
use bus::{Bus, Inbox, Incoming, Link, Outgoing, SubscribeError};
use chassis::config::BrokerLogin;
use envelope::topic::broker;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

use super::{Subscribing, Version};

/// How long a batch waits for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a batch waits for its answer. The broker hashes passwords and writes its file meanwhile.
const ANSWER: Duration = Duration::from_secs(20);
/// The largest answer: a page of roles, each as large as one can be.
const MAX_PACKET: u32 = 64 * 1024 * 1024;
/// Most bytes of commands in one message, well below what the broker takes.
const MAX_BATCH_BYTES: usize = 256 * 1024;
/// Most commands in one message: the broker does nothing else until it has done them all.
const MAX_BATCH: usize = 32;

/// Why commands are not known to be carried out. Commands may be given again: what they ask for is then
/// found done.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// There is no connection.
    #[error("the broker cannot be administered: there is no connection to it")]
    Away,
    /// The connection ended, or the broker is too slow.
    #[error("the broker did not answer {first:?} in time")]
    NoAnswer {
        /// The first of the commands.
        first: String,
    },
    /// The commands did not reach the broker.
    #[error("the broker did not take {first:?}; the administrator's login must be allowed to")]
    NotTaken {
        /// The first of the commands.
        first: String,
        /// What went wrong.
        #[source]
        source: Box<bus::PublishError>,
    },
    /// Its answer is none.
    #[error("the broker's answer cannot be used")]
    Answer(#[from] AnswerError),
    /// Its answer is not to what was asked.
    #[error("the broker answered {found} of {wanted} commands, or others")]
    Mismatch {
        /// How many answers came.
        found: usize,
        /// How many commands were given.
        wanted: usize,
    },
}

/// A batch, and who waits for its answer.
type Asked = (String, oneshot::Sender<Result<Vec<Answer>, AnswerError>>);
type Waiting = Arc<Mutex<Option<Asked>>>;

/// The administrator of the broker.
pub struct Admin {
    bus: Bus,
    waiting: Waiting,
    ready: watch::Receiver<Option<u64>>,
    version: watch::Receiver<Option<Version>>,
    reader: AbortHandle,
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Admin {
    /// Connects, and keeps connecting until this value is dropped.
    pub fn connect(login: &BrokerLogin, instance: &str) -> Self {
        // A client id can be taken over by whoever knows it.
        let secret = uuid::Uuid::new_v4().simple().to_string();
        let mut config = login.session(format!("{instance}.administration.{secret}"));
        config.max_packet_size = MAX_PACKET;
        let (bus, inbox) = Bus::connect(config);
        let (ready_sender, ready) = watch::channel(None);
        let (version_sender, version) = watch::channel(None);
        let waiting = Waiting::default();
        let reader = Reader {
            bus: bus.clone(),
            waiting: waiting.clone(),
            ready: ready_sender,
            version: version_sender,
        };
        let reader = tokio::spawn(reader.work(inbox)).abort_handle();
        Self { bus, waiting, ready, version, reader }
    }

    /// Counts the connections on which the broker can be administered; none while there is no connection.
    pub fn ready(&self) -> watch::Receiver<Option<u64>> {
        self.ready.clone()
    }

    /// The broker's version, once it has told it.
    pub fn version(&self) -> watch::Receiver<Option<Version>> {
        self.version.clone()
    }

    /// The connection, and why there is none.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.bus.link()
    }

    /// Gives commands, in as many messages as it takes, and waits for all answers; one for each command and
    /// in their order. A command that fails neither stops nor undoes the others.
    ///
    /// # Errors
    /// Some commands are not known to be carried out.
    pub async fn give(&mut self, commands: &[Command]) -> Result<Vec<Answer>, AdminError> {
        let mut answers = Vec::with_capacity(commands.len());
        let mut rest = commands;
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(batch_length(rest));
            answers.extend(self.batch(batch).await?);
            rest = later;
        }
        Ok(answers)
    }

    async fn batch(&mut self, commands: &[Command]) -> Result<Vec<Answer>, AdminError> {
        let mut ready = self.ready.clone();
        let up = async { ready.wait_for(Option::is_some).await.is_ok() };
        if tokio::time::timeout(CONNECT, up).await != Ok(true) {
            return Err(AdminError::Away);
        }
        let first = || commands.first().map(|c| format!("{c:?}")).unwrap_or_default();
        let batch = uuid::Uuid::now_v7().to_string();
        let (sender, answer) = oneshot::channel();
        self.wait_for(Some((batch.clone(), sender)));
        let message = Outgoing::new(broker::control(), dynsec::encode(&batch, commands));
        let published = self.bus.publish(message).await;
        if let Err(source) = published {
            self.wait_for(None);
            return Err(AdminError::NotTaken { first: first(), source: Box::new(source) });
        }
        let answered = tokio::time::timeout(ANSWER, answer).await;
        self.wait_for(None);
        let Ok(Ok(answers)) = answered else { return Err(AdminError::NoAnswer { first: first() }) };
        let answers = answers?;
        let fits = answers.len() == commands.len()
            && answers.iter().zip(commands).all(|(answer, command)| answer.command == command.name());
        if !fits {
            return Err(AdminError::Mismatch { found: answers.len(), wanted: commands.len() });
        }
        Ok(answers)
    }

    fn wait_for(&self, whom: Option<Asked>) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = whom;
    }
}

/// How many of `commands` go into one message; at least one.
fn batch_length(commands: &[Command]) -> usize {
    let mut bytes = 0;
    let fitting = commands.iter().take(MAX_BATCH).take_while(|command| {
        bytes += dynsec::encode("", std::slice::from_ref(command)).len();
        bytes <= MAX_BATCH_BYTES
    });
    fitting.count().max(1)
}

/// Reads what the broker says to its administrator.
struct Reader {
    bus: Bus,
    waiting: Waiting,
    ready: watch::Sender<Option<u64>>,
    version: watch::Sender<Option<Version>>,
}

impl Reader {
    async fn work(self, mut inbox: Inbox) {
        let topics = [broker::control_answers().to_owned(), broker::version().to_owned()];
        let mut connections = 0;
        let mut subscribing: Option<Subscribing> = None;
        loop {
            let subscribed = async {
                match &mut subscribing {
                    Some(answer) => answer.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                result = subscribed => {
                    subscribing = None;
                    self.subscribed(result, &mut connections);
                }
                incoming = inbox.recv() => match incoming {
                    None => return,
                    Some(Incoming::Connected { .. }) => {
                        let (bus, topics) = (self.bus.clone(), topics.to_vec());
                        subscribing = Some(super::subscribe(bus, topics));
                    }
                    // Each connection asks by itself, and again where it is refused.
                    Some(Incoming::Granted { .. }) => {}
                    Some(Incoming::Disconnected { reason }) => {
                        tracing::warn!(reason, "the administration session is down");
                        self.ready.send_replace(None);
                        // Whoever waits for an answer learns that none will come.
                        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
                    }
                    Some(Incoming::Refused { filter, reason }) => {
                        tracing::error!(filter, reason, "the broker refuses the administrator a subscription");
                        self.ready.send_replace(None);
                    }
                    Some(Incoming::Message(delivery)) => self.take(&delivery),
                }
            }
        }
    }

    fn subscribed(&self, result: Result<(), SubscribeError>, connections: &mut u64) {
        match result {
            Ok(()) if self.bus.link().borrow().is_up() => {
                *connections += 1;
                self.ready.send_replace(Some(*connections));
            }
            Ok(()) => {}
            Err(error) => tracing::error!(error = telemetry::chain(&error), "cannot hear answers"),
        }
    }

    fn take(&self, delivery: &bus::Delivery) {
        if delivery.topic == broker::version() {
            match String::from_utf8_lossy(&delivery.payload).parse() {
                Ok(version) => drop(self.version.send_replace(Some(version))),
                Err(error) => tracing::warn!(%error, "what the broker says of its version"),
            }
            return;
        }
        let answers = dynsec::decode(&delivery.payload);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let is_ours = |batch: &str| match &answers {
            // Every permitted client hears every answer, those to other administrators too.
            Ok(answers) => answers.iter().any(|a| {
                a.correlation_data.as_deref().and_then(|c| c.split_once('/')).is_some_and(|(b, _)| b == batch)
            }),
            Err(_) => false,
        };
        if let Some((batch, sender)) = waiting.take() {
            if is_ours(&batch) {
                // Whoever waited may just have given up.
                let _ = sender.send(answers);
            } else {
                *waiting = Some((batch, sender));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_bounded_in_number_and_size_and_never_empty() {
        let get = Command::GetRole("r".into());
        assert_eq!(batch_length(&vec![get.clone(); 100]), MAX_BATCH);
        assert_eq!(batch_length(std::slice::from_ref(&get)), 1);
        let huge = Command::GetRole("r".repeat(MAX_BATCH_BYTES));
        assert_eq!(batch_length(&[huge.clone(), get.clone()]), 1);
        assert_eq!(batch_length(&[get, huge]), 1);
    }
}
