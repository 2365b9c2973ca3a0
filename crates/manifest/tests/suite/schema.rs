//! The JSON Schema describes what [`manifest::parse`] reads.

use std::collections::BTreeSet;

use manifest::{framework_version, parse, schema};
use serde_json::{Value, json};

use crate::samples::{full, manifest_with, minimal, sdk_sample};

fn schema_value() -> Value {
    serde_json::to_value(schema()).expect("a schema is JSON")
}

fn complaints(document: &Value) -> Vec<String> {
    let validator = jsonschema::validator_for(&schema_value()).expect("the schema is one");
    validator.iter_errors(document).map(|error| error.to_string()).collect()
}

#[test]
fn it_is_a_schema_of_the_current_draft() {
    let schema = schema_value();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(jsonschema::meta::is_valid(&schema));
    assert_eq!(schema["required"], json!(["id", "name", "version"]));
}

#[test]
fn manifests_without_faults_satisfy_it() {
    let sdk: Value = serde_json::from_str(&sdk_sample()).expect("JSON");
    let richer = manifest_with(json!({
        "tags": ["x"],
        "devices": [{"name": "described"}],
        "docker": {"environment": {"PORT": 80, "DEBUG": true}, "ports": [8080]},
        "health_check": {"http_endpoint": "/health"},
        "dependencies": {"coordinators": ["telescope"]},
        "author": null,
    }));
    for document in [sdk, minimal(), full(), richer] {
        assert_eq!(complaints(&document), [""; 0], "{document}");
        assert!(parse(document.to_string().as_bytes(), &framework_version()).is_ok());
    }
}

#[test]
fn manifests_of_another_shape_do_not() {
    for more in [
        json!({"id": "a/b"}),
        json!({"version": "1.0"}),
        json!({"mqtt": {"topics_publish": ["a#"]}}),
        json!({"docker": {"networks": ["host"]}}),
        json!({"docker": {"ports": ["a"]}}),
        json!({"docker": {"volumes": ["data"]}}),
        json!({"health_check": {"interval_seconds": 0}}),
        json!({"health_check": {"topic": "elsewhere/health"}}),
        json!({"permissions": ["root:all"]}),
        json!({"devices": ["ttyUSB0"]}),
        json!({"resources": {"memory": "much"}}),
    ] {
        let document = manifest_with(more);
        assert_ne!(complaints(&document), [""; 0], "{document}");
        assert!(parse(document.to_string().as_bytes(), &framework_version()).is_err(), "{document}");
    }
}

/// The schema's object at a place in it, through references.
fn resolve<'s>(root: &'s Value, mut schema: &'s Value) -> &'s Value {
    while let Some(reference) = schema["$ref"].as_str() {
        schema = root.pointer(reference.trim_start_matches('#')).expect("a definition");
    }
    schema
}

fn keys(object: &Value) -> BTreeSet<String> {
    object.as_object().expect("an object").keys().cloned().collect()
}

#[test]
fn its_keys_are_the_ones_that_are_read() {
    let (root, full) = (schema_value(), full());
    assert_eq!(keys(&root["properties"]), keys(&full));
    for block in ["capabilities", "mqtt", "docker", "health_check", "dependencies", "resources"] {
        let described = resolve(&root, &root["properties"][block]);
        assert_eq!(keys(&described["properties"]), keys(&full[block]), "{block}");
    }
    let element = resolve(&root, &root["properties"]["ui_elements"]["items"]);
    assert_eq!(keys(&element["properties"]), keys(&full["ui_elements"][0]));
    // That none of them is unknown to the reader is tested where it is read: it has no warnings.
}
