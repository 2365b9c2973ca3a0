//! What a plugin can do as itself.

use acl::compile::{PluginRoles, compile};
use acl::dynsec::{Acl, AclType};
use envelope::principal::{Coordinator, Principal};
use envelope::topic::{RequestTopic, broker, coordinator, operator, plugin};
use envelope::{Operation, OperatorName};
use testkit::Version;

use crate::site::{BOTH, SOON, below, id, sample, sample_roles, site, until};

const SAMPLE: &str = "unique-plugin-guid";

fn roles_of(name: &str) -> PluginRoles {
    let mut spec = sample();
    (spec.plugin_id, spec.alias) = (id(name), None);
    (spec.publish, spec.subscribe) = (vec![], vec![]);
    spec.health_topic = plugin::health(&id(name));
    compile(&spec).expect("it compiles")
}

/// Topics that a plugin must not publish to.
fn unpublishable() -> Vec<String> {
    let (other, user) = (id("other"), OperatorName::parse("operator").expect("a name"));
    let plugin = |id| Principal::Plugin(id);
    vec![
        "anything".into(),
        plugin::health(&other),
        plugin::status(&other),
        plugin::control_command(&other, "stop"),
        RequestTopic::new(plugin(other.clone()), Operation::List).to_string(),
        RequestTopic::new(plugin(other), Operation::List).response(),
        RequestTopic::new(plugin(id(SAMPLE)), Operation::List).response(),
        RequestTopic::new(Principal::Unnamed, Operation::Install).to_string(),
        RequestTopic::new(Principal::Unnamed, Operation::Install).response(),
        RequestTopic::new(Principal::Operator(user), Operation::Install).to_string(),
        RequestTopic::new(Principal::Coordinator(Coordinator::Plugin), Operation::Provision).to_string(),
        coordinator::spec(&id(SAMPLE)),
        coordinator::state(&id(SAMPLE)),
        coordinator::token(&id(SAMPLE)),
        coordinator::jwks(),
        coordinator::health(Coordinator::Security),
        coordinator::event(Coordinator::Plugin, "phase"),
        below("myplugin", "undeclared"),
        below("myplugin", "request/plugin/list"),
        broker::control().into(),
    ]
}

/// Filters that a plugin must not subscribe to.
fn unsubscribable() -> Vec<String> {
    let user = OperatorName::parse("operator").expect("a name");
    let mut filters = vec![
        plugin::all(),
        plugin::namespace(&id("other")),
        plugin::health(&id("other")),
        plugin::namespace(&id(SAMPLE)),
        plugin::all_control(),
        plugin::all_responses(),
        coordinator::all(),
        coordinator::tokens(),
        coordinator::token(&id("other")),
        coordinator::specs(),
        coordinator::states(),
        coordinator::events(Coordinator::Plugin),
        coordinator::all_internal(),
        operator::all(),
        operator::responses(&user),
        RequestTopic::new(Principal::Unnamed, Operation::Install).to_string(),
        RequestTopic::new(Principal::Unnamed, Operation::Install).response(),
        broker::log().into(),
        broker::version().into(),
        broker::control_answers().into(),
        format!("$share/group/{}", plugin::all()),
        format!("$share/group/{}", plugin::control(&id(SAMPLE))),
    ];
    filters.extend(broker::broadest());
    filters
}

#[tokio::test]
async fn the_sdks_sample_manifest_lets_its_plugin_work() {
    let site = site(&[(SAMPLE, sample_roles())]).await;
    let security = site.client("coordinator.security", Version::V5).await;
    let token = coordinator::token(&id(SAMPLE));
    security.publish(&token, "a token", 1, true).await.expect("published");
    for version in BOTH {
        let mut witness = site.witness().await;
        let operator = site.client("operator.operator", Version::V5).await;
        let mut plugin = site.plugin(SAMPLE, version).await;
        plugin.subscribe(&below("myplugin", "#")).await.expect("its own namespace");
        plugin.subscribe(&token).await.expect("its own token");
        assert_eq!(plugin.recv(SOON).await.map(|m| m.text()).as_deref(), Some("a token"));

        let stop = plugin::control_command(&id("myplugin"), "stop");
        assert_eq!(operator.publish(&stop, "{}", 1, false).await, Ok(0), "{version:?}");
        assert_eq!(plugin.recv(SOON).await.map(|m| m.topic), Some(stop));

        let list = RequestTopic::new(Principal::Plugin(id(SAMPLE)), Operation::List);
        let topics = [
            below("myplugin", "health"),
            below("myplugin", "status"),
            below("myplugin", "data"),
            list.to_string(),
        ];
        for topic in topics {
            assert_eq!(plugin.publish(&topic, "{}", 1, false).await, Ok(0), "{version:?} {topic}");
            until(&mut witness, &topic).await;
        }
    }
}

