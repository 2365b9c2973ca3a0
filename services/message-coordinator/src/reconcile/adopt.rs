//! Logins of plugins that a new database takes over: those that an earlier one made, by their roles.

use acl::compile::PluginRoles;
use acl::dynsec::{Client, Role};
use acl::role::{is_genuine, is_guard, plugin_of, priority};
use envelope::PluginId;

use crate::broker::Observed;
use crate::logins::{Login, Logins, start_in};

/// The logins of plugins that were made as this coordinator makes them and are not in `known`.
pub fn adoptable(observed: &Observed, known: &Logins) -> Vec<Login> {
    let login = |found: &Client| {
        let plugin_id = found.username.strip_prefix("plugin.").and_then(|id| PluginId::parse(id).ok())?;
        let start_id = found.textname.as_deref().and_then(start_in)?;
        let roles = genuine_roles(&plugin_id, found, observed)?;
        Some(Login { plugin_id, installation: None, start_id, roles, password: None, ending: false })
    };
    observed
        .clients
        .values()
        .filter_map(login)
        .filter(|login| !known.contains_key(&login.plugin_id))
        .collect()
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
