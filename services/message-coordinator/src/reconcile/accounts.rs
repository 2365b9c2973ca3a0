//! Operators' accounts: the login and the own role of each, and nothing of those that are gone.

use acl::dynsec::Client;
use acl::role::operator_of;
use envelope::OperatorName;

use super::logins::other_roles;
use super::{Difference, Drift, DriftKind, Planned, Planner, Step, difference};
use crate::desired::WantedAccount;

impl Planner<'_> {
    /// Sees to every account.
    pub(super) fn accounts(&mut self) {
        let desired = self.desired;
        for (name, wanted) in &desired.accounts {
            if wanted.removed {
                self.removed_account(name, wanted);
            } else {
                self.personal_role(name, wanted);
                self.login_of_account(name, wanted);
            }
        }
        if desired.default_access.is_some() {
            self.other_operators_roles();
        }
    }

    fn removed_account(&mut self, name: &OperatorName, wanted: &WantedAccount) {
        let login = &wanted.login.username;
        if self.observed.clients.contains_key(login) {
            let message = format!("The login {login} is of an account that was removed; it was taken away.");
            self.account_step(name, wanted, Step::DeleteLogin(login.clone()), (DriftKind::Unknown, message));
        }
        let role = &wanted.role.rolename;
        if self.observed.roles.contains_key(role) {
            let message = format!("The role {role} is of an account that was removed; it was taken away.");
            self.account_step(name, wanted, Step::DeleteRole(role.clone()), (DriftKind::Unknown, message));
        }
    }

    /// Rights of a person who is to have others change at once: whoever is connected connects again.
    fn personal_role(&mut self, name: &OperatorName, wanted: &WantedAccount) {
        let role = &wanted.role;
        let rolename = &role.rolename;
        let Some(found) = self.observed.roles.get(rolename) else {
            let message = format!("The role {rolename} was missing at the broker; it is there again.");
            let step = Step::CreateRole(role.clone());
            return self.account_step(name, wanted, step, (DriftKind::Missing, message));
        };
        let drift = match difference(role, found) {
            Difference::Same => return,
            Difference::Less => (
                DriftKind::Less,
                format!("The role {rolename} allowed less than it should; it is as it was."),
            ),
            Difference::Beyond => (
                DriftKind::Beyond,
                format!("The role {rolename} allowed what was not granted; that was taken away."),
            ),
        };
        self.account_step(name, wanted, Step::RewriteRole(role.clone()), drift);
    }

    fn login_of_account(&mut self, name: &OperatorName, wanted: &WantedAccount) {
        let login = &wanted.login.username;
        match self.observed.clients.get(login) {
            None if wanted.disabled => {}
            None if wanted.note.is_some() => {
                let message = format!("The login {login} was missing at the broker; it is there again.");
                let step = Step::CreateAccount(name.clone());
                self.account_step(name, wanted, step, (DriftKind::Missing, message));
            }
            None => {
                let seed = if wanted.first {
                    " Or stop the broker, remove its identities file and start it: the seed has the login."
                } else {
                    ""
                };
                self.find(format!(
                    "The login {login} is missing at the broker and its password is not known here; give the \
                     account {name} another with change-operator.{seed}"
                ));
            }
            Some(found) if wanted.disabled => self.disabled_account(name, wanted, found),
            Some(found) => self.enabled_account(name, wanted, found),
        }
    }

    /// The login goes where it can be made again; where its password is not known it is disabled, so that
    /// the password is not lost.
    fn disabled_account(&mut self, name: &OperatorName, wanted: &WantedAccount, found: &Client) {
        let login = &wanted.login.username;
        let message = format!("The login {login} of a disabled account could be used; it no longer can.");
        let drift = (DriftKind::Beyond, message);
        if wanted.note.is_some() {
            self.account_step(name, wanted, Step::DeleteLogin(login.clone()), drift);
        } else if !found.disabled {
            self.account_step(name, wanted, Step::DisableLogin(login.clone()), drift);
        }
    }

    fn enabled_account(&mut self, name: &OperatorName, wanted: &WantedAccount, found: &Client) {
        let login = &wanted.login.username;
        if wanted.note.is_some() && found.textname != wanted.note {
            let message =
                format!("The login {login} had another password than it was given; it has that one again.");
            let step = Step::ReplaceAccount(name.clone());
            return self.account_step(name, wanted, step, (DriftKind::Beyond, message));
        }
        if wanted.note.is_none() && !wanted.first {
            self.find(format!(
                "The password of the account {name} is not known here any more, so that a broker that loses it \
                 does not get it back; give the account another with change-operator."
            ));
        }
        if found.disabled {
            let message = format!("The login {login} was disabled at the broker; it is enabled again.");
            let step = Step::EnableLogin(login.clone());
            self.account_step(name, wanted, step, (DriftKind::Less, message));
        }
        if let Some(drift) = other_roles(found, &wanted.login.roles) {
            let (username, roles) = (login.clone(), wanted.login.roles.clone());
            self.account_step(name, wanted, Step::SetRoles { username, roles }, drift);
        }
    }

    /// Takes away what is named like a role of operators and is none; nobody has it any more.
    fn other_operators_roles(&mut self) {
        let (desired, observed) = (self.desired, self.observed);
        for rolename in observed.roles.keys().filter(|name| is_operators(name)) {
            let shared = desired.fixed_roles.iter().any(|role| role.rolename == *rolename);
            let account = operator_of(rolename).is_some_and(|name| desired.accounts.contains_key(&name));
            if !shared && !account {
                self.step(Step::DeleteRole(rolename.clone()), None, None);
            }
        }
    }

    fn account_step(
        &mut self,
        name: &OperatorName,
        wanted: &WantedAccount,
        step: Step,
        (kind, message): (DriftKind, String),
    ) {
        let drift = wanted.settled.then_some(Drift { kind, message });
        self.plan.steps.push(Planned { step, plugin: None, account: Some(name.clone()), drift });
    }
}

/// Whether a role is one of operators by its name; `operator` is what an earlier version gave to all of them.
fn is_operators(rolename: &str) -> bool {
    rolename == "operator" || rolename.starts_with("operator-") || rolename.starts_with("operator.")
}
