//! What no plugin may ever do, denied once more above every manifest's role.
//!
//! Deny wins here by being asked first. The rule on delivery is the true fence: a subscription is only
//! stopped by a rule that it lies inside of, and one to `bigskies/#` lies inside none of these; but
//! whatever it brings is matched by topic, live, retained or queued.

use std::sync::LazyLock;

use envelope::topic::{broker, coordinator, operator, plugin};

use crate::dynsec::{AclType, Role};
use crate::role::{Rules, guard_name};

/// What no plugin may publish to, except under its own id as [`crate::compile::own_role`] says.
pub fn never_published() -> Vec<String> {
    let mut filters =
        vec![coordinator::all(), operator::all(), plugin::all_requests(), plugin::all_responses()];
    filters.extend(broker::reserved().map(str::to_owned));
    filters
}

/// What no plugin may be delivered, except under its own id.
pub fn never_received() -> Vec<String> {
    let mut filters = vec![
        operator::all(),
        plugin::all_requests(),
        plugin::all_responses(),
        coordinator::tokens(),
        coordinator::all_internal(),
        coordinator::raw_requests(),
        coordinator::raw_responses(),
    ];
    filters.extend(broker::reserved().map(str::to_owned));
    filters
}

/// The guard role.
pub fn role() -> Role {
    static ROLE: LazyLock<Role> = LazyLock::new(|| {
        Rules::new()
            .all(AclType::PublishClientSend, never_published(), false, 0)
            .all(AclType::PublishClientReceive, never_received(), false, 0)
            .all(AclType::SubscribePattern, never_received(), false, 0)
            .all(AclType::SubscribeLiteral, broker::broadest(), false, 0)
            .into_role(guard_name)
    });
    ROLE.clone()
}
