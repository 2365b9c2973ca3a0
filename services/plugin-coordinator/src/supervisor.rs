//! Wakes the workers: on requests, container events, acknowledgements, health, and at the start.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chassis::health::Condition;
use chassis::{HealthBoard, Shutdown};
use envelope::PluginId;
use futures_util::StreamExt;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::context::Context;
use crate::policy::PLUGIN_LABEL;
use crate::worker::{Next, Worker};

const RECONNECT: Duration = Duration::from_secs(2);

/// All workers.
#[derive(Clone)]
pub(crate) struct Supervisor {
    inner: Arc<Inner>,
}

struct Inner {
    ctx: Context,
    slots: Mutex<HashMap<PluginId, Arc<Slot>>>,
    tasks: TaskTracker,
    shutdown: Shutdown,
}

#[derive(Default)]
struct Slot {
    wake: Notify,
    woken: AtomicBool,
}

impl Supervisor {
    pub(crate) fn new(ctx: Context) -> Self {
        let inner =
            Inner { ctx, slots: Mutex::default(), tasks: TaskTracker::new(), shutdown: Shutdown::new() };
        Self { inner: Arc::new(inner) }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<PluginId, Arc<Slot>>> {
        self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes a plugin's worker; there will be one if there was none.
    pub(crate) fn wake(&self, id: &PluginId) {
        let mut slots = self.slots();
        if let Some(slot) = slots.get(id) {
            slot.woken.store(true, Ordering::SeqCst);
            slot.wake.notify_one();
            return;
        }
        if self.inner.shutdown.is_cancelled() {
            return;
        }
        let slot = Arc::new(Slot::default());
        slots.insert(id.clone(), slot.clone());
        let supervisor = self.clone();
        let id = id.clone();
        self.inner.tasks.spawn(async move { supervisor.work(id, slot).await });
    }

    /// Wakes the worker of a plugin that is being looked after, and makes none.
    pub(crate) fn wake_known(&self, id: &PluginId) {
        if let Some(slot) = self.slots().get(id) {
            slot.woken.store(true, Ordering::SeqCst);
            slot.wake.notify_one();
        }
    }

    fn wake_all(&self) {
        for slot in self.slots().values() {
            slot.woken.store(true, Ordering::SeqCst);
            slot.wake.notify_one();
        }
    }

    async fn work(self, id: PluginId, slot: Arc<Slot>) {
        let mut worker = Worker::new(self.inner.ctx.clone(), id.clone());
        loop {
            slot.woken.store(false, Ordering::SeqCst);
            let next = tokio::select! {
                // Steps are idempotent: one that is dropped here is taken again at the next start.
                () = self.inner.shutdown.cancelled() => return,
                next = worker.pass() => next,
            };
            match next {
                Next::Again => {}
                Next::Wait(duration) => tokio::select! {
                    () = self.inner.shutdown.cancelled() => return,
                    () = slot.wake.notified() => {}
                    () = tokio::time::sleep(duration) => {}
                },
                Next::Retire => {
                    let mut slots = self.slots();
                    if !slot.woken.load(Ordering::SeqCst) {
                        slots.remove(&id);
                        return;
                    }
                }
            }
        }
    }

    /// Looks after all plugins until `shutdown`.
    pub(crate) async fn run(&self, health: HealthBoard, shutdown: Shutdown) {
        let look = self.look_after_all(&health);
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = look => {}
        }
        self.inner.shutdown.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    async fn look_after_all(&self, health: &HealthBoard) {
        let ctx = &self.inner.ctx;
        loop {
            match self.known().await {
                Ok(ids) => {
                    for id in ids {
                        self.wake(&id);
                    }
                    break;
                }
                Err(error) => {
                    tracing::error!(error = telemetry::chain(&error), "the plugin registry cannot be read");
                    health.set("plugin registry", Condition::Unhealthy(error.to_string()));
                    tokio::time::sleep(RECONNECT).await;
                }
            }
        }
        health.set("plugin registry", Condition::Good);
        if let Err(error) = ctx.engine.sweep().await {
            tracing::warn!(error = telemetry::chain(&error), "throw-away containers were not removed");
        }
        loop {
            match ctx.engine.events(ctx.policy.installation()).await {
                Ok(mut events) => {
                    health.set("container engine", Condition::Good);
                    // What happened while nobody listened is seen by looking.
                    self.remove_strangers().await;
                    self.wake_all();
                    while let Some(event) = events.next().await {
                        match event {
                            Ok(event) => {
                                let id =
                                    event.labels.get(PLUGIN_LABEL).and_then(|id| PluginId::parse(id).ok());
                                if let Some(id) = id {
                                    self.wake_known(&id);
                                }
                            }
                            Err(error) => {
                                tracing::warn!(error = telemetry::chain(&error), "the engine's events ended");
                                break;
                            }
                        }
                    }
                }
                Err(error) => {
                    let why = telemetry::chain(&error);
                    health.set("container engine", Condition::Degraded(why));
                    self.wake_all();
                }
            }
            tokio::time::sleep(RECONNECT).await;
        }
    }

    async fn known(&self) -> Result<Vec<PluginId>, crate::registrations::TableError> {
        let registrations = &self.inner.ctx.registrations;
        let plugins = registrations.plugins().await?.into_iter().map(|record| record.id);
        let running = registrations.all_running().await?.into_iter().map(|o| o.plugin_id);
        Ok(plugins.chain(running).collect())
    }

    /// Removes containers of this installation whose plugin is not registered.
    async fn remove_strangers(&self) {
        let ctx = &self.inner.ctx;
        let listed = ctx.engine.list(ctx.policy.installation()).await;
        let (Ok(containers), Ok(known)) = (listed, self.known().await) else { return };
        for container in containers {
            let Some(id) = container.label(PLUGIN_LABEL).and_then(|id| PluginId::parse(id).ok()) else {
                continue;
            };
            if known.contains(&id) {
                continue;
            }
            let message =
                format!("Container {} belongs to no installed plugin and was removed.", container.name);
            ctx.reporter.notice(
                envelope::payload::event::EventKind::Drift,
                &id,
                message,
                "a look at all containers",
            );
            if let Err(error) = ctx.engine.remove(&container.id).await {
                tracing::warn!(error = telemetry::chain(&error), "a container was not removed");
            }
        }
    }
}
