//! What may become of accounts, and why not. Pure.

use envelope::payload::account::{
    AddOperatorRequest, ChangeOperatorRequest, NewPassword, PasswordFault, RemoveOperatorRequest,
};
use envelope::{OperatorName, Timestamp};

use super::{Account, Accounts, Changed};

/// Who asks, with which request, and when.
#[derive(Debug, Clone)]
pub struct Author {
    /// Who, in words.
    pub who: String,
    /// The request's row in the journal.
    pub request_id: String,
    /// When it is decided.
    pub at: Timestamp,
}

/// What is to become of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is as it was asked to be: by the same request before a restart, or all along.
    Stands(Account),
    /// It changes.
    Changes(Change),
}

/// A change to write down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The account as it is from now on.
    pub account: Account,
    /// The password that it is to have from now on.
    pub password: Option<NewPassword>,
    /// What happened, in a sentence for people.
    pub told: String,
}

/// Why nothing becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is an account of that name, or of one that looks like it.
    #[error(
        "The name {name} is taken by the account {owner}. Choose another, or change that account with \
         change-operator."
    )]
    NameTaken {
        /// The name that was asked for.
        name: OperatorName,
        /// Whose it is: names that differ in nothing but capitals are taken for one another.
        owner: OperatorName,
    },
    /// There is no such account.
    #[error("There is no operator's account {0}; ask for operators to see which there are.")]
    Unknown(OperatorName),
    /// Nobody could decide about accounts any more.
    #[error(
        "The account {name} is the last enabled admin: if it were {what}, nobody could decide about accounts \
         any more. Make another account an enabled admin first."
    )]
    LastAdmin {
        /// The account.
        name: OperatorName,
        /// What was asked for.
        what: &'static str,
    },
    /// The first operator is part of the broker's seed.
    #[error(
        "The account {0} cannot be removed: the installation begins with it, and a broker that lost its logins \
         begins with it again. Disable it instead."
    )]
    First(OperatorName),
    /// The password is not one.
    #[error("The password of {name} {fault}; choose another.")]
    Password {
        /// The account.
        name: OperatorName,
        /// What is wrong with it.
        fault: PasswordFault,
    },
    /// Nothing is asked for.
    #[error(
        "Nothing is to change about the account {0}: the request has neither role, nor password, nor disabled. \
         Name at least one of them."
    )]
    Nothing(OperatorName),
}

/// Makes an account.
///
/// # Errors
/// The name is taken, or the password is not one.
pub fn add(accounts: &Accounts, asked: &AddOperatorRequest, author: &Author) -> Result<Decision, Refusal> {
    let name = &asked.name;
    if let Some(known) = repeated(accounts, name, author) {
        return Ok(Decision::Stands(known.clone()));
    }
    let looks_alike = |other: &&Account| other.name.as_str().eq_ignore_ascii_case(name.as_str());
    if let Some(owner) = accounts.values().filter(|a| !a.removed).find(looks_alike) {
        return Err(Refusal::NameTaken { name: name.clone(), owner: owner.name.clone() });
    }
    check(name, &asked.password)?;
    Ok(Decision::Changes(Change {
        account: Account {
            name: name.clone(),
            role: asked.role,
            disabled: false,
            password: None,
            created: Some((author.at, author.who.clone())),
            changed: author.changed(),
            removed: false,
            applied: false,
        },
        password: Some(asked.password.clone()),
        told: format!("The operator's account {name} was made by {}, as {}.", author.who, asked.role),
    }))
}

