//! A broker with the framework's seed, the coordinator in this process, and the others played by the test.

use std::path::Path;
use std::time::Duration;

use acl::dynsec::{Acl, AclType, Answer as Told, Client as Login, Command, Role, RoleRef, decode, encode};
use acl::password::{self, NoRandomness};
use chassis::Shutdown;
use chassis::config::{BrokerLogin, load};
use envelope::payload::event::{Event, EventKind};
use envelope::payload::login::{DeprovisionRequest, Deprovisioned, ProvisionRequest, ProvisionResponse};
use envelope::payload::spec::{AclOutcome, AclStatus, Presence, Spec};
use envelope::topic::{self, RequestTopic};
use envelope::{
    Answer, Coordinator, Envelope, ErrorBody, Generation, InstallUid, MessageType, Operation, PluginId,
    Principal, StartId,
};
use message_coordinator::MessageCoordinator;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use testkit::{Broker, Client, Version, eventually};
use tokio::task::JoinHandle;

pub const SOON: Duration = Duration::from_secs(20);
/// The broker's reason code for a message that nobody is subscribed to (MQTT 5.0 section 3.4.2.1).
const NOBODY: u8 = 0x10;
const DATABASE: [&str; 3] = ["message.db", "message.db-wal", "message.db-shm"];

pub fn id(text: &str) -> PluginId {
    PluginId::parse(text).expect("an id")
}

/// A topic or filter in the namespace of `name`.
pub fn below(name: &str, rest: &str) -> String {
    format!("{}{rest}", topic::plugin::namespace(&id(name)).trim_end_matches('#'))
}

/// The spec of the SDK document's sample manifest, with this id; its alias is `{name}-alias`.
pub fn spec(name: &str) -> Spec {
    let alias = format!("{name}-alias");
    Spec {
        plugin_id: id(name),
        uid: InstallUid::new(),
        generation: Generation::FIRST,
        node: "node".into(),
        presence: Presence::Present,
        alias: Some(id(&alias)),
        client_ids: vec![],
        publish: vec![below(&alias, "status"), below(&alias, "data")],
        subscribe: vec![below(&alias, "#")],
        health_topic: below(&alias, "health"),
        permissions: vec![],
        manifest_digest: String::new(),
    }
}

/// The next generation of a spec, which may publish to `further` too.
pub fn next(spec: &Spec, further: &str) -> Spec {
    let mut spec = spec.clone();
    spec.generation = spec.generation.next();
    spec.publish.push(further.to_owned());
    spec
}

pub struct Site {
    pub broker: Broker,
    folder: TempDir,
    running: Option<(Shutdown, JoinHandle<anyhow::Result<()>>)>,
    compare_interval: u64,
}

impl Site {
    /// A broker and a coordinator that has compared everything once.
    pub async fn start() -> Self {
        let mut site = Self::without_coordinator().await;
        site.start_coordinator();
        site
    }

    /// A broker whose coordinator will compare on a connection, and then for a long time not.
    pub async fn comparing_once() -> Self {
        Self { compare_interval: 3_600, ..Self::without_coordinator().await }
    }

    pub async fn without_coordinator() -> Self {
        let mut seed = acl::fixed::seed(|_| Ok::<_, NoRandomness>("password".into())).expect("a seed");
        seed.roles.push(everything());
        seed.clients.push(Login {
            username: "root".into(),
            textname: None,
            clientid: None,
            disabled: false,
            roles: vec![RoleRef::new("everything", 0)],
            groups: vec![],
            password: Some(password::hash("password").expect("random bytes")),
        });
        let identities = serde_json::to_value(&seed).expect("it serialises");
        let folder = TempDir::new().expect("a folder");
        std::fs::write(folder.path().join("password"), "password\n").expect("it writes");
        std::fs::write(folder.path().join("key"), [7; 32]).expect("it writes");
        Self { broker: Broker::with_identities(identities).await, folder, running: None, compare_interval: 1 }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn start_coordinator(&mut self) {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let environment = [
            ("BIGSKIES_BROKER__HOST", self.broker.host().to_owned()),
            ("BIGSKIES_BROKER__PORT", self.broker.port().to_string()),
            ("BIGSKIES_BROKER__USERNAME", "coordinator.message".to_owned()),
            ("BIGSKIES_BROKER__PASSWORD_FILE", path("password")),
            ("BIGSKIES_MESSAGE__KEY_FILE", path("key")),
            ("BIGSKIES_MESSAGE__COMPARE_INTERVAL_SECONDS", self.compare_interval.to_string()),
            ("BIGSKIES_DATA_DIR", path("")),
            ("BIGSKIES_RUN_DIR", path("run")),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value));
        let loaded = load(Coordinator::Message, None, environment).expect("a configuration");
        let login = BrokerLogin::read(&loaded.common.broker).expect("a login");
        let shutdown = Shutdown::new();
        let serve = chassis::process::serve::<MessageCoordinator>(loaded, login, shutdown.clone());
        self.running = Some((shutdown, tokio::spawn(serve)));
    }

