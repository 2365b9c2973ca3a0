//! What should stand at the broker, as far as this coordinator decides it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use acl::compile::{PluginRoles, compile};
use acl::dynsec::{DefaultAccess, Role, RoleRef};
use acl::fixed;
use envelope::PluginId;
use envelope::payload::spec::{AclOutcome, Presence, Spec};
use envelope::principal::plugin_login;

use crate::logins::Logins;
use crate::specs::Specs;

/// The roles that a spec asks for, or why it cannot have them, one sentence each.
pub type Verdict = Result<PluginRoles, Vec<String>>;

/// What should stand at the broker: everything, or all that belongs to one plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desired {
    /// What is allowed when no rule matches; none when it is not looked at.
    pub default_access: Option<DefaultAccess>,
    /// Roles of coordinators and operators, and the guard.
    pub fixed_roles: Vec<Role>,
    /// Logins of coordinators and operators.
    pub fixed_logins: Vec<fixed::Login>,
    /// Plugins.
    pub plugins: BTreeMap<PluginId, Wanted>,
}

/// What should stand at the broker for one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What its spec says.
    pub standing: Standing,
    /// Its roles: those that its spec asks for, and those of its login where that is of an earlier generation.
    pub roles: Vec<Role>,
    /// Its login.
    pub login: Option<WantedLogin>,
}

/// What a plugin's spec says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It should have these roles; `settled` when the broker had them before.
    Present {
        /// The roles.
        roles: Box<PluginRoles>,
        /// Whether they were acknowledged.
        settled: bool,
    },
    /// It asks for what it cannot have.
    Refused,
    /// Nothing of it should be left.
    Absent,
    /// No spec of it is known, only its login.
    Unknown,
}

/// The login of a plugin that is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedLogin {
    /// Its note, which names the start.
    pub note: String,
    /// Its roles.
    pub roles: Vec<RoleRef>,
    /// Whether its password is known, so that it can be made again.
    pub restorable: bool,
    /// Whether it is to go.
    pub ending: bool,
    /// Whether it is being made now, so that its absence surprises nobody.
    pub fresh: bool,
}

impl Desired {
    /// Everything.
    pub fn everything(specs: &Specs, logins: &Logins, verdicts: &BTreeMap<PluginId, Verdict>) -> Self {
        let ids: BTreeSet<&PluginId> = specs.keys().chain(logins.keys()).collect();
        Self {
            default_access: Some(DefaultAccess::DENY),
            fixed_roles: fixed::roles(),
            fixed_logins: fixed::logins(),
            plugins: ids
                .into_iter()
                .map(|id| (id.clone(), wanted(id, specs, logins, verdicts, false)))
                .collect(),
        }
    }

    /// All that belongs to one plugin; `fresh` while its login is being made.
    pub fn only(
        id: &PluginId,
        specs: &Specs,
        logins: &Logins,
        verdicts: &BTreeMap<PluginId, Verdict>,
        fresh: bool,
    ) -> Self {
        let plugins = [(id.clone(), wanted(id, specs, logins, verdicts, fresh))].into();
        Self { plugins, ..Self::default() }
    }
}

fn wanted(
    id: &PluginId,
    specs: &Specs,
    logins: &Logins,
    verdicts: &BTreeMap<PluginId, Verdict>,
    fresh: bool,
) -> Wanted {
    let standing = match (specs.get(id), verdicts.get(id)) {
        (Some(known), _) if known.spec.presence == Presence::Absent => Standing::Absent,
        (Some(known), Some(Ok(roles))) => {
            let settled =
                matches!(&known.status, Some(s) if matches!(s.outcome, AclOutcome::Applied { .. }));
            Standing::Present { roles: Box::new(roles.clone()), settled }
        }
        (Some(_), _) => Standing::Refused,
        (None, _) => Standing::Unknown,
    };
    let login = logins.get(id).filter(|_| standing != Standing::Absent);
    let mut roles: Vec<Role> = Vec::new();
    let mut add = |all: &PluginRoles| {
        for (_, role) in all.by_priority() {
            if !roles.iter().any(|r| r.rolename == role.rolename) {
                roles.push(role.clone());
            }
        }
    };
    if let Standing::Present { roles, .. } = &standing {
        add(roles);
    }
    if let Some(login) = login.filter(|l| !l.ending) {
        add(&login.roles);
    }
    let login = login.map(|login| WantedLogin {
        note: login.note(),
        roles: login.roles.refs(),
        restorable: login.password.is_some(),
        ending: login.ending,
        fresh,
    });
    Wanted { standing, roles, login }
}

/// What becomes of each spec that is not `absent`. Two plugins never share an id or alias: who was
/// acknowledged before keeps the name.
pub fn judge(specs: &Specs) -> BTreeMap<PluginId, Verdict> {
    let present = specs.values().filter(|known| known.spec.presence == Presence::Present);
    let (applied, other): (Vec<_>, Vec<_>) = present.partition(|known| {
        known.status.as_ref().is_some_and(|s| matches!(s.outcome, AclOutcome::Applied { .. }))
    });
    let mut names: BTreeMap<&PluginId, &PluginId> = BTreeMap::new();
    let mut verdicts = BTreeMap::new();
    for known in applied.into_iter().chain(other) {
        let spec = &known.spec;
        let verdict = match taken(spec, &names) {
            Some(reason) => Err(vec![reason]),
            None => compile(spec).map_err(|all| all.iter().map(ToString::to_string).collect()),
        };
        if verdict.is_ok() {
            names.extend(own_names(spec).map(|name| (name, &spec.plugin_id)));
        }
        verdicts.insert(spec.plugin_id.clone(), verdict);
    }
    verdicts
}

fn own_names(spec: &Spec) -> impl Iterator<Item = &PluginId> {
    std::iter::once(&spec.plugin_id).chain(&spec.alias)
}

fn taken(spec: &Spec, names: &BTreeMap<&PluginId, &PluginId>) -> Option<String> {
    own_names(spec).find_map(|name| {
        let owner = names.get(name)?;
        Some(format!("The name {name} is the id or alias of the plugin {owner}."))
    })
}

/// The name of a plugin's login.
pub fn username(id: &PluginId) -> String {
    plugin_login(id)
}
