//! `explain` against the broker: whatever the rules are, both decide the same.

use acl::dynsec::{Acl, AclType, Role, RoleRef};
use acl::explain::{Action, decide};
use acl::password::NoRandomness;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use testkit::{Broker, Client, Version};

use crate::site::{add_login, add_role, until};

const LOGINS: usize = 24;
const QUESTIONS: usize = 24;

fn level() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "c", "+"])
}

fn filter() -> impl Strategy<Value = String> {
    (prop::collection::vec(level(), 1..4), prop::bool::weighted(0.4)).prop_map(|(mut levels, hash)| {
        if hash {
            levels.push("#");
        }
        levels.join("/")
    })
}

fn role() -> impl Strategy<Value = Vec<(AclType, String, bool, i32)>> {
    let kind = prop::sample::select(vec![
        AclType::PublishClientSend,
        AclType::PublishClientReceive,
        AclType::SubscribePattern,
        AclType::SubscribeLiteral,
    ]);
    let rule = (kind, filter(), any::<bool>(), 0..100);
    prop::collection::vec(rule, 0..8).prop_map(|mut rules| {
        // One rule for a topic and kind, and one for a priority and kind: the rest would be a matter of order.
        rules.sort_by_key(|(kind, topic, ..)| (*kind, topic.clone()));
        rules.dedup_by_key(|(kind, topic, ..)| (*kind, topic.clone()));
        rules.sort_by_key(|(kind, .., priority)| (*kind, *priority));
        rules.dedup_by_key(|(kind, .., priority)| (*kind, *priority));
        rules
    })
}

fn some<S: Strategy>(runner: &mut TestRunner, strategy: S) -> S::Value {
    strategy.new_tree(runner).expect("a value").current()
}

#[tokio::test]
async fn explain_decides_as_the_broker_does() {
    let mut runner = TestRunner::deterministic();
    let mut document = acl::fixed::seed(|_| Ok::<_, NoRandomness>("password".into())).expect("a seed");
    let mut logins = Vec::new();
    for n in 0..LOGINS {
        let roles = [2, 1].map(|priority| {
            let rules = some(&mut runner, role()).into_iter();
            let acls = rules.map(|(acltype, topic, allow, priority)| Acl { acltype, topic, priority, allow });
            (priority, Role { rolename: format!("{n}-{priority}"), acls: acls.collect() })
        });
        let refs = roles.iter().map(|(priority, role)| RoleRef::new(&role.rolename, *priority));
        add_login(&mut document, &format!("login-{n}"), refs.collect());
        for (_, role) in &roles {
            add_role(&mut document, role.clone());
        }
        logins.push(roles);
    }
    let everything = [AclType::PublishClientSend, AclType::SubscribePattern, AclType::PublishClientReceive];
    let acls = everything.map(|acltype| Acl { acltype, topic: "#".into(), priority: 0, allow: true });
    add_role(&mut document, Role { rolename: "everything".into(), acls: acls.into() });
    add_login(&mut document, "witness", vec![RoleRef::new("everything", 0)]);
    let broker = Broker::with_identities(serde_json::to_value(&document).expect("it serialises")).await;
    let witness = connect(&broker, "witness").await;

    for (n, roles) in logins.iter().enumerate() {
        let held = roles.each_ref().map(|(priority, role)| (*priority, role));
        let mut client = connect(&broker, &format!("login-{n}")).await;
        for _ in 0..QUESTIONS {
            let topic = some(&mut runner, filter()).replace("/#", "").replace(['+', '#'], "c");
            let code = client.publish(&topic, "", 1, false).await.expect("answered");
            assert_eq!(code != 0x87, decide(&held, Action::Publish, &topic).allowed, "{topic} {roles:?}");

            let filter = some(&mut runner, filter());
            let subscribed = client.subscribe(&filter).await.is_ok();
            assert_eq!(subscribed, decide(&held, Action::Subscribe, &filter).allowed, "{filter} {roles:?}");
        }
        received(&witness, &mut client, &held).await;
    }
}

/// Where the client can subscribe to everything, it is sent what it may receive and no more.
async fn received(witness: &Client, client: &mut Client, held: &[(i32, &Role)]) {
    if client.subscribe("#").await.is_err() || !decide(held, Action::Receive, "c/c/c/end").allowed {
        return;
    }
    while client.recv(std::time::Duration::ZERO).await.is_some() {}
    witness.publish("c/c/c/end", "", 1, false).await.expect("published");
    until(client, "c/c/c/end").await;
    let levels = ["a", "b", "c"];
    let topics = levels.iter().flat_map(|one| levels.iter().map(move |other| format!("{one}/{other}")));
    let mut wanted = Vec::new();
    for topic in topics {
        witness.publish(&topic, "", 1, false).await.expect("published");
        if decide(held, Action::Receive, &topic).allowed {
            wanted.push(topic);
        }
    }
    witness.publish("c/c/c/end", "", 1, false).await.expect("published");
    let mut seen: Vec<String> = until(client, "c/c/c/end").await.into_iter().map(|m| m.topic).collect();
    // Overlapping subscriptions may bring a message once each.
    seen.dedup();
    assert_eq!(seen, wanted, "{held:?}");
}

async fn connect(broker: &Broker, login: &str) -> Client {
    Client::connect(broker.port(), (login, "password"), login, Version::V5).await.expect("it connects")
}