    /// Deletes what a coordinator that does not run has recorded.
    pub fn lose_database(&self) {
        for file in DATABASE {
            let _ = std::fs::remove_file(self.folder().join(file));
        }
    }

    /// Copies what a coordinator that does not run has recorded.
    pub fn copy_database(&self) {
        let copy = self.folder().join("copy");
        std::fs::create_dir(&copy).expect("it is made");
        for file in DATABASE.iter().filter(|file| self.folder().join(file).exists()) {
            std::fs::copy(self.folder().join(file), copy.join(file)).expect("it copies");
        }
    }

    /// Has the copy again, in the place of what was recorded since.
    pub fn put_database_back(&self) {
        self.lose_database();
        for file in DATABASE.iter().filter(|file| self.folder().join("copy").join(file).exists()) {
            std::fs::copy(self.folder().join("copy").join(file), self.folder().join(file))
                .expect("it copies");
        }
    }

    pub async fn stop_coordinator(&mut self) {
        let (shutdown, task) = self.running.take().expect("it runs");
        shutdown.cancel();
        task.await.expect("no panic").expect("it drains");
    }

    pub async fn client(&self, login: &str, password: &str, version: Version) -> Client {
        let name = format!("{login}-{}", uuid::Uuid::now_v7().simple());
        Client::connect(self.broker.port(), (login, password), &name, version)
            .await
            .unwrap_or_else(|why| panic!("{login} cannot connect: {why}\n{}", self.broker.log()))
    }

    /// Somebody with the administrator's rights who is none of the framework's.
    pub async fn root(&self) -> Root {
        let mut client = self.client("root", "password", Version::V5).await;
        client.subscribe(topic::broker::control_answers()).await.expect("root may");
        // Answers to the coordinator's own commands are heard as well.
        while client.recv(Duration::ZERO).await.is_some() {}
        Root { client }
    }

    /// The plugin coordinator, as the test plays it.
    pub async fn plugins(&self) -> Plugins {
        let client = self.client("coordinator.plugin", "password", Version::V5).await;
        for filter in [topic::coordinator::acls(), topic::internal_responses(Coordinator::Plugin)] {
            client.subscribe(&filter).await.expect("it may");
        }
        Plugins { client }
    }

    /// An operator who hears the message coordinator's events.
    pub async fn operator(&self) -> Client {
        let client = self.client("operator.operator", "password", Version::V5).await;
        client.subscribe(&topic::coordinator::events(Coordinator::Message)).await.expect("it may");
        client
    }

    /// Connects as a plugin, once the broker lets it.
    pub async fn plugin(&self, login: &ProvisionResponse, version: Version) -> Client {
        eventually(SOON, || async {
            let name = uuid::Uuid::now_v7().to_string();
            let login = (login.username.as_str(), login.password.as_str());
            Client::connect(self.broker.port(), login, &name, version).await
        })
        .await
    }

    /// Whether the broker takes this login.
    pub async fn is_let_in(&self, login: &ProvisionResponse) -> bool {
        let name = uuid::Uuid::now_v7().to_string();
        let login = (login.username.as_str(), login.password.as_str());
        Client::connect(self.broker.port(), login, &name, Version::V5).await.is_ok()
    }
}

fn everything() -> Role {
    let kinds = [AclType::PublishClientSend, AclType::PublishClientReceive, AclType::SubscribePattern];
    let topics = ["#", "$CONTROL/#", "$SYS/#"];
    let acls = kinds.into_iter().flat_map(|acltype| {
        topics.map(|topic| Acl { acltype, topic: topic.into(), priority: 0, allow: true })
    });
    Role { rolename: "everything".into(), acls: acls.collect() }
}

