//! An engine in memory, for tests and for simulation: it has state, keeps the contract of
//! [`super::Engine`], fails as it is told, and records what it was asked. Nothing in it reads a clock,
//! waits for real time, or is random; every verb can be suspended before and after its effect, so a
//! scheduler can crash its caller at both places.

mod image;
mod verbs;
mod world;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

pub use image::FakeImage;

use super::error::{EngineError, StartError, Verb};
use super::spec::Device;
use super::view::{Container, EventAction, Health};
use world::World;

/// One call that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The verb.
    pub verb: Verb,
    /// The container, image, network, volume or installation.
    pub on: String,
}

/// The engine in memory; clones are handles to the same one.
#[derive(Debug, Clone, Default)]
pub struct FakeEngine {
    world: Arc<Mutex<World>>,
    gate: Option<Arc<dyn Gate>>,
}

/// What every call through a handle has to pass.
#[async_trait]
pub trait Gate: std::fmt::Debug + Send + Sync + 'static {
    /// Lets a call have its effect, or not.
    ///
    /// # Errors
    /// The call fails so, whether it had its effect or not.
    async fn pass(&self, verb: Verb, on: &str, effect: &mut (dyn FnMut() + Send)) -> Result<(), EngineError>;
}

/// Calls of one verb wait while this lives.
#[derive(Debug)]
pub struct Hold(#[allow(dead_code)] watch::Sender<()>); // its drop releases

impl FakeEngine {
    /// An engine that holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A handle whose calls have to pass `gate`.
    #[must_use]
    pub fn gated(&self, gate: Arc<dyn Gate>) -> Self {
        Self { gate: Some(gate), ..self.clone() }
    }

    /// Puts an image into the registry, from where [`super::Engine::pull`] gets it.
    pub fn publish(&self, image: FakeImage) {
        self.world().published.insert(image.reference.clone(), image);
    }

    /// Puts an image into the engine, as if it had been pulled.
    pub fn load(&self, image: FakeImage) {
        let mut world = self.world();
        world.published.insert(image.reference.clone(), image.clone());
        world.images.insert(image.reference.clone(), image);
    }

    /// The next call of `verb` fails without effect. Several queue up.
    pub fn fail_next(&self, verb: Verb, error: impl Into<StartError>) {
        self.world().failures.entry(verb).or_default().push_back(error.into());
    }

    /// The next call of `verb` has its effect, but the caller gets the error.
    pub fn lose_next_answer(&self, verb: Verb, error: EngineError) {
        self.world().lost_answers.entry(verb).or_default().push_back(error);
    }

    /// Calls of `verb` wait, before their effect, until the answer is dropped.
    pub fn hold(&self, verb: Verb) -> Hold {
        let (release, held) = watch::channel(());
        self.world().holds.insert(verb, held);
        Hold(release)
    }

    /// Calls of `verb` on `on` never come back, as of an engine that hangs.
    pub fn hang(&self, verb: Verb, on: &str) {
        self.world().hangs.insert((verb, on.to_owned()));
    }

    /// Somebody changes a container by hand. False when there is none, or it is so already.
    pub fn tamper(&self, container: &str, change: &super::Change) -> bool {
        let mut world = self.world();
        world.id_of(container).is_some_and(|id| world.change(&id, change))
    }

    /// Somebody holds a running container.
    pub fn pause(&self, container: &str) -> bool {
        let mut world = self.world();
        let Some(id) = world.id_of(container) else { return false };
        let Some(found) = world.containers.get_mut(&id).filter(|found| found.state.is_running()) else {
            return false;
        };
        found.state = super::State::Paused;
        world.tell(&id, EventAction::Pause);
        true
    }

    /// Somebody tells the engine to start a container again whenever it ends.
    pub fn set_engine_restarts(&self, container: &str) -> bool {
        let mut world = self.world();
        let Some(id) = world.id_of(container) else { return false };
        if let Some(found) = world.containers.get_mut(&id) {
            found.engine_restarts = true;
        }
        world.tell(&id, EventAction::Update);
        true
    }

    /// Every call so far.
    pub fn calls(&self) -> Vec<Call> {
        self.world().calls.clone()
    }

    /// How often `verb` was called.
    pub fn count(&self, verb: Verb) -> usize {
        self.world().calls.iter().filter(|call| call.verb == verb).count()
    }

    /// How long each stop so far would have waited.
    pub fn graces(&self) -> Vec<std::time::Duration> {
        self.world().graces.clone()
    }

    /// Forgets the calls so far.
    pub fn clear_calls(&self) {
        self.world().calls.clear();
    }

    /// The engine's clock.
    pub fn now(&self) -> Timestamp {
        self.world().now
    }

    /// Moves the engine's clock.
    pub fn advance(&self, by: Duration) {
        let mut world = self.world();
        let now = world.now.checked_add(by).unwrap_or(Timestamp::MAX);
        world.now = now;
    }

    /// Free room that [`super::Engine::info`] tells.
    pub fn set_storage_free(&self, bytes: Option<u64>) {
        self.world().storage_free = bytes;
    }

    /// Bytes that a container has written, or that lie in a volume, by name, beside what was uploaded.
    pub fn set_disk(&self, name: &str, bytes: u64) {
        self.world().disk.insert(name.to_owned(), bytes);
    }

    /// Puts something at a path of the host; nothing is there otherwise.
    pub fn set_host_entry(&self, path: &str, entry: super::HostEntry) {
        self.world().host.insert(path.to_owned(), entry);
    }

    /// A program of the host takes a port on every address, or gives it back.
    pub fn occupy_port(&self, port: u16, taken: bool) {
        let mut world = self.world();
        if taken {
            world.host_ports.insert(port);
        } else {
            world.host_ports.remove(&port);
        }
    }

    /// The engine goes away: calls fail, subscriptions end. Containers go on.
    pub fn go_down(&self) {
        let mut world = self.world();
        world.down = true;
        world.end_subscriptions();
    }

    /// The engine comes back. Without live restore it has stopped every container, and told nobody.
    pub fn come_back(&self, live_restore: bool) {
        let mut world = self.world();
        world.end_subscriptions();
        if !live_restore {
            for id in world.running() {
                world.exit(&id, 137, false, false);
            }
        }
        world.down = false;
    }

    /// A running container's process ends by itself. False when it does not run.
    pub fn crash(&self, container: &str, code: i64) -> bool {
        self.end(container, code, false)
    }

    /// The kernel ends a running container's process for want of memory.
    pub fn run_out_of_memory(&self, container: &str) -> bool {
        self.end(container, 137, true)
    }

    fn end(&self, container: &str, code: i64, oom: bool) -> bool {
        let mut world = self.world();
        let Some(id) = world.id_of(container) else {
            return false;
        };
        world.exit(&id, code, oom, true)
    }

    /// The image's own health check of a running container changes its mind.
    pub fn set_health(&self, container: &str, health: Health) {
        let mut world = self.world();
        let Some(id) = world.id_of(container) else {
            return;
        };
        if let Some(found) = world.containers.get_mut(&id) {
            found.health = health;
        }
        match health {
            Health::Healthy => world.tell(&id, EventAction::Healthy),
            Health::Unhealthy => world.tell(&id, EventAction::Unhealthy),
            Health::None | Health::Starting => {}
        }
    }

    /// Adds to a container's output.
    pub fn write_log(&self, container: &str, text: &str) {
        let mut world = self.world();
        let Some(id) = world.id_of(container) else {
            return;
        };
        if let Some(found) = world.containers.get_mut(&id) {
            found.log.push_str(text);
        }
    }

    /// What was uploaded to a path of a container.
    pub fn uploaded(&self, container: &str, path: &str) -> Option<super::UploadFile> {
        let world = self.world();
        let id = world.id_of(container)?;
        world.containers.get(&id)?.files.get(path).cloned()
    }

    /// The specification that a container was made from.
    pub fn spec(&self, container: &str) -> Option<super::ContainerSpec> {
        let world = self.world();
        let id = world.id_of(container)?;
        Some(world.containers.get(&id)?.spec.clone())
    }

    /// Who was made the owner of a mount point of a container.
    pub fn owner(&self, container: &str, target: &str) -> Option<super::Owner> {
        let world = self.world();
        let id = world.id_of(container)?;
        world.containers.get(&id)?.owners.get(target).copied()
    }

    /// Somebody removes a container by hand. False when there is none.
    pub fn remove_by_hand(&self, container: &str) -> bool {
        let mut world = self.world();
        let Some(id) = world.id_of(container) else { return false };
        world.exit(&id, 137, false, true);
        world.tell(&id, EventAction::Destroy);
        world.containers.remove(&id).is_some()
    }

    /// Somebody makes a copy of a container by hand, under another name and with other labels, and runs it.
    pub fn copy(&self, container: &str, name: &str, labels: &[(&str, &str)]) {
        let mut world = self.world();
        let Some(found) = world.id_of(container).and_then(|id| world.containers.get(&id)) else { return };
        let (mut spec, mut made, image) = (found.spec.clone(), found.labels.clone(), found.image.clone());
        name.clone_into(&mut spec.name);
        made.extend(labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let id = world.add(&spec, image);
        if let Some(copy) = world.containers.get_mut(&id) {
            copy.labels = made;
        }
        world.begin(&id);
    }

    /// A container gets a device that nobody gave it.
    pub fn add_device(&self, container: &str, path: &str) {
        let mut world = self.world();
        let Some(id) = world.id_of(container) else { return };
        if let Some(found) = world.containers.get_mut(&id) {
            let (path, container_path) = (path.to_owned(), path.to_owned());
            found.spec.devices.push(Device { path, container_path, read_only: false });
        }
    }

    /// Every container of every installation.
    pub fn all(&self) -> Vec<Container> {
        self.world().all()
    }

    /// Names of the volumes.
    pub fn volumes(&self) -> Vec<String> {
        self.world().volumes.keys().cloned().collect()
    }

    /// References of the images that were pulled or loaded.
    pub fn images(&self) -> Vec<String> {
        self.world().images.keys().cloned().collect()
    }

    /// One verb: recorded, held, failed or done, and its answer perhaps lost.
    async fn run<T: Send>(
        &self,
        verb: Verb,
        on: &str,
        effect: impl FnOnce(&mut World) -> Result<T, StartError> + Send,
    ) -> Result<T, StartError> {
        let (held, hangs) = {
            let mut world = self.world();
            world.calls.push(Call { verb, on: on.to_owned() });
            let hangs = world.hangs.contains(&(verb, on.to_owned()));
            (world.holds.get(&verb).cloned(), hangs)
        };
        if hangs {
            std::future::pending::<()>().await;
        }
        if let Some(mut held) = held {
            // Nothing is ever sent: this ends when the hold is dropped.
            while held.changed().await.is_ok() {}
        }
        let attempt = || {
            let mut world = self.world();
            if world.down {
                return Err(world::unreachable(verb, on).into());
            }
            if let Some(failure) = world.failures.get_mut(&verb).and_then(|queue| queue.pop_front()) {
                return Err(failure);
            }
            effect(&mut world)
        };
        if let Some(gate) = &self.gate {
            let (mut attempt, mut outcome) = (Some(attempt), None);
            gate.pass(verb, on, &mut || outcome = attempt.take().map(|attempt| attempt())).await?;
            return outcome.unwrap_or_else(|| Err(world::unreachable(verb, on).into()));
        }
        pause().await;
        let outcome = attempt();
        pause().await;
        let lost = self.world().lost_answers.get_mut(&verb).and_then(|queue| queue.pop_front());
        match lost {
            Some(error) => Err(error.into()),
            None => outcome,
        }
    }

    /// A verb that fails with an engine error only.
    async fn call<T: Send>(
        &self,
        verb: Verb,
        on: &str,
        effect: impl FnOnce(&mut World) -> Result<T, EngineError> + Send,
    ) -> Result<T, EngineError> {
        self.run(verb, on, |world| effect(world).map_err(StartError::from)).await.map_err(|error| match error
        {
            StartError::Engine(error) => error,
            other => EngineError::Refused {
                doing: verb,
                on: on.to_owned(),
                status: 500,
                message: other.to_string(),
            },
        })
    }
}

/// Gives way once, to whatever runs this future.
async fn pause() {
    let mut gave_way = false;
    std::future::poll_fn(move |context| {
        if std::mem::replace(&mut gave_way, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
