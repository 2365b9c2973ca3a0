//! Configurations judged by the manifest's own schema, hostile ones of both kinds.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use manifest::{ConfigFault, Manifest, framework_version, parse};
use serde_json::{Value, json};

use crate::faults::{check, faults};
use crate::samples::manifest_with;

fn with(schema: Value) -> Manifest {
    let document = manifest_with(json!({"config_schema": schema}));
    parse(document.to_string().as_bytes(), &framework_version()).expect("no faults").manifest
}

fn wrong(manifest: &Manifest, config: &Value) -> Vec<ConfigFault> {
    manifest.check_config(Some(config)).expect_err("it does not fit")
}

fn site() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["host"],
        "additionalProperties": false,
        "properties": {
            "host": {"type": "string", "pattern": "^[a-z.]+$"},
            "password": {"type": "string", "minLength": 20},
            "ports": {"type": "array", "items": {"$ref": "#/$defs/port"}},
        },
        "$defs": {"port": {"type": "integer", "minimum": 1, "maximum": 65535}},
    })
}

#[test]
fn every_fault_is_told_with_its_place_and_without_what_stands_there() {
    let manifest = with(site());
    assert_eq!(manifest.check_config(Some(&json!({"host": "a.b", "ports": [1, 2]}))), Ok(()));
    let found =
        wrong(&manifest, &json!({"host": "A", "password": "hunter2", "ports": [1, 0, "x"], "more": 1}));
    let mut places: Vec<&str> = found.iter().map(|fault| fault.pointer.as_str()).collect();
    places.sort_unstable();
    assert_eq!(places, ["", "/host", "/password", "/ports/1", "/ports/2"], "{found:?}");
    assert!(found.iter().any(|fault| fault.reason.contains("more")), "{found:?}");
    assert!(!format!("{found:?}").contains("hunter2"), "a value is told: {found:?}");
}

#[test]
fn a_configuration_that_is_needed_is_missed() {
    let found = with(site()).check_config(None).expect_err("host is required");
    assert!(found[0].reason.contains("host"), "{found:?}");
    assert_eq!(with(json!({"type": "object"})).check_config(None), Ok(()));
    let without: Manifest = serde_json::from_value(manifest_with(json!({}))).expect("no faults");
    assert_eq!(without.check_config(Some(&json!({"any": "thing"}))), Ok(()));
    assert!(without.check_config(Some(&json!("x".repeat(70_000)))).is_err());
}

#[test]
fn a_schema_that_is_none_is_a_fault_of_the_manifest() {
    let at = |below: &str| format!("/config_schema{below}");
    let cases = [
        (json!(7), at(""), "is a number"),
        (json!({"type": "text"}), at(""), "is not a JSON Schema"),
        (json!({"pattern": "("}), at(""), "is not a JSON Schema"),
        (json!({"pattern": "(?=x)"}), at(""), "is not a JSON Schema"),
        (json!({"pattern": "(a{1000}){1000}"}), at(""), "is not a JSON Schema"),
        (json!({"pattern": "x".repeat(600)}), at("/pattern"), "is a pattern of 600 bytes"),
        (json!({"$ref": "https://example.org/x.json"}), at("/$ref"), "is no place in this schema"),
        (json!({"$ref": "file:///etc/passwd"}), at("/$ref"), "is no place in this schema"),
        (json!({"$ref": "#/$defs/a"}), at("/$ref"), "is no place in this schema"),
        (json!({"$ref": "#/%24defs/a", "$defs": {"a": {}}}), at("/$ref"), "is no place in this schema"),
        (json!({"$ref": "#"}), at("/$ref"), "is no place in this schema"),
        (json!({"$schema": "https://example.org/x"}), at("/$schema"), "is not a draft"),
        (json!({"items": {"$id": "https://example.org/"}}), at("/items/$id"), "another address"),
        (json!({"$dynamicRef": "#x"}), at("/$dynamicRef"), "changes what references mean"),
    ];
    for (schema, pointer, reason) in cases {
        check(&[(json!({"config_schema": schema}), pointer.as_str(), reason)]);
    }
}

#[test]
fn a_schema_inside_itself_is_refused() {
    for schema in [
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
    ] {
        let found = faults(&manifest_with(json!({"config_schema": schema})));
        assert!(found.iter().any(|fault| fault.reason == "leads back to itself"), "{found:?}");
    }
}

