//! How a role at the broker differs from what it should be.

use std::collections::BTreeSet;

use acl::dynsec::{Acl, Role};

/// The difference, from the point of view of whoever has the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// None.
    Same,
    /// It allows more, or might: a rule in another place counts as more.
    Beyond,
    /// It allows less.
    Less,
}

/// Compares two roles by their rules; in doubt it is [`Difference::Beyond`].
pub fn difference(wanted: &Role, found: &Role) -> Difference {
    let set = |role: &Role| role.acls.iter().cloned().collect::<BTreeSet<Acl>>();
    let (wanted, found) = (set(wanted), set(found));
    let more = found.difference(&wanted).any(|acl| acl.allow);
    let less_denied = wanted.difference(&found).any(|acl| !acl.allow);
    if wanted == found {
        Difference::Same
    } else if more || less_denied {
        Difference::Beyond
    } else {
        Difference::Less
    }
}
