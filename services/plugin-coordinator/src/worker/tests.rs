//! Whole lives of a plugin on an engine, a registry and peers in memory, with the real database: what is left,
//! and what was answered, whatever fails on the way.

#![expect(clippy::panic, reason = "a test fails by panicking, and says why")]

mod adoption;
mod conduct;
mod drift;
mod forwarding;
mod grants;
mod housekeeping;
mod images;
mod killed;
mod many;
mod meanwhile;
mod overdue;
mod superseded;
mod unheard;
mod updates;
mod watchdog;

use std::sync::PoisonError;

use chassis::{Publisher, Replies};
use envelope::payload::health::{Health as HealthPayload, HealthStatus};
use envelope::payload::spec::{AclOutcome, AclStatus, Presence};
use envelope::payload::state::Phase;
use envelope::{Answer, Coordinator, Envelope, ErrorCode, MessageType, OperationId, StartId, Timestamp};
use serde_json::{Value, json};
use store::{Received, Store};

use super::*;
use crate::context::Acls;
use crate::engine::fake::{FakeEngine, FakeImage};
use crate::engine::{Engine as _, EngineError, Verb};
use crate::health::HealthReports;
use crate::operation::{Install, Running, Work};
use crate::peers::fake::FakePeers;
use crate::policy::Policy;
use crate::record::{Desired, Record, StartProgress};
use crate::registrations::SqliteRegistrations;
use crate::registry::Resolved;
use crate::registry::fake::FakeRegistry;
use crate::report::Reporter;
use crate::settings::Settings;

const INSTALLATION: &str = "6f1c0d5e-0000-4000-8000-000000000001";
const SOURCE: &str = "registry.example.com/focuser:1.0.0";
/// What is in the reference of each of the plugin's images, and of no other.
const IMAGES: &str = "/focuser@";
const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

struct Stage {
    ctx: Context,
    store: Store,
    engine: FakeEngine,
    registry: FakeRegistry,
    peers: std::sync::Arc<FakePeers>,
    id: PluginId,
    /// Whether the plugin reports health once its process runs.
    reports: bool,
    _folder: tempfile::TempDir,
}

fn manifest() -> Value {
    json!({
        "id": "focuser", "name": "Focuser", "version": "1.0.0", "start_timeout_seconds": 30,
        "docker": {"volumes": ["data:/data"]}
    })
}

impl Stage {
    async fn new() -> Self {
        Self::with(manifest(), "1000:1000").await
    }

    /// With an image of this manifest and user.
    async fn with(manifest: Value, user: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_owned();
        Self::at(&path, folder, manifest, user).await
    }

    /// With the database in the folder `path`; `folder` lasts as long as the stage.
    async fn at(path: &std::path::Path, folder: tempfile::TempDir, manifest: Value, user: &str) -> Self {
        static MIGRATIONS: store::Migrator = sqlx::migrate!();
        let store = Store::open(&path.join("plugin.db"), &MIGRATIONS).await.expect("opens");
        let replies = Replies::new(Coordinator::Plugin, store.journal());
        let settings = Settings::default();
        let engine = FakeEngine::new();
        let reference = format!("registry.example.com/focuser@{DIGEST}");
        let label = manifest.to_string();
        let mut image = FakeImage::new(&reference).with_label(crate::admission::MANIFEST_LABEL, &label);
        image.image.user = user.into();
        engine.publish(image);
        engine.load(FakeImage::new(&settings.forwarder_image));
        let network = crate::engine::NetworkSpec {
            name: settings.network.clone(),
            internal: true,
            masquerade: true,
            icc: true,
            labels: Default::default(),
        };
        engine.ensure_network(&network).await.expect("makes the network");
        let registry = FakeRegistry::new();
        registry.publish(
            SOURCE,
            Resolved {
                reference: reference.parse().expect("a reference"),
                digest: DIGEST.into(),
                labels: [(crate::admission::MANIFEST_LABEL.to_owned(), label)].into(),
                total_bytes: 1,
                user: user.into(),
                layers: 1,
            },
        );
        let peers = std::sync::Arc::new(FakePeers::default());
        let publisher = Publisher::new(Coordinator::Plugin);
        let ctx = Context {
            policy: Policy::new(settings.clone(), INSTALLATION.into()),
            reporter: Reporter::new(publisher, settings.node.clone()),
            registrations: std::sync::Arc::new(SqliteRegistrations::new(store.clone(), replies)),
            engine: std::sync::Arc::new(engine.clone()),
            registry: std::sync::Arc::new(registry.clone()),
            peers: peers.clone(),
            health: HealthReports::default(),
            acls: Acls::default(),
            images: crate::housekeeping::Images::new(std::sync::Arc::new(crate::housekeeping::SqlitePulled(
                store.clone(),
            ))),
            conduct: crate::conduct::Conduct::new(&settings),
            settings,
        };
        ctx.health.listening(true);
        let id = PluginId::parse("focuser").expect("an id");
        Self { ctx, store, engine, registry, peers, id, reports: true, _folder: folder }
    }

