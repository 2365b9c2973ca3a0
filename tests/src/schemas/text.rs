//! What types say of themselves, and the list of schemas for readers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::document::What;

/// What each value of an enumeration means, by its text on the wire.
pub fn meanings<T: JsonSchema>() -> BTreeMap<String, String> {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value();
    let values = schema["oneOf"].as_array().cloned().unwrap_or_default();
    let text =
        |value: &Value| value.as_str().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    values.iter().filter_map(|value| Some((text(&value["const"])?, text(&value["description"])?))).collect()
}

/// `schemas/README.md`.
pub fn readme() -> String {
    let mut text = String::from(
        "# JSON Schemas\n\n\
         Draft 2020-12, generated from the Rust types (`BIGSKIES_BLESS=1 cargo test -p tests`); nothing here is edited by hand.\n\
         A request is its payload alone, as the SDK document sends it, or that payload in an envelope. A response always has an\n\
         envelope; its schema describes the payload. Whatever stands on a topic as one message is described whole.\n\
         Readers ignore fields that they do not know. Where each message is written and read: `docs/operations.md`.\n\n\
         | schema | describes | |\n|---|---|---|\n",
    );
    for document in super::all() {
        let what = match document.what {
            What::File => "a file",
            What::Message => "a message",
            What::Payload => "a payload",
            What::Part => "a part",
        };
        let name = &document.name;
        text.push_str(&format!("| [`{name}`]({name}.schema.json) | {what} | {} |\n", document.title));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use envelope::{ErrorCode, Operation};

    #[test]
    fn every_operation_and_error_code_says_what_it_means() {
        let operations = meanings::<Operation>();
        assert_eq!(operations["install"], "Registers a plugin and pulls its image.");
        assert_eq!(operations.len(), Operation::ALL.len());
        assert_eq!(meanings::<ErrorCode>().len(), ErrorCode::ALL.len());
    }
}
