//! What a canary tries: everything here must be refused, or everything must be allowed.
//!
//! A leak must do no harm by being found. So what is published says nothing, is not kept, and goes to topics
//! that are the canaries' or nobody's; only where a right would be exact (an internal request, the
//! administrator's topic) it goes to a real one, whose reader cannot make anything of it. Of real plugins
//! nothing is tried but to subscribe.

use acl::fixed::first_operator;
use envelope::operation::Callers;
use envelope::topic::{self, RequestTopic, broker, coordinator, operator, plugin};
use envelope::{Coordinator, InstanceId, Operation, OperatorName, PluginId, Principal};

/// What stands where a topic needs some last level.
const NAME: &str = "bigskies-canary";
/// Most real plugins' names in one proof; the next one goes on with others.
const FOREIGN: usize = 20;

/// At most [`FOREIGN`] of `names`, others each time.
pub(super) fn some_of(names: Vec<PluginId>, rotation: &mut usize) -> Vec<PluginId> {
    if names.is_empty() {
        return names;
    }
    let (first, many) = (*rotation % names.len(), names.len().min(FOREIGN));
    *rotation = (first + many) % names.len();
    names.into_iter().cycle().skip(first).take(many).collect()
}

/// Where `me` must not be able to publish.
pub(super) fn never_published(me: &PluginId, other: &PluginId) -> Vec<String> {
    let principal = Principal::Plugin(other.clone());
    let mut topics = vec![
        plugin::health(other),
        plugin::status(other),
        plugin::control_command(other, NAME),
        inside(&plugin::namespace(other)),
        RequestTopic::new(principal.clone(), Operation::List).to_string(),
        RequestTopic::new(principal, Operation::List).response(),
        RequestTopic::new(Principal::Plugin(me.clone()), Operation::List).response(),
        coordinator::token(me),
        coordinator::token(other),
        coordinator::spec(me),
        coordinator::acl(me),
        coordinator::state(me),
        inside(&coordinator::keys()),
        broker::control().to_owned(),
        broker::control_answers().to_owned(),
    ];
    topics.extend(broker::reserved().map(inside));
    for c in Coordinator::ALL {
        topics.extend([
            coordinator::event(c, NAME),
            coordinator::marker(c),
            inside(&coordinator::internal(c)),
        ]);
        topics
            .extend(InstanceId::parse(NAME).ok().map(|instance| coordinator::instance_health(c, &instance)));
    }
    for operation in [Operation::List, Operation::Explain, Operation::Introspect] {
        let raw = RequestTopic::new(Principal::Unnamed, operation);
        topics.extend([raw.to_string(), raw.response()]);
    }
    for operation in Operation::ALL {
        if let Callers::Internal(caller) = operation.callers() {
            let internal = RequestTopic::new(Principal::Coordinator(caller), operation);
            topics.extend([internal.to_string(), internal.response()]);
        }
    }
    for name in operators() {
        let named = RequestTopic::new(Principal::Operator(name), Operation::List);
        topics.extend([named.to_string(), named.response()]);
    }
    topics
}

