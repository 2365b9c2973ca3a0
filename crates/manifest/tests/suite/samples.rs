//! Manifests that several tests start from.

use serde_json::{Value, json};

/// The manifest in the SDK document, as it stands there.
pub fn sdk_sample() -> String {
    let places = [
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/PLUGIN_SDK.md"),
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/sdk/PLUGIN_SDK.md"),
    ];
    let document = places.iter().find_map(|place| std::fs::read_to_string(place).ok());
    let document = document.unwrap_or_else(|| panic!("the SDK document is at none of {places:?}"));
    let (_, chapter) = document.split_once("### Plugin Manifest (plugin.json)").expect("the chapter");
    let (_, block) = chapter.split_once("```json\n").expect("its first block");
    let (sample, _) = block.split_once("```").expect("the end of the block");
    sample.to_owned()
}

/// The required keys alone.
pub fn minimal() -> Value {
    json!({"id": "focuser", "name": "Focuser", "version": "1.0.0"})
}

/// The required keys, and `more`, which wins.
pub fn manifest_with(more: Value) -> Value {
    let mut manifest = minimal();
    for (key, value) in more.as_object().expect("an object") {
        manifest[key] = value.clone();
    }
    manifest
}

/// Every key that has a meaning, and every kind of grant.
pub fn full() -> Value {
    json!({
        "id": "org-example-mount",
        "name": "Mount",
        "version": "2.1.0-beta.1",
        "description": "Moves the mount.\nCarefully.",
        "author": "An author",
        "license": "MIT OR Apache-2.0",
        "homepage": "https://example.org/mount",
        "capabilities": {
            "provides_devices": true,
            "provides_ui": true,
            "requires_database": false,
            "requires_internet": true,
        },
        "mqtt": {
            "topics_subscribe": [
                "bigskies/plugin/mount/#",
                "bigskies/coordinator/security/plugin/org-example-mount/token",
                "bigskies/coordinator/security/keys/#",
                "bigskies/coordinator/message/health/status",
                "bigskies/plugin/weather/data",
            ],
            "topics_publish": ["bigskies/plugin/mount/position", "bigskies/plugin/dome/control/slew"],
            "client_id": "mount-client",
        },
        "docker": {
            "image": "registry.example.org/mount:2.1",
            "ports": ["127.0.0.1:8080:80", "0.0.0.0:4030:4030/udp"],
            "environment": {"PLUGIN_CONFIG": "/config/mount.json", "LOG_LEVEL": "info"},
            "volumes": ["/var/lib/bigskies/plugins/mount:/data", "cache:/cache", "/srv/images:/images:ro"],
            "networks": ["bigskies-network"],
            "user": "0:0",
        },
        "ui_elements": [{
            "id": "panel",
            "type": "panel",
            "title": "Mount",
            "description": "Where it points",
            "icon": "compass",
            "url": "/plugin/mount/panel",
        }],
        "health_check": {"topic": "bigskies/plugin/mount/health", "interval_seconds": 10},
        "dependencies": {
            "coordinators": ["plugin", "message", "security"],
            "min_framework_version": "1.0.0",
        },
        "permissions": ["system:read", "telescope/main:control"],
        "resources": {"memory": "256m", "cpus": 0.5, "pids": 512, "disk": 1_073_741_824},
        "devices": [
            "/dev/serial/by-id/usb-mount-if00",
            {"path": "/dev/video0", "container_path": "/dev/video1", "access": "r"},
        ],
        "start_timeout_seconds": 120,
        "stop_timeout_seconds": 5,
        "config_schema": {"type": "object"},
    })
}
