//! The security rating, rule by rule.

use manifest::rating::{BEST, Effect, RULES, WORST, rating, table};
use manifest::{Grant, framework_version, parse};
use serde_json::{Value, json};

use crate::samples::manifest_with;

/// The score and the sentences of a plugin that has everything it asks for.
fn rated(more: Value) -> (u8, Vec<String>) {
    let document = manifest_with(more).to_string();
    let parsed = parse(document.as_bytes(), &framework_version());
    let manifest = parsed.unwrap_or_else(|faults| panic!("{document}: {faults}")).manifest;
    let rating = rating(&manifest, &manifest.grants());
    (rating.score, rating.reasons)
}

/// A manifest's keys for each rule of the table, in its order, and the score with it alone.
fn examples() -> Vec<(Value, u8)> {
    let publish = |topic: &str| json!({"mqtt": {"topics_publish": [topic]}});
    let subscribe = |topic: &str| json!({"mqtt": {"topics_subscribe": [topic]}});
    let permission = |text: &str| json!({"permissions": [text]});
    let docker = |key: &str, value: Value| json!({"docker": {key: value}});
    vec![
        (docker("volumes", json!(["/etc:/x"])), 1),
        (docker("user", json!(0)), 2),
        (docker("volumes", json!(["/srv/images:/x"])), 2),
        (docker("volumes", json!(["/home/me:/x:ro"])), 2),
        (json!({"devices": ["/dev/bus/usb"]}), 2),
        (permission("plugin:configure"), 2),
        (publish("bigskies/plugin/mount/control/slew"), 3),
        (permission("system:write"), 5),
        (permission("telescope/main:control"), 5),
        (permission("user:read"), 5),
        (publish("weather/data"), 5),
        (subscribe("bigskies/plugin/mount/data"), 5),
        (subscribe("bigskies/coordinator/plugin/event/#"), 5),
        (docker("ports", json!(["0.0.0.0:80:80"])), 5),
        (docker("volumes", json!(["/srv/images:/x:ro"])), 5),
        (json!({"devices": ["/dev/ttyUSB0"]}), 5),
        (json!({"resources": {"disk": "3g"}}), 5),
        (json!({"capabilities": {"requires_internet": true}}), 5),
        (json!({"capabilities": {"requires_internet": true}, "permissions": ["user:read"]}), 3),
    ]
}

#[test]
fn each_rule_lowers_the_rating_by_what_the_table_says_and_tells_why() {
    let examples = examples();
    assert_eq!(examples.len(), RULES.len(), "each rule has an example, in the order of the table");
    for (rule, (more, score)) in RULES.iter().zip(examples) {
        let (found, reasons) = rated(more.clone());
        assert_eq!(found, score, "{more}: {reasons:?}");
        let reason = format!("{}: {}.", rule.sentence, rule.effect);
        assert!(reasons.contains(&reason), "{more}: {reasons:?}");
    }
}

#[test]
fn a_plugin_that_keeps_to_itself_needs_no_trust() {
    for more in [
        json!({}),
        json!({"permissions": ["system:read", "plugin:read"]}),
        json!({"docker": {"ports": ["8080"], "volumes": ["data:/data"], "user": "1000"}}),
        json!({"mqtt": {"topics_subscribe": ["bigskies/coordinator/plugin/state/+", "weather/#"]}}),
    ] {
        assert_eq!(rated(more.clone()), (BEST, Vec::new()), "{more}");
    }
}

#[test]
fn points_add_up_and_the_lowest_bound_holds() {
    let several = json!({
        "capabilities": {"requires_internet": true},
        "permissions": ["user:read", "telescope/main:control"],
        "devices": ["/dev/ttyUSB0"],
        "docker": {"ports": ["0.0.0.0:80:80"]},
    });
    let (score, reasons) = rated(several);
    assert_eq!((score, reasons.len()), (WORST, 6), "{reasons:?}");
    let bound = json!({"permissions": ["plugin:control", "plugin:configure", "user:read"]});
    assert_eq!(rated(bound).0, 2);
}

#[test]
fn what_was_not_granted_lowers_nothing() {
    let document = manifest_with(json!({"permissions": ["plugin:configure"], "docker": {"user": 0}}));
    let parsed = parse(document.to_string().as_bytes(), &framework_version()).expect("a manifest");
    assert_eq!(rating(&parsed.manifest, &[]).score, BEST);
    assert_eq!(rating(&parsed.manifest, &[Grant::RootUser]).score, 2);
}

#[test]
fn the_table_for_the_documentation_has_every_rule_once() {
    let table = table();
    assert_eq!(table.lines().count(), RULES.len() + 2);
    for rule in RULES {
        let row = format!("| {} | {} | {} |", rule.condition, rule.effect, rule.sentence);
        assert_eq!(table.lines().filter(|line| *line == row).count(), 1, "{row}");
        match rule.effect {
            Effect::AtMost(most) => assert!((WORST..BEST).contains(&most)),
            Effect::Less(points) => assert!((1..BEST).contains(&points)),
        }
    }
}
