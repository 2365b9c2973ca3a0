//! The schemas in `schemas/` are those of the types, and the SDK document's own messages satisfy them.

use std::collections::BTreeSet;

use envelope::Operation;
use jsonschema::Validator;
use serde_json::{Value, json};
use tests::examples;
use tests::repository::{RepositoryError, fenced, files, hold, text};
use tests::schemas::{all, readme};

const SDK: &str = "docs/PLUGIN_SDK.md";

fn validator(name: &str) -> Validator {
    let document = all().into_iter().find(|document| document.name == name).expect("the schema is listed");
    jsonschema::options().should_validate_formats(true).build(&document.value()).expect("the schema is one")
}

fn complaints(name: &str, instance: &Value) -> Vec<String> {
    validator(name).iter_errors(instance).map(|e| format!("{}: {e}", e.instance_path())).collect()
}

#[test]
fn schemas_match_the_types() -> Result<(), RepositoryError> {
    for document in all() {
        hold(&document.path(), &document.text())?;
    }
    hold("schemas/README.md", &readme())
}

#[test]
fn no_schema_is_left_over_from_a_type_that_is_gone() -> Result<(), RepositoryError> {
    let mut wanted: BTreeSet<String> = all().iter().map(|document| document.path()).collect();
    wanted.insert("schemas/README.md".to_owned());
    let stale: Vec<String> = files("schemas", |path| !wanted.contains(path))?;
    assert_eq!(stale, [""; 0], "delete these");
    Ok(())
}

#[test]
fn every_schema_says_what_it_is_and_is_one_of_the_current_draft() {
    let mut ids = BTreeSet::new();
    for document in all() {
        let (name, schema) = (&document.name, document.value());
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
        assert_eq!(schema["$id"], format!("urn:bigskies:schema:{name}:1"));
        for key in ["title", "description"] {
            assert!(schema[key].as_str().is_some_and(|text| !text.is_empty()), "{name} has no {key}");
        }
        assert!(jsonschema::meta::is_valid(&schema), "{name}");
        assert!(ids.insert(schema["$id"].to_string()), "{name} is listed twice");
        validator(name);
    }
}

#[test]
fn every_operation_has_a_schema_of_its_request_and_of_its_response() {
    let names: BTreeSet<String> = all().into_iter().map(|document| document.name).collect();
    for operation in Operation::ALL {
        let name = operation.unique_name();
        assert!(names.contains(&format!("{name}.request")), "{name}");
        assert!(names.contains(&format!("{name}.response")), "{name}");
    }
}

#[test]
fn the_sdks_sample_manifest_satisfies_the_schema_of_manifests() {
    let document = text(SDK).expect("the document is there");
    let sample = fenced(&document, "### Plugin Manifest (plugin.json)", "json").expect("it has a sample");
    let sample: Value = serde_json::from_str(sample).expect("the sample is JSON");
    assert_eq!(complaints("plugin", &sample), [""; 0]);
    assert_ne!(complaints("plugin", &json!({"id": "a/b"})), [""; 0]);
}

#[test]
fn the_sdks_health_message_satisfies_the_schema_of_health() {
    let document = text(SDK).expect("the document is there");
    let sample = fenced(&document, "### 2. Health Reporting", "json").expect("it has a sample");
    let mut message: Value = serde_json::from_str(sample).expect("the sample is JSON");
    let listed = message["payload"]["status"].as_str().expect("it lists the possible values").to_owned();
    assert_eq!(listed.split('|').count(), 3);
    for status in listed.split('|') {
        message["payload"]["status"] = status.into();
        assert_eq!(complaints("health", &message), [""; 0], "{status}");
        assert_eq!(complaints("envelope", &message), [""; 0], "{status}");
    }
    message["payload"]["status"] = "fine".into();
    assert_ne!(complaints("health", &message), [""; 0]);
    message["payload"]["status"] = "healthy".into();
    message["type"] = "event".into();
    assert_ne!(complaints("health", &message), [""; 0]);
    message["type"] = "status".into();
    message["timestamp"] = "yesterday".into();
    assert_ne!(complaints("health", &message), [""; 0]);
}

#[test]
fn the_sdks_lifecycle_requests_satisfy_the_schemas_of_their_operations() {
    let document = text(SDK).expect("the document is there");
    for operation in [Operation::Install, Operation::Start, Operation::Stop, Operation::Remove] {
        let name = format!("{operation}.request");
        let begin = format!("POST bigskies/coordinator/plugin/{operation}\n");
        let (_, rest) = document.split_once(&begin).expect("the document shows the request");
        let (body, _) = rest.split_once("```").expect("the block ends");
        let body: Value = serde_json::from_str(&body.replace("{ ... }", "{}")).expect("the request is JSON");
        assert_eq!(complaints(&name, &body), [""; 0], "{operation}");
        assert_ne!(complaints(&name, &json!({})), [""; 0], "{operation}");
    }
}

#[test]
fn the_sdks_mosquitto_command_sends_a_request_that_satisfies_the_schema() {
    let document = text(SDK).expect("the document is there");
    let (_, rest) = document.split_once("-m '").expect("the document shows the command");
    let (body, _) = rest.split_once('\'').expect("the quote ends");
    let body: Value = serde_json::from_str(body).expect("the request is JSON");
    assert_eq!(complaints("install.request", &body), [""; 0]);
}

#[test]
fn the_examples_in_the_reference_satisfy_the_schemas() {
    for operation in Operation::ALL {
        let request = examples::request(operation);
        let name = operation.unique_name();
        assert_eq!(complaints(&format!("{name}.request"), &request), [""; 0], "{operation}");
        let answer = examples::answer(operation);
        let name = format!("{name}.response");
        assert_eq!(complaints(&name, &answer), [""; 0], "{operation}");
        assert_eq!(complaints("answer", &answer), [""; 0], "{operation}");
        let failure = json!({"success": false, "error": {"code": "busy", "message": "m", "details": null}});
        assert_eq!(complaints(&name, &failure), [""; 0], "{operation}");
        let odd = json!({"success": false, "error": {"code": "odd", "message": "m", "details": null}});
        assert_ne!(complaints(&name, &odd), [""; 0], "{operation}");
    }
}
