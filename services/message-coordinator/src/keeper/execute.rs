//! Steps become commands; what was made is read back.

use acl::dynsec::{Answer, Client, Command, Failure, Role, RoleRef};
use acl::fixed;
use envelope::principal::operator_login;
use envelope::{OperatorName, PluginId};

use super::{Keeper, PassError, StepFailure};
use crate::broker::Admin;
use crate::desired::username;
use crate::reconcile::{Plan, Step};

/// One step on its way.
struct Work {
    plugin: Option<PluginId>,
    account: Option<OperatorName>,
    commands: Vec<Command>,
    proof: Proof,
}

/// What the last answer of a step must show.
enum Proof {
    /// That it was done.
    Done,
    /// That there is nothing to do any more.
    Gone,
    /// This role.
    Role(Role),
    /// A login with these roles.
    Login(Vec<RoleRef>),
    /// A login that can connect, or cannot.
    Disabled(bool),
}

impl Keeper {
    /// Does every step of `plan`. Returns those that failed; the others are done, and shown to be.
    pub(super) async fn execute(
        &self,
        admin: &mut Admin,
        plan: &Plan,
    ) -> Result<Vec<StepFailure>, PassError> {
        let mut failures = Vec::new();
        let mut works = Vec::new();
        for planned in &plan.steps {
            let (plugin, account) = (planned.plugin.clone(), planned.account.clone());
            match self.work(&planned.step) {
                Ok((commands, proof)) => works.push(Work { plugin, account, commands, proof }),
                Err(reason) => failures.push(StepFailure { plugin, account, reason }),
            }
        }
        let commands: Vec<Command> = works.iter().flat_map(|w| w.commands.clone()).collect();
        let answers = admin.give(&commands).await?;
        let mut rest = answers.as_slice();
        for work in works {
            let (own, later) = rest.split_at(work.commands.len().min(rest.len()));
            rest = later;
            if let Err(reason) = work.check(own) {
                failures.push(StepFailure { plugin: work.plugin, account: work.account, reason });
            }
        }
        Ok(failures)
    }

    fn work(&self, step: &Step) -> Result<(Vec<Command>, Proof), String> {
        Ok(match step {
            Step::SetDefaultAccess(access) => (vec![Command::SetDefaultAccess(*access)], Proof::Done),
            Step::CreateRole(role) => (
                vec![Command::CreateRole(role.clone()), Command::GetRole(role.rolename.clone())],
                Proof::Role(role.clone()),
            ),
            Step::RewriteRole(role) => (
                vec![Command::ModifyRole(role.clone()), Command::GetRole(role.rolename.clone())],
                Proof::Role(role.clone()),
            ),
            Step::DeleteRole(name) => (vec![Command::DeleteRole(name.clone())], Proof::Gone),
            Step::DeleteLogin(name) => (vec![Command::DeleteClient(name.clone())], Proof::Gone),
            Step::SetRoles { username, roles } => (
                vec![
                    Command::SetClientRoles { username: username.clone(), roles: roles.clone() },
                    Command::GetClient(username.clone()),
                ],
                Proof::Login(roles.clone()),
            ),
            Step::DisableLogin(name) => (
                vec![Command::DisableClient(name.clone()), Command::GetClient(name.clone())],
                Proof::Disabled(true),
            ),
            Step::EnableLogin(name) => (
                vec![Command::EnableClient(name.clone()), Command::GetClient(name.clone())],
                Proof::Disabled(false),
            ),
            Step::CreateAccount(name) => self.create_account(name)?,
            Step::ReplaceAccount(name) => {
                let (create, proof) = self.create_account(name)?;
                let mut commands = vec![Command::DeleteClient(operator_login(name))];
                commands.extend(create);
                (commands, proof)
            }
            Step::CreateLogin(id) => self.create_login(id)?,
            Step::ReplaceLogin(id) => {
                let (create, proof) = self.create_login(id)?;
                let mut commands = vec![Command::DeleteClient(username(id))];
                commands.extend(create);
                (commands, proof)
            }
        })
    }

    fn create_login(&self, id: &PluginId) -> Result<(Vec<Command>, Proof), String> {
        let state = self.state();
        let login =
            state.logins.get(id).ok_or_else(|| format!("the login of the plugin {id} is not known"))?;
        let password = login
            .password(&self.seal)
            .map_err(|error| {
                format!("the login of the plugin {id} cannot be made: {error}; stop the plugin and start it")
            })?
            .ok_or_else(|| {
                format!("the password of the plugin {id} is not known; stop the plugin and start it")
            })?;
        let create = Command::CreateClient {
            username: login.username(),
            password: password.as_str().to_owned(),
            textname: login.note(),
            roles: login.roles.refs(),
        };
        let roles = login.roles.refs();
        Ok((vec![create, Command::GetClient(login.username())], Proof::Login(roles)))
    }
}

impl Keeper {
    fn create_account(&self, name: &OperatorName) -> Result<(Vec<Command>, Proof), String> {
        let state = self.state();
        let account = state.accounts.get(name).ok_or_else(|| format!("the account {name} is not known"))?;
        let unknown = || {
            format!("the password of the account {name} is not known; give it another with change-operator")
        };
        let password = account.password(&self.seal).ok().flatten().ok_or_else(unknown)?;
        let login = fixed::operators_login(name, account.role);
        let create = Command::CreateClient {
            username: login.username.clone(),
            password: password.as_str().to_owned(),
            textname: account.note().ok_or_else(unknown)?,
            roles: login.roles.clone(),
        };
        Ok((vec![create, Command::GetClient(login.username)], Proof::Login(login.roles)))
    }
}

impl Work {
    fn check(&self, answers: &[Answer]) -> Result<(), String> {
        for (answer, command) in answers.iter().zip(&self.commands) {
            match answer.outcome(command) {
                Ok(()) => {}
                Err(failure) if is_done_already(command, &failure) => {}
                Err(failure) => return Err(failure.to_string()),
            }
        }
        let last = answers.last().ok_or("the broker did not answer")?;
        let read = |error: acl::dynsec::AnswerError| error.to_string();
        match &self.proof {
            Proof::Done | Proof::Gone => Ok(()),
            Proof::Role(wanted) if last.role().map_err(read)?.has_rules_of(wanted) => Ok(()),
            Proof::Role(wanted) => {
                Err(format!("the broker has other rules in the role {} than it was given", wanted.rolename))
            }
            Proof::Disabled(wanted) => {
                let found = last.client().map_err(read)?;
                let is = if found.disabled { "disabled" } else { "enabled" };
                let wrong = || format!("the login {} is still {is} at the broker", found.username);
                (found.disabled == *wanted).then_some(()).ok_or_else(wrong)
            }
            Proof::Login(wanted) => {
                let found = last.client().map_err(read)?;
                if has_roles(&found, wanted) {
                    Ok(())
                } else {
                    Err(format!(
                        "the broker has other roles for the login {} than it was given",
                        found.username
                    ))
                }
            }
        }
    }
}

fn has_roles(found: &Client, wanted: &[RoleRef]) -> bool {
    let sorted = |roles: &[RoleRef]| {
        let mut roles = roles.to_vec();
        roles.sort();
        roles
    };
    sorted(&found.roles) == sorted(wanted)
}

/// What was to be made exists, or what was to go is gone: the proof decides whether it is right.
fn is_done_already(command: &Command, failure: &Failure) -> bool {
    match command {
        Command::CreateRole(_) => failure.is_duplicate(),
        Command::DeleteRole(_) | Command::DeleteClient(_) => failure.is_missing(),
        _ => false,
    }
}