/// The broker's other administrator.
pub struct Root {
    client: Client,
}

impl Root {
    pub async fn give(&mut self, commands: &[Command]) -> Vec<Told> {
        let batch = uuid::Uuid::now_v7().to_string();
        let bytes = encode(&batch, commands);
        self.client.publish(topic::broker::control(), bytes, 1, false).await.expect("root may");
        loop {
            let message = self.client.recv(SOON).await.expect("an answer");
            let answers = decode(&message.payload).expect("it decodes");
            let ours = |a: &Told| a.correlation_data.as_ref().is_some_and(|c| c.starts_with(&batch));
            if answers.iter().any(ours) {
                return answers;
            }
        }
    }

    pub async fn client(&mut self, name: &str) -> Option<Login> {
        self.give(&[Command::GetClient(name.into())]).await[0].client().ok()
    }

    pub async fn role(&mut self, name: &str) -> Option<Role> {
        self.give(&[Command::GetRole(name.into())]).await[0].role().ok()
    }

    pub async fn role_names(&mut self) -> Vec<String> {
        let ask = [Command::ListRoleNames { offset: 0, count: 10_000 }];
        self.give(&ask).await[0].role_names().expect("names").items
    }

    /// Roles and login that begin with `plugin.{name}`.
    pub async fn left_of(&mut self, name: &str) -> Vec<String> {
        let mut left: Vec<String> = self
            .role_names()
            .await
            .into_iter()
            .filter(|r| r.starts_with(&format!("plugin.{name}:")))
            .collect();
        left.extend(self.client(&format!("plugin.{name}")).await.map(|c| c.username));
        left
    }
}

/// The plugin coordinator.
pub struct Plugins {
    client: Client,
}

impl Plugins {
    pub async fn publish(&self, spec: &Spec) {
        let message = Envelope::new(MessageType::Status, "coordinator:plugin", spec).encode();
        let topic = topic::coordinator::spec(&spec.plugin_id);
        self.client.publish(&topic, message, 1, true).await.expect("published");
    }

    pub async fn clear(&self, id: &PluginId) {
        self.client.publish(&topic::coordinator::spec(id), "", 1, true).await.expect("published");
    }

    /// Waits for what becomes of this spec.
    pub async fn outcome(&mut self, spec: &Spec) -> AclOutcome {
        loop {
            let message = self.client.recv(SOON).await.expect("an acknowledgement");
            if topic::coordinator::acl_id(&message.topic).as_ref() != Some(&spec.plugin_id)
                || message.payload.is_empty()
            {
                continue;
            }
            let status: Envelope<AclStatus> = serde_json::from_slice(&message.payload).expect("a status");
            if status.payload.uid == spec.uid && status.payload.generation == spec.generation {
                return status.payload.outcome;
            }
        }
    }

    /// Waits until the acknowledgement's topic is cleared.
    pub async fn cleared(&mut self, id: &PluginId) {
        loop {
            let message = self.client.recv(SOON).await.expect("a message");
            if message.topic == topic::coordinator::acl(id) && message.payload.is_empty() {
                return;
            }
        }
    }

    /// Publishes a spec and waits until it is applied.
    pub async fn install(&mut self, spec: &Spec) -> String {
        self.publish(spec).await;
        match self.outcome(spec).await {
            AclOutcome::Applied { role } => role,
            other => panic!("{other:?}"),
        }
    }

    /// Removes what this spec installed, to its end. Returns the spec that said so.
    pub async fn remove(&mut self, spec: &Spec) -> Spec {
        let mut absent = spec.clone();
        absent.presence = Presence::Absent;
        absent.generation = absent.generation.next();
        self.publish(&absent).await;
        assert_eq!(self.outcome(&absent).await, AclOutcome::Absent);
        self.clear(&absent.plugin_id).await;
        self.cleared(&absent.plugin_id).await;
        absent
    }