/// To what `me` must not be able to subscribe, the namespaces of `foreign` plugins included.
pub(super) fn never_subscribed(other: &PluginId, foreign: &[PluginId]) -> Vec<String> {
    let mut filters = vec![
        plugin::all(),
        plugin::all_health(),
        plugin::all_control(),
        plugin::all_requests(),
        plugin::all_responses(),
        coordinator::all(),
        coordinator::all_internal(),
        coordinator::raw_requests(),
        coordinator::raw_responses(),
        coordinator::specs(),
        coordinator::acls(),
        coordinator::states(),
        coordinator::tokens(),
        operator::all(),
        operator::all_requests(),
        operator::all_responses(),
        broker::control().to_owned(),
        broker::control_answers().to_owned(),
        broker::log().to_owned(),
    ];
    filters.extend(broker::broadest());
    // "$share/#" is no subscription; those through a group come below.
    filters.extend(broker::reserved().into_iter().filter(|f| !f.starts_with(SHARE)).map(str::to_owned));
    for c in Coordinator::ALL {
        filters.extend([coordinator::internal(c), coordinator::events(c), coordinator::marker(c)]);
        filters.push(topic::internal_responses(c));
    }
    for name in operators() {
        filters.extend([operator::requests(&name), operator::responses(&name)]);
    }
    for name in std::iter::once(other).chain(foreign) {
        filters.extend([
            plugin::namespace(name),
            plugin::health(name),
            plugin::control(name),
            plugin::requests(name),
            plugin::responses(name),
            coordinator::token(name),
            coordinator::spec(name),
        ]);
    }
    let shared = ["#".to_owned(), plugin::all(), plugin::namespace(other), coordinator::all()];
    filters.extend(shared.map(|filter| format!("{SHARE}{NAME}/{filter}")));
    filters.extend([coordinator::tokens(), operator::all()].map(|filter| format!("{SHARE}{NAME}/{filter}")));
    filters
}

/// Where `me` must be able to publish.
pub(super) fn always_published(me: &PluginId) -> Vec<String> {
    vec![plugin::health(me), plugin::status(me), inside(&plugin::namespace(me))]
}

/// To what `me` must be able to subscribe; the first is the broadest that it may.
pub(super) fn always_subscribed(me: &PluginId) -> Vec<String> {
    let mut filters = vec![
        plugin::namespace(me),
        plugin::control(me),
        plugin::responses(me),
        coordinator::token(me),
        coordinator::keys(),
    ];
    filters.extend(Coordinator::ALL.map(coordinator::health));
    filters
}

const SHARE: &str = "$share/";

/// A topic of nobody's inside `filter`, which ends in `#`.
fn inside(filter: &str) -> String {
    format!("{}{NAME}", filter.trim_end_matches('#'))
}

fn operators() -> Vec<OperatorName> {
    OperatorName::parse(NAME).into_iter().chain([first_operator()]).collect()
}

#[cfg(test)]
mod tests {
    use acl::compile::compile;
    use acl::explain::{Action, decide};

    use super::*;
    use crate::proof::canary;

    fn id(text: &str) -> PluginId {
        PluginId::parse(text).expect("an id")
    }

    #[test]
    fn the_rules_say_of_every_attempt_what_the_proof_expects() {
        let [me, other] = canary::ids();
        let roles = compile(&canary::spec(&me)).expect("it compiles");
        let held = roles.by_priority();
        let allowed = |action, topic: &str| decide(&held, action, topic).allowed;
        for topic in never_published(&me, &other) {
            assert!(!topic.contains(['+', '#']) && !allowed(Action::Publish, &topic), "{topic}");
        }
        for filter in never_subscribed(&other, &[id("mount")]) {
            assert!(!allowed(Action::Subscribe, &filter), "{filter}");
        }
        for topic in always_published(&me) {
            assert!(allowed(Action::Publish, &topic) && allowed(Action::Receive, &topic), "{topic}");
        }
        for filter in always_subscribed(&me) {
            assert!(allowed(Action::Subscribe, &filter), "{filter}");
        }
    }

    #[test]
    fn nothing_is_published_to_a_real_plugin() {
        let [me, other] = canary::ids();
        for topic in never_published(&me, &other) {
            if let Some(owner) = plugin::owner(&topic) {
                assert!(canary::is_canary(&id(owner)), "{topic}");
            }
        }
    }

    #[test]
    fn every_real_plugin_has_its_turn() {
        let names: Vec<PluginId> = (10..60).map(|n| id(&format!("p{n}"))).collect();
        let mut rotation = 0;
        let mut seen: Vec<PluginId> = (0..3).flat_map(|_| some_of(names.clone(), &mut rotation)).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen, names);
        assert_eq!(some_of(vec![], &mut rotation), []);
        assert_eq!(some_of(vec![id("one")], &mut rotation), [id("one")]);
    }
}