    async fn record(&self) -> Option<Record> {
        self.ctx.registrations.plugin(&self.id).await.expect("reads")
    }

    /// Records an operation as its handler does.
    async fn ask(&self, request: &str, work: Work, desired: Option<Desired>, lasts: Duration) {
        let change = desired.map(|desired| {
            move |record: &mut Record| {
                record.desired = desired;
                record.retry_at = None;
            }
        });
        self.ask_and(request, work, change, lasts, "operator:operator", true).await;
    }

    /// The same, with what it changes of the plugin, for somebody.
    async fn ask_and(
        &self,
        request: &str,
        work: Work,
        change: Option<impl FnOnce(&mut Record)>,
        lasts: Duration,
        principal: &str,
        named: bool,
    ) {
        let operation = self.accept(request, work, lasts, principal, named).await;
        let mut record = self.record().await.filter(|_| change.is_some());
        if let (Some(record), Some(change)) = (&mut record, change) {
            change(record);
        }
        self.ctx.registrations.begin(&operation, record.as_ref(), None).await.expect("records");
    }

    /// Takes a request into the journal. Answers its operation, of which nothing is recorded yet.
    async fn accept(
        &self,
        request: &str,
        work: Work,
        lasts: Duration,
        principal: &str,
        named: bool,
    ) -> Running {
        let received = Received {
            id: request.into(),
            principal: principal.into(),
            request_id: Some(request.into()),
            content_hash: request.into(),
            redelivery: false,
            topic: "t".into(),
            body: b"{}".to_vec(),
            response_topic: "r".into(),
            correlation_data: None,
            correlation_id: request.into(),
            traceparent: None,
            received_at: Timestamp::now(),
            expires_at: Timestamp::now().after(Duration::from_secs(60)),
        };
        self.store.journal().accept(&received).await.expect("accepts");
        Running {
            id: OperationId::new(),
            plugin_id: self.id.clone(),
            request_id: request.into(),
            work,
            principal: principal.into(),
            named,
            step: "accepted".into(),
            started_at: Timestamp::now(),
            deadline: Timestamp::now().after(lasts),
            correlation_id: request.into(),
            traceparent: None,
            cancelled_by: None,
        }
    }

    async fn ask_install(&self, request: &str) {
        let wanted = json!({"plugin_id": "focuser", "source": SOURCE, "config": {"a": 1}});
        let install = Install {
            request: serde_json::from_value(wanted).expect("a request"),
            resolved: None,
            admitted: None,
            pulled: false,
        };
        self.ask(request, Work::Install(Box::new(install)), None, Duration::from_secs(600)).await;
    }

    /// What the message coordinator and the plugin do while the worker waits.
    async fn surroundings(&self) {
        let Some(record) = self.record().await else { return };
        let spec = record.spec(&record.manifest(), "local");
        if !*self.peers.away.lock().unwrap_or_else(PoisonError::into_inner) {
            let outcome = match spec.presence {
                Presence::Present => AclOutcome::Applied { role: "role".into() },
                Presence::Absent => AclOutcome::Absent,
            };
            let status = AclStatus {
                plugin_id: self.id.clone(),
                uid: spec.uid,
                generation: spec.generation,
                outcome,
                at: Timestamp::now(),
            };
            self.ctx.acls.set(self.id.clone(), Some(status));
        }
        let running = self.engine.inspect(&self.ctx.policy.container_name(&self.id)).await;
        if self.reports && running.is_ok_and(|c| c.is_some_and(|c| c.state.is_running())) {
            let health = HealthPayload {
                component: "focuser".into(),
                status: HealthStatus::Healthy,
                message: String::new(),
                details: Default::default(),
            };
            let message = Envelope::new(MessageType::Status, "plugin:focuser", health).encode();
            self.ctx.health.take(&topic::plugin::health(&self.id), &message);
        }
    }

