//! One schema: its name, what it describes, and its text.

use envelope::{Envelope, ErrorBody};
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde::ser::SerializeMap;
use serde_json::{Map, Value, json};

/// Keys that come first, so that a reader sees at once what it is.
const FIRST: [&str; 10] =
    ["$schema", "$id", "title", "description", "type", "const", "success", "code", "message", "plugin_id"];

/// How much of a message a schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A file that an author writes.
    File,
    /// A message as it stands on its topic.
    Message,
    /// What an envelope, or a request without one, carries.
    Payload,
    /// A part of something larger.
    Part,
}

/// A schema with its name.
#[derive(Debug, Clone)]
pub struct Document {
    /// Its name, such as `install.request`.
    pub name: String,
    /// How much it describes.
    pub what: What,
    /// What it describes, in a few words.
    pub title: String,
    schema: Schema,
}

impl Document {
    /// What somebody else writes and the framework reads: nothing is required that has a default.
    pub(super) fn read<T: JsonSchema>(name: impl Into<String>, what: What) -> Self {
        let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
        Self::of(name, what, schema)
    }

    /// What the framework writes: whatever is always written is required.
    pub(super) fn written<T: JsonSchema>(name: impl Into<String>, what: What) -> Self {
        Self::of(name, what, writer().into_root_schema_for::<T>())
    }

    /// A schema that exists.
    pub(super) fn of(name: impl Into<String>, what: What, schema: Schema) -> Self {
        let title = schema.get("title").and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { name: name.into(), what, title, schema }
    }

    /// A message whose envelope is of type `kind`.
    pub(super) fn enveloped<P: JsonSchema>(name: &str, kind: &str) -> Self {
        let mut document = Self::written::<Envelope<P>>(name, What::Message);
        document.set_kind(kind);
        document
    }

    /// The same of a message that anybody may write.
    pub(super) fn enveloped_by_others<P: JsonSchema>(name: &str, kind: &str) -> Self {
        let mut document = Self::read::<Envelope<P>>(name, What::Message);
        document.set_kind(kind);
        document
    }

    fn set_kind(&mut self, kind: &str) {
        if let Some(place) = self.schema.pointer_mut("/properties/type") {
            *place = json!({"const": kind, "description": "What it is."});
        }
        if let Some(Value::Object(definitions)) = self.schema.get_mut("$defs") {
            definitions.remove("MessageType");
        }
    }

    /// The payload of a response whose data is a `T`.
    pub(super) fn answering<T: JsonSchema>(name: impl Into<String>) -> Self {
        let mut generator = writer();
        let data = generator.subschema_for::<T>();
        let error = generator.subschema_for::<ErrorBody>();
        let definitions = generator.take_definitions(true);
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "oneOf": [
                {
                    "type": "object",
                    "description": "It was done.",
                    "properties": {"success": {"const": true}, "data": data},
                    "required": ["success", "data"],
                },
                {
                    "type": "object",
                    "description": "It was not done.",
                    "properties": {"success": {"const": false}, "error": error},
                    "required": ["success", "error"],
                },
            ],
            "$defs": definitions,
        });
        Self::of(name, What::Payload, Schema::try_from(schema).expect("an object is a schema"))
    }

    /// The same with a title and a description.
    pub(super) fn called(mut self, title: impl Into<String>, description: impl Into<String>) -> Self {
        self.title = title.into();
        self.schema.insert("title".to_owned(), self.title.clone().into());
        self.schema.insert("description".to_owned(), description.into().into());
        self
    }

    /// Its identity. The number is raised with a change that breaks readers.
    pub fn id(&self) -> String {
        format!("urn:bigskies:schema:{}:1", self.name)
    }

    /// Its path below the root.
    pub fn path(&self) -> String {
        format!("schemas/{}.schema.json", self.name)
    }

    /// The schema with its identity.
    pub fn value(&self) -> Value {
        let mut schema = self.schema.clone();
        schema.insert("$id".to_owned(), self.id().into());
        let mut schema = schema.to_value();
        unlink(&mut schema);
        schema
    }

    /// The text of its file.
    pub fn text(&self) -> String {
        pretty(&self.value())
    }
}

/// Links in descriptions lead to other documentation of the code; a reader of the schema needs the name alone.
fn unlink(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(text)) = map.get_mut("description") {
                *text = text.replace("[`", "`").replace("`]", "`");
            }
            map.values_mut().for_each(unlink);
        }
        Value::Array(items) => items.iter_mut().for_each(unlink),
        _ => {}
    }
}

fn writer() -> SchemaGenerator {
    SchemaSettings::draft2020_12().for_serialize().into_generator()
}

/// JSON text with its keys in an order that does not depend on how serde_json was built.
pub(crate) fn pretty(value: &Value) -> String {
    let text = serde_json::to_string_pretty(&Ordered(value)).expect("a JSON value encodes");
    format!("{text}\n")
}

struct Ordered<'a>(&'a Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(map) => ordered(map, serializer),
            Value::Array(items) => serializer.collect_seq(items.iter().map(Ordered)),
            other => other.serialize(serializer),
        }
    }
}

fn ordered<S: serde::Serializer>(map: &Map<String, Value>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut keys: Vec<&String> = map.keys().collect();
    let rank = |key: &str| FIRST.iter().position(|first| *first == key).unwrap_or(FIRST.len());
    keys.sort_by(|one, other| rank(one).cmp(&rank(other)).then_with(|| one.cmp(other)));
    let mut object = serializer.serialize_map(Some(map.len()))?;
    for key in keys {
        object.serialize_entry(key, &Ordered(&map[key]))?;
    }
    object.end()
}
