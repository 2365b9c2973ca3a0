//! The broker's own comparisons of topics, as Mosquitto 2.0 and 2.1 do them.

/// Whether a rule's filter matches a topic that is published or delivered (`mosquitto_topic_matches_sub`).
pub fn matches(filter: &str, topic: &str) -> bool {
    if filter.starts_with('$') != topic.starts_with('$') {
        return false;
    }
    let mut levels = topic.split('/');
    for own in filter.split('/') {
        if own == "#" {
            return true;
        }
        match levels.next() {
            Some(level) if own == "+" || own == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// Whether a subscription lies inside a rule's filter (`mosquitto_sub_matches_acl`).
///
/// Mosquitto 2.0 lets `#` contain subscriptions to `$…` topics, 2.1 does not: what 2.0 does is said here,
/// and no rule of the framework depends on it.
pub fn lies_inside(rule: &str, subscription: &str) -> bool {
    if rule == "#" {
        return true;
    }
    let mut theirs = subscription.split('/');
    for own in rule.split('/') {
        if own == "#" {
            return true;
        }
        match theirs.next() {
            Some("#") | None => return false,
            Some(level) if own == "+" || own == level => {}
            Some(_) => return false,
        }
    }
    theirs.next().is_none()
}

/// Whether some topic could match both filters; said for people, so `$` is not told apart.
pub fn may_meet(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('/'), other.split('/'));
    loop {
        match (one.next(), other.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(a), Some(b)) if a == b || a == "+" || b == "+" => {}
            _ => return false,
        }
    }
}