    /// Lets workers work until nothing runs and nothing is left to do. Each pass has a new worker, as if the
    /// coordinator were killed between any two steps. Time passes in the waits.
    async fn settle(&self) {
        for _ in 0..400 {
            self.surroundings().await;
            let mut worker = Worker::new(self.ctx.clone(), self.id.clone());
            worker.confirmed = Some(Instant::now());
            let next = worker.pass().await;
            let running = self.ctx.registrations.running(&self.id).await.expect("reads");
            let record = self.record().await;
            let owes = record.as_ref().is_some_and(|r| !r.owed.is_empty());
            let done = running.is_none() && !owes;
            match next {
                Next::Again => {}
                Next::Retire => return,
                Next::Wait(_) if done && worker.trouble == 0 => return,
                Next::Wait(_) => tokio::task::yield_now().await,
            }
        }
        panic!("not settled: {:?}", self.record().await.map(|r| (r.desired, r.standing, r.start)));
    }

    /// The one answer to a request.
    async fn answer(&self, request: &str) -> Answer {
        let owed = self.store.journal().owed().await.expect("reads");
        let mut answers = owed.iter().filter(|o| o.id == request);
        let bytes = &answers.next().expect("an answer").response;
        assert!(answers.next().is_none());
        serde_json::from_slice::<Envelope<Answer>>(bytes).expect("a response").payload
    }

    async fn succeeds(&self, request: &str) -> Value {
        match self.answer(request).await {
            Answer::Success(data) => data,
            Answer::Failure(error) => panic!("{request}: {} {}", error.code, error.message),
        }
    }

    async fn fails(&self, request: &str, code: ErrorCode) -> envelope::ErrorBody {
        match self.answer(request).await {
            Answer::Failure(error) => {
                assert_eq!(error.code, code, "{request}: {}", error.message);
                error
            }
            Answer::Success(data) => panic!("{request} succeeded: {data}"),
        }
    }

    async fn install(&self) {
        self.ask_install("install").await;
        self.settle().await;
        self.succeeds("install").await;
    }

    async fn start(&self) {
        self.ask("start", Work::Start, Some(Desired::Running), Duration::from_secs(600)).await;
        self.settle().await;
    }

    async fn containers(&self) -> usize {
        self.engine.list(INSTALLATION).await.expect("lists").len()
    }

    async fn nothing_is_left(&self) {
        assert_eq!(self.containers().await, 0);
        assert!(self.record().await.is_none());
        let image = self.engine.image(&format!("registry.example.com/focuser@{DIGEST}")).await;
        assert!(image.expect("answers").is_none());
        assert!(!self.engine.images().iter().any(|image| image.contains(IMAGES)));
        assert!(self.peers.logins.lock().expect("not poisoned").is_empty());
        assert!(self.peers.tokens.lock().expect("not poisoned").is_empty());
    }
}

/// A request that is not in the journal, answered with nothing.
fn answered(id: &str) -> crate::registrations::Answered {
    let (id, correlation_id) = (id.to_owned(), id.to_owned());
    let request = chassis::Request { id, correlation_id, traceparent: None, payload: Value::Null };
    crate::registrations::Answered::with(&request, &Value::Null)
}

#[tokio::test]
async fn a_removal_clears_what_the_plugin_left_retained() {
    let stage = Stage::new().await;
    stage.install().await;
    assert!(stage.peers.cleared.lock().expect("not poisoned").is_empty());
    let gone = Desired::Absent { remove_volumes: false };
    stage.ask("remove", Work::Remove, Some(gone), Duration::from_secs(600)).await;
    stage.settle().await;
    stage.succeeds("remove").await;
    assert_eq!(*stage.peers.cleared.lock().expect("not poisoned"), std::slice::from_ref(&stage.id));
}

