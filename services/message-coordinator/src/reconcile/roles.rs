//! Roles: those that are wanted, and those that nobody wants any more.

use std::collections::BTreeSet;

use acl::dynsec::Role;
use acl::role::{is_genuine, is_guard, plugin_of};
use envelope::PluginId;

use super::{Difference, DriftKind, Planner, Step, difference};
use crate::desired::Standing;

impl Planner<'_> {
    /// Sees to every role that is wanted.
    pub(super) fn wanted_roles(&mut self) {
        let desired = self.desired;
        let mut seen = BTreeSet::new();
        for role in &desired.fixed_roles {
            seen.insert(role.rolename.as_str());
            self.wanted_role(role, None, true);
        }
        for (id, wanted) in &desired.plugins {
            let settled = !matches!(wanted.standing, Standing::Present { settled: false, .. });
            for role in wanted.roles() {
                if seen.insert(&role.rolename) {
                    let owner = (!is_guard(&role.rolename)).then_some(id);
                    self.wanted_role(role, owner, settled);
                }
            }
        }
    }

    fn wanted_role(&mut self, role: &Role, owner: Option<&PluginId>, settled: bool) {
        let name = &role.rolename;
        let Some(found) = self.observed.roles.get(name) else {
            let message = format!("The role {name} was missing at the broker; it is there again.");
            let drift = settled.then_some((DriftKind::Missing, message));
            return self.step(Step::CreateRole(role.clone()), owner, drift);
        };
        let found = difference(role, found);
        let coordinators = owner.is_none() && !is_guard(name);
        let waits = self.disconnects && !coordinators && self.may_be_held(name);
        match found {
            Difference::Same => {}
            Difference::Less if waits => self.find(format!(
                "The role {name} allows less than it should; it is put right at the plugin's next start, \
                 because that disconnects the plugin."
            )),
            Difference::Less => {
                let message = format!("The role {name} allowed less than it should; it is as it was.");
                self.step(Step::RewriteRole(role.clone()), owner, Some((DriftKind::Less, message)));
            }
            Difference::Beyond => {
                let message = format!("The role {name} allowed what was not granted; that was taken away.");
                self.step(Step::RewriteRole(role.clone()), owner, Some((DriftKind::Beyond, message)));
            }
        }
    }

    /// Whether the login of a started plugin has this role; the guard is everybody's.
    fn may_be_held(&self, rolename: &str) -> bool {
        let logins = self.desired.plugins.values().filter_map(|wanted| wanted.login.as_ref());
        is_guard(rolename)
            || logins
                .filter(|l| !l.ending)
                .any(|l| l.roles.by_priority().iter().any(|(_, role)| role.rolename == rolename))
    }

    /// Takes away the roles of plugins, and guards, that no login has and none will get.
    pub(super) fn other_roles(&mut self) {
        let (desired, observed) = (self.desired, self.observed);
        let wanted: BTreeSet<&str> = desired
            .fixed_roles
            .iter()
            .chain(desired.plugins.values().flat_map(|w| w.roles()))
            .map(|role| role.rolename.as_str())
            .collect();
        for (name, role) in &observed.roles {
            let owner = plugin_of(name);
            let ours = is_guard(name) || name.starts_with("plugin.");
            if !ours || wanted.contains(name.as_str()) {
                continue;
            }
            // A guard is everybody's: whether one is still in use shows only when all logins are seen.
            if owner.is_none() && desired.default_access.is_none() {
                continue;
            }
            let message = format!("The role {name} was made by nobody here; it was taken away.");
            let drift = (!is_genuine(role)).then_some((DriftKind::Unknown, message));
            self.step(Step::DeleteRole(name.clone()), owner.as_ref(), drift);
        }
    }
}
