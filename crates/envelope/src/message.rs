//! The envelope around every message that is not a raw request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::time::Timestamp;

/// Most bytes of a message that a coordinator decodes.
pub const MAX_MESSAGE_BYTES: usize = 512 * 1024;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MessageType {
    /// Told to do something; no answer is expected.
    Command,
    /// Something happened.
    Event,
    /// Asked to do something; an answer is expected.
    Request,
    /// The answer.
    Response,
    /// How something is.
    Status,
}

/// The envelope. Unknown fields are never an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Envelope<P = Value> {
    /// Identifies the message among those of its source; at most 256 bytes.
    pub id: String,
    /// Who says that it sent it. Nothing is trusted for this: the topic decides.
    pub source: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: MessageType,
    /// When it was made.
    pub timestamp: Timestamp,
    /// Joins what belongs together: a response to its request, a log line to both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Where the answer should go, inside the caller's own response space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// The caller's token (RFC 7519), where the operation needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// After this a request must not be carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Trace context (W3C Trace Context, version 00).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// What it says.
    pub payload: P,
}

impl<P> Envelope<P> {
    /// An envelope with a new id and the time of now.
    pub fn new(kind: MessageType, source: impl Into<String>, payload: P) -> Self {
        Self {
            id: uuid::Uuid::now_v7().to_string(),
            source: source.into(),
            kind,
            timestamp: Timestamp::now(),
            correlation_id: None,
            reply_to: None,
            token: None,
            expires_at: None,
            traceparent: None,
            payload,
        }
    }

    /// The same with a correlation id.
    #[must_use]
    pub fn correlated(mut self, correlation_id: impl Into<String>) -> Self {
        self.correlation_id = Some(correlation_id.into());
        self
    }

    /// The same with a trace context.
    #[must_use]
    pub fn traced(mut self, traceparent: Option<String>) -> Self {
        self.traceparent = traceparent;
        self
    }
}

impl<P: Serialize> Envelope<P> {
    /// The bytes to publish.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("the payload types have string keys and no failing parts")
    }
}

/// Why a message cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Larger than [`MAX_MESSAGE_BYTES`].
    #[error("the message has {0} bytes; at most {MAX_MESSAGE_BYTES} are taken")]
    TooLarge(usize),
    /// Not JSON.
    #[error("the message is not JSON: {0}")]
    NotJson(serde_json::Error),
    /// JSON, but not an object.
    #[error("the message is not a JSON object; send {{\"plugin_id\": …}} or an envelope")]
    NotAnObject,
    /// Looks like an envelope and is not one.
    #[error("the message has a \"type\" and a \"payload\" and yet is no envelope: {0}")]
    BadEnvelope(serde_json::Error),
    /// Has the id or correlation id of an envelope, but over-long.
    #[error("the field {0:?} has more than 256 bytes")]
    FieldTooLong(&'static str),
}

/// A request as it arrived: in an envelope, or as the bare payload of the SDK document.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming {
    /// With an envelope.
    Enveloped(Box<Envelope>),
    /// The payload alone.
    Raw(Value),
}

/// Decodes what arrived on a request topic. An object with `type` and `payload` is an envelope; any
/// other object is the payload itself; an empty message is the payload `{}`.
///
/// # Errors
/// Says what is wrong with the bytes.
pub fn decode(bytes: &[u8]) -> Result<Incoming, DecodeError> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(DecodeError::TooLarge(bytes.len()));
    }
    if bytes.trim_ascii().is_empty() {
        return Ok(Incoming::Raw(Value::Object(serde_json::Map::new())));
    }
    let value: Value = serde_json::from_slice(bytes).map_err(DecodeError::NotJson)?;
    let Some(object) = value.as_object() else { return Err(DecodeError::NotAnObject) };
    if !(object.contains_key("type") && object.contains_key("payload")) {
        return Ok(Incoming::Raw(value));
    }
    let envelope: Envelope = serde_json::from_value(value).map_err(DecodeError::BadEnvelope)?;
    let long = |field: &Option<String>| field.as_ref().is_some_and(|f| f.len() > 256);
    if envelope.id.len() > 256 {
        return Err(DecodeError::FieldTooLong("id"));
    }
    if long(&envelope.correlation_id) {
        return Err(DecodeError::FieldTooLong("correlation_id"));
    }
    Ok(Incoming::Enveloped(Box::new(envelope)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_sdks_raw_request_is_taken_as_a_payload() {
        let raw = decode(br#"{"plugin_id":"my-plugin-guid","source":"r/i:1"}"#).expect("decodes");
        assert!(matches!(raw, Incoming::Raw(v) if v["plugin_id"] == "my-plugin-guid"));
        assert!(matches!(decode(b"").expect("decodes"), Incoming::Raw(_)));
    }

    #[test]
    fn unknown_fields_of_an_envelope_are_no_error() {
        let text = r#"{"id":"1","source":"s","type":"request","timestamp":"2026-01-16T00:00:00Z","payload":{},"mood":"good"}"#;
        assert!(matches!(decode(text.as_bytes()), Ok(Incoming::Enveloped(_))));
    }

    #[test]
    fn what_is_no_request_is_told_why() {
        assert!(matches!(decode(b"[1]"), Err(DecodeError::NotAnObject)));
        assert!(matches!(decode(b"{"), Err(DecodeError::NotJson(_))));
        assert!(matches!(decode(br#"{"type":"x","payload":1}"#), Err(DecodeError::BadEnvelope(_))));
        assert!(matches!(decode(&vec![b' '; MAX_MESSAGE_BYTES + 1]), Err(DecodeError::TooLarge(_))));
        assert!(decode("[".repeat(100_000).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = decode(&bytes);
        }
    }
}