async fn whole_life(stage: &Stage) {
    stage.install().await;
    stage.start().await;
    let state = stage.succeeds("start").await;
    assert_eq!(state["phase"], "running");
    assert_eq!(stage.containers().await, 1);
    stage.ask("stop", Work::Stop, Some(Desired::Stopped), Duration::from_secs(600)).await;
    stage.settle().await;
    assert_eq!(stage.succeeds("stop").await["phase"], "stopped");
    assert_eq!(stage.containers().await, 0);
    let gone = Desired::Absent { remove_volumes: true };
    stage.ask("remove", Work::Remove, Some(gone), Duration::from_secs(600)).await;
    stage.settle().await;
    let removed = stage.succeeds("remove").await;
    assert_eq!(removed["image_removed"], true);
    assert_eq!(removed["volumes_removed"].as_array().map(Vec::len), Some(1));
    stage.nothing_is_left().await;
}

#[tokio::test]
async fn a_plugin_is_installed_started_stopped_and_removed_and_nothing_is_left() {
    whole_life(&Stage::new().await).await;
}

#[tokio::test]
async fn a_life_ends_the_same_when_any_call_of_the_engine_fails_once_or_its_answer_is_lost() {
    let verbs = [
        Verb::Pull,
        Verb::Image,
        Verb::RemoveImage,
        Verb::ReadFile,
        Verb::Network,
        Verb::EnsureVolume,
        Verb::RemoveVolume,
        Verb::Create,
        Verb::SetOwner,
        Verb::Upload,
        Verb::Start,
        Verb::Stop,
        Verb::Remove,
        Verb::Inspect,
        Verb::Logs,
        Verb::UsedPorts,
    ];
    for verb in verbs {
        let away = || EngineError::Unreachable { doing: verb, on: "focuser".into(), source: "test".into() };
        let stage = Stage::new().await;
        stage.engine.fail_next(verb, away());
        whole_life(&stage).await;
        let stage = Stage::new().await;
        stage.engine.lose_next_answer(verb, away());
        whole_life(&stage).await;
    }
}

#[tokio::test]
async fn a_log_that_is_gone_with_its_container_fails_no_restart_and_no_stop() {
    let gone = || EngineError::Conflict {
        doing: Verb::Logs,
        on: "focuser".into(),
        message: "can not get logs from container which is dead or marked for removal".into(),
    };
    let stage = Stage::new().await;
    stage.install().await;
    stage.start().await;
    let restart = Work::Restart { stopped: false };
    stage.engine.fail_next(Verb::Logs, gone());
    stage.ask("restart", restart, Some(Desired::Running), Duration::from_secs(600)).await;
    stage.settle().await;
    stage.succeeds("restart").await;
    let exit = stage.record().await.expect("installed").last_exit.expect("it was stopped");
    assert_eq!(exit.log_tail, "");
    stage.engine.fail_next(Verb::Logs, gone());
    stage.ask("stop", Work::Stop, Some(Desired::Stopped), Duration::from_secs(600)).await;
    stage.settle().await;
    stage.succeeds("stop").await;
    assert_eq!(stage.containers().await, 0);
}

#[tokio::test]
async fn a_plugin_that_never_reports_is_removed_again_and_its_last_lines_are_told() {
    let mut stage = Stage::new().await;
    stage.install().await;
    stage.reports = false;
    stage.ask("start", Work::Start, Some(Desired::Running), Duration::ZERO).await;
    // Its deadline is over: the wait for health ends at once.
    stage.settle().await;
    stage.fails("start", ErrorCode::TimedOut).await;
    assert_eq!(stage.containers().await, 0);
    let record = stage.record().await.expect("stays installed");
    assert_eq!(record.standing.phase, Phase::Failed);
    assert_eq!(record.desired, Desired::Stopped);
    assert!(stage.peers.logins.lock().expect("not poisoned").is_empty());
}

#[tokio::test]
async fn a_restart_keeps_container_login_and_token_and_asks_nobody() {
    let stage = Stage::new().await;
    stage.install().await;
    stage.start().await;
    let before = stage.engine.list(INSTALLATION).await.expect("lists")[0].id.clone();
    *stage.peers.away.lock().expect("not poisoned") = true;
    let work = Work::Restart { stopped: false };
    stage.ask("restart", work, Some(Desired::Running), Duration::from_secs(600)).await;
    stage.settle().await;
    assert_eq!(stage.succeeds("restart").await["phase"], "running");
    assert_eq!(stage.engine.list(INSTALLATION).await.expect("lists")[0].id, before);
}

