//! What arrives on a request topic, and the topic.

use envelope::message::{Incoming, MAX_MESSAGE_BYTES, decode};
use envelope::payload::health::Health;
use envelope::payload::lifecycle::{InstallRequest, LogsRequest, PluginRequest, RemoveRequest};
use envelope::payload::login::{DeprovisionRequest, ExplainRequest, ProvisionRequest};
use envelope::payload::spec::{AclStatus, Spec};
use envelope::payload::token::{IntrospectRequest, IssueRequest, Jwks, Revoked, TokenMessage};
use envelope::topic::{self, RequestTopic};
use envelope::{Coordinator, Operation, OperatorName, PluginId, Principal, Timestamp};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::json;

const WORDS: &[&str] = &[
    "id",
    "type",
    "source",
    "timestamp",
    "correlation_id",
    "reply_to",
    "token",
    "expires_at",
    "traceparent",
    "payload",
    "request",
    "response",
    "event",
    "status",
    "command",
    "2026-01-16T00:00:00Z",
    "-000001-01-01T00:00:00Z",
    "plugin_id",
    "focuser",
    "other",
    "config",
    "manifest",
    "approve",
    "remove_volumes",
    "tail",
    "uid",
    "generation",
    "start_id",
    "01890a5d-ac96-774b-bcce-b302099a8057",
    "topic",
    "access",
    "publish",
    "subscribe",
    "scope",
    "sids",
    "jtis",
    "until",
    "keys",
    "kty",
    "OKP",
    "component",
    "healthy",
    "details",
    "message",
    "applied",
    "result",
    "absent",
    "bigskies/plugin/focuser/response/x",
    "bigskies/plugin/other/response/x",
    "/",
    "+",
    "#",
    "..",
    "\u{1b}[2J",
];
/// What topics are put together from.
const LEVELS: [&str; 21] = [
    "bigskies",
    "coordinator",
    "plugin",
    "message",
    "security",
    "operator",
    "request",
    "response",
    "internal",
    "install",
    "stop",
    "provision",
    "token",
    "focuser",
    "spec",
    "state",
    "health",
    "status",
    "",
    "+",
    "audit",
];
const REPLY_SPACES: [&str; 5] = [
    "bigskies/plugin/focuser/response/",
    "bigskies/plugin/other/response/",
    "bigskies/operator/operator/response/",
    "bigskies/coordinator/plugin/",
    "bigskies/",
];

/// Raw when the first byte says so, else a good topic and envelope with anything changed in them.
pub fn check(bytes: &[u8]) {
    match bytes.split_first() {
        Some((0..=63, rest)) => check_bytes(rest),
        Some((_, rest)) => {
            let _ = changed(&mut Unstructured::new(rest));
        }
        None => {}
    }
}

fn changed(u: &mut Unstructured<'_>) -> Result<()> {
    let topic = match u.int_in_range(0..=5)? {
        0 => "bigskies/plugin/focuser/request/plugin/stop".to_owned(),
        1 => "bigskies/operator/operator/request/security/rotate".to_owned(),
        2 => "bigskies/coordinator/message/internal/provision".to_owned(),
        _ => {
            let many = u.int_in_range(1..=7)?;
            let levels = (0..many).map(|_| u.choose(&LEVELS).copied()).collect::<Result<Vec<_>>>()?;
            levels.join("/")
        }
    };
    let reply_to = format!("{}{}", u.choose(&REPLY_SPACES)?, json::text(u, WORDS)?);
    let payload = match u.int_in_range(0..=2)? {
        0 => json!({"plugin_id": "focuser", "source": "registry/image:1", "tail": 3}),
        1 => json!({"component": "focuser", "status": "healthy", "message": "well", "details": {}}),
        _ => json!({
            "plugin_id": "focuser", "uid": "01890a5d-ac96-774b-bcce-b302099a8057", "generation": 1, "node": "n",
            "presence": "present", "client_ids": [], "publish": [], "subscribe": [], "permissions": [],
            "health_topic": "bigskies/plugin/focuser/health", "manifest_digest": "sha256:0",
        }),
    };
    let payload = json::mutated(payload, u, WORDS)?;
    let envelope = json!({
        "id": "1", "type": "request", "source": "a", "timestamp": "2026-01-16T00:00:00Z", "correlation_id": "1",
        "reply_to": reply_to, "payload": payload,
    });
    let envelope = if u.ratio(1, 4)? { payload } else { json::mutated(envelope, u, WORDS)? };
    let (message, _) = json::written(&envelope, u)?;
    check_bytes(&[topic.as_bytes(), b"\n", &message].concat());
    Ok(())
}

