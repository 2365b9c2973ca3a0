//! What coordinators and operators can do, and what only one of them can.

use envelope::operation::Callers;
use envelope::principal::{Coordinator, Principal, coordinator_login};
use envelope::topic::{self, RequestTopic, broker, coordinator, operator, plugin};
use envelope::{InstanceId, Operation, OperatorName};
use testkit::{Client, Version};

use crate::site::{id, site};

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
            };
            for caller in callers {
                let response = RequestTopic::new(caller, operation).response();
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

#[tokio::test]
async fn an_operator_can_ask_tell_and_watch_but_not_read_tokens_or_be_somebody_else() {
    let site = site(&[]).await;
    let client = site.client(OPERATOR, Version::V5).await;
    let (me, other) =
        (OperatorName::parse("operator").expect("a name"), OperatorName::parse("other").expect("a name"));
    for operation in Operation::ALL {
        let raw = RequestTopic::new(Principal::Unnamed, operation);
        let allowed = !operation.is_internal();
        assert_eq!(publishes(&client, &raw.to_string()).await, allowed, "{raw}");
        assert_eq!(subscribes(&client, &raw.response()).await, allowed, "{raw}");
        let named = RequestTopic::new(Principal::Operator(me.clone()), operation);
        assert!(publishes(&client, &named.to_string()).await);
        let forged = RequestTopic::new(Principal::Operator(other.clone()), operation);
        assert!(!publishes(&client, &forged.to_string()).await);
        let forged = RequestTopic::new(Principal::Plugin(id("any-plugin")), operation);
        assert!(!publishes(&client, &forged.to_string()).await);
    }
    assert!(publishes(&client, &plugin::control_command(&id("any-plugin"), "stop")).await);
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
        assert!(subscribes(&client, &filter).await, "{filter}");
    }
    for filter in [
        operator::responses(&other),
        coordinator::tokens(),
        coordinator::token(&id("any-plugin")),
        plugin::all_requests(),
        plugin::all_responses(),
        coordinator::all_internal(),
        broker::log().to_owned(),
        broker::control_answers().to_owned(),
        "#".to_owned(),
    ] {
        assert!(!subscribes(&client, &filter).await, "{filter}");
    }
    for topic in [coordinator::spec(&id("any-plugin")), broker::control().to_owned(), coordinator::jwks()] {
        assert!(!publishes(&client, &topic).await, "{topic}");
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
