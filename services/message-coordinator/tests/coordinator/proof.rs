//! Brokers whose permissions were changed by hand, and what the proof says of them.

use acl::dynsec::{Acl, AclType, Command, DefaultAccess, Role};
use envelope::payload::event::EventKind;
use envelope::payload::watch::{Proof, ProofRequest, Tried};
use envelope::topic::{coordinator, plugin};
use envelope::{Operation, PluginId};
use testkit::{Client, Version, eventually};

use crate::site::{Root, SOON, Site, ask, event, health_that_says, id, spec};

async fn prove(operator: &mut Client) -> Proof {
    ask(operator, Operation::Proof, ProofRequest {}).await.expect("it is done")
}

/// A site where the proof of the connection is done, so that the next one is the one that is asked for.
async fn proven() -> (Site, Client, Root) {
    let mut site = Site::comparing_once().await;
    let mut events = site.operator().await;
    site.start_coordinator();
    while !event(&mut events, EventKind::Proof).await.cause.contains("on a connection") {}
    site.plugins().await.install(&spec("focuser")).await;
    let mut operator = site.client("operator.operator", "password", Version::V5).await;
    let first = prove(&mut operator).await;
    assert_eq!((first.leaks.len(), first.blocked.len()), (0, 0), "{first:?}");
    let root = site.root().await;
    (site, operator, root)
}

fn canaries() -> [PluginId; 2] {
    ["bigskies-canary-a", "bigskies-canary-b"].map(id)
}

async fn manifest_role(root: &mut Root, canary: &PluginId) -> Role {
    let prefix = format!("plugin.{canary}:manifest:");
    let name = root.role_names().await.into_iter().find(|n| n.starts_with(&prefix)).expect("it has one");
    root.role(&name).await.expect("it is there")
}

#[tokio::test]
async fn an_untouched_broker_passes_on_each_connection_and_the_canaries_are_nobodys_plugins() {
    let mut site = Site::without_coordinator().await;
    let mut operator = site.operator().await;
    let mut watcher = site.client("operator.operator", "password", Version::V5).await;
    for filter in [coordinator::acls(), coordinator::specs()] {
        watcher.subscribe(&filter).await.expect("it may");
    }
    site.start_coordinator();
    let told = event(&mut operator, EventKind::Proof).await;
    let first: Proof = serde_json::from_value(told.details).expect("a proof");
    assert_eq!((first.leaks.as_slice(), first.blocked.as_slice()), ([].as_slice(), [].as_slice()));
    assert!(first.refused > 150 && first.allowed > 15, "{first:?}");
    site.plugins().await.install(&spec("focuser")).await;
    while let Some(message) = watcher.recv(std::time::Duration::ZERO).await {
        assert!(!message.topic.contains("canary"), "{}", message.topic);
    }
    drop(operator);
    site.broker.restart_with_fresh_data().await;
    let mut operator = site.operator().await;
    let told = event(&mut operator, EventKind::Proof).await;
    let again: Proof = serde_json::from_value(told.details).expect("a proof");
    assert!(again.at > first.at && again.leaks.is_empty() && again.blocked.is_empty(), "{again:?}");
    assert!(again.refused > first.refused, "the plugin's topics were tried");
}

