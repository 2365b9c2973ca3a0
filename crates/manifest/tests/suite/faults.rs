//! What is wrong with a manifest is told with its place and its reason, all at once.

use manifest::{Fault, Version, parse};
use serde_json::{Value, json};

use crate::samples::{manifest_with, sdk_sample};

pub fn faults(document: &Value) -> Vec<Fault> {
    let framework = Version::new(1, 0, 0);
    match parse(document.to_string().as_bytes(), &framework) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.into_list(),
    }
}

/// Every case: what is added to a manifest without faults, the pointer of its one fault, and part of the
/// reason.
pub fn check(cases: &[(Value, &str, &str)]) {
    for (more, pointer, reason) in cases {
        let found = faults(&manifest_with(more.clone()));
        let pointers: Vec<&str> = found.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, [*pointer], "{more}: {found:?}");
        assert!(found[0].reason.contains(reason), "{more}: {}", found[0]);
        assert!(!found[0].fix.is_empty(), "{more}");
    }
}

#[test]
fn what_identifies_a_plugin_is_required_and_checked() {
    check(&[
        (json!({"id": null}), "/id", "is missing"),
        (json!({"name": null}), "/name", "is missing"),
        (json!({"version": null}), "/version", "is missing"),
        (json!({"id": 7}), "/id", "is a number"),
        (json!({"id": "../../etc"}), "/id", "contains '/'"),
        (json!({"id": "a..b"}), "/id", "contains \"..\""),
        (json!({"id": "x"}), "/id", "has 1 characters"),
        (json!({"id": "MQTT.Broker"}), "/id", "reserved name \"mqtt-broker\""),
        (json!({"id": "bigskies-x"}), "/id", "reserved name"),
        (json!({"id": "plugin-coordinator"}), "/id", "reserved name"),
        (json!({"name": ""}), "/name", "is empty"),
        (json!({"name": "\u{1b}[2J"}), "/name", "U+001B"),
        (json!({"name": "a\u{202e}b"}), "/name", "U+202E"),
        (json!({"name": "x".repeat(129)}), "/name", "has 129 characters"),
        (json!({"version": "1.0"}), "/version", "not a semantic version"),
        (json!({"version": "v1.0.0"}), "/version", "not a semantic version"),
        (json!({"version": 1}), "/version", "is a number"),
        (json!({"description": ["x"]}), "/description", "is a list"),
        (json!({"capabilities": []}), "/capabilities", "is a list"),
        (json!({"capabilities": {"provides_ui": "yes"}}), "/capabilities/provides_ui", "is a text"),
    ]);
}

#[test]
fn health_and_dependencies_are_checked() {
    let health = |topic: &str| json!({"health_check": {"topic": topic}});
    let topic = "/health_check/topic";
    check(&[
        (health("bigskies/plugin"), topic, "not a topic below"),
        (health("bigskies/plugin/focuser"), topic, "not a topic below"),
        (health("bigskies/coordinator/plugin/health"), topic, "not a topic below"),
        (health("other/plugin/focuser/health"), topic, "not a topic below"),
        (health("bigskies/plugin/+/health"), topic, "contains '+'"),
        (health(""), topic, "is empty"),
        (health("bigskies/plugin/{id}/health"), topic, "cannot be an alias"),
        (health("bigskies/plugin//health"), topic, "cannot be an alias"),
        (health("bigskies/plugin/localhost/health"), topic, "reserved name"),
        (health("bigskies/plugin/focuser/request/plugin/list"), topic, "is a place for"),
        (health("bigskies/plugin/focuser/control"), topic, "is a place for"),
        (json!({"health_check": {"interval_seconds": 0}}), "/health_check/interval_seconds", "is 0"),
        (json!({"health_check": {"interval_seconds": 3601}}), "/health_check/interval_seconds", "is 3601"),
        (json!({"health_check": {"interval_seconds": -1}}), "/health_check/interval_seconds", "is -1"),
        (json!({"health_check": {"interval_seconds": 1.5}}), "/health_check/interval_seconds", "is 1.5"),
        (json!({"health_check": {"interval_seconds": "30"}}), "/health_check/interval_seconds", "is a text"),
        (
            json!({"dependencies": {"min_framework_version": "1.0.1"}}),
            "/dependencies/min_framework_version",
            "needs framework 1.0.1, and this is 1.0.0",
        ),
        (
            json!({"dependencies": {"min_framework_version": "newest"}}),
            "/dependencies/min_framework_version",
            "not a semantic version",
        ),
        (json!({"dependencies": {"coordinators": "message"}}), "/dependencies/coordinators", "is a text"),
        (json!({"start_timeout_seconds": 0}), "/start_timeout_seconds", "is 0"),
        (json!({"stop_timeout_seconds": 601}), "/stop_timeout_seconds", "is 601"),
        (json!({"config_schema": true}), "/config_schema", "is true or false"),
    ]);
}

