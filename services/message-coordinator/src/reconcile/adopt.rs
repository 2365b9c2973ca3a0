//! Logins of plugins that a database takes over which does not know them: they were made by one that was lost.

use std::sync::Arc;

use acl::compile::PluginRoles;
use acl::dynsec::{Client, Role};
use acl::role::{is_genuine, is_guard, plugin_of, priority};
use envelope::{PluginId, StartId};

use crate::broker::Observed;
use crate::logins::{Login, Logins, start_in};
use crate::proof::is_canary;

/// The logins of plugins that are made as this coordinator makes them, for a later start than `latest`, and are not in
/// `known`; the earliest first, so that whoever is interrupted in keeping them goes on where it was.
pub fn adoptable(observed: &Observed, known: &Logins, latest: Option<StartId>) -> Vec<Login> {
    let login = |found: &Client| {
        let plugin_id = found.username.strip_prefix("plugin.").and_then(|id| PluginId::parse(id).ok())?;
        let start_id = found.textname.as_deref().and_then(start_in)?;
        let roles = genuine_roles(&plugin_id, found, observed)?;
        let roles = Arc::new(roles);
        Some(Login { plugin_id, installation: None, start_id, roles, password: None, ending: false })
    };
    let is_lost = |login: &Login| {
        let is_known = known.get(&login.plugin_id).is_some_and(|known| known.start_id == login.start_id);
        !is_known && !is_canary(&login.plugin_id) && latest.is_none_or(|latest| login.start_id > latest)
    };
    let mut lost: Vec<Login> = observed.clients.values().filter_map(login).filter(is_lost).collect();
    lost.sort_by_key(|login| login.start_id);
    lost
}

/// The three roles of a login, when each is as this coordinator makes them.
fn genuine_roles(id: &PluginId, found: &Client, observed: &Observed) -> Option<PluginRoles> {
    let role = |at: i32| -> Option<Role> {
        let held = found.roles.iter().find(|r| r.priority == at)?;
        observed.roles.get(&held.rolename).filter(|role| is_genuine(role)).cloned()
    };
    let roles = PluginRoles {
        own: role(priority::OWN)?,
        guard: role(priority::GUARD)?,
        manifest: role(priority::MANIFEST)?,
    };
    let own = |role: &Role| plugin_of(&role.rolename).as_ref() == Some(id);
    let complete = found.roles.len() == 3 && found.groups.is_empty();
    (complete && own(&roles.own) && own(&roles.manifest) && is_guard(&roles.guard.rolename)).then_some(roles)
}
