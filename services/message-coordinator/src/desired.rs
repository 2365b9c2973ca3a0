//! What should stand at the broker, as far as this coordinator decides it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use acl::compile::{PluginRoles, compile};
use acl::dynsec::{DefaultAccess, Role};
use acl::fixed;
use envelope::payload::spec::{Presence, Spec};
use envelope::principal::plugin_login;
use envelope::{OperatorName, PluginId};

use crate::accounts::{Account, Accounts};
use crate::logins::Logins;
use crate::proof::is_canary;
use crate::specs::{Known, Specs};

/// The roles that a spec asks for, or why it cannot have them, one sentence each.
pub type Verdict = Result<Arc<PluginRoles>, Vec<String>>;

/// What should stand at the broker: everything, or all that belongs to one plugin or account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desired {
    /// What is allowed when no rule matches; none when it is not looked at.
    pub default_access: Option<DefaultAccess>,
    /// Roles of coordinators, those that operators share, and the guard.
    pub fixed_roles: Vec<Role>,
    /// Logins of coordinators.
    pub fixed_logins: Vec<fixed::Login>,
    /// Operators' accounts.
    pub accounts: BTreeMap<OperatorName, WantedAccount>,
    /// Plugins.
    pub plugins: BTreeMap<PluginId, Wanted>,
}

/// What should stand at the broker for one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What its spec says.
    pub standing: Standing,
    /// Its login.
    pub login: Option<WantedLogin>,
}

/// What a plugin's spec says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It should have these roles; `settled` when the broker had them before.
    Present {
        /// The roles.
        roles: Arc<PluginRoles>,
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
    pub roles: Arc<PluginRoles>,
    /// Whether its password is known, so that it can be made again.
    pub restorable: bool,
    /// Whether it is to go.
    pub ending: bool,
    /// Whether it is being made now, so that its absence surprises nobody.
    pub fresh: bool,
}

/// What should stand at the broker for one operator's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedAccount {
    /// Its login with its roles.
    pub login: fixed::Login,
    /// The role that is its own.
    pub role: Role,
    /// The note of its login, which names its password; none where only the broker knows that.
    pub note: Option<String>,
    /// Whether it is the one that the seed makes.
    pub first: bool,
    /// Whether it cannot log in.
    pub disabled: bool,
    /// Whether nothing of it should be left.
    pub removed: bool,
    /// Whether it was at the broker as it is now, so that a difference surprises.
    pub settled: bool,
}

impl Wanted {
    /// Its roles: those that its spec asks for, and those of its login, which can be of an earlier generation.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        let asked = match &self.standing {
            Standing::Present { roles, .. } => Some(roles),
            Standing::Refused | Standing::Absent | Standing::Unknown => None,
        };
        let held = self.login.as_ref().filter(|login| !login.ending).map(|login| &login.roles);
        asked.into_iter().chain(held).flat_map(|roles| roles.by_priority()).map(|(_, role)| role)
    }
}

impl From<&Account> for WantedAccount {
    fn from(account: &Account) -> Self {
        Self {
            login: fixed::operators_login(&account.name, account.role),
            role: fixed::personal_role(&account.name, account.role),
            note: account.note(),
            first: account.is_first(),
            disabled: account.disabled,
            removed: account.removed,
            settled: account.applied,
        }
    }
}

impl Desired {
    /// Everything.
    pub fn everything(
        specs: &Specs,
        logins: &Logins,
        accounts: &Accounts,
        verdicts: &BTreeMap<PluginId, Verdict>,
    ) -> Self {
        let ids: BTreeSet<&PluginId> = specs.keys().chain(logins.keys()).collect();
        Self {
            default_access: Some(DefaultAccess::DENY),
            fixed_roles: fixed::shared_roles(),
            fixed_logins: fixed::coordinators_logins(),
            accounts: accounts.iter().map(|(name, account)| (name.clone(), account.into())).collect(),
            plugins: ids
                .into_iter()
                .map(|id| (id.clone(), wanted(id, specs, logins, verdicts.get(id), false)))
                .collect(),
        }
    }

