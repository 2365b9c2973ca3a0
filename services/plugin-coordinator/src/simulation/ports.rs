//! The ports as the coordinator gets them in a simulation: every call is a point.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use chassis::CallError;
use envelope::payload::login::{DeprovisionRequest, ProvisionRequest, ProvisionResponse};
use envelope::payload::token::{IssueRequest, RevokeRequest};
use envelope::{Answer, Operation, OperationId, PluginId, Timestamp};

use super::points::{Failure, Points};
use super::world::{Plant, World};
use crate::engine::fake::Gate;
use crate::engine::{EngineError, RegistryLogin, Verb};
use crate::leftovers::LeftoversError;
use crate::operation::Running;
use crate::peers::{Peers, Thread};
use crate::record::Record;
use crate::registrations::{Answered, Everything, Name, Operated, Registrations, TableError};
use crate::registry::{Registry, RegistryError, Resolved};

/// All ports of one life of the coordinator.
#[derive(Clone)]
pub(super) struct Ports {
    points: Points,
    world: Weak<World>,
}

impl Ports {
    pub(super) fn new(world: &Arc<World>) -> Self {
        Self { points: world.points.clone(), world: Arc::downgrade(world) }
    }

    fn world(&self) -> Arc<World> {
        self.world.upgrade().expect("the world outlives the coordinator")
    }

    async fn table<T>(
        &self,
        point: &'static str,
        on: &str,
        effect: impl Future<Output = Result<T, TableError>>,
    ) -> Result<T, TableError> {
        let world = self.world();
        if world.plant == Some(Plant::StoreFailsByItself) && point == "registrations.begin" {
            return Err(TableError::Database(store::Error::PoolTimedOut));
        }
        let fails = |_| {
            world.store_failed();
            TableError::Database(store::Error::PoolTimedOut)
        };
        self.points.call(point, on, fails, effect, || world.check()).await
    }
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ports")
    }
}

#[async_trait]
impl Gate for Ports {
    async fn pass(&self, verb: Verb, on: &str, effect: &mut (dyn FnMut() + Send)) -> Result<(), EngineError> {
        let world = self.world();
        world.engine_is_slow(verb, on).await?;
        let passage = self.points.before(point(verb), on).await;
        if passage.fails() {
            return Err(match self.points.chance(|c| c.below(4)) {
                0 => EngineError::Refused {
                    doing: verb,
                    on: on.to_owned(),
                    status: 409,
                    message: "the simulation says no".into(),
                },
                _ => EngineError::Unreachable { doing: verb, on: on.to_owned(), source: "simulated".into() },
            });
        }
        effect();
        world.defect(verb, on).await;
        world.engine_did(verb, on);
        world.check();
        let after = std::time::Duration::from_secs(60);
        let lost = |_| EngineError::Timeout { doing: verb, on: on.to_owned(), after };
        self.points.after(point(verb), on, &passage).await.map_err(lost)
    }
}

const fn point(verb: Verb) -> &'static str {
    match verb {
        Verb::Pull => "engine.pull",
        Verb::Image => "engine.image",
        Verb::RemoveImage => "engine.remove_image",
        Verb::ReadFile => "engine.read_file",
        Verb::EnsureVolume => "engine.ensure_volume",
        Verb::RemoveVolume => "engine.remove_volume",
        Verb::Create => "engine.create",
        Verb::SetOwner => "engine.set_owner",
        Verb::Upload => "engine.upload",
        Verb::Start => "engine.start",
        Verb::Stop => "engine.stop",
        Verb::Kill => "engine.kill",
        Verb::Remove => "engine.remove",
        Verb::Inspect => "engine.inspect",
        Verb::List => "engine.list",
        Verb::Logs => "engine.logs",
        Verb::Events => "engine.events",
        Verb::Info => "engine.info",
        Verb::UsedPorts => "engine.used_ports",
        _ => "engine.other",
    }
}

