//! A broker that lets everybody do everything, a coordinator that does little, and those who ask it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use chassis::config::{BrokerLogin, Loaded, load};
use chassis::service::Parts;
use chassis::{
    Delivery, Fault, Permit, Publisher, Replies, Reply, Request, Section, Service, Shutdown, process,
};
use envelope::payload::audit::{AuditRecord, AuditRequest, AuditResponse};
use envelope::payload::event::{Event, EventKind};
use envelope::payload::health::Health;
use envelope::payload::lifecycle::PluginRequest;
use envelope::topic::{self, RequestTopic};
use envelope::{
    Answer, Coordinator, Envelope, ErrorBody, MessageType, Operation, OperatorName, PluginId, Principal,
    Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{Migrator, Received, Store};
use tempfile::TempDir;
use testkit::{Broker, Client, Message, Publish, eventually};
use tokio::runtime::Runtime;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

static MIGRATIONS: Migrator = Migrator::DEFAULT;

/// Answers at once, but for `start`, which never ends when the settings say so, `inspect`, which waits at a gate, and
/// `logs`, which is answered after its handler has ended.
struct Echo {
    settings: Settings,
    publisher: Publisher,
    replies: Replies,
}

/// Waits at the gate, and tells how many bytes lie behind it.
async fn wait_at(gate: &Path) -> usize {
    let bytes = std::fs::read(gate).map(|content| content.len()).unwrap_or_default();
    std::fs::write(gate.with_extension("entered"), "").expect("writes");
    eventually(PATIENCE, async || match gate.exists() {
        true => Err("the gate is closed"),
        false => Ok(()),
    })
    .await;
    bytes
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Settings {
    start_never_ends: bool,
    /// Whether what was asked for before a restart goes on by itself.
    begun: bool,
    /// While this file is there `inspect` is not answered, and then with as many bytes as are in it.
    gate: PathBuf,
}

impl Section for Settings {
    fn faults(&self) -> Vec<Fault> {
        Vec::new()
    }
}

#[async_trait]
impl Service for Echo {
    const COORDINATOR: Coordinator = Coordinator::Plugin;
    type Settings = Settings;

    fn migrations() -> &'static Migrator {
        &MIGRATIONS
    }

    async fn build(settings: Settings, parts: Parts) -> anyhow::Result<Arc<Self>> {
        Ok(Arc::new(Self { settings, publisher: parts.publisher, replies: parts.replies }))
    }

    fn watches(&self) -> Vec<String> {
        Vec::new()
    }

    async fn observe(&self, _delivery: Delivery) {}

    async fn handle(&self, permit: Permit, request: Request) -> Result<Reply, ErrorBody> {
        match permit.operation() {
            Operation::Start if self.settings.start_never_ends => std::future::pending().await,
            Operation::Inspect => {
                let bytes = wait_at(&self.settings.gate).await;
                Ok(Reply::Now(json!({"filler": "x".repeat(bytes)})))
            }
            Operation::Logs => {
                let (replies, gate) = (self.replies.clone(), self.settings.gate.clone());
                tokio::spawn(async move {
                    let bytes = wait_at(&gate).await;
                    let answer = Answer::Success(json!({"filler": "x".repeat(bytes)}));
                    replies.answer_at_last(&request.id, &answer, &request.correlation_id, None, |_| {}).await;
                });
                Ok(Reply::Later)
            }
            Operation::Stop => request.parse::<PluginRequest>().map(|r| Reply::now(&r.plugin_id)),
            _ => Ok(Reply::Now(json!({}))),
        }
    }

    async fn has_begun(&self, _request_id: &str) -> Option<bool> {
        Some(self.settings.begun)
    }

    /// Says so where a test hears it, as a coordinator would say that it stopped the plugin.
    async fn flooding(&self, principal: &Principal) {
        let event = Event {
            event: EventKind::Phase,
            plugin_id: None,
            operation_id: None,
            message: principal.to_string(),
            cause: "a flood".to_owned(),
            details: Value::Null,
        };
        self.publisher.event(event, "a flood", None);
    }

    async fn run(self: Arc<Self>, shutdown: Shutdown) {
        shutdown.cancelled().await;
    }
}

pub(crate) struct Stage {
    pub(crate) broker: Broker,
    folder: TempDir,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with_rules("pattern readwrite #").await
    }

    /// A broker with rules of its own, for everybody.
    pub(crate) async fn with_rules(rules: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("password"), "none").expect("writes");
        std::fs::write(folder.path().join("rules"), rules).expect("writes");
        // As an installation's broker is configured.
        let broker = Broker::open()
            .line("max_packet_size 1048576")
            .line("set_tcp_nodelay true")
            .line(format!("acl_file {}", folder.path().join("rules").display()))
            .await;
        Self { broker, folder }
    }

    /// Gives the broker other rules; connections stay.
    pub(crate) fn set_rules(&self, rules: &str) {
        std::fs::write(self.folder.path().join("rules"), rules).expect("writes");
        self.broker.reload();
    }

    /// Starts the coordinator, with settings that are not the defaults.
    pub(crate) fn start(&self, settings: &[(&str, &str)]) -> Life {
        let (loaded, login) = self.load(settings);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime of its own");
        runtime.spawn(process::serve::<Echo>(loaded, login, Shutdown::new()));
        Life { runtime: Some(runtime) }
    }

    /// Why the coordinator does not start.
    pub(crate) async fn fails(&self, settings: &[(&str, &str)]) -> String {
        let (loaded, login) = self.load(settings);
        let error =
            process::serve::<Echo>(loaded, login, Shutdown::new()).await.expect_err("it does not start");
        format!("{error:#}")
    }

    fn load(&self, settings: &[(&str, &str)]) -> (Loaded<Settings>, BrokerLogin) {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let own = [
            ("BIGSKIES_BROKER__HOST", self.broker.host().to_owned()),
            ("BIGSKIES_BROKER__PORT", self.broker.port().to_string()),
            ("BIGSKIES_BROKER__USERNAME", "anybody".to_owned()),
            ("BIGSKIES_BROKER__PASSWORD_FILE", path("password")),
            ("BIGSKIES_DATA_DIR", path("")),
            ("BIGSKIES_RUN_DIR", path("run")),
        ];
        let given = settings.iter().map(|(key, value)| (*key, (*value).to_owned()));
        let environment = own.into_iter().chain(given).map(|(key, value)| (key.to_owned(), value));
        let loaded = load::<Settings>(Coordinator::Plugin, None, environment).expect("no faults");
        let login = BrokerLogin::read(&loaded.common.broker).expect("readable");
        (loaded, login)
    }

    /// The coordinator's database, where it is kept unless settings say otherwise.
    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join(format!("{}.db", Coordinator::Plugin))
    }

    /// Makes a coordinator that does not run believe that it was up until then, and no longer.
    pub(crate) async fn was_up(&self, at: Timestamp) {
        let store = Store::open(&self.database(), &MIGRATIONS).await.expect("opens");
        store.set_meta("request_session_last_up", &at.to_string()).await.expect("writes");
    }

    /// A `stop` of the asker in the journal of a coordinator that does not run, as an earlier life left it.
    pub(crate) async fn accepted(
        &self,
        asker: &Asker,
        id: &str,
        body: Vec<u8>,
        received_at: Timestamp,
        expires_at: Timestamp,
    ) {
        let store = Store::open(&self.database(), &MIGRATIONS).await.expect("opens");
        let topic = RequestTopic::new(asker.principal.clone(), Operation::Stop);
        let request = Received {
            id: id.to_owned(),
            principal: asker.principal.to_string(),
            request_id: Some(id.to_owned()),
            content_hash: id.to_owned(),
            redelivery: false,
            topic: topic.to_string(),
            body,
            response_topic: topic.response(),
            correlation_data: None,
            correlation_id: id.to_owned(),
            traceparent: None,
            received_at,
            expires_at,
        };
        store.journal().accept(&request).await.expect("accepts");
        store.close().await;
    }

    async fn client(&self) -> Client {
        let id = format!("test-{}", envelope::StartId::new());
        Client::at(self.broker.port(), id).connect().await.expect("connects")
    }

    pub(crate) async fn operator(&self, name: &str) -> Asker {
        let name = OperatorName::parse(name).expect("a name");
        let client = self.client().await;
        client.subscribe(&topic::operator::responses(&name)).await.expect("subscribes");
        Asker { client, principal: Principal::Operator(name) }
    }

    pub(crate) async fn plugin(&self, id: &str) -> Asker {
        let id = PluginId::parse(id).expect("an id");
        let client = self.client().await;
        client.subscribe(&topic::plugin::responses(&id)).await.expect("subscribes");
        Asker { client, principal: Principal::Plugin(id) }
    }

    /// A gate that is closed, behind which there are so many bytes.
    pub(crate) fn gate(&self, bytes: usize) -> PathBuf {
        let gate = self.folder.path().join("gate");
        std::fs::write(&gate, vec![b'x'; bytes]).expect("writes");
        gate
    }

    /// Waits until somebody stands at the gate.
    pub(crate) async fn entered(&self, gate: &Path) {
        eventually(PATIENCE, async || match gate.with_extension("entered").exists() {
            true => Ok(()),
            false => Err("nobody stands at the gate"),
        })
        .await;
    }

    /// What the coordinator says of itself, once it is as wanted.
    pub(crate) async fn health(&self, wanted: impl Fn(&Health) -> bool) -> Health {
        let mut client = self.client().await;
        client.subscribe(&topic::coordinator::health(Coordinator::Plugin)).await.expect("subscribes");
        let (end, mut last) = (Instant::now() + PATIENCE, None);
        while let Some(message) = client.recv(end.saturating_duration_since(Instant::now())).await {
            let said: Envelope<Health> = serde_json::from_slice(&message.payload).expect("health");
            if wanted(&said.payload) {
                return said.payload;
            }
            last = Some(said.payload);
        }
        panic!("the last that it said of itself is {last:?}")
    }

    /// What the audit trail holds, once it is as wanted: read from the database, so that no request is made.
    pub(crate) async fn records(
        &self,
        which: AuditRequest,
        wanted: impl Fn(&[AuditRecord]) -> bool,
    ) -> Vec<AuditRecord> {
        let store = Store::open(&self.database(), &MIGRATIONS).await.expect("opens");
        eventually(PATIENCE, async || {
            let (records, _) = store.audit().find(&which).await.map_err(|e| e.to_string())?;
            if wanted(&records) { Ok(records) } else { Err(format!("{records:?}")) }
        })
        .await
    }

    /// Somebody who hears the coordinator's events.
    pub(crate) async fn listener(&self) -> Listener {
        let client = self.client().await;
        client.subscribe(&topic::coordinator::events(Coordinator::Plugin)).await.expect("subscribes");
        Listener { client }
    }
}

