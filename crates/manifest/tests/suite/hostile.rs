//! Nothing that a stranger writes makes the reader panic, run long, or say too much.

use manifest::{Manifest, framework_version, parse, parse_value};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::samples::{full, manifest_with, sdk_sample};

/// Whatever comes out is bounded and consistent.
fn check(bytes: &[u8]) {
    match parse(bytes, &framework_version()) {
        Ok(parsed) => {
            let manifest = parsed.manifest;
            let stored = serde_json::to_string(&manifest).expect("data");
            let loaded: Manifest = serde_json::from_str(&stored).expect("it was without faults");
            assert_eq!(loaded.digest(), manifest.digest());
            for grant in manifest.grants() {
                assert!(!grant.sentence().chars().any(char::is_control), "{grant:?}");
                grant.risk();
            }
            let names = manifest.dns_names();
            assert!((1..=2).contains(&names.len()));
        }
        Err(faults) => {
            assert!((1..=101).contains(&faults.list().len()));
            for fault in faults.list() {
                let length = fault.pointer.len() + fault.reason.len() + fault.fix.len();
                assert!(length < 4096, "{} bytes: {fault}", length);
                assert!(!fault.to_string().chars().any(char::is_control), "{fault:?}");
            }
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "\\PC{0,20}",
        prop::sample::select(vec![
            "",
            "#",
            "/dev/sda",
            "..",
            "0",
            "1.0.0",
            "system:read",
            "a:/b",
            "\0",
            "\u{202e}"
        ])
        .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("\\PC{0,8}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Every place in `document`, as a JSON pointer.
fn places(document: &Value) -> Vec<String> {
    fn walk(value: &Value, at: &str, places: &mut Vec<String>) {
        let mut inner = |token: &str, value| {
            let at = format!("{at}/{}", token.replace('~', "~0").replace('/', "~1"));
            places.push(at.clone());
            walk(value, &at, places);
        };
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| inner(key, value)),
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(index, value)| inner(&index.to_string(), value));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(document, "", &mut found);
    found
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes);
    }

    #[test]
    fn any_json_is_read_or_refused(document in any_json()) {
        check(document.to_string().as_bytes());
        let _ = parse_value(document, &framework_version());
    }

    #[test]
    fn a_manifest_with_any_json_at_any_place_is_read_or_refused(
        places_and_values in prop::collection::vec((any::<prop::sample::Index>(), any_json()), 1..4),
    ) {
        let mut document = full();
        for (place, value) in places_and_values {
            let places = places(&document);
            if let Some(pointer) = places.get(place.index(places.len().max(1)))
                && let Some(slot) = document.pointer_mut(pointer)
            {
                *slot = value;
            }
        }
        check(document.to_string().as_bytes());
    }

    #[test]
    fn a_manifest_with_broken_bytes_is_read_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = sdk_sample().into_bytes();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        check(&bytes);
    }
}

#[test]
fn a_manifest_that_is_all_faults_is_answered_in_bounds() {
    let keys: serde_json::Map<String, Value> =
        (0..5000).map(|n| (format!("{n}\u{1b}{}", "x".repeat(20)), json!(1))).collect();
    check(manifest_with(json!({"docker": {"environment": keys.clone()}})).to_string().as_bytes());
    check(Value::Object(keys).to_string().as_bytes());
    let topics: Vec<String> = (0..256).map(|n| format!("bigskies/coordinator/{n}\u{202e}")).collect();
    check(manifest_with(json!({"mqtt": {"topics_publish": topics}})).to_string().as_bytes());
    check(format!("{{{}}}", vec!["\"a\":1"; 20_000].join(",")).as_bytes());
    check(&vec![b'['; 200_000]);
    check(&vec![b'x'; 10 << 20]);
    let long = "k".repeat(200_000);
    check(json!({long.clone(): {long.clone(): 1}}).to_string().as_bytes());
    check(manifest_with(json!({"id": long.clone(), "version": long.clone()})).to_string().as_bytes());
    check(manifest_with(json!({"docker": {"volumes": [format!("/{long}:/x")]}})).to_string().as_bytes());
}

#[test]
fn a_document_that_came_inside_another_keeps_the_same_bounds() {
    let mut deep = json!(1);
    for _ in 0..40 {
        deep = json!([deep]);
    }
    let error = parse_value(manifest_with(json!({"x": deep})), &framework_version()).expect_err("too deep");
    assert!(error.to_string().contains("inside each other"), "{error}");
    let large = manifest_with(json!({"x": "y".repeat(300_000)}));
    let error = parse_value(large, &framework_version()).expect_err("too large");
    assert!(error.to_string().contains("bytes"), "{error}");
    assert!(parse_value(full(), &framework_version()).is_ok());
}
