//! What a manifest without faults says, by the SDK's own sample and by one that has everything.

use std::time::Duration;

use crate::samples::{full, manifest_with, minimal, sdk_sample};
use manifest::{
    Access, DeviceAccess, Grant, Manifest, Parsed, TopicFilter, Verdict, VolumeSource, Warning,
    framework_version, parse,
};
use serde_json::json;

fn parsed(bytes: impl AsRef<[u8]>) -> Parsed {
    parse(bytes.as_ref(), &framework_version()).unwrap_or_else(|faults| panic!("{faults}"))
}

#[test]
fn the_sample_of_the_sdk_document_is_a_manifest_without_grants() {
    let Parsed { manifest, warnings } = parsed(sdk_sample());
    assert_eq!(warnings, []);
    assert_eq!(manifest.id.as_str(), "unique-plugin-guid");
    assert_eq!(manifest.alias().map(ToString::to_string).as_deref(), Some("myplugin"));
    assert_eq!(manifest.grants(), []);
    assert_eq!(manifest.health_topic().as_str(), "bigskies/plugin/myplugin/health");
    assert_eq!(manifest.dns_names(), ["unique-plugin-guid", "myplugin"]);
    assert_eq!(manifest.client_ids(), ["unique-plugin-guid", "myplugin"]);
    assert_eq!(manifest.start_timeout(), Duration::from_secs(90));
    assert_eq!(manifest.stop_timeout(), Duration::from_secs(30));
    assert_eq!(manifest.docker.config_path(), Some("/config/plugin.conf"));
    assert_eq!(manifest.docker.ports[0].to_string(), "8080:8080/tcp");
    assert!(manifest.docker.ports[0].is_loopback());
    let volume = &manifest.docker.volumes[0];
    assert_eq!(volume.target, "/data");
    assert!(matches!(volume.source, VolumeSource::OwnFolder { .. }), "{volume:?}");
    assert_eq!(manifest.ui_elements[0].kind.as_deref(), Some("panel"));
    assert_eq!(manifest.dependencies.coordinators.len(), 2);
    assert!(!manifest.capabilities.requires_internet);
}

#[test]
fn the_three_required_keys_are_enough() {
    let Parsed { manifest, warnings } = parsed(minimal().to_string());
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0].pointer, "/license");
    assert_eq!(manifest.alias(), None);
    assert_eq!(manifest.health_topic().as_str(), "bigskies/plugin/focuser/health");
    assert_eq!(manifest.health_interval(), Duration::from_secs(30));
    assert_eq!(manifest.topics(), Default::default());
    assert_eq!(manifest.dns_names(), ["focuser"]);
    assert_eq!(manifest.grants(), []);
}

#[test]
fn every_key_that_has_a_meaning_is_read() {
    let Parsed { manifest, warnings } = parsed(full().to_string());
    assert_eq!(warnings, []);
    assert_eq!(manifest.resources.memory, Some(256 << 20));
    assert_eq!(manifest.resources.cpus, Some(0.5));
    assert_eq!(manifest.start_timeout(), Duration::from_secs(120));
    assert_eq!(manifest.stop_timeout(), Duration::from_secs(5));
    assert_eq!(manifest.client_ids(), ["org-example-mount", "mount", "mount-client"]);
    assert_eq!(manifest.devices[1].access, DeviceAccess::Read);
    assert!(manifest.config_schema.is_some());
    let kinds: Vec<String> = manifest
        .grants()
        .iter()
        .map(|grant| serde_json::to_value(grant).expect("data")["kind"].to_string())
        .collect();
    for kind in ["publish", "subscribe", "permission", "device", "host_folder", "port", "root_user"] {
        assert!(kinds.contains(&format!("\"{kind}\"")), "{kind}: {kinds:?}");
    }
}