#[async_trait]
impl Registry for Ports {
    async fn resolve(&self, source: &str) -> Result<Resolved, RegistryError> {
        let fails = |_| RegistryError::Unreachable { host: "registry".into(), cause: "simulated".into() };
        let world = self.world();
        self.points.call("registry.resolve", source, fails, world.registry.resolve(source), || {}).await
    }

    async fn login_for(&self, _: &str) -> Result<Option<RegistryLogin>, RegistryError> {
        Ok(None)
    }
}

/// A call to another coordinator that fails.
fn away(operation: Operation, failure: Failure) -> CallError {
    let callee = operation.coordinator();
    match failure {
        Failure::Before => CallError::Absent { callee, operation },
        Failure::After => {
            CallError::TimedOut { callee, operation, after: std::time::Duration::from_secs(10) }
        }
    }
}

#[async_trait]
impl Peers for Ports {
    async fn provision(
        &self,
        request: ProvisionRequest,
        thread: &Thread,
    ) -> Result<ProvisionResponse, CallError> {
        let (world, id) = (self.world(), request.plugin_id.clone());
        world.has_login(&request.plugin_id, request.start_id);
        let effect = world.peers.provision(request, thread);
        let fails = |failure| away(Operation::Provision, failure);
        self.points.call("peers.provision", id.as_str(), fails, effect, || world.check()).await
    }

    async fn issue(&self, request: IssueRequest, thread: &Thread) -> Result<(), CallError> {
        let (world, id) = (self.world(), request.plugin_id.clone());
        let effect = world.peers.issue(request, thread);
        let fails = |failure| away(Operation::Issue, failure);
        self.points.call("peers.issue", id.as_str(), fails, effect, || world.check()).await
    }

    async fn revoke(&self, request: RevokeRequest, thread: &Thread) -> Result<(), CallError> {
        let (world, id) = (self.world(), request.plugin_id.clone());
        let effect = world.peers.revoke(request, thread);
        let fails = |failure| away(Operation::Revoke, failure);
        self.points.call("peers.revoke", id.as_str(), fails, effect, || world.check()).await
    }

    async fn deprovision(&self, request: DeprovisionRequest, thread: &Thread) -> Result<(), CallError> {
        let (world, id) = (self.world(), request.plugin_id.clone());
        let effect = async {
            if world.plant == Some(Plant::KeepsLogins) {
                return Ok(());
            }
            world.peers.deprovision(request, thread).await
        };
        let fails = |failure| away(Operation::Deprovision, failure);
        self.points.call("peers.deprovision", id.as_str(), fails, effect, || world.check()).await
    }

    async fn clear_leftovers(&self, names: &[PluginId]) -> Result<usize, LeftoversError> {
        let world = self.world();
        let fails = |_| LeftoversError::Away;
        self.points.call("peers.clear_leftovers", "", fails, world.peers.clear_leftovers(names), || {}).await
    }

    async fn ping(&self, names: &[PluginId]) -> Result<bool, bus::PublishError> {
        let world = self.world();
        let fails = |_| bus::PublishError::Closed { topic: "t".into() };
        self.points.call("peers.ping", "", fails, world.peers.ping(names), || {}).await
    }

    fn hear(&self, _: Vec<String>) {}
}

#[async_trait]
impl Registrations for Ports {
    async fn plugin(&self, id: &PluginId) -> Result<Option<Record>, TableError> {
        self.table("registrations.plugin", id.as_str(), self.world().registrations.plugin(id)).await
    }

    async fn plugins(&self) -> Result<Vec<Record>, TableError> {
        self.table("registrations.plugins", "", self.world().registrations.plugins()).await
    }

    async fn running(&self, id: &PluginId) -> Result<Option<Running>, TableError> {
        self.table("registrations.running", id.as_str(), self.world().registrations.running(id)).await
    }

    async fn both(&self, id: &PluginId) -> Result<(Option<Record>, Option<Running>), TableError> {
        self.table("registrations.both", id.as_str(), self.world().registrations.both(id)).await
    }

    async fn all_running(&self) -> Result<Vec<Running>, TableError> {
        self.table("registrations.all_running", "", self.world().registrations.all_running()).await
    }