/// Schemas that would be applied for ever, or with all the memory there is.
fn bombs() -> Vec<(&'static str, Value)> {
    let chain = |n: usize, of: &dyn Fn(&str) -> Value| {
        let mut defs = json!({format!("d{n}"): {"type": "string"}});
        for level in 0..n {
            defs[format!("d{level}")] = of(&format!("#/$defs/d{}", level + 1));
        }
        json!({"$ref": "#/$defs/d0", "$defs": defs})
    };
    let mut nested = json!({"type": "string"});
    for _ in 0..14 {
        nested = json!({"unevaluatedProperties": false, "allOf": [nested]});
    }
    let patterns: Vec<Value> = (0..400).map(|n| json!({"pattern": format!("^(a+)+{n}$")})).collect();
    vec![
        ("references that double", chain(40, &|to| json!({"allOf": [{"$ref": to}, {"$ref": to}]}))),
        ("alternatives that double", chain(20, &|to| json!({"oneOf": [{"$ref": to}, {"$ref": to}]}))),
        ("a chain of thousands", chain(5000, &|to| json!({"$ref": to}))),
        ("what was evaluated, again and again", nested),
        ("hundreds of patterns", json!({"allOf": patterns})),
    ]
}

#[test]
fn a_schema_that_would_take_for_ever_is_refused_at_once() {
    for (what, schema) in bombs() {
        let begun = Instant::now();
        let found = faults(&manifest_with(json!({"config_schema": schema})));
        assert!(!found.is_empty(), "{what} is let in");
        assert!(begun.elapsed() < Duration::from_secs(5), "{what} took {:?}", begun.elapsed());
    }
}

#[test]
fn a_pattern_that_hangs_other_engines_takes_linear_time() {
    let manifest = with(json!({"type": "object", "additionalProperties": {"pattern": "^(a+)+$"}}));
    let begun = Instant::now();
    assert_eq!(wrong(&manifest, &json!({"x": format!("{}!", "a".repeat(60_000))})).len(), 1);
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
}

#[test]
fn faults_are_bounded_in_number_length_and_characters() {
    let manifest = with(json!({"additionalProperties": false}));
    let config: serde_json::Map<String, Value> =
        (0..900).map(|n| (format!("{n}\u{1b}[2J{}", "x".repeat(20)), json!(1))).collect();
    let found = wrong(&manifest, &Value::Object(config));
    assert!((1..=100).contains(&found.len()));
    for fault in &found {
        assert!(
            fault.reason.chars().count() <= 301 && !fault.reason.chars().any(char::is_control),
            "{fault:?}"
        );
    }
    let every: Vec<Value> = (0..1000).map(|_| json!({"type": "string"})).collect();
    let manifest = with(json!({"items": {"allOf": every}}));
    assert_eq!(wrong(&manifest, &json!([1, 2, 3])).len(), 100);
    assert_eq!(wrong(&manifest, &json!(vec![1; 4000])).len(), 1, "all of them would need too much memory");
    assert_eq!(wrong(&manifest, &json!(vec![1; 20_000])).len(), 1);
}

/// Schemas of the keywords that matter, with anything in them.
fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(vec!["string", "#/$defs/a", "#/$defs/b", "#", "^(a+)+$", "(", "integer", "x"])
            .prop_map(Value::from),
    ];
    let keyword = prop::sample::select(vec![
        "$ref",
        "$defs",
        "$id",
        "$schema",
        "type",
        "properties",
        "patternProperties",
        "additionalProperties",
        "items",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "if",
        "then",
        "pattern",
        "enum",
        "const",
        "required",
        "minimum",
        "unevaluatedProperties",
        "dependentSchemas",
        "contains",
        "uniqueItems",
        "a",
        "b",
        "^a",
    ]);
    leaf.prop_recursive(6, 60, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(keyword.clone(), inner, 0..5).prop_map(|map| {
                Value::Object(map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_schema_is_read_or_refused_and_any_configuration_judged(schema in any_schema(), config in any_schema()) {
        let document = manifest_with(json!({"config_schema": {"$defs": {"a": schema, "b": {"items": schema}}, "anyOf": [schema]}}));
        if let Ok(parsed) = parse(document.to_string().as_bytes(), &framework_version()) {
            for fault in parsed.manifest.check_config(Some(&config)).err().unwrap_or_default() {
                prop_assert!(!fault.reason.chars().any(char::is_control), "{fault:?}");
            }
        }
    }
}
