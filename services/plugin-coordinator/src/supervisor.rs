//! Wakes the workers: on requests, container events, acknowledgements, health, and at the start.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chassis::health::Condition;
use chassis::{HealthBoard, Shutdown, contained};
use envelope::PluginId;
use envelope::payload::event::EventKind;
use futures_util::StreamExt;
use tokio::sync::{Notify, watch};
use tokio_util::task::TaskTracker;

use crate::adoption::{self, Adoption, Specs};
use crate::context::Context;
use crate::places::Places;
use crate::policy::PLUGIN_LABEL;
use crate::strays;
use crate::worker::{Next, Worker};

/// How long the sweep at the start may take.
const SWEEP: Duration = Duration::from_secs(10);
/// How long the work for a plugin rests after a fault of our own in it.
const AFTER_FAULT: Duration = Duration::from_secs(10);
const RECONNECT: Duration = Duration::from_secs(2);
/// How often is looked whether what was lost is there again.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How often all containers are looked at without any reason: a container that is made and not started has no event.
const LOOK_ANYWAY: Duration = Duration::from_secs(300);

/// All workers.
#[derive(Clone)]
pub(crate) struct Supervisor {
    inner: Arc<Inner>,
}

struct Inner {
    ctx: Context,
    slots: Mutex<BTreeMap<PluginId, Arc<Slot>>>,
    tasks: TaskTracker,
    shutdown: Shutdown,
    /// Where workers take their heavy steps.
    places: Places,
    /// Somebody should look at all containers.
    look: Notify,
    /// Whether the registry knows of what runs: requests wait for that.
    whole: watch::Sender<bool>,
}

#[derive(Default)]
struct Slot {
    wake: Arc<Notify>,
    woken: AtomicBool,
    /// The step that is being taken is to be left: its operation is to end.
    interrupt: Notify,
    /// The token that the plugin has is worth nothing any more.
    token_is_void: AtomicBool,
}