    pub async fn call<T: DeserializeOwned>(
        &mut self,
        operation: Operation,
        payload: impl Serialize,
    ) -> Result<T, ErrorBody> {
        let correlation = uuid::Uuid::now_v7().to_string();
        let request = Envelope::new(MessageType::Request, "coordinator:plugin", payload)
            .correlated(&correlation)
            .encode();
        let topic = RequestTopic::new(Principal::Coordinator(Coordinator::Plugin), operation);
        // After a restart the coordinator's requests can be subscribed later than its acknowledgements are out;
        // whoever calls asks again then.
        eventually(SOON, || async {
            match self.client.publish(&topic.to_string(), request.clone(), 1, false).await {
                Ok(NOBODY) => Err("nobody listens".to_owned()),
                Ok(_) => Ok(()),
                Err(refusal) => Err(format!("{refusal:?}")),
            }
        })
        .await;
        loop {
            let message = self.client.recv(SOON).await.expect("an answer");
            if message.topic != topic.response() {
                continue;
            }
            let answer: Envelope<Answer> = serde_json::from_slice(&message.payload).expect("an answer");
            if answer.correlation_id.as_deref() != Some(&correlation) {
                continue;
            }
            return match answer.payload {
                Answer::Success(data) => Ok(serde_json::from_value(data).expect("its payload")),
                Answer::Failure(error) => Err(error),
            };
        }
    }

    pub async fn provision(
        &mut self,
        spec: &Spec,
        start_id: StartId,
    ) -> Result<ProvisionResponse, ErrorBody> {
        let (plugin_id, uid, generation) = (spec.plugin_id.clone(), spec.uid, spec.generation);
        self.call(Operation::Provision, ProvisionRequest { plugin_id, start_id, uid, generation }).await
    }

    pub async fn deprovision(&mut self, spec: &Spec, start_id: StartId) -> Result<Deprovisioned, ErrorBody> {
        let plugin_id = spec.plugin_id.clone();
        self.call(Operation::Deprovision, DeprovisionRequest { plugin_id, start_id }).await
    }
}

/// What the coordinator answers to an operator.
pub async fn ask<T: DeserializeOwned>(
    operator: &mut Client,
    operation: Operation,
    payload: impl Serialize,
) -> Result<T, ErrorBody> {
    let user = acl::fixed::first_operator();
    operator.subscribe(&topic::operator::responses(&user)).await.expect("its own");
    let topic = RequestTopic::new(Principal::Operator(user), operation);
    let correlation = uuid::Uuid::now_v7().to_string();
    let request = Envelope::new(MessageType::Request, "test", payload).correlated(&correlation).encode();
    // After a start the coordinator's requests may not be subscribed yet.
    eventually(SOON, || async {
        match operator.publish(&topic.to_string(), request.clone(), 1, false).await {
            Ok(NOBODY) => Err("nobody listens".to_owned()),
            Ok(_) => Ok(()),
            Err(refusal) => Err(format!("{refusal:?}")),
        }
    })
    .await;
    loop {
        let message = operator.recv(SOON).await.expect("an answer");
        if message.topic != topic.response() {
            continue;
        }
        let answer: Envelope<Answer> = serde_json::from_slice(&message.payload).expect("an answer");
        if answer.correlation_id.as_deref() != Some(&correlation) {
            continue;
        }
        return match answer.payload {
            Answer::Success(data) => Ok(serde_json::from_value(data).expect("its payload")),
            Answer::Failure(error) => Err(error),
        };
    }
}

/// Waits for a health message that says so.
pub async fn health_that_says(site: &Site, what: &str, says: impl Fn(&str) -> bool) -> String {
    let mut watcher = site.client("operator.operator", "password", Version::V5).await;
    watcher.subscribe(&topic::coordinator::health(Coordinator::Message)).await.expect("it may");
    loop {
        let message = watcher.recv(SOON).await.unwrap_or_else(|| panic!("no health: {what}"));
        if says(&message.text()) {
            return message.text();
        }
    }
}

/// The next event of a kind.
pub async fn event(client: &mut Client, kind: EventKind) -> Event {
    loop {
        let message = client.recv(SOON).await.unwrap_or_else(|| panic!("no {kind:?} event"));
        if message.topic != topic::coordinator::event(Coordinator::Message, kind.as_str()) {
            continue;
        }
        let event: Envelope<Event> = serde_json::from_slice(&message.payload).expect("an event");
        assert!(event.correlation_id.is_some() && !event.payload.cause.is_empty());
        return event.payload;
    }
}
