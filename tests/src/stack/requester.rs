//! Who asks: a client with a durable session, which connects again when the broker was away, and repeats what was
//! not answered with the same id, as callers are told to.

use std::time::Duration;

use acl::fixed::first_operator;
use anyhow::{Context as _, Result, bail};
use envelope::topic::{self, RequestTopic};
use envelope::{Envelope, MessageType, Operation, Principal};
use serde_json::Value;
use testkit::{Client, ClientOptions, Message, Version};
use tokio::time::{Instant, sleep};

use super::Stack;
use super::listener::json;

/// How long the broker may be away.
const AWAY: Duration = Duration::from_secs(60);
/// How long an answer usually may take.
const PATIENCE: Duration = Duration::from_secs(90);
/// After how long without an answer a request is repeated.
const REPEAT: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(100);

/// Who asks.
pub struct Requester {
    /// How long an answer may take.
    pub patience: Duration,
    options: ClientOptions,
    client: Client,
    heard: Vec<Message>,
}

/// A request, which can be repeated as it is.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Its id.
    pub id: String,
    topic: String,
    bytes: Vec<u8>,
}

impl Asked {
    /// A request of the first operator.
    pub fn new(operation: Operation, payload: Value) -> Self {
        let envelope = Envelope::new(MessageType::Request, "tests", payload);
        let topic = RequestTopic::new(Principal::Operator(first_operator()), operation).to_string();
        Self { topic, bytes: envelope.encode(), id: envelope.id }
    }
}

impl Requester {
    /// Connects and listens to answers.
    ///
    /// # Errors
    /// The broker does not let it.
    pub async fn connect(stack: &Stack) -> Result<Self> {
        let (user, password) = stack.operator();
        let options = stack.client(Version::V5).login(user, password).durable();
        let client = options.clone().connect().await.context("the operator cannot connect")?;
        client.subscribe(&topic::operator::responses(&first_operator())).await?;
        Ok(Self { patience: PATIENCE, options, client, heard: Vec::new() })
    }

    /// The same, and waits until there is a broker.
    ///
    /// # Errors
    /// It is away for too long, or does not let it.
    pub async fn connect_when_there(stack: &Stack) -> Result<Self> {
        let end = Instant::now() + AWAY;
        loop {
            match Self::connect(stack).await {
                Err(error) if Instant::now() > end => return Err(error.context(format!("after {AWAY:?}"))),
                Err(_) => sleep(PAUSE).await,
                connected => return connected,
            }
        }
    }

    /// Connects again when the connection has ended.
    async fn connected(&mut self) -> Result<()> {
        let end = Instant::now() + AWAY;
        while !self.client.is_connected() {
            match self.options.clone().connect().await {
                Ok(client) => {
                    if client.session_present()
                        || client.subscribe(&topic::operator::responses(&first_operator())).await.is_ok()
                    {
                        self.client = client;
                    }
                }
                Err(error) if Instant::now() > end => bail!("the broker is away for {AWAY:?}: {error}"),
                Err(_) => sleep(PAUSE).await,
            }
        }
        Ok(())
    }

    /// Publishes a request until the broker has it.
    ///
    /// # Errors
    /// The broker is away for too long, or refuses.
    pub async fn send(&mut self, asked: &Asked) -> Result<()> {
        let end = Instant::now() + AWAY;
        loop {
            self.connected().await?;
            match self.client.publish(&asked.topic, asked.bytes.clone(), 1, false).await {
                Ok(code) => {
                    anyhow::ensure!(code < 0x80, "the broker refuses {} with {code:#x}", asked.topic);
                    return Ok(());
                }
                Err(error) if Instant::now() > end => bail!("{} was not published: {error}", asked.topic),
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    /// The answers to a request that have come, at least `least`: the request is repeated when there are fewer
    /// after a while.
    ///
    /// # Errors
    /// They do not come.
    pub async fn answers(&mut self, asked: &Asked, least: usize) -> Result<Vec<Message>> {
        let patience = self.patience;
        let (end, mut repeat) = (Instant::now() + patience, Instant::now() + REPEAT);
        loop {
            self.connected().await?;
            while let Some(message) = self.client.recv(PAUSE).await {
                self.heard.push(message);
            }
            let answers: Vec<Message> =
                self.heard.iter().filter(|m| json(m)["correlation_id"] == *asked.id).cloned().collect();
            if answers.len() >= least {
                return Ok(answers);
            }
            anyhow::ensure!(Instant::now() < end, "{} of {least} answers within {patience:?}", answers.len());
            if Instant::now() >= repeat {
                self.send(asked).await?;
                repeat = Instant::now() + REPEAT;
            }
        }
    }

    /// Forgets the answers that have come.
    pub fn forget(&mut self) {
        self.heard.clear();
    }

    /// Asks, and returns what the answer says.
    ///
    /// # Errors
    /// None comes.
    pub async fn ask(&mut self, operation: Operation, payload: Value) -> Result<Value> {
        let asked = Asked::new(operation, payload);
        self.send(&asked).await?;
        let answers = self.answers(&asked, 1).await.with_context(|| format!("{operation} was asked for"))?;
        Ok(answers.first().map(|answer| json(answer)["payload"].clone()).unwrap_or_default())
    }

    /// The same, and what a success says.
    ///
    /// # Errors
    /// It is a failure.
    pub async fn must(&mut self, operation: Operation, payload: Value) -> Result<Value> {
        let mut answer = self.ask(operation, payload).await?;
        anyhow::ensure!(answer["success"] == true, "{operation} failed: {answer}");
        Ok(answer["data"].take())
    }
}
