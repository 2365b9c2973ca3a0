//! `operator …` as it is typed.

use clap::{ArgGroup, Args as Group, Subcommand};
use envelope::{OperatorName, OperatorRole};

#[derive(Debug, Subcommand)]
pub(crate) enum Operator {
    /// List all accounts and what they may do
    #[command(visible_alias = "ls")]
    List,
    /// Make an account
    Add(AddOperator),
    /// Change what an account may do, disable or enable it, or give it a new password
    Set(SetOperator),
    /// Delete an account
    Remove(Name),
}

#[derive(Debug, Group)]
pub(crate) struct Name {
    /// The account's name
    #[arg(value_parser = OperatorName::parse)]
    pub(crate) name: OperatorName,
}

#[derive(Debug, Group)]
#[command(after_help = "\
Roles: a viewer looks, an operator also runs what is installed, an admin also decides what is installed,
what it is granted and who has an account. The login at the broker is operator.NAME. Its password is asked
for on a terminal, unless --generate or --password-stdin is given: 16 characters to 256 bytes.")]
pub(crate) struct AddOperator {
    /// The account's name
    #[arg(value_parser = OperatorName::parse)]
    pub(crate) name: OperatorName,
    /// What it may do: viewer, operator or admin
    #[arg(long)]
    pub(crate) role: OperatorRole,
    #[command(flatten)]
    pub(crate) password: NewPasswordFrom,
}

#[derive(Debug, Group)]
#[command(
    after_help = "What is not named stays as it is. A change of any kind ends the account's connections."
)]
#[command(group = ArgGroup::new("changes").required(true).multiple(true)
    .args(["role", "disable", "enable", "new_password", "password_stdin", "generate"]))]
pub(crate) struct SetOperator {
    /// The account's name
    #[arg(value_parser = OperatorName::parse)]
    pub(crate) name: OperatorName,
    /// What it may do from now on: viewer, operator or admin
    #[arg(long)]
    pub(crate) role: Option<OperatorRole>,
    /// Let it log in no more
    #[arg(long, conflicts_with = "enable")]
    pub(crate) disable: bool,
    /// Let it log in again
    #[arg(long)]
    pub(crate) enable: bool,
    /// Give it a new password; --password-stdin and --generate say so too
    #[arg(long)]
    pub(crate) new_password: bool,
    #[command(flatten)]
    pub(crate) password: NewPasswordFrom,
}

/// Where a new password comes from; from the terminal when neither is given.
#[derive(Debug, Clone, Default, Group)]
pub(crate) struct NewPasswordFrom {
    /// Read the password from standard input
    #[arg(long, conflicts_with = "generate")]
    pub(crate) password_stdin: bool,
    /// Make a random password and show it once
    #[arg(long)]
    pub(crate) generate: bool,
}
