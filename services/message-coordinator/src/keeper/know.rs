//! What is known of plugins, for those who only ask.

use envelope::payload::login::DeprovisionRequest;
use envelope::payload::spec::Presence;
use envelope::{PluginId, StartId};

use super::{Keeper, PassError};
use crate::report::Cause;
use crate::watch::owner_of;

impl Keeper {
    /// The plugin whose this client id is.
    pub(crate) fn owner_of(&self, client_id: &str) -> Option<PluginId> {
        owner_of(&self.state().specs, client_id)
    }

    /// The start that the plugin's login is of; none when it has no login.
    pub(crate) fn start_of(&self, id: &PluginId) -> Option<StartId> {
        self.state().logins.get(id).filter(|login| !login.ending).map(|login| login.start_id)
    }

    /// Whether a spec says that the plugin should exist.
    pub(crate) fn is_installed(&self, id: &PluginId) -> bool {
        self.state().specs.get(id).is_some_and(|known| known.spec.presence == Presence::Present)
    }

    /// Ids and aliases of all installed plugins.
    pub(crate) fn names(&self) -> Vec<PluginId> {
        let state = self.state();
        let installed = state.specs.values().filter(|known| known.spec.presence == Presence::Present);
        installed
            .flat_map(|known| std::iter::once(&known.spec.plugin_id).chain(&known.spec.alias))
            .cloned()
            .collect()
    }

    /// Takes the login of one start away, which disconnects it. When the broker is away it is owed.
    pub(crate) async fn take_away(
        &self,
        id: &PluginId,
        start_id: StartId,
        cause: &Cause,
    ) -> Result<(), PassError> {
        self.deprovision(&DeprovisionRequest { plugin_id: id.clone(), start_id }, cause).await
    }
}
