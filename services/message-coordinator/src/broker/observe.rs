//! What stands at the broker now.

use std::collections::BTreeMap;

use acl::dynsec::{AnswerError, Client, Command, DefaultAccess, Failure, Role};
use envelope::PluginId;

use super::{Admin, AdminError};

/// Roles in one answer. A role is at most some hundred kilobytes, mostly three.
const ROLES: usize = 50;
/// Logins in one answer.
const CLIENTS: usize = 500;
/// Names in one answer.
const NAMES: usize = 5_000;

/// A snapshot: everything, or all that belongs to one plugin or account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// What is allowed when no rule matches; none when it was not asked for.
    pub default_access: Option<DefaultAccess>,
    /// Roles by name.
    pub roles: BTreeMap<String, Role>,
    /// Logins by name.
    pub clients: BTreeMap<String, Client>,
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The broker did not answer.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// It answered, and not with what was asked for.
    #[error("the broker's list cannot be used")]
    Answer(#[from] AnswerError),
    /// It refused to say.
    #[error(transparent)]
    Refused(#[from] Failure),
}

/// Everything that stands at the broker.
///
/// # Errors
/// The broker does not tell.
pub async fn everything(admin: &mut Admin) -> Result<Observed, ObserveError> {
    let ask = [Command::GetDefaultAccess];
    let answers = admin.give(&ask).await?;
    let mut observed = Observed::default();
    for (answer, command) in answers.iter().zip(&ask) {
        answer.outcome(command)?;
        observed.default_access = Some(answer.default_access()?);
    }
    loop {
        let offset = observed.roles.len();
        let page = page(admin, Command::ListRoles { offset, count: ROLES }, |a| a.roles()).await?;
        let more = !page.items.is_empty() && offset + page.items.len() < page.total;
        observed.roles.extend(page.items.into_iter().map(|role| (role.rolename.clone(), role)));
        if !more {
            break;
        }
    }
    loop {
        let offset = observed.clients.len();
        let page = page(admin, Command::ListClients { offset, count: CLIENTS }, |a| a.clients()).await?;
        let more = !page.items.is_empty() && offset + page.items.len() < page.total;
        observed.clients.extend(page.items.into_iter().map(|c| (c.username.clone(), c)));
        if !more {
            break;
        }
    }
    Ok(observed)
}

/// All that belongs to one plugin: its login `username`, and the roles that are its own by name, together
/// with the `further` ones.
///
/// # Errors
/// The broker does not tell.
pub async fn only(
    admin: &mut Admin,
    id: &PluginId,
    username: &str,
    further: &[String],
) -> Result<Observed, ObserveError> {
    let mut names = further.to_vec();
    let mut offset = 0;
    loop {
        let page = page(admin, Command::ListRoleNames { offset, count: NAMES }, |a| a.role_names()).await?;
        offset += page.items.len();
        let more = !page.items.is_empty() && offset < page.total;
        names.extend(page.items.into_iter().filter(|name| acl::role::plugin_of(name).as_ref() == Some(id)));
        if !more {
            break;
        }
    }
    some(admin, names, username).await
}

/// The roles of these names and the login `username`, as far as they are there.
///
/// # Errors
/// The broker does not tell.
pub async fn some(
    admin: &mut Admin,
    mut names: Vec<String>,
    username: &str,
) -> Result<Observed, ObserveError> {
    names.sort();
    names.dedup();
    let mut ask: Vec<Command> = names.into_iter().map(Command::GetRole).collect();
    ask.push(Command::GetClient(username.to_owned()));
    let answers = admin.give(&ask).await?;
    let mut observed = Observed::default();
    for (answer, command) in answers.iter().zip(&ask) {
        match (answer.outcome(command), command) {
            (Err(failure), _) if failure.is_missing() => {}
            (Err(failure), _) => return Err(failure.into()),
            (Ok(()), Command::GetClient(_)) => {
                let client = answer.client()?;
                observed.clients.insert(client.username.clone(), client);
            }
            (Ok(()), _) => {
                let role = answer.role()?;
                observed.roles.insert(role.rolename.clone(), role);
            }
        }
    }
    Ok(observed)
}

async fn page<T>(
    admin: &mut Admin,
    command: Command,
    read: impl Fn(&acl::dynsec::Answer) -> Result<acl::dynsec::Page<T>, AnswerError>,
) -> Result<acl::dynsec::Page<T>, ObserveError> {
    let answers = admin.give(std::slice::from_ref(&command)).await?;
    let answer = answers.first().ok_or(AdminError::Mismatch { found: 0, wanted: 1 })?;
    answer.outcome(&command)?;
    Ok(read(answer)?)
}