#[tokio::test]
async fn a_stop_needs_no_other_coordinator_and_what_is_owed_is_paid_later() {
    let stage = Stage::new().await;
    stage.install().await;
    stage.start().await;
    *stage.peers.away.lock().expect("not poisoned") = true;
    stage.ask("stop", Work::Stop, Some(Desired::Stopped), Duration::from_secs(600)).await;
    for _ in 0..20 {
        Worker::new(stage.ctx.clone(), stage.id.clone()).pass().await;
    }
    assert_eq!(stage.succeeds("stop").await["phase"], "stopped");
    assert_eq!(stage.record().await.expect("installed").owed.len(), 1);
    *stage.peers.away.lock().expect("not poisoned") = false;
    stage.settle().await;
    assert!(stage.record().await.expect("installed").owed.is_empty());
    assert!(stage.peers.logins.lock().expect("not poisoned").is_empty());
}

#[tokio::test]
async fn a_step_that_writes_twice_is_not_overtaken_by_itself() {
    let stage = Stage::new().await;
    stage.install().await;
    let mut record = stage.record().await.expect("installed");
    for _ in 0..2 {
        stage.ctx.registrations.advance(Some(&mut record), None).await.expect("nobody else wrote");
    }
    assert_eq!(stage.record().await, Some(record));
}

#[tokio::test]
async fn a_worker_does_not_undo_what_a_handler_recorded_meanwhile() {
    let stage = Stage::new().await;
    stage.install().await;
    let mut read_before = stage.record().await.expect("installed");
    let gone = Desired::Absent { remove_volumes: false };
    stage.ask("remove", Work::Remove, Some(gone), Duration::from_secs(600)).await;
    let late = stage.ctx.registrations.advance(Some(&mut read_before), None).await;
    assert!(matches!(late, Err(crate::registrations::TableError::Changed(_))));
    stage.settle().await;
    stage.succeeds("remove").await;
    stage.nothing_is_left().await;
}

#[tokio::test]
async fn a_container_that_ends_by_itself_is_started_again_after_a_pause_with_the_same_login() {
    let stage = Stage::new().await;
    stage.install().await;
    stage.start().await;
    let name = stage.ctx.policy.container_name(&stage.id);
    let before = stage.record().await.expect("installed").start.expect("a start").id;
    stage.engine.crash(&name, 3);
    Worker::new(stage.ctx.clone(), stage.id.clone()).pass().await;
    let failed = stage.record().await.expect("installed");
    assert_eq!(failed.standing.phase, Phase::Failed);
    assert_eq!(failed.last_exit.as_ref().map(|e| e.code), Some(3));
    let due = failed.retry_at.expect("another try").since(Timestamp::now());
    assert!(due > Duration::from_secs(8) && due <= Duration::from_secs(10), "{due:?}");
    assert_eq!(failed.start.expect("the same start").id, before);
}

/// The camera that its new configuration needs is unplugged, say.
#[tokio::test]
async fn a_container_that_the_engine_refuses_to_make_is_tried_again_after_a_pause() {
    let stage = Stage::new().await;
    stage.install().await;
    stage.start().await;
    for _ in 0..20 {
        let (on, message) = ("focuser".into(), "no such device".into());
        stage
            .engine
            .fail_next(Verb::Create, EngineError::Refused { doing: Verb::Create, on, status: 400, message });
    }
    let change = Some(|record: &mut Record| record.advance_generation());
    let lasts = Duration::from_secs(600);
    stage.ask_and("config", Work::Config, change, lasts, "operator:operator", true).await;
    stage.settle().await;
    stage.fails("config", ErrorCode::EngineRefused).await;
    let failed = stage.record().await.expect("installed");
    assert_eq!((failed.standing.phase, failed.failures), (Phase::Failed, 1));
    assert_eq!(failed.start.expect("a start").progress, StartProgress::Begun);
    let due = failed.retry_at.expect("another try").since(Timestamp::now());
    assert!(due > Duration::from_secs(8) && due <= Duration::from_secs(10), "{due:?}");
}

#[tokio::test]
async fn a_failed_installation_leaves_neither_image_nor_row() {
    let stage = Stage::new().await;
    let refused = || EngineError::Refused {
        doing: Verb::ReadFile,
        on: "focuser".into(),
        status: 400,
        message: "no".into(),
    };
    stage.engine.fail_next(Verb::ReadFile, refused());
    stage.ask_install("install").await;
    stage.settle().await;
    stage.fails("install", ErrorCode::EngineRefused).await;
    stage.nothing_is_left().await;
}