    async fn everything(&self) -> Result<Everything, TableError> {
        self.table("registrations.everything", "", self.world().registrations.everything()).await
    }

    async fn ids(&self) -> Result<BTreeSet<String>, TableError> {
        self.table("registrations.ids", "", self.world().registrations.ids()).await
    }

    async fn owner(&self, name: &Name) -> Result<Option<String>, TableError> {
        self.table("registrations.owner", &name.name, self.world().registrations.owner(name)).await
    }

    async fn begin(
        &self,
        operation: &Running,
        record: Option<&Record>,
        instead: Option<(&Running, Answer)>,
    ) -> Result<(), TableError> {
        let (world, on) = (self.world(), operation.plugin_id.as_str());
        let record = record.map(|record| world.as_written(record));
        let effect = world.registrations.begin(operation, record.as_ref(), instead);
        self.table("registrations.begin", on, effect).await
    }

    async fn advance(
        &self,
        record: Option<&mut Record>,
        operation: Option<&Running>,
    ) -> Result<(), TableError> {
        let world = self.world();
        let on = record.as_ref().map(|r| r.id.clone()).or(operation.map(|o| o.plugin_id.clone()));
        let on = on.map(|id| id.to_string()).unwrap_or_default();
        self.table("registrations.advance", &on, world.registrations.advance(record, operation)).await
    }

    async fn register(
        &self,
        record: &Record,
        names: &[Name],
        operation: &Running,
        answer: &Answer,
    ) -> Result<Option<Name>, TableError> {
        let world = self.world();
        let effect = world.registrations.register(record, names, operation, answer);
        self.table("registrations.register", record.id.as_str(), effect).await
    }

    async fn claim(
        &self,
        record: &mut Record,
        names: &[Name],
        operation: Option<&Running>,
    ) -> Result<Option<Name>, TableError> {
        let (world, on) = (self.world(), record.id.clone());
        let effect = world.registrations.claim(record, names, operation);
        self.table("registrations.claim", on.as_str(), effect).await
    }

    async fn cancel(&self, id: &OperationId, by: &str, asked: &Answered) -> Result<bool, TableError> {
        let world = self.world();
        let effect = async {
            let runs = world.registrations.cancel(id, by, asked).await?;
            if runs {
                world.outcome_was_written(asked.request_id());
            }
            Ok(runs)
        };
        self.table("registrations.cancel", "", effect).await
    }

    async fn give_up(
        &self,
        record: &Record,
        operation: &Running,
        end: (&Answer, Timestamp),
        asked: &Answered,
    ) -> Result<(), TableError> {
        let (world, on) = (self.world(), operation.plugin_id.as_str());
        let effect = async {
            world.registrations.give_up(record, operation, end, asked).await?;
            world.outcome_was_written(&operation.request_id);
            world.outcome_was_written(asked.request_id());
            Ok(())
        };
        self.table("registrations.give_up", on, effect).await
    }

    async fn finish(
        &self,
        record: Option<&Record>,
        operation: &Running,
        answer: &Answer,
    ) -> Result<(), TableError> {
        let (world, on) = (self.world(), operation.plugin_id.as_str());
        world.is_about_to_answer(&operation.request_id, answer);
        let effect = async {
            world.registrations.finish(record, operation, answer).await?;
            world.outcome_was_written(&operation.request_id);
            Ok(())
        };
        self.table("registrations.finish", on, effect).await
    }

    async fn forget(&self, record: &Record, ended: Option<(&Running, &Answer)>) -> Result<(), TableError> {
        let world = self.world();
        self.table("registrations.forget", record.id.as_str(), world.registrations.forget(record, ended))
            .await
    }

    async fn operation(&self, id: &OperationId) -> Result<Option<Operated>, TableError> {
        self.table("registrations.operation", "", self.world().registrations.operation(id)).await
    }

    async fn operations(&self, on: Option<&PluginId>, limit: u32) -> Result<Vec<Operated>, TableError> {
        self.table("registrations.operations", "", self.world().registrations.operations(on, limit)).await
    }
}
