//! The real database, killed at each transaction: a process of its own lives a plugin's whole life and kills itself
//! with SIGKILL in the n-th transaction or right after it. What it had acknowledged must be there afterwards, and the
//! next process must bring everything to the same end.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::*;
use crate::engine::spec::Labels;
use crate::engine::{ImageRef, State};
use crate::peers::fake::login_of;
use crate::registrations::{Answered, Everything, Name, Operated, Registrations, TableError};

const CHILD: &str = "worker::tests::killed::a_process_that_kills_itself_in_a_transaction";
const FOLDER: &str = "BIGSKIES_KILLED_FOLDER";
const AT: &str = "BIGSKIES_KILLED_AT";
const POLLS: &str = "BIGSKIES_KILLED_AFTER_POLLS";
const LONG: Duration = Duration::from_secs(600);
const SIGKILL: i32 = 9;
/// How many parts of a transaction are told apart: each is one exchange with the database's thread.
const PARTS: u32 = 6;
/// A whole life has at least so many transactions, or little was tried.
const FEWEST: u32 = 100;

/// What is asked for in a whole life, in this order.
const REQUESTS: [&str; 11] = [
    "install",
    "start",
    "config",
    "update",
    "rollback",
    "cancelled update",
    "restart",
    "stop",
    "stop instead",
    "start again",
    "remove",
];
/// The start that gives way to "stop instead".
const GIVEN_UP: &str = "given up";

/// What is not in the database: what engine and other coordinators hold.
#[derive(Debug, Serialize, Deserialize)]
struct Held {
    images: Vec<String>,
    container: Option<HeldContainer>,
    logins: Vec<StartId>,
    tokens: Vec<StartId>,
}

#[derive(Debug, Serialize, Deserialize)]
struct HeldContainer {
    start: StartId,
    image: String,
    labels: Labels,
    /// Whether its process runs; none when it was never started.
    runs: Option<bool>,
}

/// The registry of a process that kills itself.
struct Killed {
    inner: SqliteRegistrations,
    at: u32,
    polls: u32,
    written: AtomicU32,
    engine: FakeEngine,
    peers: Arc<FakePeers>,
    container: String,
    folder: PathBuf,
}

impl Killed {
    /// One transaction, in which it may die.
    async fn write<T>(&self, transaction: impl Future<Output = T> + Send) -> T {
        if self.written.fetch_add(1, Ordering::SeqCst) + 1 != self.at {
            return transaction.await;
        }
        let (mut transaction, mut left) = (pin!(transaction), self.polls);
        std::future::poll_fn(|context| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            let done = transaction.as_mut().poll(context).is_ready();
            if done || left == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        self.die()
    }

    fn die(&self) -> ! {
        let container = self.engine.all().into_iter().find(|c| c.name == self.container).map(|found| {
            let start = found.label(crate::engine::label::START).and_then(|start| start.parse().ok());
            HeldContainer {
                start: start.expect("a start"),
                image: self.engine.spec(&self.container).expect("its spec").image,
                runs: match found.state {
                    State::Created => None,
                    state => Some(state.is_running()),
                },
                labels: found.labels,
            }
        });
        let list = |list: &Mutex<Vec<StartId>>| list.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let held = Held {
            images: self.engine.images().into_iter().filter(|image| image.contains(IMAGES)).collect(),
            container,
            logins: list(&self.peers.logins),
            tokens: list(&self.peers.tokens),
        };
        let text = serde_json::to_vec(&held).expect("encodes");
        std::fs::write(self.folder.join("held.json"), text).expect("writes");
        let pid = std::process::id().to_string();
        let killed = Command::new("kill").args(["-KILL", &pid]).status();
        unreachable!("it lives on: {killed:?}");
    }
}

#[async_trait]
impl Registrations for Killed {
    async fn plugin(&self, id: &PluginId) -> Result<Option<Record>, TableError> {
        self.inner.plugin(id).await
    }

