//! Logins: of coordinators and operators, of plugins, and those that nobody here made.

use std::collections::BTreeSet;

use acl::dynsec::{Client, Role, RoleRef};
use acl::explain::{Action, decide};
use acl::fixed;
use acl::role::is_guard;
use envelope::PluginId;
use envelope::principal::{coordinator_of_login, coordinator_other_login};
use envelope::topic::broker;

use super::{DriftKind, Planner, Step};
use crate::desired::{Standing, Wanted, WantedLogin, username};
use crate::logins::start_in;
use crate::proof::is_canary;

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
                (Some(login), None) => self.missing(id, wanted, login),
                (Some(login), Some(found)) => {
                    if wanted.standing == Standing::Unknown && !is_canary(id) {
                        self.find(format!(
                            "The broker has a login of the plugin {id}, of which no spec is known; it stays as it is \
                             until the plugin coordinator says that the plugin is absent."
                        ));
                    }
                    self.existing(id, login, found);
                }
                (None, Some(_)) if wanted.standing == Standing::Absent => {
                    self.step(Step::DeleteLogin(name), Some(id), None);
                }
                (None, _) => {}
            }
        }
    }

    fn missing(&mut self, id: &PluginId, wanted: &Wanted, login: &WantedLogin) {
        if !login.restorable {
            if wanted.standing == Standing::Unknown {
                return;
            }
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
        if found.textname.as_deref() != Some(&login.note) {
            if !login.restorable {
                return self.unknown(found, Some(id));
            }
            // It is that of an earlier start: this one was interrupted before the broker had it.
            return self.step(Step::ReplaceLogin(id.clone()), Some(id), None);
        }
        if found.disabled {
            self.find(format!(
                "The login of the plugin {id} is disabled at the broker; stop the plugin and start it to have it \
                 back."
            ));
        }
        self.roles_of(found, &login.roles.refs(), Some(id));
    }

    /// Sees to it that `found` has these roles and is in no group.
    fn roles_of(&mut self, found: &Client, wanted: &[RoleRef], plugin: Option<&PluginId>) {
        if let Some(drift) = other_roles(found, wanted) {
            let (username, roles) = (found.username.clone(), wanted.to_vec());
            self.step(Step::SetRoles { username, roles }, plugin, Some(drift));
        }
    }

    /// Looks at all other logins.
    pub(super) fn unknown_logins(&mut self) {
        let observed = self.observed;
        for (name, found) in &observed.clients {
            let fixed = self.desired.fixed_logins.iter().any(|login| names_of(login).contains(name));
            let id = name.strip_prefix("plugin.").and_then(|id| PluginId::parse(id).ok());
            let wanted = id.as_ref().and_then(|id| self.desired.plugins.get(id));
            let seen_to = wanted.is_some_and(|w| w.login.is_some() || w.standing == Standing::Absent);
            let account = self.desired.accounts.values().any(|account| account.login.username == *name);
            if fixed || account || seen_to {
                continue;
            }
            if OURS.iter().any(|prefix| name.starts_with(prefix)) {
                self.unknown(found, id.as_ref());
            } else {
                self.foreign(found);
            }
        }
    }

    /// A login of ours by its name that is not kept here. It may be one that was taken away, at a broker that went
    /// back in time: somebody may still know its password.
    fn unknown(&mut self, found: &Client, plugin: Option<&PluginId>) {
        let name = &found.username;
        let whose = match found.textname.as_deref().and_then(start_in) {
            Some(start_id) => format!("is of the start {start_id}, which has ended or was never made here"),
            None => "was made by nobody here".to_owned(),
        };
        let message = format!("The login {name} {whose}; it was taken away.");
        self.step(Step::DeleteLogin(name.clone()), plugin, Some((DriftKind::Unknown, message)));
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
