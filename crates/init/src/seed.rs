//! The seed of the broker's identities: who can log in before any coordinator has run.
//!
//! Which logins there are, and what they may do, is decided in crate `acl`.

use acl::dynsec::{Client, DefaultAccess, Document, HashedPassword};
use acl::fixed;
use acl::password::{self, NoRandomness};

/// A login of the seed with its password in plain text.
#[derive(Debug)]
pub struct Credentials<'a> {
    /// Name of the login.
    pub username: &'a str,
    /// Its password.
    pub password: &'a str,
}

/// Builds the seed. A login whose password did not change keeps its salt, so that the same passwords
/// and roles make the same bytes.
pub fn build(credentials: &[Credentials<'_>], previous: Option<&Document>) -> Result<Document, NoRandomness> {
    let mut clients = Vec::new();
    for login in fixed::logins() {
        let Some(known) = credentials.iter().find(|known| known.username == login.username) else {
            // A login that nobody was given the password of would only be a way in.
            continue;
        };
        let hashed = match hashed_before(known, previous) {
            Some(hashed) => hashed.clone(),
            None => password::hash(known.password)?,
        };
        clients.push(Client {
            username: login.username,
            textname: None,
            clientid: None,
            disabled: false,
            roles: login.roles,
            groups: Vec::new(),
            password: Some(hashed),
        });
    }
    Ok(Document { default_access: DefaultAccess::DENY, clients, groups: Vec::new(), roles: fixed::roles() })
}

fn hashed_before<'a>(known: &Credentials<'_>, previous: Option<&'a Document>) -> Option<&'a HashedPassword> {
    let client = previous?.clients.iter().find(|client| client.username == known.username)?;
    client.password.as_ref().filter(|hashed| password::is_of(hashed, known.password))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Service;

    fn credentials<'a>(logins: &'a [String], password: &'a str) -> Vec<Credentials<'a>> {
        logins.iter().map(|username| Credentials { username, password }).collect()
    }

    fn logins() -> Vec<String> {
        Service::ALL.into_iter().filter_map(Service::login).collect()
    }

    #[test]
    fn every_login_of_the_framework_is_in_the_seed() {
        let logins = logins();
        let seed = build(&credentials(&logins, "p"), None).expect("random bytes");
        let mut wanted: Vec<String> = fixed::logins().into_iter().map(|login| login.username).collect();
        let mut present: Vec<String> = seed.clients.into_iter().map(|client| client.username).collect();
        wanted.sort();
        present.sort();
        assert_eq!(present, wanted);
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
