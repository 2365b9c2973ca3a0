//! Roles and logins that are the same in every installation: coordinators and operators.
//!
//! They are computed from the table of operations, so that a new operation is in the right roles by
//! being in the table.

mod coordinator;
mod operator;

use envelope::principal::{coordinator_login, operator_login};
use envelope::{Coordinator, OperatorName};

use crate::dynsec::{Client, DefaultAccess, Document, Role, RoleRef};
use crate::guard;
use crate::password::{self, NoRandomness};
use crate::role::priority;

pub use coordinator::role as coordinator_role;
pub use operator::{personal_role, role as operator_role};

/// A login that the seed makes; its password is known to the seed and to its owner only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Its name.
    pub username: String,
    /// Its roles.
    pub roles: Vec<RoleRef>,
}

/// The name of the one operator that an installation starts with.
pub fn first_operator() -> OperatorName {
    OperatorName::parse("operator").expect("it is of the allowed characters")
}

/// Every role: one per coordinator, that of operators, the first operator's own, and the guard of plugins.
pub fn roles() -> Vec<Role> {
    let mut roles: Vec<Role> = Coordinator::ALL.into_iter().map(coordinator_role).collect();
    roles.extend([operator_role(), personal_role(&first_operator()), guard::role()]);
    roles
}

/// Every login.
pub fn logins() -> Vec<Login> {
    let mut logins: Vec<Login> = Coordinator::ALL
        .into_iter()
        .map(|c| Login {
            username: coordinator_login(c),
            roles: vec![RoleRef::new(coordinator_role(c).rolename, priority::FIXED)],
        })
        .collect();
    logins.push(operators_login(&first_operator()));
    logins
}

/// The login of an operator.
pub fn operators_login(name: &OperatorName) -> Login {
    let roles = [operator_role(), personal_role(name)];
    Login {
        username: operator_login(name),
        roles: roles.map(|role| RoleRef::new(role.rolename, priority::FIXED)).into(),
    }
}

/// The file that a broker starts with: every role, every login, nothing else; deny by default.
/// `password_of` is asked for the password of each login, by its name.
///
/// # Errors
/// Whatever `password_of` says; when the operating system gives no random bytes for a salt.
pub fn seed<E: From<NoRandomness>>(
    mut password_of: impl FnMut(&str) -> Result<String, E>,
) -> Result<Document, E> {
    let clients = logins().into_iter().map(|login| {
        let password = password_of(&login.username)?;
        Ok(Client {
            password: Some(password::hash(&password)?),
            username: login.username,
            textname: None,
            clientid: None,
            disabled: false,
            roles: login.roles,
            groups: Vec::new(),
        })
    });
    Ok(Document {
        default_access: DefaultAccess::DENY,
        clients: clients.collect::<Result<_, E>>()?,
        groups: Vec::new(),
        roles: roles(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_login_has_roles_that_exist() {
        let names: Vec<String> = roles().into_iter().map(|r| r.rolename).collect();
        for login in logins() {
            assert!(!login.roles.is_empty());
            for role in login.roles {
                assert!(names.contains(&role.rolename), "{}", role.rolename);
            }
        }
    }

    #[test]
    fn the_seed_can_be_read_back_by_its_administrator() {
        let mut asked = Vec::new();
        let seed = seed(|name| {
            asked.push(name.to_owned());
            Ok::<_, NoRandomness>(format!("password of {name}"))
        })
        .expect("random bytes");
        let administrator = coordinator_login(Coordinator::Message);
        assert_eq!(Document::decode(&seed.encode(), &administrator).expect("decodes"), seed);
        assert_eq!(
            asked,
            ["coordinator.plugin", "coordinator.message", "coordinator.security", "operator.operator"]
        );
    }

    #[test]
    fn no_role_lists_a_rule_twice() {
        for role in roles() {
            let mut rules: Vec<_> = role.acls.iter().map(|a| (a.acltype, &a.topic)).collect();
            rules.sort();
            let all = rules.len();
            rules.dedup();
            assert_eq!(rules.len(), all, "{}", role.rolename);
        }
    }
}