#[test]
fn richer_manifests_load_with_warnings() {
    let Parsed { manifest, warnings } = parsed(
        manifest_with(json!({
            "license": "MIT",
            "tags": ["alpaca", "simulator"],
            "discovery": {"protocol": "alpaca", "port": 32227},
            "devices": [
                {"device_type": "telescope", "device_number": 0, "name": "Simulator"},
                {"device_type": "camera", "device_number": 0},
            ],
            "docker": {
                "image": "simulators:latest",
                "restart_policy": "unless-stopped",
                "privileged": false,
                "container_name": "simulators",
                "environment": {"MQTT_BROKER": "tcp://mqtt-broker:1883", "PORT": 80, "DEBUG": true},
            },
            "health_check": {"http_endpoint": "/health", "interval_seconds": 10},
            "dependencies": {"coordinators": ["message", "telescope"]},
        }))
        .to_string(),
    );
    let pointers: Vec<&str> = warnings.iter().map(|w| w.pointer.as_str()).collect();
    for pointer in [
        "/tags",
        "/discovery",
        "/devices/0",
        "/devices/1",
        "/docker/restart_policy",
        "/docker/privileged",
        "/docker/container_name",
        "/docker/environment/MQTT_BROKER",
        "/docker/environment/PORT",
        "/docker/environment/DEBUG",
        "/health_check/http_endpoint",
        "/dependencies/coordinators/1",
    ] {
        assert!(pointers.contains(&pointer), "{pointer}: {pointers:?}");
    }
    assert_eq!(manifest.docker.environment["PORT"], "80");
    assert_eq!(manifest.docker.environment["DEBUG"], "true");
    assert_eq!(manifest.environment().get("MQTT_BROKER"), None);
    assert_eq!(manifest.dependencies.coordinators.len(), 1);
    assert_eq!((manifest.devices.len(), manifest.grants().len()), (0, 0));
    let Warning { reason, .. } = &warnings[0];
    assert!(!reason.is_empty());
}

#[test]
fn a_manifest_is_stored_as_it_was_written_and_loads_the_same() {
    let Parsed { manifest, .. } = parsed(sdk_sample());
    let stored = serde_json::to_string(&manifest).expect("data");
    let loaded: Manifest = serde_json::from_str(&stored).expect("a manifest");
    assert_eq!(loaded, manifest);
    assert_eq!(loaded.digest(), manifest.digest());
    assert_eq!(manifest.document()["description"], "Brief description of plugin functionality");
    // Another framework's version is a matter of the install, not of loading.
    let newer = manifest_with(json!({"dependencies": {"min_framework_version": "99.0.0"}}));
    assert!(serde_json::from_value::<Manifest>(newer).is_ok());
    let error = serde_json::from_value::<Manifest>(json!({"id": "focuser"})).expect_err("no name");
    assert!(error.to_string().contains("/name: is missing"), "{error}");
}

#[test]
fn the_digest_depends_on_the_content_alone() {
    let digest = |text: &str| parsed(text).manifest.digest();
    let one = digest(r#"{"id": "focuser", "name": "F", "version": "1.0.0", "x": {"b": 1, "a": 2}}"#);
    let two = digest(r#"{"x":{"a":2,"b":1},"version":"1.0.0","name":"F","id":"focuser"}"#);
    let other = digest(r#"{"x":{"a":2,"b":3},"version":"1.0.0","name":"F","id":"focuser"}"#);
    assert_eq!(one, two);
    assert_ne!(one, other);
    assert!(one.starts_with("sha256:") && one.len() == 71, "{one}");
}

#[test]
fn timeouts_follow_the_interval_unless_they_are_given() {
    for (interval, seconds) in [(1, 60), (15, 60), (16, 62), (30, 90), (3600, 7230)] {
        let health = json!({"health_check": {"interval_seconds": interval}});
        let manifest = parsed(manifest_with(health).to_string()).manifest;
        assert_eq!(manifest.start_timeout(), Duration::from_secs(seconds), "{interval}");
    }
}

#[test]
fn topics_are_declared_once_and_judged_by_whose_they_are() {
    let topics = ["bigskies/plugin/focuser/a", "bigskies/plugin/focuser/a", "bigskies/plugin/focuser/#"];
    let manifest = parsed(manifest_with(json!({"mqtt": {"topics_publish": topics}})).to_string()).manifest;
    assert_eq!(manifest.topics().publish.len(), 2);
    let judge =
        |access, text| manifest.namespace().judge(access, &TopicFilter::parse(text).expect("a filter"));
    assert_eq!(judge(Access::Publish, "bigskies/plugin/focuser/+/x"), Verdict::Free);
    assert_eq!(judge(Access::Publish, "weather/station"), Verdict::Foreign);
    assert!(matches!(judge(Access::Publish, "#"), Verdict::Never(_)));
}

#[test]
fn grants_come_in_one_order_whatever_the_manifest_says_first() {
    let grants = |topics: [&str; 3]| {
        let topics = json!({"mqtt": {"topics_subscribe": topics}});
        parsed(manifest_with(topics).to_string()).manifest.grants()
    };
    let (a, b, c) = ("bigskies/plugin/dome/data", "weather/#", "bigskies/coordinator/plugin/state/+");
    assert_eq!(grants([a, b, c]), grants([c, b, a]));
    let digest = |grants: &[Grant]| manifest::approval_digest("sha256:1", "sha256:2", grants);
    assert_eq!(digest(&grants([a, b, c])), digest(&grants([b, a, c])));
    assert_ne!(digest(&grants([a, b, c])), digest(&grants([a, b, b])));
}