/// Changes an account.
///
/// # Errors
/// There is no such account, nothing is asked for, the password is not one, or no admin would be left.
pub fn change(
    accounts: &Accounts,
    asked: &ChangeOperatorRequest,
    author: &Author,
) -> Result<Decision, Refusal> {
    let name = &asked.name;
    let known = known(accounts, name)?;
    if known.changed.request_id == author.request_id {
        return Ok(Decision::Stands(known.clone()));
    }
    if asked.role.is_none() && asked.password.is_none() && asked.disabled.is_none() {
        return Err(Refusal::Nothing(name.clone()));
    }
    if let Some(password) = &asked.password {
        check(name, password)?;
    }
    let mut account = known.clone();
    account.role = asked.role.unwrap_or(known.role);
    account.disabled = asked.disabled.unwrap_or(known.disabled);
    let what = if account.disabled { "disabled" } else { "given another role" };
    keeps_an_admin(accounts, known, account.is_enabled_admin(), what)?;
    let mut told = Vec::new();
    if account.role != known.role {
        told.push(format!("its role is {} instead of {}", account.role, known.role));
    }
    if asked.password.is_some() {
        told.push("it has a new password".to_owned());
    }
    if account.disabled != known.disabled {
        told.push(if account.disabled { "it is disabled" } else { "it is enabled" }.to_owned());
    }
    if told.is_empty() {
        return Ok(Decision::Stands(known.clone()));
    }
    let mut told =
        format!("The operator's account {name} was changed by {}: {}.", author.who, told.join(", "));
    if let Some(note) = asked.password.as_ref().and_then(|_| outdated(&account)) {
        told = format!("{told} {note}");
    }
    (account.changed, account.applied) = (author.changed(), false);
    Ok(Decision::Changes(Change { account, password: asked.password.clone(), told }))
}

/// Removes an account.
///
/// # Errors
/// There is no such account, it is the first operator's, or no admin would be left.
pub fn remove(
    accounts: &Accounts,
    asked: &RemoveOperatorRequest,
    author: &Author,
) -> Result<Decision, Refusal> {
    let name = &asked.name;
    if let Some(known) = repeated(accounts, name, author) {
        return Ok(Decision::Stands(known.clone()));
    }
    let known = known(accounts, name)?;
    if known.is_first() {
        return Err(Refusal::First(name.clone()));
    }
    keeps_an_admin(accounts, known, false, "removed")?;
    let account =
        Account { password: None, removed: true, applied: false, changed: author.changed(), ..known.clone() };
    let told = format!("The operator's account {name} was removed by {}.", author.who);
    Ok(Decision::Changes(Change { account, password: None, told }))
}

/// What to tell when the password of this account changed: that of the first operator stands in files which
/// no coordinator reaches.
pub fn outdated(account: &Account) -> Option<&'static str> {
    account.is_first().then_some(
        "The password in .bigskies/operator.env and in the tools' own settings is the one that the \
         installation began with, and is no longer right: put the new one there.",
    )
}

impl Author {
    fn changed(&self) -> Changed {
        Changed { at: self.at, by: self.who.clone(), request_id: self.request_id.clone() }
    }
}

fn known<'a>(accounts: &'a Accounts, name: &OperatorName) -> Result<&'a Account, Refusal> {
    accounts.get(name).filter(|a| !a.removed).ok_or_else(|| Refusal::Unknown(name.clone()))
}

/// The account that this very request changed last.
fn repeated<'a>(accounts: &'a Accounts, name: &OperatorName, author: &Author) -> Option<&'a Account> {
    accounts.get(name).filter(|known| known.changed.request_id == author.request_id)
}

fn keeps_an_admin(
    accounts: &Accounts,
    known: &Account,
    stays: bool,
    what: &'static str,
) -> Result<(), Refusal> {
    let another = || accounts.values().any(|other| other.name != known.name && other.is_enabled_admin());
    if known.is_enabled_admin() && !stays && !another() {
        return Err(Refusal::LastAdmin { name: known.name.clone(), what });
    }
    Ok(())
}

fn check(name: &OperatorName, password: &NewPassword) -> Result<(), Refusal> {
    let is_name = || password.expose().eq_ignore_ascii_case(name.as_str()).then_some(PasswordFault::IsName);
    match password.fault().or_else(is_name) {
        Some(fault) => Err(Refusal::Password { name: name.clone(), fault }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
