//! The JSON Schema (2020-12) of a manifest, and the shapes in it that differ from the Rust types.
//!
//! The schema is for editors and for authors. It is wider than [`crate::parse`]: what can only be judged by
//! looking at several places, or at what a text means, is left to that.

use std::borrow::Cow;

use envelope::topic::plugin;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::device::Device;
use crate::docker::{NETWORK, Port, Volume};
use crate::manifest::Manifest;

/// The schema of plugin.json.
pub fn schema() -> Schema {
    schemars::generate::SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Manifest>()
}

// Semantic versioning 2.0.0, as the regular expression that semver.org suggests.
const VERSION: &str = "^(0|[1-9]\\d*)\\.(0|[1-9]\\d*)\\.(0|[1-9]\\d*)\
                       (?:-((?:0|[1-9]\\d*|\\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\\.(?:0|[1-9]\\d*|\\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?\
                       (?:\\+([0-9a-zA-Z-]+(?:\\.[0-9a-zA-Z-]+)*))?$";

pub(crate) fn version(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": 128, "pattern": VERSION})
}

pub(crate) fn optional_version(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["string", "null"], "maxLength": 128, "pattern": VERSION})
}

pub(crate) fn bytes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["integer", "string", "null"],
        "minimum": 1,
        "pattern": "^[0-9]+(?:[bB]|[kKmMgGtT](?:[iI]?[bB])?)?$",
    })
}

pub(crate) fn user(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["string", "integer", "null"],
        "minimum": 0,
        "pattern": "^(?:root|[0-9]+)(?::(?:root|[0-9]+))?$",
    })
}

pub(crate) fn health_topic(_: &mut SchemaGenerator) -> Schema {
    let below_plugins = plugin::all().trim_end_matches('#').to_owned();
    json_schema!({
        "type": ["string", "null"],
        "pattern": format!("^{below_plugins}[^/+#]+/[^+#]+$"),
    })
}

pub(crate) fn environment(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["object", "null"],
        "maxProperties": 256,
        "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "maxLength": 128},
        "additionalProperties": {"type": ["string", "number", "boolean"]},
    })
}

pub(crate) fn networks(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["array", "null"], "items": {"const": NETWORK}})
}

impl JsonSchema for Port {
    fn schema_name() -> Cow<'static, str> {
        "Port".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A port that is published: \"[host address:][host port:]container port[/tcp|/udp]\".",
            "type": ["string", "integer"],
            "minimum": 1,
            "maximum": 65535,
            "pattern": "^(?:(?:\\[[0-9A-Fa-f:.]+\\]|[0-9A-Fa-f:.]+):)?(?:[0-9]+:)?[0-9]+(?:/(?:[tT][cC][pP]|[uU][dD][pP]))?$",
        })
    }
}

impl JsonSchema for Volume {
    fn schema_name() -> Cow<'static, str> {
        "Volume".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What outlives the container: \"source:/target[:ro]\".",
            "type": "string",
            "pattern": "^[^:]+:/[^:]+(?::(?:ro|rw|z|Z)(?:,(?:ro|rw|z|Z))*)?$",
        })
    }
}

impl JsonSchema for Device {
    fn schema_name() -> Cow<'static, str> {
        "Device".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A device of the host. An object without a path below /dev is a description and opens nothing.",
            "anyOf": [
                {"type": "string", "pattern": "^/dev/."},
                {
                    "type": "object",
                    "properties": {
                        "path": {"type": "string", "description": "The device on the host, below /dev."},
                        "container_path": {"type": ["string", "null"], "description": "Where it stands in the container; the same when absent."},
                        "access": {"enum": ["r", "rw", null], "default": "rw", "description": "Read, or read and write."},
                    },
                },
            ],
        })
    }
}