    /// All that belongs to one plugin; `fresh` while its login is being made.
    pub fn only(
        id: &PluginId,
        specs: &Specs,
        logins: &Logins,
        verdict: Option<&Verdict>,
        fresh: bool,
    ) -> Self {
        let plugins = [(id.clone(), wanted(id, specs, logins, verdict, fresh))].into();
        Self { plugins, ..Self::default() }
    }

    /// All that belongs to one account.
    pub fn account(account: &Account) -> Self {
        Self {
            fixed_roles: vec![fixed::operator_role(account.role)],
            accounts: [(account.name.clone(), account.into())].into(),
            ..Self::default()
        }
    }
}

fn wanted(id: &PluginId, specs: &Specs, logins: &Logins, verdict: Option<&Verdict>, fresh: bool) -> Wanted {
    let standing = match (specs.get(id), verdict) {
        (Some(known), _) if known.spec.presence == Presence::Absent => Standing::Absent,
        (Some(known), Some(Ok(roles))) => {
            Standing::Present { roles: roles.clone(), settled: known.is_applied() }
        }
        (Some(_), _) => Standing::Refused,
        // A canary has no spec: what it should be stands in its login, and surprises nobody at first.
        (None, _) => match logins.get(id).filter(|_| fresh && is_canary(id)) {
            Some(login) => Standing::Present { roles: login.roles.clone(), settled: false },
            None => Standing::Unknown,
        },
    };
    let login = logins.get(id).filter(|_| standing != Standing::Absent);
    let login = login.map(|login| WantedLogin {
        note: login.note(),
        roles: login.roles.clone(),
        restorable: login.password.is_some(),
        ending: login.ending,
        fresh,
    });
    Wanted { standing, login }
}

/// What becomes of each spec that is not `absent`. What a login has already is not held twice: there may be a thousand.
pub fn judge(specs: &Specs, logins: &Logins) -> BTreeMap<PluginId, Verdict> {
    let taken = taken_names(specs);
    let judged = |spec: &Spec| {
        let held = logins.get(&spec.plugin_id).map(|login| &login.roles);
        verdict(spec, &taken).map(|roles| held.filter(|held| **held == roles).unwrap_or(&roles).clone())
    };
    present(specs).map(|spec| (spec.plugin_id.clone(), judged(spec))).collect()
}

/// What becomes of the spec of one plugin; none when there is none, or it is `absent`.
pub fn judge_one(specs: &Specs, id: &PluginId) -> Option<Verdict> {
    let spec = &specs.get(id).filter(|known| known.spec.presence == Presence::Present)?.spec;
    Some(verdict(spec, &taken_names(specs)))
}

fn verdict(spec: &Spec, taken: &BTreeMap<&PluginId, String>) -> Verdict {
    match taken.get(&spec.plugin_id) {
        Some(reason) => Err(vec![reason.clone()]),
        None => compile(spec).map(Arc::new).map_err(|all| all.iter().map(ToString::to_string).collect()),
    }
}

fn present(specs: &Specs) -> impl Iterator<Item = &Spec> {
    specs.values().map(|known| &known.spec).filter(|spec| spec.presence == Presence::Present)
}

/// Who wants a name that is another's, and whose it is. Two plugins never share an id or alias: who was
/// acknowledged before keeps the name.
fn taken_names(specs: &Specs) -> BTreeMap<&PluginId, String> {
    let is_applied = |spec: &&Spec| specs.get(&spec.plugin_id).is_some_and(Known::is_applied);
    let (applied, other): (Vec<&Spec>, Vec<&Spec>) = present(specs).partition(is_applied);
    let mut names: BTreeMap<&PluginId, &PluginId> = BTreeMap::new();
    let mut taken = BTreeMap::new();
    for spec in applied.into_iter().chain(other) {
        let own = || std::iter::once(&spec.plugin_id).chain(&spec.alias);
        match own().find_map(|name| Some((name, names.get(name)?))) {
            Some((name, owner)) => {
                let reason = format!("The name {name} is the id or alias of the plugin {owner}.");
                taken.insert(&spec.plugin_id, reason);
            }
            None => names.extend(own().map(|name| (name, &spec.plugin_id))),
        }
    }
    taken
}

/// The name of a plugin's login.
pub fn username(id: &PluginId) -> String {
    plugin_login(id)
}
