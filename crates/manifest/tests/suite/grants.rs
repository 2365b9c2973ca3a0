//! Each kind of grant, its sentence and its risk.

use manifest::{Grant, Risk, framework_version, parse};
use serde_json::{Value, json};

use crate::samples::manifest_with;

fn grants(more: Value) -> Vec<Grant> {
    let document = manifest_with(more).to_string();
    let parsed = parse(document.as_bytes(), &framework_version());
    parsed.unwrap_or_else(|faults| panic!("{document}: {faults}")).manifest.grants()
}

#[test]
fn every_grant_says_in_one_sentence_what_it_means() {
    use Risk::*;
    let publish = |topic: &str| json!({"mqtt": {"topics_publish": [topic]}});
    let subscribe = |topic: &str| json!({"mqtt": {"topics_subscribe": [topic]}});
    let permission = |text: &str| json!({"permissions": [text]});
    let docker = |key: &str, value: Value| json!({"docker": {key: value}});
    for (more, risk, sentence) in [
        (publish("bigskies/plugin/mount/control/slew"), High, "May send commands to other plugins"),
        (publish("bigskies/plugin/mount/data"), Medium, "May publish on \"bigskies/plugin/mount/data\""),
        (publish("weather/data"), Medium, "May publish on \"weather/data\""),
        (subscribe("bigskies/plugin/mount/data"), Low, "May read \"bigskies/plugin/mount/data\""),
        (subscribe("bigskies/plugin/+/data"), Medium, "May read \"bigskies/plugin/+/data\""),
        (subscribe("bigskies/plugin/mount/control/#"), Medium, "May read"),
        (subscribe("bigskies/coordinator/plugin/state/+"), Low, "May read"),
        (subscribe("bigskies/coordinator/plugin/event/#"), Medium, "May read"),
        (subscribe("weather/#"), Low, "May read \"weather/#\""),
        (
            permission("user:read"),
            Medium,
            "May view users' data, who asked for what, and who is connected from where (user:read).",
        ),
        (permission("plugin:control"), High, "May start, stop and command other plugins (plugin:control)."),
        (permission("system:write"), Medium, "May change the configuration of the framework (system:write)."),
        (
            permission("telescope/main:control"),
            High,
            "May give commands to the telescope \"main\" (telescope/main:control).",
        ),
        (
            json!({"devices": ["/dev/ttyUSB0"]}),
            Medium,
            "May read from and write to the device \"/dev/ttyUSB0\"",
        ),
        (json!({"devices": ["/dev/bus/usb"]}), High, "May read from and write to"),
        (docker("volumes", json!(["/srv/images:/x:ro"])), Medium, "May read \"/srv/images\" of the host."),
        (docker("volumes", json!(["/srv/images:/x"])), High, "May read and change \"/srv/images\""),
        (docker("volumes", json!(["/etc:/x:ro"])), High, "May read \"/etc\""),
        (docker("volumes", json!(["/etc/localtime:/etc/localtime:ro"])), Medium, "May read"),
        (docker("ports", json!(["0.0.0.0:80:80"])), Medium, "on port 80/tcp of every address"),
        (
            docker("ports", json!(["192.168.1.2:80:80/udp"])),
            Medium,
            "on port 80/udp of the host's address 192.168.1.2",
        ),
        (docker("user", json!("0:0")), High, "Runs as root inside its container."),
        (docker("user", json!(0)), High, "Runs as root inside its container."),
    ] {
        let found = grants(more.clone());
        assert_eq!(found.len(), 1, "{more}: {found:?}");
        assert!(found[0].sentence().contains(sentence), "{more}: {}", found[0].sentence());
        assert_eq!(found[0].risk(), risk, "{more}");
        let wire = serde_json::to_value(&found[0]).expect("data");
        assert_eq!(serde_json::from_value::<Grant>(wire.clone()).ok().as_ref(), Some(&found[0]), "{wire}");
    }
}

#[test]
fn what_stays_inside_needs_no_grant() {
    for more in [
        json!({"permissions": ["system:read", "plugin:read", "telescope/main:read"]}),
        json!({"docker": {"ports": ["8080", "127.0.0.1:81:81", "[::1]:82:82"]}}),
        json!({"docker": {"volumes": ["data:/data", "/var/lib/bigskies/plugins/focuser:/own"]}}),
        json!({"docker": {"volumes": ["/var/lib/bigskies/plugins/focuser/deep/er:/data"]}}),
        json!({"docker": {"user": "1000:1000"}}),
        json!({"devices": [{"name": "described"}]}),
        json!({"capabilities": {"requires_internet": true}}),
    ] {
        assert_eq!(grants(more.clone()), [], "{more}");
    }
}

#[test]
fn a_sentence_shows_hostile_text_as_escapes() {
    let found = grants(json!({"docker": {"volumes": ["/srv/a\u{ad}b:/x"]}}));
    assert!(found[0].sentence().is_ascii(), "{}", found[0].sentence());
}
