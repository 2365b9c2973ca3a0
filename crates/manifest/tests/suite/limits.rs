//! A manifest without what was taken back, and the names of grants.

use std::collections::BTreeSet;

use manifest::{Grant, Manifest, framework_version, parse};
use serde_json::{Value, json};

use crate::samples::{full, manifest_with};

fn read(document: &Value) -> Manifest {
    let parsed = parse(document.to_string().as_bytes(), &framework_version());
    parsed.unwrap_or_else(|faults| panic!("{document}: {faults}")).manifest
}

#[test]
fn each_kind_of_grant_has_a_key_that_names_it() {
    let manifest = read(&manifest_with(json!({
        "mqtt": {"topics_publish": ["a/b"], "topics_subscribe": ["bigskies/plugin/mount/data/+"]},
        "permissions": ["user:read", "telescope/main:control", "plugin:read"],
        "devices": ["/dev/serial/by-id/usb-a:1.0-port0"],
        "docker": {
            "volumes": ["/srv/images:/images:ro"],
            "ports": ["0.0.0.0:80:8080", "[::]:53:53/udp", "81"],
            "user": "root",
        },
        "resources": {"memory": "8g", "cpus": 1, "pids": 257, "disk": "2g"},
    })));
    let keys: Vec<String> = manifest.grants().iter().map(Grant::key).collect();
    assert_eq!(
        keys,
        [
            "publish:a/b",
            "subscribe:bigskies/plugin/mount/data/+",
            "permission:user:read",
            "permission:telescope/main:control",
            "device:/dev/serial/by-id/usb-a:1.0-port0",
            "folder:/srv/images",
            "port:0.0.0.0:80/tcp",
            "port:[::]:53/udp",
            "resources:memory",
            "resources:pids",
            "root",
        ]
    );
}

#[test]
fn the_keys_of_a_plugin_are_all_different_and_its_entries_say_the_same_as_its_grants() {
    let grants = read(&full()).grants();
    let keys: BTreeSet<String> = grants.iter().map(Grant::key).collect();
    assert_eq!(keys.len(), grants.len(), "{keys:?}");
    for grant in &grants {
        let entry = grant.entry();
        assert_eq!((entry.key, entry.sentence, entry.risk), (grant.key(), grant.sentence(), grant.risk()));
        assert_eq!(serde_json::from_value::<Grant>(entry.grant).ok().as_ref(), Some(grant));
    }
}

#[test]
fn a_manifest_limited_to_some_grants_asks_for_exactly_those() {
    let manifest = read(&full());
    let all = manifest.grants();
    assert!(all.len() > 5, "{all:?}");
    assert_eq!(manifest.clone().limited_to(&all).grants(), all);
    let (root, others): (Vec<Grant>, Vec<Grant>) = all.iter().cloned().partition(|g| *g == Grant::RootUser);
    for without in 0..others.len() {
        let mut granted = others.clone();
        granted.remove(without);
        let mut left = manifest.clone().limited_to(&granted);
        assert_eq!(left.digest(), manifest.digest());
        left.docker.user = None;
        assert_eq!(left.grants(), granted);
    }
    let mut nothing = manifest.clone().limited_to(&[]);
    assert_eq!(nothing.grants(), root, "root is not to be seen in a manifest's lists");
    nothing.docker.user = None;
    assert_eq!(nothing.grants(), []);
    assert!(nothing.devices.is_empty());
}

#[test]
fn what_is_a_plugins_own_is_left_to_it_without_any_grant() {
    let manifest = read(&manifest_with(json!({
        "mqtt": {"topics_publish": ["bigskies/plugin/focuser/x"], "topics_subscribe": ["bigskies/plugin/focuser/#"]},
        "permissions": ["plugin:read"],
        "docker": {"volumes": ["data:/data"], "ports": ["8080"]},
    })));
    assert_eq!(manifest.clone().limited_to(&[]), manifest);
}

#[test]
fn a_port_that_was_taken_back_leads_from_loopback_and_never_takes_the_place_of_another() {
    let ports =
        |list: Value| read(&manifest_with(json!({"docker": {"ports": list}}))).limited_to(&[]).docker.ports;
    let closed = ports(json!(["0.0.0.0:80:8080/udp"]));
    assert_eq!((closed.len(), closed[0].host_port, closed[0].is_loopback()), (1, 80, true));
    let beside = ports(json!(["192.168.1.2:80:1", "192.168.1.3:80:2", "127.0.0.1:80:3"]));
    assert_eq!(beside.iter().map(|p| p.container_port).collect::<Vec<_>>(), [3]);
    assert!(beside.iter().all(manifest::Port::is_loopback));
}

#[test]
fn a_plugin_runs_without_a_topic_a_permission_or_a_port_and_not_without_what_its_container_is_made_of() {
    let needed = |more: Value| read(&manifest_with(more)).grants()[0].is_needed_to_run();
    assert!(needed(json!({"devices": ["/dev/ttyUSB0"]})));
    assert!(needed(json!({"docker": {"volumes": ["/srv/x:/x"]}})));
    assert!(needed(json!({"docker": {"user": 0}})));
    assert!(!needed(json!({"docker": {"ports": ["0.0.0.0:80:80"]}})));
    assert!(!needed(json!({"permissions": ["plugin:control"]})));
    assert!(!needed(json!({"mqtt": {"topics_publish": ["a/b"]}})));
    assert!(!needed(json!({"mqtt": {"topics_subscribe": ["a/b"]}})));
}
