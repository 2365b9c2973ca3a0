//! Roles and logins that are the same in every installation: coordinators and operators.
//!
//! They are computed from the table of operations, so that a new operation is in the right roles by
//! being in the table.

mod coordinator;
mod operator;

use envelope::principal::{coordinator_login, operator_login};
use envelope::{Coordinator, OperatorName, OperatorRole};

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

/// What the first operator may do at first: somebody must decide who else has an account.
pub const FIRST_OPERATORS_ROLE: OperatorRole = OperatorRole::Admin;

/// The roles that are the same in every installation: one per coordinator, one per role of operators, and the
/// guard of plugins.
pub fn shared_roles() -> Vec<Role> {
    let mut roles: Vec<Role> = Coordinator::ALL.into_iter().map(coordinator_role).collect();
    roles.extend(OperatorRole::ALL.map(operator_role));
    roles.push(guard::role());
    roles
}

/// Every role of the seed: the shared ones, and the first operator's own.
pub fn roles() -> Vec<Role> {
    let mut roles = shared_roles();
    roles.push(personal_role(&first_operator(), FIRST_OPERATORS_ROLE));
    roles
}

/// The logins of the coordinators.
pub fn coordinators_logins() -> Vec<Login> {
    Coordinator::ALL
        .into_iter()
        .map(|c| Login { username: coordinator_login(c), roles: coordinators_roles(c) })
        .collect()
}

/// The roles of a coordinator's login, whichever of its two names that has.
pub fn coordinators_roles(c: Coordinator) -> Vec<RoleRef> {
    vec![RoleRef::new(coordinator_role(c).rolename, priority::FIXED)]
}

/// Every login of the seed: the coordinators', and the first operator's.
pub fn logins() -> Vec<Login> {
    let mut logins = coordinators_logins();
    logins.push(operators_login(&first_operator(), FIRST_OPERATORS_ROLE));
    logins
}

/// The login of an operator: the role that it shares with all of its kind, and its own.
pub fn operators_login(name: &OperatorName, role: OperatorRole) -> Login {
    let roles = [operator_role(role), personal_role(name, role)];
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
    fn an_installation_begins_with_one_operator_who_may_make_others() {
        let operators: Vec<Login> =
            logins().into_iter().filter(|login| login.username.starts_with("operator.")).collect();
        assert_eq!(operators, [operators_login(&first_operator(), OperatorRole::Admin)]);
    }

    #[test]
    fn no_role_lists_a_rule_twice() {
        let name = first_operator();
        let personal = OperatorRole::ALL.map(|role| personal_role(&name, role));
        for role in shared_roles().into_iter().chain(personal) {
            let mut rules: Vec<_> = role.acls.iter().map(|a| (a.acltype, &a.topic)).collect();
            rules.sort();
            let all = rules.len();
            rules.dedup();
            assert_eq!(rules.len(), all, "{}", role.rolename);
        }
    }
}