#[tokio::test]
async fn a_broker_that_allows_by_default_is_found_named_and_put_right() {
    let (site, mut operator, mut root) = proven().await;
    let open = DefaultAccess {
        publish_client_send: true,
        subscribe: true,
        publish_client_receive: true,
        ..DefaultAccess::DENY
    };
    root.give(&[Command::SetDefaultAccess(open)]).await;
    let proof = prove(&mut operator).await;
    let [one, other] = canaries();
    let leaked = |tried, topic: &str| {
        let login = format!("plugin.{one}");
        proof.leaks.iter().any(|l| l.login == login && l.tried == tried && l.topic == topic)
    };
    assert!(leaked(Tried::Publish, &plugin::health(&other)), "{proof:?}");
    assert!(leaked(Tried::Subscribe, &plugin::namespace(&id("focuser"))), "{proof:?}");
    assert!(leaked(Tried::Receive, &plugin::status(&other)), "{proof:?}");
    assert!(!leaked(Tried::Subscribe, &coordinator::token(&id("focuser"))), "the guard denies it still");
    let told = health_that_says(&site, "a leak", |text| text.contains("reach what is not theirs")).await;
    assert!(told.contains(&proof.leaks[0].topic) && told.contains("unhealthy"), "{told}");
    // What it found was put right at once, before the next comparison.
    let root = tokio::sync::Mutex::new(root);
    eventually(SOON, || async {
        let answers = root.lock().await.give(&[Command::GetDefaultAccess]).await;
        let found = answers[0].default_access().map_err(|e| e.to_string())?;
        if found == DefaultAccess::DENY { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    let proof = prove(&mut operator).await;
    assert!(proof.leaks.is_empty(), "{proof:?}");
    health_that_says(&site, "no leak", |text| !text.contains("reach what is not theirs")).await;
}

#[tokio::test]
async fn a_rule_added_to_a_plugins_role_is_found() {
    let (site, mut operator, mut root) = proven().await;
    let mut events = site.operator().await;
    let [one, other] = canaries();
    let mut role = manifest_role(&mut root, &one).await;
    let topic = plugin::control_command(&other, "#");
    for acltype in [AclType::SubscribePattern, AclType::PublishClientSend] {
        role.acls.push(Acl { acltype, topic: topic.clone(), priority: 100, allow: true });
    }
    root.give(&[Command::ModifyRole(role)]).await;
    let proof = prove(&mut operator).await;
    let found: Vec<(Tried, &str)> = proof.leaks.iter().map(|l| (l.tried, l.topic.as_str())).collect();
    assert!(found.contains(&(Tried::Subscribe, &plugin::control(&other))), "{found:?}");
    assert!(
        found.contains(&(Tried::Publish, &plugin::control_command(&other, "bigskies-canary"))),
        "{found:?}"
    );
    assert!(proof.leaks.iter().all(|leak| leak.login == format!("plugin.{one}")));
    let told = event(&mut events, EventKind::Proof).await;
    assert!(told.message.contains(&proof.leaks[0].topic), "{}", told.message);
    let drift = event(&mut events, EventKind::Drift).await;
    assert_eq!(drift.plugin_id, None, "a canary is no plugin");
}

#[tokio::test]
async fn a_broker_that_refuses_everything_does_not_pass() {
    let (site, mut operator, mut root) = proven().await;
    let [one, _] = canaries();
    let role = manifest_role(&mut root, &one).await;
    root.give(&[Command::ModifyRole(Role { acls: vec![], ..role })]).await;
    let proof = prove(&mut operator).await;
    let blocked: Vec<(Tried, &str)> = proof.blocked.iter().map(|l| (l.tried, l.topic.as_str())).collect();
    assert!(blocked.contains(&(Tried::Publish, &plugin::health(&one))), "{blocked:?}");
    assert!(blocked.contains(&(Tried::Subscribe, &plugin::control(&one))), "{blocked:?}");
    assert!(proof.leaks.is_empty(), "{proof:?}");
    let told =
        health_that_says(&site, "blocked", |text| text.contains("refuses plugins what is their own")).await;
    assert!(told.contains("degraded"), "{told}");
}

#[tokio::test]
async fn all_who_ask_at_the_same_time_are_told() {
    let (site, mut operator, _) = proven().await;
    let mut others = Vec::new();
    for _ in 0..6 {
        others.push(site.client("operator.operator", "password", Version::V5).await);
    }
    let asking: Vec<_> =
        others.into_iter().map(|mut other| tokio::spawn(async move { prove(&mut other).await })).collect();
    let first = prove(&mut operator).await;
    let mut told = vec![first];
    for asked in asking {
        told.push(asked.await.expect("it is told"));
    }
    assert!(told.iter().all(|proof| proof.leaks.is_empty() && proof.blocked.is_empty()), "{told:?}");
}

#[tokio::test]
async fn without_a_broker_that_lets_canaries_in_nothing_is_proven() {
    let (site, mut operator, mut root) = proven().await;
    let [one, _] = canaries();
    root.give(&[Command::DeleteClient(format!("plugin.{one}"))]).await;
    let answer = ask::<Proof>(&mut operator, Operation::Proof, ProofRequest {}).await;
    let error = answer.expect_err("it cannot be tried");
    assert!(error.message.contains("Nothing is proven") && error.message.contains("canary-a"), "{error}");
    eventually(SOON, || async {
        let health = health_that_says(&site, "a doubt", |text| text.contains("could not be tried out")).await;
        if health.contains("degraded") { Ok(()) } else { Err(health) }
    })
    .await;
}