/// Somebody who hears the coordinator's events.
pub(crate) struct Listener {
    client: Client,
}

impl Listener {
    /// The next event of this kind, if one comes in time.
    pub(crate) async fn next(&mut self, kind: EventKind, patience: Duration) -> Option<Event> {
        let end = Instant::now() + patience;
        let topic = topic::coordinator::event(Coordinator::Plugin, kind.as_str());
        loop {
            let message = self.client.recv(end.saturating_duration_since(Instant::now())).await?;
            if message.topic == topic {
                let event: Envelope<Event> = serde_json::from_slice(&message.payload).expect("an event");
                return Some(event.payload);
            }
        }
    }
}

/// The coordinator, as long as it lives.
pub(crate) struct Life {
    runtime: Option<Runtime>,
}

impl Life {
    /// Ends everything that it does, wherever it is.
    pub(crate) async fn kill(mut self) {
        let runtime = self.runtime.take().expect("it lives");
        let ended = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(PATIENCE));
        ended.await.expect("it ends");
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Somebody who makes requests.
pub(crate) struct Asker {
    pub(crate) client: Client,
    principal: Principal,
}

impl Asker {
    pub(crate) fn topic(&self, operation: Operation) -> String {
        RequestTopic::new(self.principal.clone(), operation).to_string()
    }