    async fn plugins(&self) -> Result<Vec<Record>, TableError> {
        self.inner.plugins().await
    }

    async fn running(&self, id: &PluginId) -> Result<Option<Running>, TableError> {
        self.inner.running(id).await
    }

    async fn both(&self, id: &PluginId) -> Result<(Option<Record>, Option<Running>), TableError> {
        self.inner.both(id).await
    }

    async fn all_running(&self) -> Result<Vec<Running>, TableError> {
        self.inner.all_running().await
    }

    async fn everything(&self) -> Result<Everything, TableError> {
        self.inner.everything().await
    }

    async fn ids(&self) -> Result<BTreeSet<String>, TableError> {
        self.inner.ids().await
    }

    async fn owner(&self, name: &Name) -> Result<Option<String>, TableError> {
        self.inner.owner(name).await
    }

    async fn begin(
        &self,
        operation: &Running,
        record: Option<&Record>,
        instead: Option<(&Running, Answer)>,
    ) -> Result<(), TableError> {
        self.write(self.inner.begin(operation, record, instead)).await
    }

    async fn advance(
        &self,
        record: Option<&mut Record>,
        operation: Option<&Running>,
    ) -> Result<(), TableError> {
        self.write(self.inner.advance(record, operation)).await
    }

    async fn register(
        &self,
        record: &Record,
        names: &[Name],
        operation: &Running,
        answer: &Answer,
    ) -> Result<Option<Name>, TableError> {
        self.write(self.inner.register(record, names, operation, answer)).await
    }

    async fn claim(
        &self,
        record: &mut Record,
        names: &[Name],
        operation: Option<&Running>,
    ) -> Result<Option<Name>, TableError> {
        self.write(self.inner.claim(record, names, operation)).await
    }

    async fn cancel(&self, id: &OperationId, by: &str, asked: &Answered) -> Result<bool, TableError> {
        self.write(self.inner.cancel(id, by, asked)).await
    }

    async fn give_up(
        &self,
        record: &Record,
        operation: &Running,
        end: (&Answer, Timestamp),
        asked: &Answered,
    ) -> Result<(), TableError> {
        self.write(self.inner.give_up(record, operation, end, asked)).await
    }

    async fn finish(
        &self,
        record: Option<&Record>,
        operation: &Running,
        answer: &Answer,
    ) -> Result<(), TableError> {
        self.write(self.inner.finish(record, operation, answer)).await
    }

    async fn forget(&self, record: &Record, ended: Option<(&Running, &Answer)>) -> Result<(), TableError> {
        self.write(self.inner.forget(record, ended)).await
    }

    async fn operation(&self, id: &OperationId) -> Result<Option<Operated>, TableError> {
        self.inner.operation(id).await
    }

    async fn operations(&self, on: Option<&PluginId>, limit: u32) -> Result<Vec<Operated>, TableError> {
        self.inner.operations(on, limit).await
    }
}

impl Stage {
    /// A stage with the database in this folder.
    async fn in_folder(folder: &Path) -> Self {
        let kept = tempfile::tempdir_in(folder).expect("a folder");
        let stage = Self::at(folder, kept, manifest(), "1000:1000").await;
        stage.publish_second(&updates::second(), None);
        stage
    }

