//! What coordinators and operators can do, and what only one of them can.

use envelope::operation::Callers;
use envelope::principal::{Coordinator, Principal, coordinator_login};
use envelope::topic::{self, RequestTopic, broker, coordinator, operator, plugin};
use envelope::{InstanceId, Operation, OperatorName, OperatorRole};
use testkit::{Client, Version};

use crate::site::{id, site, site_with_operators};

const OPERATOR: &str = "operator.operator";

async fn publishes(client: &Client, topic: &str) -> bool {
    let code = client.publish(topic, "{}", 1, false).await.expect("answered");
    assert!([0, 0x10, 0x87].contains(&code), "{topic} {code:#x}");
    code != 0x87
}

async fn subscribes(client: &Client, filter: &str) -> bool {
    client.subscribe(filter).await.is_ok()
}

#[tokio::test]
async fn every_coordinator_hears_its_requests_and_can_answer_them() {
    let site = site(&[]).await;
    let (user, other) = (OperatorName::parse("anybody").expect("a name"), id("any-plugin"));
    for c in Coordinator::ALL {
        let client = site.client(&coordinator_login(c), Version::V5).await;
        for filter in topic::request_filters(c) {
            assert!(subscribes(&client, &filter).await, "{c} {filter}");
        }
        for operation in Operation::of(c) {
            let callers = match operation.callers() {
                Callers::Internal(caller) => vec![Principal::Coordinator(caller)],
                Callers::People { .. } => vec![
                    Principal::Unnamed,
                    Principal::Operator(user.clone()),
                    Principal::Plugin(other.clone()),
                ],
                Callers::Accounts { .. } => vec![Principal::Operator(user.clone())],
                Callers::Itself => vec![Principal::Plugin(other.clone())],
            };
            for caller in callers {
                let response = RequestTopic::to(c, caller, operation).response();
                assert!(publishes(&client, &response).await, "{c} {response}");
            }
        }
        let instance = InstanceId::parse("one").expect("an id");
        for topic in [
            coordinator::marker(c),
            coordinator::event(c, "refused"),
            coordinator::health(c),
            coordinator::instance_health(c, &instance),
        ] {
            assert!(publishes(&client, &topic).await, "{c} {topic}");
        }
        for filter in [coordinator::marker(c), coordinator::keys(), coordinator::jwks()] {
            assert!(subscribes(&client, &filter).await, "{c} {filter}");
        }
        for peer in Coordinator::ALL {
            assert!(subscribes(&client, &coordinator::health(peer)).await, "{c} {peer}");
        }
    }
}

#[tokio::test]
async fn what_is_one_coordinators_is_nobody_elses() {
    let site = site(&[]).await;
    use Coordinator::{Message, Plugin, Security};
    let plugin = id("any-plugin");
    let internal = |operation| RequestTopic::new(Principal::Coordinator(Plugin), operation).to_string();
    let published = [
        (Plugin, coordinator::spec(&plugin)),
        (Plugin, coordinator::state(&plugin)),
        (Plugin, plugin::health(&plugin)),
        (Plugin, internal(Operation::Provision)),
        (Plugin, internal(Operation::Deprovision)),
        (Plugin, internal(Operation::Issue)),
        (Plugin, internal(Operation::Revoke)),
        (Message, coordinator::acl(&plugin)),
        (Message, broker::control().to_owned()),
        (Security, coordinator::token(&plugin)),
        (Security, coordinator::jwks()),
        (Security, coordinator::revoked()),
    ];
    let heard = [
        (Message, broker::control_answers().to_owned()),
        (Message, broker::log().to_owned()),
        (Plugin, topic::internal_responses(Plugin)),
        (Plugin, plugin::all()),
        (Plugin, coordinator::event(Message, "flood")),
        (Plugin, coordinator::event(Security, "flood")),
        (Plugin, coordinator::event(Message, "session")),
    ];
    for c in Coordinator::ALL {
        let client = site.client(&coordinator_login(c), Version::V5).await;
        for (owner, topic) in &published {
            assert_eq!(publishes(&client, topic).await, c == *owner, "{c} {topic}");
        }
        for (owner, filter) in &heard {
            assert_eq!(subscribes(&client, filter).await, c == *owner, "{c} {filter}");
        }
        for topic in [
            RequestTopic::new(Principal::Plugin(plugin.clone()), Operation::Explain).to_string(),
            RequestTopic::new(Principal::Unnamed, Operation::Install).to_string(),
            "anything".to_owned(),
        ] {
            assert!(!publishes(&client, &topic).await, "{c} {topic}");
        }
        for filter in ["#".to_owned(), coordinator::all(), coordinator::tokens(), operator::all()] {
            assert!(!subscribes(&client, &filter).await, "{c} {filter}");
        }
    }
}

/// Every request that there is: to each coordinator, on the SDK's topics and in somebody's name.
fn every_request(caller: &Principal) -> Vec<(Operation, RequestTopic)> {
    let of = |c| Operation::of(c).map(move |operation| (c, operation));
    let all = Coordinator::ALL.into_iter().flat_map(of);
    all.map(|(c, operation)| (operation, RequestTopic::to(c, caller.clone(), operation))).collect()
}

