//! What a token's header must say (RFC 7515 section 4, RFC 8725 section 3, RFC 9068 section 2.1).

use serde_json::{Map, Value};

use crate::refusal::excerpt;
use crate::{Refusal, TYPE};

/// Members that bring a key, or say where to fetch one.
const EMBEDDED: [&str; 6] = ["jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256"];

/// Checks the header and returns the name of the key that it claims to be signed with.
pub(super) fn kid(header: &Map<String, Value>) -> Result<String, Refusal> {
    match header.get("alg") {
        Some(Value::String(alg)) if alg == "EdDSA" => {}
        other => {
            return Err(Refusal::Algorithm { found: shown(other) });
        }
    }
    match header.get("typ") {
        Some(Value::String(typ)) if typ == TYPE => {}
        other => {
            return Err(Refusal::Type { found: shown(other) });
        }
    }
    if header.contains_key("crit") {
        return Err(Refusal::Critical);
    }
    if let Some(member) = EMBEDDED.into_iter().find(|member| header.contains_key(*member)) {
        return Err(Refusal::EmbeddedKey { member });
    }
    match header.get("kid") {
        Some(Value::String(kid)) => Ok(kid.clone()),
        _ => Err(Refusal::NoKid),
    }
}

fn shown(member: Option<&Value>) -> String {
    match member {
        None => "missing".to_owned(),
        Some(Value::String(text)) => excerpt(text),
        Some(other) => excerpt(&other.to_string()),
    }
}