    async fn ask_for(&self, request: &str) {
        match request {
            "install" => self.ask_install(request).await,
            "config" => {
                let change = |record: &mut Record| {
                    record.release.config = Some(json!({"a": 2}));
                    record.follow_change();
                };
                self.ask_and(request, Work::Config, Some(change), LONG, "operator:operator", true).await;
            }
            "update" => self.begin_update(request, None).await,
            "rollback" => self.begin_rollback(request).await,
            "cancelled update" => {
                self.begin_update(request, None).await;
                self.cancel().await;
            }
            "restart" => {
                let work = Work::Restart { stopped: false };
                self.ask(request, work, Some(Desired::Running), LONG).await;
            }
            "stop" => self.ask(request, Work::Stop, Some(Desired::Stopped), LONG).await,
            "stop instead" => {
                if self.has_ended(GIVEN_UP).await.is_none() {
                    self.ask(GIVEN_UP, Work::Start, Some(Desired::Running), LONG).await;
                }
                self.ask_instead(request).await;
            }
            "remove" => {
                let gone = Desired::Absent { remove_volumes: true };
                self.ask(request, Work::Remove, Some(gone), LONG).await;
            }
            _ => self.ask(request, Work::Start, Some(Desired::Running), LONG).await,
        }
    }

    /// Records a stop, to which the operation that runs gives way.
    async fn ask_instead(&self, request: &str) {
        let start = self.under_way().await.expect("the start");
        let mut record = self.record().await.expect("installed");
        record.desired = Desired::Stopped;
        let stop = self.accept(request, Work::Stop, LONG, "operator:operator", true).await;
        let given_up = start.cancelled("by a stop request before it was done");
        let instead = Some((&start, given_up));
        self.ctx.registrations.begin(&stop, Some(&record), instead).await.expect("records");
    }

    async fn under_way(&self) -> Option<Running> {
        self.ctx.registrations.running(&self.id).await.expect("reads")
    }

    /// Asks for the end of the operation that runs.
    async fn cancel(&self) {
        let running = self.under_way().await.expect("an operation");
        assert!(
            self.ctx
                .registrations
                .cancel(&running.id, "operator:bob", &answered("cancel"))
                .await
                .expect("records")
        );
    }

    /// Its answer is the one that it gets when nobody is killed.
    async fn ends_well(&self, request: &str) {
        match request {
            "cancelled update" => {
                self.fails(request, ErrorCode::Cancelled).await;
            }
            "stop instead" => {
                self.fails(GIVEN_UP, ErrorCode::Cancelled).await;
                self.succeeds(request).await;
            }
            _ => {
                self.succeeds(request).await;
            }
        }
    }

    /// Whether there is an operation of this request, and whether it has ended.
    async fn has_ended(&self, request: &str) -> Option<bool> {
        let all = self.ctx.registrations.operations(None, 100).await.expect("reads");
        all.iter().find(|o| o.operation.request_id == request).map(|o| o.ended_at.is_some())
    }

    /// Makes what engine and other coordinators held when the process was killed.
    async fn hold(&self, held: Held) {
        for image in held.images {
            let reference: ImageRef = image.parse().expect("a reference");
            self.engine.pull(&reference, None, &mut |_| {}).await.expect("pulls");
        }
        *self.peers.logins.lock().unwrap_or_else(PoisonError::into_inner) = held.logins.clone();
        *self.peers.tokens.lock().unwrap_or_else(PoisonError::into_inner) = held.tokens.clone();
        let record = self.record().await;
        let known = |start: &StartId| {
            record.as_ref().is_some_and(|record| {
                record.start.as_ref().is_some_and(|s| s.id == *start) || record.owed.contains(start)
            })
        };
        let container = held.container.as_ref().map(|container| container.start);
        for start in held.logins.iter().chain(&held.tokens).chain(&container) {
            assert!(known(start), "of {start} nothing is recorded: {record:?}");
        }
        if let (Some(container), Some(record)) = (held.container, record) {
            let login = login_of(&record.id, container.start);
            let mut spec = self.ctx.policy.container(&record, &record.manifest(), container.start, &login);
            (spec.image, spec.labels) = (container.image, container.labels);
            self.engine.create(&spec).await.expect("creates");
            if let Some(runs) = container.runs {
                self.engine.start(&spec.name).await.expect("starts");
                assert!(runs || self.engine.crash(&spec.name, 0));
            }
        }
    }
}

/// Not a test of its own: what [`whenever_it_is_killed_in_a_transaction_nothing_acknowledged_is_lost`] starts. Without
/// its variables it lives a whole life and is not killed.
#[tokio::test]
async fn a_process_that_kills_itself_in_a_transaction() {
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse().ok());
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = std::env::var_os(FOLDER).map_or(temporary.path().to_owned(), PathBuf::from);
    let mut stage = Stage::in_folder(&folder).await;
    stage.ctx.registrations = Arc::new(Killed {
        inner: SqliteRegistrations::new(
            stage.store.clone(),
            Replies::new(Coordinator::Plugin, stage.store.journal()),
        ),
        at: number(AT).unwrap_or(u32::MAX),
        polls: number(POLLS).unwrap_or_default(),
        written: AtomicU32::new(0),
        engine: stage.engine.clone(),
        peers: stage.peers.clone(),
        container: stage.ctx.policy.container_name(&stage.id),
        folder,
    });
    for request in REQUESTS {
        stage.ask_for(request).await;
        println!("begun: {request}");
        stage.settle().await;
        let answer = serde_json::to_string(&stage.answer(request).await).expect("encodes");
        println!("answered: {request}: {answer}");
    }
    stage.nothing_is_left().await;
}

