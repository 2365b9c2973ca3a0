//! Logins: of coordinators and operators, of plugins, and those that nobody here made.

use std::collections::BTreeSet;

use acl::compile::PluginRoles;
use acl::dynsec::{Client, Role, RoleRef};
use acl::explain::{Action, decide};
use acl::fixed;
use acl::role::{is_genuine, is_guard, plugin_of, priority};
use envelope::PluginId;
use envelope::principal::{coordinator_of_login, coordinator_other_login};
use envelope::topic::broker;

use super::{Adopted, DriftKind, Planner, Step};
use crate::desired::{Standing, Wanted, WantedLogin, username};
use crate::logins::start_in;

/// How the names of the framework's logins begin; others are none of its business.
const OURS: [&str; 3] = ["coordinator.", "operator.", "plugin."];

impl Planner<'_> {
    /// Sees to the logins of coordinators. Their passwords are not known here. While they are renewed a
    /// coordinator has a second login; either of the two is enough.
    pub(super) fn fixed_logins(&mut self) {
        let (desired, observed) = (self.desired, self.observed);
        for login in &desired.fixed_logins {
            let name = &login.username;
            let all: Vec<&Client> =
                names_of(login).iter().filter_map(|name| observed.clients.get(name)).collect();
            if all.is_empty() {
                self.find(format!(
                    "The login {name} is missing at the broker and its password is not known here; stop the \
                     broker, remove its identities file and start it: the seed has the login."
                ));
            }
            for found in all {
                let name = &found.username;
                if found.disabled {
                    self.find(format!(
                        "The login {name} is disabled at the broker; enable it to have it back."
                    ));
                }
                self.roles_of(found, &login.roles, None);
            }
        }
    }

    /// Sees to the logins of plugins that are started, and to those that should be gone.
    pub(super) fn plugin_logins(&mut self) {
        let desired = self.desired;
        for (id, wanted) in &desired.plugins {
            let name = username(id);
            let found = self.observed.clients.get(&name);
            match (&wanted.login, found) {
                (Some(login), found) if login.ending => {
                    if found.is_some() {
                        self.step(Step::DeleteLogin(name), Some(id), None);
                    }
                }
                (Some(login), None) => self.missing(id, login),
                (Some(login), Some(found)) => self.existing(id, login, found),
                (None, Some(_)) if wanted.standing == Standing::Absent => {
                    self.step(Step::DeleteLogin(name), Some(id), None);
                }
                (None, _) => {}
            }
        }
    }

    fn missing(&mut self, id: &PluginId, login: &WantedLogin) {
        if !login.restorable {
            return self.find(format!(
                "The login of the plugin {id} is missing at the broker and its password is not known here; \
                 stop the plugin and start it."
            ));
        }
        let message = format!("The login of the plugin {id} was missing at the broker; it is there again.");
        let drift = (!login.fresh).then_some((DriftKind::Missing, message));
        self.step(Step::CreateLogin(id.clone()), Some(id), drift);
    }

    fn existing(&mut self, id: &PluginId, login: &WantedLogin, found: &Client) {
        if found.textname.as_deref() != Some(&login.note) && login.restorable {
            // It is that of an earlier start: this one was interrupted before the broker had it.
            return self.step(Step::ReplaceLogin(id.clone()), Some(id), None);
        }
        if found.disabled {
            self.find(format!(
                "The login of the plugin {id} is disabled at the broker; stop the plugin and start it to have it \
                 back."
            ));
        }
        self.roles_of(found, &login.roles, Some(id));
    }

    /// Sees to it that `found` has these roles and is in no group.
    fn roles_of(&mut self, found: &Client, wanted: &[RoleRef], plugin: Option<&PluginId>) {
        if let Some(drift) = other_roles(found, wanted) {
            let (username, roles) = (found.username.clone(), wanted.to_vec());
            self.step(Step::SetRoles { username, roles }, plugin, Some(drift));
        }
    }

    /// Looks at all other logins. Returns the roles of those that stay.
    pub(super) fn unknown_logins(&mut self) -> BTreeSet<String> {
        let observed = self.observed;
        let mut kept = BTreeSet::new();
        for (name, found) in &observed.clients {
            let fixed = self.desired.fixed_logins.iter().any(|login| names_of(login).contains(name));
            let id = name.strip_prefix("plugin.").and_then(|id| PluginId::parse(id).ok());
            let wanted = id.as_ref().and_then(|id| self.desired.plugins.get(id));
            let seen_to = wanted.is_some_and(|w| w.login.is_some() || w.standing == Standing::Absent);
            let account = self.desired.accounts.values().any(|account| account.login.username == *name);
            if fixed || account || seen_to {
                continue;
            }
            let stays = match &id {
                Some(id) => self.unknown_plugin(id, wanted, found),
                None if OURS.iter().any(|prefix| name.starts_with(prefix)) => {
                    self.unknown(name, None);
                    false
                }
                None => {
                    self.foreign(found);
                    false
                }
            };
            if stays {
                kept.extend(found.roles.iter().map(|r| r.rolename.clone()));
            }
        }
        kept
    }

    /// A plugin's login without a row here: of an earlier database, or made by somebody else. The former is
    /// kept: a plugin may be running with it.
    fn unknown_plugin(&mut self, id: &PluginId, wanted: Option<&Wanted>, found: &Client) -> bool {
        let (Some(roles), Some(start_id)) =
            (self.genuine_roles(id, found), found.textname.as_deref().and_then(start_in))
        else {
            self.unknown(&found.username, Some(id));
            return false;
        };
        match wanted.map(|w| &w.standing) {
            Some(Standing::Present { .. }) => {
                self.plan.adopted.push(Adopted { plugin_id: id.clone(), start_id, roles });
            }
            _ => self.find(format!(
                "The broker has a login of the plugin {id}, of which no spec is known; it stays as it is until \
                 the plugin coordinator says that the plugin is absent."
            )),
        }
        true
    }

    /// The three roles of a login, when each is as this coordinator makes them.
    fn genuine_roles(&self, id: &PluginId, found: &Client) -> Option<PluginRoles> {
        let role = |at: i32| -> Option<Role> {
            let held = found.roles.iter().find(|r| r.priority == at)?;
            self.observed.roles.get(&held.rolename).filter(|role| is_genuine(role)).cloned()
        };
        let roles = PluginRoles {
            own: role(priority::OWN)?,
            guard: role(priority::GUARD)?,
            manifest: role(priority::MANIFEST)?,
        };
        let own = |role: &Role| plugin_of(&role.rolename).as_ref() == Some(id);
        let complete = found.roles.len() == 3 && found.groups.is_empty();
        (complete && own(&roles.own) && own(&roles.manifest) && is_guard(&roles.guard.rolename))
            .then_some(roles)
    }

    fn unknown(&mut self, name: &str, plugin: Option<&PluginId>) {
        let message = format!("The login {name} was made by nobody here; it was taken away.");
        self.step(Step::DeleteLogin(name.to_owned()), plugin, Some((DriftKind::Unknown, message)));
    }

    /// A login that is none of the framework's is left alone, unless it can undo everything here.
    fn foreign(&mut self, found: &Client) {
        self.plan.foreign_logins += 1;
        let held: Vec<(i32, &Role)> = found
            .roles
            .iter()
            .filter_map(|held| Some((held.priority, self.observed.roles.get(&held.rolename)?)))
            .collect();
        if decide(&held, Action::Publish, broker::control()).allowed && !found.disabled {
            let name: String = found.username.chars().filter(|c| !c.is_control()).take(64).collect();
            self.find(format!(
                "The login {name:?} is none of the framework's and can administer the broker; remove it."
            ));
        }
    }
}

/// The names that the login of a coordinator can have.
fn names_of(login: &fixed::Login) -> Vec<String> {
    let other = coordinator_of_login(&login.username).map(coordinator_other_login);
    [login.username.clone()].into_iter().chain(other).collect()
}

/// How the roles of `found` differ from those that it should have, if they do.
pub(super) fn other_roles(found: &Client, wanted: &[RoleRef]) -> Option<(DriftKind, String)> {
    let set = |roles: &[RoleRef]| roles.iter().cloned().collect::<BTreeSet<RoleRef>>();
    let (have, want) = (set(&found.roles), set(wanted));
    if have == want && found.groups.is_empty() {
        return None;
    }
    let name = &found.username;
    let guarded = |roles: &BTreeSet<RoleRef>| roles.iter().any(|r| is_guard(&r.rolename));
    let more = !have.is_subset(&want) || !found.groups.is_empty() || (guarded(&want) && !guarded(&have));
    Some(if more {
        (
            DriftKind::Beyond,
            format!("The login {name} had roles that were not granted; they were taken away."),
        )
    } else {
        (DriftKind::Missing, format!("The login {name} lacked roles; it has them again."))
    })
}