#[test]
fn permissions_devices_resources_and_elements_are_checked() {
    let element = |more: Value| json!({"ui_elements": [more]});
    check(&[
        (json!({"permissions": "system:read"}), "/permissions", "is a text"),
        (json!({"permissions": ["system:read", "system"]}), "/permissions/1", "no resource and verb"),
        (json!({"permissions": ["root:read"]}), "/permissions/0", "names a resource other than"),
        (json!({"devices": ["/dev/sda"]}), "/devices/0", "is memory, a disk"),
        (json!({"devices": ["/etc/shadow"]}), "/devices/0", "not a device below /dev"),
        (json!({"devices": ["/dev/video0", "/dev/video0"]}), "/devices/1", "is there already"),
        (json!({"devices": [{"path": "/dev/video0", "access": "rwm"}]}), "/devices/0/access", "is \"rwm\""),
        (json!({"devices": [7]}), "/devices/0", "is a number"),
        (json!({"resources": {"memory": "much"}}), "/resources/memory", "not an amount"),
        (json!({"resources": {"memory": "1m"}}), "/resources/memory", "is 1048576 bytes"),
        (json!({"resources": {"cpus": 0}}), "/resources/cpus", "is 0"),
        (json!({"resources": {"pids": 0}}), "/resources/pids", "is 0"),
        (element(json!({"title": "x"})), "/ui_elements/0/id", "is missing"),
        (element(json!({"id": "x", "url": "javascript:alert(1)"})), "/ui_elements/0/url", "neither a path"),
        (element(json!({"id": "x", "url": "//evil.example"})), "/ui_elements/0/url", "neither a path"),
        (json!({"ui_elements": [{"id": "x"}, {"id": "x"}]}), "/ui_elements/1/id", "of an element before it"),
        (
            json!({"mqtt": {"topics_publish": ["weather/\u{202e}"]}}),
            "/mqtt/topics_publish/0",
            "cannot be seen",
        ),
        (json!({"mqtt": {"topics_publish": ["weather/#/x"]}}), "/mqtt/topics_publish/0", "has a \"#\""),
        (
            json!({"mqtt": {"topics_subscribe": ["$share/g/weather"]}}),
            "/mqtt/topics_subscribe/0",
            "shared subscription",
        ),
        (
            json!({"mqtt": {"topics_subscribe": ["x/".repeat(300)]}}),
            "/mqtt/topics_subscribe/0",
            "more than 200 levels",
        ),
        (
            json!({"mqtt": {"topics_subscribe": ["x".repeat(513)]}}),
            "/mqtt/topics_subscribe/0",
            "more than 512 bytes",
        ),
        (
            json!({"mqtt": {"topics_publish": ["weather/%c"]}}),
            "/mqtt/topics_publish/0",
            "whatever name a client",
        ),
        (
            json!({"health_check": {"topic": "bigskies/plugin/focuser/%u/health"}}),
            "/health_check/topic",
            "whatever name a client",
        ),
        (json!({"mqtt": {"client_id": ""}}), "/mqtt/client_id", "cannot be a client id"),
        (json!({"mqtt": {"client_id": "v (p2, c1, k60, u'x')"}}), "/mqtt/client_id", "cannot be"),
        (json!({"mqtt": {"client_id": "Coordinator.plugin"}}), "/mqtt/client_id", "of the framework"),
    ]);
}

#[test]
fn all_faults_are_told_at_once() {
    let found = faults(&json!({
        "id": "x/y",
        "version": 3,
        "mqtt": {"topics_publish": ["a+", "#"], "topics_subscribe": 1},
        "docker": {"ports": ["x"], "privileged": true},
        "health_check": {"interval_seconds": 0},
    }));
    let mut pointers: Vec<&str> = found.iter().map(|fault| fault.pointer.as_str()).collect();
    pointers.sort_unstable();
    assert_eq!(
        pointers,
        [
            "/docker/ports/0",
            "/docker/privileged",
            "/health_check/interval_seconds",
            "/id",
            "/mqtt/topics_publish/0",
            "/mqtt/topics_publish/1",
            "/mqtt/topics_subscribe",
            "/name",
            "/version",
        ]
    );
}

#[test]
fn a_fault_reads_as_a_sentence_and_travels_as_data() {
    let found = faults(&manifest_with(json!({"docker": {"networks": ["host"]}})));
    assert_eq!(
        found[0].to_string(),
        "/docker/networks/0: \"host\" is not a network for plugins; write \"bigskies-network\", or leave the key out"
    );
    assert_eq!(
        serde_json::to_value(&found[0]).expect("data"),
        json!({
            "pointer": "/docker/networks/0",
            "reason": "\"host\" is not a network for plugins",
            "fix": "write \"bigskies-network\", or leave the key out",
        })
    );
}

#[test]
fn a_document_that_is_no_object_or_no_json_has_a_fault_for_the_whole() {
    for text in ["", "7", "[]", "null", "\"x\"", "{", "{\"id\": \"focuser\",}"] {
        let error = parse(text.as_bytes(), &Version::new(1, 0, 0)).expect_err(text);
        assert_eq!(error.list().len(), 1, "{text}: {error}");
    }
    let twice = sdk_sample().replacen("\"version\"", "\"id\": \"other\", \"version\"", 1);
    let error = parse(twice.as_bytes(), &Version::new(1, 0, 0)).expect_err("a key occurs twice");
    assert_eq!(error.list()[0].pointer, "/id");
}