fn child(folder: &Path, at: u32, polls: u32) -> Output {
    let this = std::env::current_exe().expect("this program");
    Command::new(this)
        .args([CHILD, "--exact", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(AT, at.to_string())
        .env(POLLS, polls.to_string())
        .output()
        .expect("starts")
}

/// The next process: finds what was acknowledged, and brings everything to its end.
async fn recovers(folder: &Path, told: &str) {
    let stage = Stage::in_folder(folder).await;
    let held = std::fs::read(folder.join("held.json")).expect("what was held");
    stage.hold(serde_json::from_slice(&held).expect("decodes")).await;
    for line in told.lines() {
        if let Some(request) = line.strip_prefix("begun: ") {
            assert!(stage.has_ended(request).await.is_some(), "{request} was begun, and is gone");
        }
        if let Some((request, answer)) = line.strip_prefix("answered: ").and_then(|l| l.split_once(": ")) {
            let now = serde_json::to_string(&stage.answer(request).await).expect("encodes");
            assert_eq!(now, answer, "{request} was answered otherwise before");
        }
    }
    for request in REQUESTS {
        match stage.has_ended(request).await {
            Some(true) => {}
            Some(false) => {
                if request == "cancelled update"
                    && stage.under_way().await.is_some_and(|r| r.cancelled_by.is_none())
                {
                    stage.cancel().await;
                }
                stage.settle().await;
            }
            None => {
                // What was accepted and not begun is handled again.
                stage.ask_for(request).await;
                stage.settle().await;
            }
        }
        stage.ends_well(request).await;
    }
    stage.nothing_is_left().await;
    stage.store.close().await;
}

/// In memory where there is room for that: a process that is killed takes nothing with it that the system has, so
/// that no disk is needed for this, and a slow one would take minutes.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    folder.expect("a folder")
}

/// Is killed in this transaction, and recovers. False when a whole life has fewer.
async fn killed(at: u32, polls: u32) -> bool {
    let folder = folder();
    let path = folder.path().to_owned();
    let child = tokio::task::spawn_blocking(move || child(&path, at, polls));
    let output = child.await.expect("does not panic");
    let told = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return false;
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(SIGKILL), "transaction {at}: {told} {errors}");
    recovers(folder.path(), &told).await;
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_it_is_killed_in_a_transaction_nothing_acknowledged_is_lost() {
    for at in 1.. {
        // In the middle of it at one place or another, and after it.
        let (during, after) = tokio::join!(killed(at, at % PARTS), killed(at, u32::MAX));
        assert_eq!(during, after, "transaction {at}");
        if !after {
            assert!(at > FEWEST, "a whole life had only {at} transactions");
            return;
        }
    }
}