#[tokio::test]
async fn each_kind_of_operator_asks_for_what_its_role_has_and_for_nothing_else() {
    let site = site_with_operators().await;
    for role in OperatorRole::ALL {
        let client = site.operator(role, Version::V5).await;
        let me = Principal::Operator(crate::site::operator(role));
        for (operation, topic) in every_request(&me) {
            let allowed = operation.is_open_to(role) || role == OperatorRole::Admin;
            assert_eq!(publishes(&client, &topic.to_string()).await, allowed, "{role} {topic}");
        }
        let mut unknown = RequestTopic::new(me, Operation::List);
        unknown.operation = "dance".to_owned();
        assert_eq!(publishes(&client, &unknown.to_string()).await, role == OperatorRole::Admin, "{role}");
        for (operation, topic) in every_request(&Principal::Unnamed) {
            let allowed = role != OperatorRole::Viewer && operation.is_raw() && operation.is_open_to(role);
            assert_eq!(publishes(&client, &topic.to_string()).await, allowed, "{role} {topic}");
            assert_eq!(subscribes(&client, &topic.response()).await, allowed, "{role} {topic}");
        }
        let told = plugin::control_command(&id("any-plugin"), "stop");
        assert_eq!(publishes(&client, &told).await, role != OperatorRole::Viewer, "{role}");
    }
}

#[tokio::test]
async fn every_operator_can_watch_and_none_can_read_tokens_or_be_somebody_else() {
    let site = site_with_operators().await;
    for role in OperatorRole::ALL {
        let client = site.operator(role, Version::V5).await;
        let me = crate::site::operator(role);
        for filter in [
            operator::responses(&me),
            plugin::all(),
            coordinator::events(Coordinator::Message),
            coordinator::health_all(Coordinator::Security),
            coordinator::states(),
            coordinator::acls(),
            coordinator::specs(),
            coordinator::keys(),
        ] {
            assert!(subscribes(&client, &filter).await, "{role} {filter}");
        }
        let others = OperatorRole::ALL.into_iter().filter(|other| *other != role).map(crate::site::operator);
        for other in others.chain([acl::fixed::first_operator()]) {
            assert!(!subscribes(&client, &operator::responses(&other)).await, "{role} {other}");
            let forged = RequestTopic::new(Principal::Operator(other), Operation::List);
            assert!(!publishes(&client, &forged.to_string()).await, "{role} {forged}");
            assert!(!publishes(&client, &forged.response()).await, "{role} {forged}");
        }
        for filter in [
            operator::all(),
            coordinator::tokens(),
            coordinator::token(&id("any-plugin")),
            plugin::all_requests(),
            plugin::all_responses(),
            coordinator::all_internal(),
            broker::log().to_owned(),
            broker::control_answers().to_owned(),
            "#".to_owned(),
        ] {
            assert!(!subscribes(&client, &filter).await, "{role} {filter}");
        }
        for topic in [
            RequestTopic::new(Principal::Plugin(id("any-plugin")), Operation::List).to_string(),
            RequestTopic::new(Principal::Coordinator(Coordinator::Plugin), Operation::Issue).to_string(),
            plugin::health(&id("any-plugin")),
            coordinator::event(Coordinator::Message, "account"),
            coordinator::spec(&id("any-plugin")),
            broker::control().to_owned(),
            coordinator::jwks(),
        ] {
            assert!(!publishes(&client, &topic).await, "{role} {topic}");
        }
    }
}

#[tokio::test]
async fn what_an_older_client_is_not_told_of_does_not_arrive_either() {
    let site = site_with_operators().await;
    let mut witness = site.witness().await;
    for role in OperatorRole::ALL {
        let client = site.operator(role, Version::V3).await;
        let me = Principal::Operator(crate::site::operator(role));
        let mut wanted = Vec::new();
        for operation in [Operation::List, Operation::Start, Operation::AddOperator] {
            let named = RequestTopic::new(me.clone(), operation);
            let raw = RequestTopic::new(Principal::Unnamed, operation);
            for topic in [&named, &raw] {
                client.publish(&topic.to_string(), "{}", 1, false).await.expect("it looks accepted");
            }
            let open = operation.is_open_to(role);
            wanted.extend(open.then(|| named.to_string()));
            let raw_open = open && operation.is_raw() && role != OperatorRole::Viewer;
            wanted.extend(raw_open.then(|| raw.to_string()));
        }
        let marker = RequestTopic::new(me, Operation::Inspect).to_string();
        client.publish(&marker, "{}", 1, false).await.expect("all may");
        let seen = crate::site::until(&mut witness, &marker).await;
        assert_eq!(seen.into_iter().map(|m| m.topic).collect::<Vec<_>>(), wanted, "{role}");
    }
}

#[tokio::test]
async fn requests_of_plugins_reach_the_coordinator_asked_and_no_watcher() {
    let site = site(&[]).await;
    let mut operator = site.client(OPERATOR, Version::V5).await;
    operator.subscribe(&plugin::all()).await.expect("it may watch");
    let mut coordinator = site.client("coordinator.plugin", Version::V5).await;
    coordinator.subscribe(&plugin::all()).await.expect("it may watch");
    let witness = site.client("witness", Version::V5).await;
    let from = |operation| RequestTopic::new(Principal::Plugin(id("any-plugin")), operation);
    let marker = plugin::health(&id("any-plugin"));
    let asked = from(Operation::List).to_string();
    for topic in
        [&asked, &from(Operation::Introspect).to_string(), &from(Operation::List).response(), &marker]
    {
        witness.publish(topic, "{}", 1, false).await.expect("published");
    }
    let seen = crate::site::until(&mut operator, &marker).await;
    assert!(seen.is_empty(), "{seen:?}");
    let seen: Vec<String> =
        crate::site::until(&mut coordinator, &marker).await.into_iter().map(|m| m.topic).collect();
    assert_eq!(seen, [asked]);
}