impl Supervisor {
    pub(crate) fn new(ctx: Context) -> Self {
        let inner = Inner {
            places: Places::new(&ctx.settings),
            ctx,
            slots: Mutex::default(),
            tasks: TaskTracker::new(),
            shutdown: Shutdown::new(),
            look: Notify::new(),
            whole: watch::Sender::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<PluginId, Arc<Slot>>> {
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
        self.inner.tasks.spawn(async move { supervisor.keep_working(id, slot).await });
    }

    /// Wakes nobody from now on.
    #[cfg(test)]
    pub(crate) fn retire(&self) {
        self.inner.shutdown.cancel();
    }

    /// Wakes a plugin's worker, from the middle of a step too: steps are idempotent, and one that is left is as one that
    /// a crash ended.
    pub(crate) fn interrupt(&self, id: &PluginId) {
        self.wake(id);
        if let Some(slot) = self.slots().get(id) {
            slot.interrupt.notify_one();
        }
    }

    /// Wakes the worker of a plugin that is being looked after, and makes none.
    pub(crate) fn wake_known(&self, id: &PluginId) {
        if let Some(slot) = self.slots().get(id) {
            slot.woken.store(true, Ordering::SeqCst);
            slot.wake.notify_one();
        }
    }

    /// No token that is out is worth anything: what runs is to get a new one at once.
    pub(crate) fn tokens_are_void(&self) {
        for slot in self.slots().values() {
            slot.token_is_void.store(true, Ordering::SeqCst);
        }
        self.wake_all();
    }

    /// Whether a plugin is being looked after.
    fn knows(&self, id: &PluginId) -> bool {
        self.slots().contains_key(id)
    }

    fn wake_all(&self) {
        for slot in self.slots().values() {
            slot.woken.store(true, Ordering::SeqCst);
            slot.wake.notify_one();
        }
    }

    /// Works for one plugin to the end, through faults of our own: none of them is another plugin's trouble.
    async fn keep_working(&self, id: PluginId, slot: Arc<Slot>) {
        while let Err(panicked) = contained(self.work(id.clone(), slot.clone())).await {
            let message = format!("The work for {id} ended by {panicked}. It begins anew.");
            self.inner.ctx.reporter.notice(
                EventKind::Drift,
                &id,
                message,
                "a fault of the coordinator's own",
            );
            tokio::select! {
                () = self.inner.shutdown.cancelled() => return,
                () = tokio::time::sleep(AFTER_FAULT) => {}
            }
        }
    }

    async fn work(&self, id: PluginId, slot: Arc<Slot>) {
        let (places, wake) = (self.inner.places.clone(), slot.wake.clone());
        let mut worker = Worker::in_places(self.inner.ctx.clone(), id.clone(), places, wake);
        // Kept over what wakes the worker meanwhile, so that it does not begin at the end of the queue again.
        let mut turn = None;
        loop {
            slot.woken.store(false, Ordering::SeqCst);
            if slot.token_is_void.swap(false, Ordering::SeqCst) {
                worker.token_is_void();
            }
            let next = tokio::select! {
                biased;
                // Steps are idempotent: one that is dropped here is taken again at the next start.
                () = self.inner.shutdown.cancelled() => return,
                () = slot.interrupt.notified() => Next::Again,
                next = worker.pass() => next,
            };
            turn = worker.wants_place().map(|places| turn.take().unwrap_or_else(|| Box::pin(places.one())));
            match next {
                Next::Again => {}
                Next::Wait(duration) => tokio::select! {
                    biased;
                    () = self.inner.shutdown.cancelled() => return,
                    () = slot.wake.notified() => {}
                    place = async { turn.as_mut().expect("there is one").await }, if turn.is_some() => {
                        turn = None;
                        worker.takes_place(place);
                    }
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
    pub(crate) async fn run(&self, health: HealthBoard, adoption: &Adoption, shutdown: Shutdown) {
        let look = async {
            self.sweep().await;
            tokio::join!(self.look_after_all(&health), self.take_over(adoption, &health))
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            ((), ()) = look => {}
        }
        self.inner.shutdown.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Removes what calls that were ended by a kill left at the engine. Before anything else is asked of it: a call that
    /// is under way would lose what it works with.
    async fn sweep(&self) {
        let swept = tokio::time::timeout(SWEEP, self.inner.ctx.engine.sweep()).await;
        match swept {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = telemetry::chain(&error), "throw-away containers were not removed");
            }
            Err(_) => tracing::warn!("throw-away containers were not removed: the engine does not answer"),
        }
    }

    pub(crate) async fn look_after_all(&self, health: &HealthBoard) {
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
        loop {
            match ctx.engine.events(ctx.policy.installation()).await {
                Ok(mut events) => {
                    health.set("container engine", Condition::Good);
                    ctx.conduct.looks_away();
                    // What happened while nobody listened is seen by looking.
                    self.inner.look.notify_one();
                    self.wake_all();
                    while let Some(event) = events.next().await {
                        match event {
                            Ok(event) => {
                                let id =
                                    event.labels.get(PLUGIN_LABEL).and_then(|id| PluginId::parse(id).ok());
                                if let Some(id) = &id {
                                    self.wake_known(id);
                                }
                                if !id.is_some_and(|id| self.knows(&id))
                                    || strays::is_out_of_place(&ctx.policy, &event)
                                {
                                    self.inner.look.notify_one();
                                }
                            }
                            Err(error) => {
                                tracing::warn!(error = telemetry::chain(&error), "the engine's events ended");
                                break;
                            }
                        }
                    }
                    ctx.conduct.looks_away();
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

    /// Takes over what a registry that is new does not know, and removes what belongs to nobody: at the start, and
    /// whenever the engine is back.
    async fn take_over(&self, adoption: &Adoption, health: &HealthBoard) {
        const PART: &str = "installed plugins";
        let mut lost = Specs::new();
        loop {
            let mut wait = RECONNECT;
            // One that is not new knows its plugins, whether the engine answers or not.
            if let Ok(false) = adoption.is_new().await {
                self.inner.whole.send_replace(true);
            }
            match adoption.look().await {
                Ok(looked) => {
                    for id in &looked.adopted {
                        self.wake(id);
                    }
                    lost.extend(looked.lost.unwrap_or_default());
                    if let Err(error) = adoption.look_for(&mut lost).await {
                        tracing::warn!(error = telemetry::chain(&error), "what was lost is not known");
                    }
                    self.inner.whole.send_replace(true);
                    strays::remove(&self.inner.ctx).await;
                    let short = adoption::shortcoming(&looked.left, &lost);
                    health.set(PART, short.map_or(Condition::Good, Condition::Degraded));
                    wait = if lost.is_empty() && looked.left.is_empty() { LOOK_ANYWAY } else { LOOK_AGAIN };
                }
                Err(error) => {
                    let why = telemetry::chain(&error);
                    tracing::warn!(error = why, "containers were not looked at");
                    health.set(PART, Condition::Degraded(why));
                }
            }
            let _ = tokio::time::timeout(wait, self.inner.look.notified()).await;
        }
    }

    /// Waits until the registry knows of what runs, or until `patience` is at its end: then it is false.
    pub(crate) async fn is_whole(&self, patience: Duration) -> bool {
        let mut whole = self.inner.whole.subscribe();
        tokio::time::timeout(patience, whole.wait_for(|whole| *whole)).await.is_ok_and(|seen| seen.is_ok())
    }
}
