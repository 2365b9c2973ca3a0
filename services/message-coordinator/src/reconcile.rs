//! From what is and what should be to the steps between: pure, total, and the same for every occasion.
//!
//! Rights beyond what is wanted are taken away at once. What is missing is put back at once: whoever took it
//! away has disconnected the client already. A role with fewer rights than it should have waits for the
//! plugin's next start where replacing it would disconnect the plugin: a disconnected plugin that subscribes
//! only once is deaf afterwards.

mod accounts;
mod adopt;
mod difference;
mod logins;
mod roles;

use acl::dynsec::{DefaultAccess, Role, RoleRef};
use envelope::{OperatorName, PluginId};

use crate::broker::Observed;
use crate::desired::Desired;

pub use adopt::adoptable;
pub use difference::{Difference, difference};

/// One change at the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Sets what is allowed when no rule matches.
    SetDefaultAccess(DefaultAccess),
    /// Makes a role.
    CreateRole(Role),
    /// Replaces a role's rules.
    RewriteRole(Role),
    /// Takes a login away.
    DeleteLogin(String),
    /// Makes a plugin's login, with its kept password.
    CreateLogin(PluginId),
    /// Takes a plugin's login away and makes it anew, with its kept password.
    ReplaceLogin(PluginId),
    /// Makes an account's login, with its kept password.
    CreateAccount(OperatorName),
    /// Takes an account's login away and makes it anew, with its kept password.
    ReplaceAccount(OperatorName),
    /// Lets a login not connect.
    DisableLogin(String),
    /// Lets a login connect again.
    EnableLogin(String),
    /// Replaces a login's roles.
    SetRoles {
        /// The login.
        username: String,
        /// Its roles.
        roles: Vec<RoleRef>,
    },
    /// Takes a role away.
    DeleteRole(String),
}

impl Step {
    /// Roles before the logins that have them, and away after those that had them.
    fn rank(&self) -> u8 {
        match self {
            Self::SetDefaultAccess(_) => 0,
            Self::CreateRole(_) | Self::RewriteRole(_) => 1,
            Self::DeleteLogin(_) | Self::DisableLogin(_) => 2,
            Self::CreateLogin(_)
            | Self::ReplaceLogin(_)
            | Self::CreateAccount(_)
            | Self::ReplaceAccount(_) => 3,
            Self::SetRoles { .. } => 4,
            Self::EnableLogin(_) => 5,
            Self::DeleteRole(_) => 6,
        }
    }
}

/// How what is differs from what should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DriftKind {
    /// Somebody could do more than was granted.
    Beyond,
    /// Something was gone, as at a broker that lost its file.
    Missing,
    /// Somebody could do less than was granted.
    Less,
    /// A login of ours by its name, which nobody here made.
    Unknown,
}

impl DriftKind {
    /// As it is written in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Beyond => "beyond",
            Self::Missing => "missing",
            Self::Less => "less",
            Self::Unknown => "unknown",
        }
    }
}

/// Something that is not as it was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// How.
    pub kind: DriftKind,
    /// The same in a sentence, with what is done about it.
    pub message: String,
}

/// A step, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// What to do.
    pub step: Step,
    /// The plugin that it is about.
    pub plugin: Option<PluginId>,
    /// The operator's account that it is about.
    pub account: Option<OperatorName>,
    /// What was found; none when nothing is amiss and the step is the next one.
    pub drift: Option<Drift>,
}

/// What to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps in their order.
    pub steps: Vec<Planned>,
    /// What is amiss and cannot be put right now, one sentence each.
    pub findings: Vec<String>,
    /// How many logins are not the framework's.
    pub foreign_logins: usize,
}

/// What to do so that what is `observed` becomes what is `desired`. `disconnects`: at this broker a role's
/// new rules disconnect the clients that have it.
pub fn plan(desired: &Desired, observed: &Observed, disconnects: bool) -> Plan {
    let mut planner = Planner { desired, observed, disconnects, plan: Plan::default() };
    planner.default_access();
    planner.wanted_roles();
    planner.fixed_logins();
    planner.accounts();
    planner.plugin_logins();
    planner.unknown_logins();
    planner.other_roles();
    let mut plan = planner.plan;
    plan.steps.sort_by_key(|planned| planned.step.rank());
    plan
}

struct Planner<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    disconnects: bool,
    plan: Plan,
}

impl Planner<'_> {
    fn default_access(&mut self) {
        let (Some(wanted), Some(found)) = (self.desired.default_access, self.observed.default_access) else {
            return;
        };
        if wanted != found {
            let message =
                format!("The broker allowed by default what no role allows ({found:?}); it denies it again.");
            self.step(Step::SetDefaultAccess(wanted), None, Some((DriftKind::Beyond, message)));
        }
    }

    fn step(&mut self, step: Step, plugin: Option<&PluginId>, drift: Option<(DriftKind, String)>) {
        self.plan.steps.push(Planned {
            step,
            plugin: plugin.cloned(),
            account: None,
            drift: drift.map(|(kind, message)| Drift { kind, message }),
        });
    }

    fn find(&mut self, finding: String) {
        self.plan.findings.push(finding);
    }
}

#[cfg(test)]
mod tests;