    /// Sends a message as soon as the coordinator is there.
    pub(crate) async fn send(&self, message: Publish) {
        eventually(PATIENCE, async || match self.client.send(message.clone()).await {
            Ok(0) => Ok(()),
            other => Err(format!("the request came to {other:?}")),
        })
        .await;
    }

    pub(crate) async fn send_bytes(&self, operation: Operation, bytes: impl Into<Bytes>) {
        let topic = self.topic(operation);
        self.send(Publish { topic, payload: bytes.into(), qos: 1, ..Publish::default() }).await;
    }

    /// The next answer.
    pub(crate) async fn answer(&mut self) -> (Envelope<Answer>, Message) {
        let message = self.client.recv(PATIENCE).await.expect("an answer comes");
        (serde_json::from_slice(&message.payload).expect("a response"), message)
    }

    pub(crate) async fn refusal(&mut self) -> ErrorBody {
        match self.answer().await.0.payload {
            Answer::Failure(error) => error,
            Answer::Success(data) => panic!("it was done: {data}"),
        }
    }

    /// Asks, and waits for the answer to this and no other request.
    pub(crate) async fn ask(
        &mut self,
        operation: Operation,
        payload: impl Serialize,
    ) -> Result<Value, ErrorBody> {
        let request = request(payload);
        self.send_bytes(operation, request.encode()).await;
        loop {
            let (answer, _) = self.answer().await;
            if answer.correlation_id.as_ref() == Some(&request.id) {
                return match answer.payload {
                    Answer::Success(data) => Ok(data),
                    Answer::Failure(error) => Err(error),
                };
            }
        }
    }

    pub(crate) async fn audit(&mut self, wanted: AuditRequest) -> Vec<AuditRecord> {
        let answer = self.ask(Operation::Audit, wanted).await.expect("answered");
        let answer: AuditResponse = serde_json::from_value(answer).expect("an answer to audit");
        assert_eq!(answer.coordinator, Coordinator::Plugin);
        answer.records
    }
}

pub(crate) fn request<P: Serialize>(payload: P) -> Envelope<P> {
    Envelope::new(MessageType::Request, "a test", payload)
}
