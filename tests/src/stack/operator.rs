//! The operator: asks coordinators and reads their answers.

use std::time::Duration;

use acl::fixed::first_operator;
use anyhow::{Context as _, Result};
use envelope::principal::operator_login;
use envelope::topic::{self, RequestTopic};
use envelope::{Coordinator, Envelope, ErrorCode, MessageType, Operation, OperatorName, PluginId, Principal};
use serde_json::{Value, json};
use testkit::{Message, Publish, Version};

use super::Stack;
use super::listener::{self, Listener};

/// Longer than the slowest operation: a start of a plugin that says its health every 30 s.
const PATIENCE: Duration = Duration::from_secs(150);

/// A connected operator.
#[derive(Debug)]
pub struct Operator {
    /// Whose account it is.
    pub name: OperatorName,
    /// What it hears: its answers, and whatever else it is subscribed to.
    pub listener: Listener,
}

/// An answer, with everything that came with it.
#[derive(Debug)]
pub struct Answered {
    /// The message.
    pub message: Message,
    /// `success`, and `data` or `error`.
    pub answer: Value,
}

impl Answered {
    fn new(message: Message) -> Self {
        let answer = listener::json(&message)["payload"].clone();
        Self { message, answer }
    }

    /// What a success says.
    ///
    /// # Panics
    /// It is a failure.
    #[track_caller]
    pub fn data(&self) -> &Value {
        assert_eq!(self.answer["success"], true, "{:#}", self.answer);
        &self.answer["data"]
    }

    /// The error of a failure with this code.
    ///
    /// # Panics
    /// It is a success, or a failure with another code.
    #[track_caller]
    pub fn error(&self, code: ErrorCode) -> &Value {
        assert_eq!(self.answer["success"], false, "{:#}", self.answer);
        let error = &self.answer["error"];
        assert_eq!(error["code"], code.as_str(), "{error:#}");
        error
    }

    /// The same, and its sentence.
    ///
    /// # Panics
    /// As [`Answered::error`].
    #[track_caller]
    pub fn sentence(&self, code: ErrorCode) -> &str {
        let message = self.error(code)["message"].as_str().unwrap_or_default();
        assert!(!message.is_empty(), "an error must say what to do next: {:#}", self.answer);
        message
    }
}

/// The topic on which the first operator asks with an identity.
pub fn request(operation: Operation) -> RequestTopic {
    RequestTopic::new(Principal::Operator(first_operator()), operation)
}

/// The topic on which the SDK document asks.
pub fn raw_request(operation: Operation) -> RequestTopic {
    RequestTopic::new(Principal::Unnamed, operation)
}

impl Operator {
    /// Connects, and listens to its answers.
    ///
    /// # Errors
    /// The broker refuses.
    pub async fn connect(stack: &Stack, version: Version) -> Result<Self> {
        let (_, password) = stack.operator();
        Self::log_in(stack, version, first_operator(), &password).await
    }

    /// Connects with another account, and listens to its answers.
    ///
    /// # Errors
    /// The broker refuses.
    pub async fn log_in(stack: &Stack, version: Version, name: OperatorName, password: &str) -> Result<Self> {
        let login = operator_login(&name);
        let client = stack.client(version).login(login.as_str(), password).connect().await;
        let client = client.with_context(|| format!("{login} cannot connect to the broker"))?;
        let answers = [topic::operator::responses(&name)];
        Ok(Self { listener: Listener::on(client, answers).await, name })
    }

    /// The topic on which it asks with its identity.
    pub fn request(&self, operation: Operation) -> RequestTopic {
        RequestTopic::new(Principal::Operator(self.name.clone()), operation)
    }

    /// Asks with an envelope and waits for the answer.
    ///
    /// # Panics
    /// None comes.
    pub async fn ask(&mut self, operation: Operation, payload: Value) -> Answered {
        let id = self.send(operation, payload).await;
        self.answer(&id).await
    }

    /// Asks one coordinator for what each of them does.
    ///
    /// # Panics
    /// As [`Operator::ask`].
    pub async fn ask_of(&mut self, c: Coordinator, operation: Operation, payload: Value) -> Answered {
        let envelope = Envelope::new(MessageType::Request, "tests", payload);
        let topic = RequestTopic::to(c, Principal::Operator(self.name.clone()), operation);
        self.publish(&topic.to_string(), envelope.encode()).await;
        self.answer(&envelope.id).await
    }

    /// The same, about one plugin.
    ///
    /// # Panics
    /// As [`Operator::ask`].
    pub async fn ask_about(&mut self, operation: Operation, plugin: &PluginId) -> Answered {
        self.ask(operation, json!({"plugin_id": plugin})).await
    }

    /// Asks, and returns the id by which the answer is told.
    ///
    /// # Panics
    /// The broker does not take the request.
    pub async fn send(&mut self, operation: Operation, payload: Value) -> String {
        let envelope = Envelope::new(MessageType::Request, "tests", payload);
        self.publish(&self.request(operation).to_string(), envelope.encode()).await;
        envelope.id
    }

    /// Publishes with QoS 1.
    ///
    /// # Panics
    /// The broker refuses it.
    pub async fn publish(&self, topic: &str, payload: impl Into<Vec<u8>>) {
        self.publish_with(Publish {
            topic: topic.to_owned(),
            payload: payload.into().into(),
            qos: 1,
            ..Publish::default()
        })
        .await;
    }

    /// Publishes a message with its properties.
    ///
    /// # Panics
    /// The broker refuses it.
    pub async fn publish_with(&self, message: Publish) {
        let topic = message.topic.clone();
        match self.listener.client().send(message).await {
            Ok(code) => assert!(code < 0x80, "the broker refuses {topic} with {code:#x}"),
            Err(refusal) => panic!("{topic} was not published: {refusal}"),
        }
    }

    /// The answer to the request with this id.
    ///
    /// # Panics
    /// None comes.
    pub async fn answer(&mut self, id: &str) -> Answered {
        let wanted = |m: &Message| listener::json(m)["correlation_id"] == *id;
        Answered::new(self.listener.wait(&format!("the answer to {id}"), PATIENCE, wanted).await)
    }

    /// The answer that comes on this topic and that `wanted` accepts.
    ///
    /// # Panics
    /// None comes.
    pub async fn answer_on(&mut self, topic: &str, wanted: impl Fn(&Value) -> bool) -> Answered {
        let wanted = |m: &Message| m.topic == topic && wanted(&listener::json(m));
        Answered::new(self.listener.wait(&format!("an answer on {topic}"), PATIENCE, wanted).await)
    }
}

/// What the broker has retained under these filters, by topic.
///
/// # Panics
/// The broker refuses one.
pub async fn retained(stack: &Stack, filters: &[String]) -> Vec<Message> {
    let client = stack.operator_client(Version::V5).await;
    let mut listener = Listener::on(client.unwrap_or_else(|e| panic!("{e:#}")), filters).await;
    // Sent in the order of subscribing, so everything before this one is here when it comes.
    let end = topic::coordinator::jwks();
    if let Err(refusal) = listener.client().subscribe(&end).await {
        panic!("cannot subscribe to {end}: {refusal}");
    }
    listener.wait("the keys", Duration::from_secs(10), |m| m.topic == end).await;
    listener.heard().iter().filter(|m| m.retain && !m.payload.is_empty()).cloned().collect()
}
