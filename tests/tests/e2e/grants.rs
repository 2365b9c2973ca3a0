//! What goes beyond a plugin's own topics: an operator sees it, approves exactly that, and takes it back.

use std::time::Duration;

use envelope::topic::plugin;
use envelope::{ErrorCode, Operation, PluginId};
use serde_json::{Value, json};
use testkit::{Version, eventually, free_port};
use tests::stack::images::Script;
use tests::stack::operator::{Operator, raw_request};

use super::runner::Case;
use super::world::{Shared, World, id, login, minimal};

const PATIENCE: Duration = Duration::from_secs(20);

pub fn cases() -> Vec<Case> {
    crate::beside![
        a_plugin_gets_exactly_what_was_approved_until_it_is_taken_back,
        a_plugin_is_stopped_when_it_loses_what_it_cannot_run_without,
    ]
}

/// Asks for the plugin and is told what there is to approve; nothing is left of what was asked.
async fn to_approve(world: &World, operator: &mut Operator, id: &PluginId, source: &str) -> Value {
    let answer = operator.ask(Operation::Install, json!({"plugin_id": id, "source": source})).await;
    let error = answer.error(ErrorCode::ApprovalRequired);
    let grants = error["details"]["grants"].as_array().cloned().unwrap_or_default();
    for part in ["key", "sentence", "risk"] {
        assert!(grants.iter().all(|g| g[part].as_str().is_some_and(|t| !t.is_empty())), "{part}: {error:#}");
    }
    world.assert_nothing_is_left(id, source).await;
    error["details"].clone()
}

fn keys(told: &Value) -> Vec<&str> {
    told["grants"].as_array().into_iter().flatten().filter_map(|g| g["key"].as_str()).collect()
}

/// The state of one grant, as `grants` tells it.
fn state<'a>(told: &'a Value, key: &str) -> &'a Value {
    let all = told["grants"].as_array().into_iter().flatten();
    let found = all.into_iter().find(|grant| grant["key"] == key);
    &found.unwrap_or_else(|| panic!("{key} is not among {told:#}"))["state"]
}

/// Whether the plugin's login can subscribe to the topic, as a client and as `explain` says it.
async fn may_read(world: &World, operator: &mut Operator, id: &PluginId, topic: &str) -> bool {
    let asked = json!({"plugin_id": id, "access": "subscribe", "topic": topic});
    let explained = operator.ask(Operation::Explain, asked).await.data()["allowed"].clone();
    let client = world.plugin_client(id, Version::V5).await;
    let tried = client.subscribe(topic).await.is_ok();
    assert_eq!(explained, tried, "explain and the broker disagree on {topic}");
    tried
}

/// The scope of the plugin's token.
async fn scope(operator: &mut Operator, id: &PluginId) -> String {
    let token = operator.ask_about(Operation::Introspect, id).await;
    token.data()["claims"]["scope"].as_str().unwrap_or_default().to_owned()
}

