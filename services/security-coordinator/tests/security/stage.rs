//! A broker, the coordinator's program, and those who talk to it.

use std::fs;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use acl::password::NoRandomness;
use envelope::payload::event::Event;
use envelope::payload::token::{IssueRequest, IssueResponse, Jwks, RevokeRequest, Revoked, TokenMessage};
use envelope::principal::{coordinator_login, operator_login};
use envelope::topic::{self, RequestTopic};
use envelope::{
    Answer, Coordinator, Envelope, ErrorBody, MessageType, Operation, PluginId, Principal, StartId,
};
use serde::Serialize;
use serde_json::Value;
use tempfile::TempDir;
use testkit::{Broker, Client, Identities, Message, Publish, Version, eventually};
use token::Verifier;
use tokio::process::{Child, Command};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const PASSWORD: &str = "a-password-that-must-not-be-told";
const READER: &str = "reader";
const KEY_FILE: [u8; 32] = *b"a-key-file-that-must-not-be-told";

/// A broker with every role of an installation, and a folder for the coordinator.
pub(crate) struct Stage {
    pub(crate) broker: Broker,
    pub(crate) folder: TempDir,
    pub(crate) lifetime: u64,
}

impl Stage {
    pub(crate) async fn new(lifetime: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("password"), PASSWORD).expect("writes");
        fs::write(folder.path().join("key"), KEY_FILE).expect("writes");
        Self { broker: Broker::with_identities(identities()).await, folder, lifetime }
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Starts the coordinator.
    pub(crate) fn start(&self) -> Running {
        let path = self.folder.path();
        let log = fs::File::options().append(true).create(true).open(path.join("log")).expect("opens");
        let errors = log.try_clone().expect("a second handle");
        let child = Command::new(env!("CARGO_BIN_EXE_security-coordinator"))
            .env_clear()
            .env("BIGSKIES_BROKER__HOST", self.broker.host())
            .env("BIGSKIES_BROKER__PORT", self.broker.port().to_string())
            .env("BIGSKIES_BROKER__USERNAME", coordinator_login(Coordinator::Security))
            .env("BIGSKIES_BROKER__PASSWORD_FILE", path.join("password"))
            .env("BIGSKIES_DATA_DIR", path)
            .env("BIGSKIES_RUN_DIR", path.join("run"))
            .env("BIGSKIES_LOG", "debug")
            .env("BIGSKIES_SECURITY__KEY_FILE", self.key_file())
            .env("BIGSKIES_SECURITY__TOKEN_LIFETIME_SECONDS", self.lifetime.to_string())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .expect("the program runs");
        Running { child }
    }

    async fn client(&self, login: &str, version: Version) -> Client {
        let id = format!("{login}-{}", StartId::new());
        Client::connect(self.broker.port(), (login, PASSWORD), &id, version).await.expect("connects")
    }

    /// Somebody who hears tokens, keys, revocations and events.
    pub(crate) async fn listener(&self, version: Version) -> Listener {
        let client = self.client(READER, version).await;
        for filter in heard() {
            client.subscribe(&filter).await.expect("may subscribe");
        }
        Listener { client }
    }

    /// The retained message of a topic: none is a matter of fact, not of waiting.
    pub(crate) async fn retained(&self, topic: &str) -> Option<Message> {
        let mut client = self.client(READER, Version::V5).await;
        // What is retained comes in the order of the subscriptions, and this one's is always there.
        let last = topic::coordinator::health(Coordinator::Security);
        client.subscribe(topic).await.expect("may subscribe");
        client.subscribe(&last).await.expect("may subscribe");
        let first = client.recv(PATIENCE).await.expect("the coordinator's health is retained");
        (first.topic != last).then_some(first)
    }

    /// The plugin coordinator.
    pub(crate) async fn plugin_coordinator(&self) -> Asker {
        let c = Coordinator::Plugin;
        let client = self.client(&coordinator_login(c), Version::V5).await;
        client.subscribe(&topic::internal_responses(c)).await.expect("may subscribe");
        Asker { client, principal: Principal::Coordinator(c) }
    }

    /// The operator.
    pub(crate) async fn operator(&self) -> Asker {
        let name = acl::fixed::first_operator();
        let client = self.client(&operator_login(&name), Version::V5).await;
        client.subscribe(&topic::operator::responses(&name)).await.expect("may subscribe");
        Asker { client, principal: Principal::Operator(name) }
    }

    /// No secret is in anything that is not secret.
    pub(crate) fn assert_nothing_secret_in(&self, text: &str, tokens: &[&TokenMessage]) {
        let key_file = std::str::from_utf8(&KEY_FILE).expect("it is text");
        assert!(!text.contains(PASSWORD) && !text.contains(key_file), "{text}");
        for token in tokens {
            let signature = token.token.as_str().rsplit('.').next().expect("a part");
            assert!(!text.contains(signature), "{text}");
        }
    }
}

