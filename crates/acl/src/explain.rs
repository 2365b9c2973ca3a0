//! What the broker decides, and by which rule: its own way of asking roles, done again here.
//!
//! Mosquitto asks a client's roles from the highest priority down (by name where two are equal), in a
//! role its rules from the highest priority down, and the first that matches decides; then the default.

mod matching;

use envelope::payload::login::Access;

use crate::dynsec::{Acl, AclType, Role};

pub use matching::{lies_inside, matches, may_meet};

/// Something that the broker is asked to allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A client publishes to a topic.
    Publish,
    /// The broker delivers a message on a topic.
    Receive,
    /// A client subscribes to a filter.
    Subscribe,
}

/// Which rule decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<'a> {
    /// Whether it is allowed; without a rule it is not.
    pub allowed: bool,
    /// The deciding role's name and rule; none when nothing matched.
    pub by: Option<(&'a str, &'a Acl)>,
}

/// What there is to say to somebody who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// Whether it is allowed.
    pub allowed: bool,
    /// The deciding role, if one decided.
    pub role: Option<String>,
    /// The filter of the deciding rule, if one decided.
    pub rule: Option<String>,
    /// The same in a sentence.
    pub reason: String,
}

/// What the broker decides for a client with these roles and their priorities.
pub fn decide<'a>(held: &[(i32, &'a Role)], action: Action, topic: &str) -> Decision<'a> {
    let mut held = held.to_vec();
    held.sort_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.rolename.cmp(&other.rolename)));
    let deciding = held
        .into_iter()
        .find_map(|(_, role)| first_match(role, action, topic).map(|acl| (role.rolename.as_str(), acl)));
    Decision { allowed: deciding.is_some_and(|(_, acl)| acl.allow), by: deciding }
}

/// Tells whether a client with these roles may do that, and why. To subscribe is to be delivered to: a
/// subscription that the broker takes and never serves is not allowed.
pub fn explain(held: &[(i32, &Role)], access: Access, topic: &str) -> Explained {
    match access {
        Access::Publish => explained(decide(held, Action::Publish, topic), "publishing"),
        Access::Subscribe => {
            let subscribing = decide(held, Action::Subscribe, topic);
            if !subscribing.allowed {
                return explained(subscribing, "subscribing");
            }
            if topic.contains(['+', '#']) {
                return with_exceptions(explained(subscribing, "subscribing"), held, topic);
            }
            let receiving = decide(held, Action::Receive, topic);
            let what = if receiving.allowed { "subscribing" } else { "delivery" };
            explained(receiving, what)
        }
    }
}

/// The first rule of `role` that matches. A literal rule about a subscription goes before every pattern.
fn first_match<'a>(role: &'a Role, action: Action, topic: &str) -> Option<&'a Acl> {
    let literal = |acl: &&Acl| acl.acltype == AclType::SubscribeLiteral && acl.topic == topic;
    let (kind, test): (AclType, fn(&str, &str) -> bool) = match action {
        Action::Publish => (AclType::PublishClientSend, matches),
        Action::Receive => (AclType::PublishClientReceive, matches),
        Action::Subscribe => (AclType::SubscribePattern, lies_inside),
    };
    if action == Action::Subscribe
        && let Some(acl) = role.acls.iter().find(literal)
    {
        return Some(acl);
    }
    let mut rules: Vec<&Acl> = role.acls.iter().filter(|a| a.acltype == kind).collect();
    rules.sort_by_key(|acl| std::cmp::Reverse(acl.priority));
    rules.into_iter().find(|acl| test(&acl.topic, topic))
}

fn explained(decision: Decision<'_>, what: &str) -> Explained {
    let verdict = if decision.allowed { "allows" } else { "denies" };
    let reason = match decision.by {
        Some((role, acl)) => format!("The role {role:?} {verdict} {what} by its rule {:?}.", acl.topic),
        None => format!("No role has a rule that allows {what} here, and what is not allowed is denied."),
    };
    Explained {
        allowed: decision.allowed,
        role: decision.by.map(|(role, _)| role.to_owned()),
        rule: decision.by.map(|(_, acl)| acl.topic.clone()),
        reason,
    }
}

/// Names what a subscription with wildcards does not bring.
fn with_exceptions(mut explained: Explained, held: &[(i32, &Role)], filter: &str) -> Explained {
    let denied: Vec<String> = held
        .iter()
        .flat_map(|(_, role)| &role.acls)
        .filter(|acl| acl.acltype == AclType::PublishClientReceive && !acl.allow)
        .filter(|acl| may_meet(&acl.topic, filter))
        .map(|acl| format!("{:?}", acl.topic))
        .collect();
    if !denied.is_empty() {
        let list = denied.join(", ");
        explained.reason.push_str(&format!(
            " What matches {list} is not delivered all the same, unless a role asked earlier allows it."
        ));
    }
    explained
}

#[cfg(test)]
mod tests;
