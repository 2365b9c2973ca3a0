//! Coordinators inside the test's own process, where a test can reach their clock or their verifier.

use std::fs;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chassis::config::{BrokerLogin, load};
use chassis::process::serve;
use chassis::service::{Parts, Shutdown};
use chassis::{Delivery, Fault, Permit, Reply, Request, Section, Service};
use envelope::{Coordinator, ErrorBody, ErrorCode, Timestamp};
use security_coordinator::{Clock, SecurityCoordinator, Settings};
use serde::{Deserialize, Serialize};
use sqlx::migrate::Migrator;
use token::Verifier;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Stage;

/// A clock that goes as the machine's does, and is set by hand.
#[derive(Debug, Default)]
pub(crate) struct OffsetClock(AtomicI64);

impl OffsetClock {
    /// Sets it to `seconds` since 1970.
    pub(crate) fn set(&self, seconds: i64) {
        self.0.store(seconds - Timestamp::now().as_seconds(), Ordering::SeqCst);
    }
}

impl Clock for OffsetClock {
    fn now(&self) -> Timestamp {
        let millis = self.0.load(Ordering::SeqCst) * 1000;
        Timestamp::from_millis(Timestamp::now().as_millis() + millis)
    }
}

/// A coordinator in this process. It ends with this value.
pub(crate) struct Inside {
    shutdown: Shutdown,
    _task: JoinHandle<()>,
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

tokio::task_local! {
    static CLOCK: Arc<OffsetClock>;
    static VERIFIER: Mutex<Option<oneshot::Sender<Verifier>>>;
}

struct Clocked(Arc<SecurityCoordinator>);

#[async_trait]
impl Service for Clocked {
    const COORDINATOR: Coordinator = Coordinator::Security;
    type Settings = Settings;

    fn migrations() -> &'static Migrator {
        SecurityCoordinator::migrations()
    }

    async fn build(settings: Settings, parts: Parts) -> anyhow::Result<Arc<Self>> {
        let clock = CLOCK.with(Arc::clone);
        let inner = SecurityCoordinator::with_clock(&settings, &parts, clock).await?;
        Ok(Arc::new(Self(Arc::new(inner))))
    }

    fn watches(&self) -> Vec<String> {
        self.0.watches()
    }

    async fn observe(&self, delivery: Delivery) {
        self.0.observe(delivery).await;
    }

    async fn handle(&self, permit: Permit, request: Request) -> Result<Reply, ErrorBody> {
        self.0.handle(permit, request).await
    }

    async fn run(self: Arc<Self>, shutdown: Shutdown) {
        Arc::clone(&self.0).run(shutdown).await;
    }
}

impl Stage {
    /// Starts the coordinator in this process, with `clock`.
    pub(crate) fn start_inside(&self, clock: Arc<OffsetClock>) -> Inside {
        let loaded = load::<Settings>(Coordinator::Security, None, self.variables()).expect("no faults");
        let login = BrokerLogin::read(&loaded.common.broker).expect("the password is there");
        let shutdown = Shutdown::new();
        let work = serve::<Clocked>(loaded, login, shutdown.clone());
        let work = async { work.await.expect("the coordinator runs") };
        Inside { shutdown, _task: tokio::spawn(CLOCK.scope(clock, work)) }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct NoSettings {}

impl Section for NoSettings {
    fn faults(&self) -> Vec<Fault> {
        Vec::new()
    }
}

static NO_TABLES: Migrator = Migrator::DEFAULT;

/// Another coordinator, of which only the part counts that all have in common.
struct Other;

#[async_trait]
impl Service for Other {
    const COORDINATOR: Coordinator = Coordinator::Message;
    type Settings = NoSettings;

    fn migrations() -> &'static Migrator {
        &NO_TABLES
    }

    async fn build(_: NoSettings, parts: Parts) -> anyhow::Result<Arc<Self>> {
        VERIFIER.with(|sender| {
            let sender = sender.lock().expect("nobody panics").take().expect("one coordinator is built");
            sender.send(parts.verifier.clone()).expect("the test waits for it");
        });
        Ok(Arc::new(Self))
    }

    fn watches(&self) -> Vec<String> {
        Vec::new()
    }

    async fn observe(&self, _: Delivery) {}

    async fn handle(&self, _: Permit, _: Request) -> Result<Reply, ErrorBody> {
        Err(ErrorBody::new(ErrorCode::UnknownOperation, "It does nothing."))
    }

    async fn run(self: Arc<Self>, shutdown: Shutdown) {
        shutdown.cancelled().await;
    }
}

/// Starts another coordinator, and hands out the verifier that its requests are checked with.
pub(crate) async fn second_coordinator(stage: &Stage) -> (Inside, Verifier) {
    let folder = stage.folder.path().join("other");
    fs::create_dir(&folder).expect("creates");
    let mut variables = stage.broker_variables(Coordinator::Message);
    for (name, value) in [("DATA_DIR", folder.clone()), ("RUN_DIR", folder.join("run"))] {
        variables.push((format!("BIGSKIES_{name}"), value.display().to_string()));
    }
    let loaded = load::<NoSettings>(Coordinator::Message, None, variables).expect("no faults");
    let login = BrokerLogin::read(&loaded.common.broker).expect("the password is there");
    let shutdown = Shutdown::new();
    let (sender, verifier) = oneshot::channel();
    let work = serve::<Other>(loaded, login, shutdown.clone());
    let work = async { work.await.expect("the coordinator runs") };
    let task = tokio::spawn(VERIFIER.scope(Mutex::new(Some(sender)), work));
    let inside = Inside { shutdown, _task: task };
    (inside, verifier.await.expect("it is built"))
}