/// The broker's file: the installation's own seed, and a login that hears what the tests look at.
fn identities() -> Value {
    let seed = acl::fixed::seed(|_| Ok::<_, NoRandomness>(PASSWORD.to_owned())).expect("random salts");
    let mut seed: Value = serde_json::from_slice(&seed.encode()).expect("the seed is JSON");
    let filters = heard();
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    let reader = Identities::new().login(READER, PASSWORD, &[], &filters).build();
    for list in ["clients", "roles"] {
        let more = reader[list].as_array().expect("a list").clone();
        seed[list].as_array_mut().expect("a list").extend(more);
    }
    seed
}

fn heard() -> Vec<String> {
    use topic::coordinator::{events, health_all, jwks, revoked, tokens};
    let c = Coordinator::Security;
    vec![tokens(), jwks(), revoked(), events(c), health_all(c)]
}

/// The coordinator's process.
pub(crate) struct Running {
    child: Child,
}

impl Running {
    /// Asks it to end, and waits.
    pub(crate) async fn stop(self) -> ExitStatus {
        let id = self.child.id().expect("it runs").to_string();
        let asked = Command::new("kill").args(["-s", "TERM", &id]).status().await;
        assert!(asked.expect("kill runs").success());
        self.ended().await
    }

    /// Ends it at once.
    pub(crate) async fn kill9(mut self) {
        self.child.kill().await.expect("it runs");
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("it ends in time").expect("it is our child")
    }
}

/// Hears tokens, keys, revocations and events.
pub(crate) struct Listener {
    client: Client,
}

impl Listener {
    /// The next message of a topic that is as wanted; others are passed over.
    pub(crate) async fn next(&mut self, topic: &str, wanted: impl Fn(&Message) -> bool) -> Message {
        loop {
            let message = self.client.recv(PATIENCE).await;
            let message = message.unwrap_or_else(|| panic!("nothing more came, wanted {topic}"));
            if message.topic == topic && wanted(&message) {
                return message;
            }
        }
    }

    pub(crate) async fn token(&mut self, plugin: &PluginId) -> TokenMessage {
        let topic = topic::coordinator::token(plugin);
        let message = self.next(&topic, |m| !m.payload.is_empty()).await;
        serde_json::from_slice(&message.payload).expect("a token message")
    }

    pub(crate) async fn event(&mut self, change: &str) -> (Envelope<Event>, String) {
        let topic = topic::coordinator::event(Coordinator::Security, "token");
        let change = format!("\"change\":\"{change}\"");
        let message = self.next(&topic, |m| m.text().contains(&change)).await;
        (serde_json::from_slice(&message.payload).expect("an event"), message.text())
    }

    /// The keys and the revocations that come next, in this order.
    pub(crate) async fn verifier(&mut self) -> Verifier {
        let verifier = Verifier::new();
        let keys = self.next(&topic::coordinator::jwks(), |_| true).await;
        let keys: Jwks = serde_json::from_slice(&keys.payload).expect("a key set");
        assert_eq!(verifier.set_keys(&keys), []);
        let revoked = self.next(&topic::coordinator::revoked(), |_| true).await;
        verifier.set_revoked(&revocations(&revoked));
        verifier
    }
}

pub(crate) fn revocations(message: &Message) -> Revoked {
    serde_json::from_slice(&message.payload).expect("a list of revocations")
}

/// Somebody who makes requests.
pub(crate) struct Asker {
    client: Client,
    principal: Principal,
}

impl Asker {
    pub(crate) async fn ask(
        &mut self,
        operation: Operation,
        payload: impl Serialize,
    ) -> Result<Value, ErrorBody> {
        let request = Envelope::new(MessageType::Request, "a test", payload);
        let topic = RequestTopic::new(self.principal.clone(), operation).to_string();
        eventually(PATIENCE, async || {
            let message = Publish {
                topic: topic.clone(),
                payload: request.encode().into(),
                qos: 1,
                correlation_data: Some(request.id.clone().into_bytes().into()),
                ..Publish::default()
            };
            match self.client.send(message).await {
                Ok(0) => Ok(()),
                other => Err(format!("the request came to {other:?}")),
            }
        })
        .await;
        loop {
            let answer = self.client.recv(PATIENCE).await.expect("an answer comes");
            if answer.correlation_data.as_deref() != Some(request.id.as_bytes()) {
                continue;
            }
            let answer: Envelope<Answer> = serde_json::from_slice(&answer.payload).expect("decodes");
            return match answer.payload {
                Answer::Success(data) => Ok(data),
                Answer::Failure(error) => Err(error),
            };
        }
    }

    pub(crate) async fn issue(
        &mut self,
        plugin: &PluginId,
        start: StartId,
    ) -> Result<TokenMessage, ErrorBody> {
        let request = IssueRequest {
            plugin_id: plugin.clone(),
            start_id: start,
            scope: vec!["plugin:read".to_owned()],
            digest: "sha256:0".to_owned(),
        };
        let answer = self.ask(Operation::Issue, request).await?;
        let answer: IssueResponse = serde_json::from_value(answer).expect("an answer to issue");
        Ok(answer.token)
    }

    pub(crate) async fn revoke(&mut self, plugin: &PluginId, start: StartId) -> Result<Value, ErrorBody> {
        self.ask(Operation::Revoke, RevokeRequest { plugin_id: plugin.clone(), start_id: start }).await
    }
}