async fn a_plugin_gets_exactly_what_was_approved_until_it_is_taken_back(world: Shared) {
    let id = id("asks-for-more");
    let (foreign, command) =
        (plugin::status(&self::id("some-mount")), plugin::control(&self::id("some-mount")));
    let port = free_port();
    let place = |address: &str| format!("{address}:{port}");
    let mut manifest = minimal(&id);
    manifest["mqtt"] = json!({"topics_subscribe": [foreign], "topics_publish": [command]});
    manifest["permissions"] = json!(["system:read", "plugin:control"]);
    manifest["docker"] = json!({"ports": [format!("0.0.0.0:{port}:8080")]});
    let source = Script::healthy(id.as_str()).label(manifest).push(&world.stack).await.expect("builds");
    let mut operator = world.operator().await;

    let topic_key = format!("subscribe:{foreign}");
    let port_key = format!("port:0.0.0.0:{port}/tcp");
    let asked = to_approve(&world, &mut operator, &id, &source).await;
    let publish_key = format!("publish:{command}");
    let all = [publish_key.as_str(), topic_key.as_str(), "permission:plugin:control", port_key.as_str()];
    assert_eq!(keys(&asked), all, "{asked:#}");
    let score = asked["rating"]["score"].as_u64().unwrap_or_default();
    assert!((1..6).contains(&score) && asked["rating"]["reasons"][0].is_string(), "{asked:#}");

    let mut request =
        json!({"plugin_id": id, "source": source, "approve": format!("sha256:{}", "0".repeat(64))});
    let changed = operator.ask(Operation::Install, request.clone()).await;
    assert_eq!(changed.error(ErrorCode::ApprovalChanged)["details"], asked, "the list is told again");
    // Where nobody knows who approves, nobody can.
    request["approve"] = asked["approve"].clone();
    let unnamed = raw_request(Operation::Install);
    operator.listener.client().subscribe(&unnamed.response()).await.expect("the operator may");
    operator.publish(&unnamed.to_string(), request.to_string()).await;
    let wanted = |answer: &Value| answer["payload"]["error"]["code"] == ErrorCode::Forbidden.as_str();
    operator.answer_on(&unnamed.response(), wanted).await;
    world.assert_nothing_is_left(&id, &source).await;

    operator.ask(Operation::Install, request).await.data();
    operator.ask_about(Operation::Start, &id).await.data();
    let told = operator.ask_about(Operation::Grants, &id).await.data().clone();
    for grant in told["grants"].as_array().into_iter().flatten() {
        assert_eq!((&grant["state"], &grant["by"]), (&json!("approved"), &json!("operator:operator")));
        assert!(grant["at"].is_string(), "{grant:#}");
    }
    assert_eq!((keys(&told), &told["rating"]), (all.to_vec(), &asked["rating"]));
    assert!(may_read(&world, &mut operator, &id, &foreign).await);
    assert_eq!(scope(&mut operator, &id).await, "system:read plugin:control");
    assert_eq!(world.published(&id).await, [place("0.0.0.0")]);

    let before = world.running(&id).await;
    let mut taken = Value::Null;
    for key in [topic_key.as_str(), "permission:plugin:control", port_key.as_str()] {
        let revoke = json!({"plugin_id": id, "grant": key});
        taken = operator.ask(Operation::RevokeGrant, revoke).await.data().clone();
        assert_eq!(state(&taken, key), "revoked", "{taken:#}");
    }
    let after = world.running(&id).await;
    assert_ne!(after["Id"], before["Id"], "it runs in a new container");
    assert_ne!(login(&after), login(&before), "with a new login");
    assert_eq!(state(&taken, &publish_key), "approved", "what was not named is kept");
    assert!(!may_read(&world, &mut operator, &id, &foreign).await);
    assert_eq!(scope(&mut operator, &id).await, "system:read");
    assert_eq!(world.published(&id).await, [place("127.0.0.1")]);
    let unknown = json!({"plugin_id": id, "grant": "device:/dev/sda"});
    let unknown = operator.ask(Operation::RevokeGrant, unknown).await;
    assert!(unknown.sentence(ErrorCode::UnknownGrant).contains(&topic_key), "{unknown:?}");

    let approve = json!({"plugin_id": id, "approve": taken["pending"]["approve"]});
    let given = operator.ask(Operation::Approve, approve).await;
    assert!(given.data()["pending"].is_null(), "{:#}", given.answer);
    assert!(may_read(&world, &mut operator, &id, &foreign).await);
    assert_eq!(scope(&mut operator, &id).await, "system:read plugin:control");
    assert_eq!(world.published(&id).await, [place("0.0.0.0")]);
    world.remove(&mut operator, &id, &source).await;
}

async fn a_plugin_is_stopped_when_it_loses_what_it_cannot_run_without(world: Shared) {
    let id = id("runs-as-root");
    let mut manifest = minimal(&id);
    manifest["devices"] = json!(["/dev/null"]);
    let image = Script::healthy(id.as_str()).label(manifest).root();
    let source = image.push(&world.stack).await.expect("builds");
    let mut operator = world.operator().await;
    let asked = to_approve(&world, &mut operator, &id, &source).await;
    assert_eq!(keys(&asked), ["device:/dev/null", "root"], "{asked:#}");
    let request = json!({"plugin_id": id, "source": source, "approve": asked["approve"]});
    operator.ask(Operation::Install, request).await.data();
    operator.ask_about(Operation::Start, &id).await.data();
    assert_eq!(world.running(&id).await["HostConfig"]["Devices"][0]["PathOnHost"], "/dev/null");

    let taken = operator.ask(Operation::RevokeGrant, json!({"plugin_id": id, "grant": "root"})).await;
    assert_eq!(state(taken.data(), "root"), "revoked");
    assert_eq!(state(taken.data(), "device:/dev/null"), "approved");
    eventually(PATIENCE, || async {
        match world.has_container(&id).await {
            true => Err("it still has a container"),
            false => Ok(()),
        }
    })
    .await;
    let inspected = operator.ask_about(Operation::Inspect, &id).await.data()["state"].clone();
    assert_eq!(inspected["phase"], "stopped", "{inspected:#}");
    assert!(inspected["reason"].as_str().is_some_and(|r| r.contains("root")), "{inspected:#}");
    let refused = operator.ask_about(Operation::Start, &id).await;
    assert!(refused.sentence(ErrorCode::ApprovalRequired).contains("root"), "{:#}", refused.answer);
    let approve = refused.error(ErrorCode::ApprovalRequired)["details"]["approve"].clone();
    operator.ask(Operation::Approve, json!({"plugin_id": id, "approve": approve})).await.data();
    assert!(!world.has_container(&id).await, "an approval starts nothing");
    operator.ask_about(Operation::Start, &id).await.data();
    world.running(&id).await;
    world.remove(&mut operator, &id, &source).await;
}
