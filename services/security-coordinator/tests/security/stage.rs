//! A broker, the coordinator's program, and those who talk to it.

mod asker;
mod inside;
mod listener;

use std::fs;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use acl::password::NoRandomness;
use envelope::payload::token::TokenMessage;
use envelope::principal::{coordinator_login, operator_login, plugin_login};
use envelope::{Coordinator, PluginId, Principal, StartId, topic};
use serde_json::Value;
use tempfile::TempDir;
use testkit::{Broker, Client, Identities, Message, Version};
use tokio::process::{Child, Command};

pub(crate) use asker::Asker;
pub(crate) use inside::{OffsetClock, second_coordinator};
pub(crate) use listener::{Listener, revocations};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const PASSWORD: &str = "a-password-that-must-not-be-told";
/// The plugins that have a login.
pub(crate) const PLUGINS: [&str; 3] = ["focuser", "dome", "mount"];
const READER: &str = "reader";
const KEY_FILE: [u8; 32] = *b"a-key-file-that-must-not-be-told";

/// A broker with every role of an installation, and a folder for the coordinator.
pub(crate) struct Stage {
    pub(crate) broker: Broker,
    pub(crate) folder: TempDir,
    /// Of tokens, in seconds.
    pub(crate) lifetime: u64,
    /// Of keys, in seconds.
    pub(crate) key_lifetime: u64,
    /// For how long a key is published before it signs, in seconds.
    pub(crate) key_notice: u64,
}

impl Stage {
    pub(crate) async fn new(lifetime: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("password"), PASSWORD).expect("writes");
        fs::write(folder.path().join("key"), KEY_FILE).expect("writes");
        Self {
            broker: Broker::with_identities(identities()).await,
            folder,
            lifetime,
            key_lifetime: 86_400,
            key_notice: 1,
        }
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("security.db")
    }

    /// The coordinator's configuration.
    fn variables(&self) -> Vec<(String, String)> {
        let path = self.folder.path();
        let mut variables = self.broker_variables(Coordinator::Security);
        variables.extend(
            [
                ("DATA_DIR", path.display().to_string()),
                ("RUN_DIR", path.join("run").display().to_string()),
                ("LOG", "debug".to_owned()),
                ("SECURITY__KEY_FILE", self.key_file().display().to_string()),
                ("SECURITY__TOKEN_LIFETIME_SECONDS", self.lifetime.to_string()),
                ("SECURITY__KEY_LIFETIME_SECONDS", self.key_lifetime.to_string()),
                ("SECURITY__KEY_NOTICE_SECONDS", self.key_notice.to_string()),
            ]
            .map(|(name, value)| (format!("BIGSKIES_{name}"), value)),
        );
        variables
    }

    fn broker_variables(&self, c: Coordinator) -> Vec<(String, String)> {
        [
            ("HOST", self.broker.host().to_owned()),
            ("PORT", self.broker.port().to_string()),
            ("USERNAME", coordinator_login(c)),
            ("PASSWORD_FILE", self.folder.path().join("password").display().to_string()),
        ]
        .map(|(name, value)| (format!("BIGSKIES_BROKER__{name}"), value))
        .to_vec()
    }

    /// Starts the coordinator.
    pub(crate) fn start(&self) -> Running {
        let log = self.folder.path().join("log");
        let log = fs::File::options().append(true).create(true).open(log).expect("opens");
        let errors = log.try_clone().expect("a second handle");
        let child = Command::new(env!("CARGO_BIN_EXE_security-coordinator"))
            .env_clear()
            .envs(self.variables())
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

    /// A plugin of [`PLUGINS`], with what every plugin may do.
    pub(crate) async fn plugin(&self, id: &PluginId, version: Version) -> Asker {
        let client = self.client(&plugin_login(id), version).await;
        for filter in
            [topic::coordinator::keys(), topic::coordinator::token(id), topic::plugin::responses(id)]
        {
            client.subscribe(&filter).await.expect("may subscribe");
        }
        Asker { client, principal: Principal::Plugin(id.clone()) }
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

/// The broker's file: the installation's own seed, plugins, and a login that hears what the tests look at.
fn identities() -> Value {
    let seed = acl::fixed::seed(|_| Ok::<_, NoRandomness>(PASSWORD.to_owned())).expect("random salts");
    let mut seed: Value = serde_json::from_slice(&seed.encode()).expect("the seed is JSON");
    let filters = heard();
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    let mut more = Identities::new().login(READER, PASSWORD, &[], &filters);
    for id in PLUGINS {
        let id = PluginId::parse(id).expect("an id");
        let own = [topic::coordinator::keys(), topic::coordinator::token(&id), topic::plugin::responses(&id)];
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        more = more.login(&plugin_login(&id), PASSWORD, &[&topic::plugin::requests(&id)], &own);
    }
    let more = more.build();
    for list in ["clients", "roles"] {
        let more = more[list].as_array().expect("a list").clone();
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
