//! What every step and handler works with.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use envelope::payload::spec::AclStatus;
use envelope::{Answer, PluginId};

use crate::conduct::Conduct;
use crate::engine::{Container, Engine, EngineError};
use crate::health::HealthReports;
use crate::housekeeping::Images;
use crate::operation::Running;
use crate::peers::Peers;
use crate::policy::{Policy, Role};
use crate::record::Record;
use crate::registrations::{Registrations, TableError};
use crate::registry::Registry;
use crate::report::Reporter;
use crate::settings::Settings;

/// What every step and handler works with.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) policy: Policy,
    pub(crate) registrations: Arc<dyn Registrations>,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) reporter: Reporter,
    pub(crate) health: HealthReports,
    pub(crate) acls: Acls,
    pub(crate) conduct: Conduct,
    pub(crate) images: Images,
}

impl Context {
    /// The container that has the name of the plugin's own, or of its forwarder, when it is ours. What somebody
    /// else's is, says or does is nobody's business here, whatever its name.
    ///
    /// # Errors
    /// The engine cannot be asked.
    pub(crate) async fn container(
        &self,
        id: &PluginId,
        role: Role,
    ) -> Result<Option<Container>, EngineError> {
        let there = self.engine.inspect(&self.policy.name_of(id, role)).await?;
        Ok(there.filter(|there| self.policy.is_of(id, role, there)))
    }

    /// Ends an operation with its answer, together with what became of the plugin, and tells of it.
    ///
    /// # Errors
    /// The registry failed: then it has not ended.
    pub(crate) async fn end(
        &self,
        record: Option<&Record>,
        operation: &Running,
        answer: &Answer,
    ) -> Result<(), TableError> {
        self.registrations.finish(record, operation, answer).await?;
        self.reporter.outcome(operation, answer);
        Ok(())
    }
}

/// What the message coordinator has acknowledged, as it is retained.
#[derive(Clone, Default)]
pub(crate) struct Acls {
    inner: Arc<Mutex<HashMap<PluginId, AclStatus>>>,
}

impl Acls {
    fn lock(&self) -> MutexGuard<'_, HashMap<PluginId, AclStatus>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last acknowledgement for a plugin.
    pub(crate) fn get(&self, id: &PluginId) -> Option<AclStatus> {
        self.lock().get(id).cloned()
    }

    /// Takes an acknowledgement; none when its topic was cleared.
    pub(crate) fn set(&self, id: PluginId, status: Option<AclStatus>) {
        match status {
            Some(status) => self.lock().insert(id, status),
            None => self.lock().remove(&id),
        };
    }
}