#[tokio::test]
async fn nothing_reaches_the_bus_that_the_manifest_does_not_declare() {
    let site = site(&[(SAMPLE, sample_roles()), ("other", roles_of("other"))]).await;
    let mut witness = site.witness().await;
    for version in BOTH {
        let plugin = site.plugin(SAMPLE, version).await;
        for topic in unpublishable() {
            let code = plugin.publish(&topic, "forged", 1, false).await.expect("answered");
            assert_eq!(code, if version == Version::V5 { 0x87 } else { 0 }, "{version:?} {topic}");
            plugin.publish(&topic, "forged", 1, true).await.expect("answered");
        }
        let marker = below("myplugin", "health");
        plugin.publish(&marker, "{}", 1, false).await.expect("published");
        let seen = until(&mut witness, &marker).await;
        assert!(seen.is_empty(), "{version:?} {seen:?}");
    }
}

#[tokio::test]
async fn nothing_can_be_subscribed_to_that_the_manifest_does_not_declare() {
    let site = site(&[(SAMPLE, sample_roles()), ("other", roles_of("other"))]).await;
    for version in BOTH {
        let plugin = site.plugin(SAMPLE, version).await;
        for filter in unsubscribable() {
            assert!(plugin.subscribe(&filter).await.is_err(), "{version:?} {filter}");
        }
    }
}

/// As if the compiler, the plugin coordinator and the operator had all failed.
fn granted_everything() -> PluginRoles {
    let mut roles = sample_roles();
    let all = ["#".to_owned(), plugin::all().replace("plugin/", ""), "$SYS/#".into(), "$CONTROL/#".into()];
    for topic in all {
        for acltype in [AclType::PublishClientSend, AclType::PublishClientReceive, AclType::SubscribePattern]
        {
            roles.manifest.acls.push(Acl { acltype, topic: topic.clone(), priority: 9, allow: true });
        }
    }
    roles
}

#[tokio::test]
async fn the_guard_keeps_a_plugin_that_was_granted_everything_to_its_own_secrets() {
    let site = site(&[(SAMPLE, granted_everything()), ("other", roles_of("other"))]).await;
    let mut witness = site.witness().await;
    let secrets = [
        coordinator::token(&id("other")),
        RequestTopic::new(Principal::Plugin(id("other")), Operation::List).to_string(),
        RequestTopic::new(Principal::Plugin(id("other")), Operation::List).response(),
        RequestTopic::new(Principal::Unnamed, Operation::Install).to_string(),
        RequestTopic::new(Principal::Unnamed, Operation::Install).response(),
        RequestTopic::new(Principal::Coordinator(Coordinator::Plugin), Operation::Provision).to_string(),
        RequestTopic::new(Principal::Coordinator(Coordinator::Plugin), Operation::Provision).response(),
        operator::responses(&OperatorName::parse("operator").expect("a name")).replace('#', "x/y"),
    ];
    for secret in &secrets {
        witness.publish(secret, "retained", 1, true).await.expect("published");
    }
    let marker = plugin::health(&id("other"));
    for version in BOTH {
        let mut plugin = site.plugin(SAMPLE, version).await;
        let broad = plugin::all().replace("plugin", "+");
        plugin.subscribe(&broad).await.expect_err("as broad as it gets");
        // No rule of the guard contains this filter: what it brings is stopped on delivery.
        plugin.subscribe("+/+/+/#").await.expect("it was granted");
        for secret in &secrets {
            witness.publish(secret, "live", 1, false).await.expect("published");
        }
        witness.publish(&marker, "{}", 1, false).await.expect("published");
        let seen = until(&mut plugin, &marker).await;
        assert!(seen.is_empty(), "{version:?} {seen:?}");
        assert!(plugin.subscribe(broker::control_answers()).await.is_err());
        assert!(plugin.subscribe(broker::log()).await.is_err());
        assert!(plugin.subscribe("$share/group/#").await.is_err());

        until(&mut witness, &marker).await;
        for secret in secrets.iter().map(String::as_str).chain([broker::control()]) {
            plugin.publish(secret, "forged", 1, false).await.expect("answered");
        }
        plugin.publish("granted", "{}", 1, false).await.expect("published");
        let seen = until(&mut witness, "granted").await;
        assert!(seen.is_empty(), "{version:?} {seen:?}");
    }
}
