//! `config_schema`: the JSON Schema of a plugin's configuration, and configurations judged by it.
//!
//! Schema and configuration are strangers' to each other and to us. Nothing is fetched; patterns run in linear
//! time; what a check may cost at most is counted before it begins, see [`cost`]. What is said of a
//! configuration quotes none of its values: they can be secrets.

mod cost;

use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::fault::{Findings, MAX_LISTED, Pointer, shown};
use crate::manifest::Manifest;

pub(crate) use cost::check as check_bounds;

/// Most bytes of a configuration, written without white space.
pub const MAX_CONFIG_BYTES: usize = 64 * 1024;
/// Most values in a configuration that is judged by a schema.
const MAX_CONFIG_VALUES: usize = 16 * 1024;
/// Most bytes of one compiled pattern. A long bound such as `{1,100000}` needs more.
const PATTERN_BYTES: usize = 256 << 10;
/// Most characters of what is said of one fault.
const LONGEST: usize = 300;
/// What a schema costs times the values of a configuration: up to here all faults are found,
const ALL_FAULTS: u64 = 500_000;
/// up to here the first one, and beyond it nothing is checked.
const FIRST_FAULT: u64 = 20_000_000;

/// Something in a configuration that does not fit its schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFault {
    /// Where in the configuration: a JSON pointer (RFC 6901); empty for the whole.
    pub pointer: String,
    /// What does not fit, without the value that is there.
    pub reason: String,
}

impl Manifest {
    /// Judges a configuration by the manifest's `config_schema`. Without a schema every configuration of at most
    /// [`MAX_CONFIG_BYTES`] is right; without a configuration an empty object is judged, so that one that is
    /// needed is missed before the plugin starts. It takes seconds at the worst: not for where others wait.
    ///
    /// # Errors
    /// Every fault, at most [`MAX_LISTED`] of them; only the first where schema and configuration are large.
    pub fn check_config(&self, config: Option<&Value>) -> Result<(), Vec<ConfigFault>> {
        let whole = |reason: String| vec![ConfigFault { pointer: String::new(), reason }];
        let bytes = config.map_or(0, |config| config.to_string().len());
        if bytes > MAX_CONFIG_BYTES {
            return Err(whole(format!("has {bytes} bytes; shorten it to {MAX_CONFIG_BYTES}")));
        }
        let Some(schema) = &self.config_schema else { return Ok(()) };
        let empty = Value::Object(Map::new());
        let config = config.unwrap_or(&empty);
        let values = values(config);
        if values > MAX_CONFIG_VALUES {
            return Err(whole(format!("has {values} values; at most {MAX_CONFIG_VALUES} can be checked")));
        }
        let work = cost::of(schema).saturating_mul(values as u64);
        if work > FIRST_FAULT {
            return Err(whole("is too large to be checked against a schema of this size".to_owned()));
        }
        let validator = compile(schema).map_err(|error| {
            whole(format!(
                "cannot be checked: the config_schema of {} is not a JSON Schema ({error})",
                self.id
            ))
        })?;
        match validator.validate(config) {
            Ok(()) => Ok(()),
            Err(first) if work > ALL_FAULTS => Err(vec![fault(&first)]),
            Err(_) => {
                Err(validator.iter_errors(config).take(MAX_LISTED).map(|error| fault(&error)).collect())
            }
        }
    }
}

/// Finds out whether the schema in a manifest's document is one. One that is out of bounds is not tried: its
/// faults are found where the manifest is read.
pub(crate) fn check_compiles(document: &Value, found: &mut Findings) {
    let Some(Value::Object(schema)) = document.get("config_schema") else { return };
    let at = Pointer::default().key("config_schema");
    let mut bounds = Findings::default();
    check_bounds(schema, &at, &mut bounds);
    if !bounds.is_sound() {
        return;
    }
    if let Err(reason) = compile(schema) {
        let fix =
            "correct the schema; patterns are regular expressions without look-around and back-references";
        found.fault(&at, format!("is not a JSON Schema: {reason}"), fix);
    }
}

fn compile(schema: &Map<String, Value>) -> Result<Validator, String> {
    let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES);
    let options = jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(patterns)
        .should_validate_formats(false)
        .offline();
    options.build(&Value::Object(schema.clone())).map_err(|error| {
        let at = error.instance_path().as_str();
        shown(&if at.is_empty() { error.to_string() } else { format!("{at}: {error}") }, LONGEST)
    })
}

fn fault(error: &ValidationError<'_>) -> ConfigFault {
    let reason = shown(&error.masked_with("the value").to_string(), LONGEST);
    ConfigFault { pointer: shown(error.instance_path().as_str(), LONGEST), reason }
}

/// Values in a document: everything between its brackets, brackets included.
fn values(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(values).sum(),
        Value::Object(map) => map.values().map(values).sum(),
        _ => 0,
    }
}
