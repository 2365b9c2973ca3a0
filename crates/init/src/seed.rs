//! The seed of the broker's identities: who can log in before any coordinator has run.
//!
//! Which logins there are, and what they may do, is decided in crate `acl`.

use acl::dynsec::{Client, DefaultAccess, Document, HashedPassword, RoleRef};
use acl::fixed;
use acl::password::{self, NoRandomness};
use envelope::principal::coordinator_of_login;

use crate::login::Login;

/// A login of the seed with its password in plain text.
#[derive(Debug)]
pub struct Credentials<'a> {
    /// Name of the login.
    pub username: &'a str,
    /// Its password.
    pub password: &'a str,
}

impl<'a> Credentials<'a> {
    /// Those of a login.
    pub fn of(login: &'a Login) -> Self {
        Self { username: &login.username, password: &login.password }
    }
}

/// Builds the seed. A login whose password did not change keeps its salt, so that the same passwords
/// and roles make the same bytes.
pub fn build(credentials: &[Credentials<'_>], previous: Option<&Document>) -> Result<Document, NoRandomness> {
    let mut clients = Vec::new();
    for known in credentials {
        let hashed = match hashed_before(known, previous) {
            Some(hashed) => hashed.clone(),
            None => password::hash(known.password)?,
        };
        clients.push(Client {
            username: known.username.to_owned(),
            textname: None,
            clientid: None,
            disabled: false,
            roles: roles_of(known.username),
            groups: Vec::new(),
            password: Some(hashed),
        });
    }
    Ok(Document { default_access: DefaultAccess::DENY, clients, groups: Vec::new(), roles: fixed::roles() })
}

fn roles_of(username: &str) -> Vec<RoleRef> {
    match coordinator_of_login(username) {
        Some(c) => fixed::coordinators_roles(c),
        None => fixed::operators_login(&fixed::first_operator(), fixed::FIRST_OPERATORS_ROLE).roles,
    }
}

fn hashed_before<'a>(known: &Credentials<'_>, previous: Option<&'a Document>) -> Option<&'a HashedPassword> {
    let client = previous?.clients.iter().find(|client| client.username == known.username)?;
    client.password.as_ref().filter(|hashed| password::is_of(hashed, known.password))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials<'a>(logins: &'a [String], password: &'a str) -> Vec<Credentials<'a>> {
        logins.iter().map(|username| Credentials { username, password }).collect()
    }

    fn logins() -> Vec<String> {
        fixed::logins().into_iter().map(|login| login.username).collect()
    }

    #[test]
    fn every_login_of_the_framework_is_in_the_seed() {
        let logins = logins();
        let seed = build(&credentials(&logins, "p"), None).expect("random bytes");
        let wanted: Vec<_> = fixed::logins().into_iter().map(|l| (l.username, l.roles)).collect();
        let present: Vec<_> = seed.clients.into_iter().map(|c| (c.username, c.roles)).collect();
        assert_eq!(present, wanted);
    }

    #[test]
    fn the_other_login_of_a_coordinator_has_the_same_roles() {
        let logins = ["coordinator.plugin".to_owned(), "coordinator.plugin.2".to_owned()];
        let seed = build(&credentials(&logins, "p"), None).expect("random bytes");
        assert_eq!(seed.clients[0].roles, seed.clients[1].roles);
    }

    #[test]
    fn the_same_passwords_make_the_same_seed_and_others_another() {
        let logins = logins();
        let first = build(&credentials(&logins, "p"), None).expect("random bytes");
        assert_eq!(build(&credentials(&logins, "p"), Some(&first)).expect("random bytes"), first);
        let other = build(&credentials(&logins, "q"), Some(&first)).expect("random bytes");
        assert!(other.clients.iter().zip(&first.clients).all(|(a, b)| a.password != b.password));
    }
}