/// Takes the first line as a topic and the rest as a message.
fn check_bytes(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (topic, message) = end.map_or((&[][..], bytes), |end| (&bytes[..end], &bytes[end + 1..]));
    let request = std::str::from_utf8(topic).ok().and_then(check_topic);
    if let Ok(incoming) = decode(message) {
        assert!(message.len() <= MAX_MESSAGE_BYTES);
        check_message(incoming, request.as_ref());
    }
}

/// A topic that is taken apart is the one that its parts make, and its answers stay with its caller.
fn check_topic(text: &str) -> Option<RequestTopic> {
    let _ = (topic::plugin::owner(text), topic::coordinator::health_of(text));
    for id in [topic::coordinator::spec_id(text), topic::coordinator::state_id(text)].into_iter().flatten() {
        assert_eq!(PluginId::parse(id.as_str()), Ok(id));
    }
    let request = RequestTopic::parse(text)?;
    assert_eq!(request.to_string(), text);
    // What a broker would not carry is not answered either.
    let carried = !text.contains(['+', '#']) && !text.chars().any(char::is_control);
    let response = request.response();
    assert!(request.may_answer_on(&response) || !carried || response.len() > 512, "{text}");
    if let Some(operation) = request.known_operation() {
        assert!(Operation::of(request.coordinator).any(|known| known == operation));
    }
    Some(request)
}

fn check_message(incoming: Incoming, request: Option<&RequestTopic>) {
    let payload = match incoming {
        Incoming::Raw(payload) => {
            assert!(payload.is_object());
            payload
        }
        Incoming::Enveloped(envelope) => {
            assert!(envelope.id.len() <= 256);
            let again = decode(&envelope.encode());
            if envelope.encode().len() <= MAX_MESSAGE_BYTES {
                assert!(matches!(&again, Ok(Incoming::Enveloped(e)) if e.id == envelope.id), "{again:?}");
            }
            if let (Some(reply_to), Some(request)) = (&envelope.reply_to, request) {
                check_reply(request, reply_to);
            }
            envelope.payload
        }
    };
    check_payload(&payload);
}

/// An answer never goes where its caller could not read.
fn check_reply(request: &RequestTopic, reply_to: &str) {
    if !request.may_answer_on(reply_to) {
        return;
    }
    assert!(!reply_to.contains(['+', '#']) && !reply_to.chars().any(char::is_control));
    let space = match &request.caller {
        Principal::Unnamed | Principal::Coordinator(_) => request.response(),
        Principal::Operator(name) => topic::operator::responses(name),
        Principal::Plugin(id) => topic::plugin::responses(id),
    };
    let inside = space.strip_suffix('#').map_or(reply_to == space, |prefix| reply_to.starts_with(prefix));
    assert!(inside, "{request} may be answered on {reply_to}");
}

/// Whatever is read is written in a form that reads as the same.
fn check_payload(payload: &Value) {
    both_ways::<InstallRequest>(payload);
    both_ways::<PluginRequest>(payload);
    both_ways::<RemoveRequest>(payload);
    both_ways::<LogsRequest>(payload);
    both_ways::<ProvisionRequest>(payload);
    both_ways::<DeprovisionRequest>(payload);
    both_ways::<ExplainRequest>(payload);
    both_ways::<IssueRequest>(payload);
    both_ways::<IntrospectRequest>(payload);
    both_ways::<Spec>(payload);
    both_ways::<AclStatus>(payload);
    both_ways::<Health>(payload);
    both_ways::<Jwks>(payload);
    both_ways::<Revoked>(payload);
    both_ways::<TokenMessage>(payload);
    for text in payload.as_object().into_iter().flatten().filter_map(|(_, value)| value.as_str()) {
        let _ = (text.parse::<Coordinator>(), OperatorName::parse(text), text.parse::<Timestamp>());
    }
}

fn both_ways<T: DeserializeOwned + Serialize>(payload: &Value) {
    let Ok(read) = T::deserialize(payload) else { return };
    let written = serde_json::to_value(&read).expect("what was read can be written");
    let again = T::deserialize(&written).expect("what was written can be read");
    assert_eq!(serde_json::to_value(&again).expect("as before"), written);
}
