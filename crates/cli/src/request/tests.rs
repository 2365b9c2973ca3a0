use serde_json::json;

use super::*;

fn request() -> Request {
    let operator = OperatorName::parse("ada").expect("a name");
    Request::new(&operator, Operation::Install, &json!({"plugin_id": "focuser"}), Duration::from_secs(600))
        .expect("plain data")
}

fn answer(request: &Request, payload: &Value) -> Heard {
    let bytes = json!({"type": "response", "payload": payload}).to_string();
    request.hear(&request.topic.response(), Some(request.correlation_id().as_bytes()), bytes.as_bytes())
}

#[test]
fn a_request_goes_out_as_the_operator_with_everything_that_finds_it_again() {
    let request = request();
    let message = request.message();
    let topic = RequestTopic::parse(&message.topic).expect("a request topic");
    assert_eq!(topic.caller.to_string(), "operator:ada");
    assert_eq!(topic.known_operation(), Some(Operation::Install));
    assert_eq!(message.response_topic, Some(topic.response()));
    assert_eq!(message.correlation_data.as_deref(), Some(request.correlation_id().as_bytes()));
    let sent: Envelope = serde_json::from_slice(&message.payload).expect("an envelope");
    assert_eq!(sent.kind, MessageType::Request);
    assert_eq!(sent.correlation_id.as_deref(), Some(request.correlation_id()));
    assert_eq!(sent.reply_to, message.response_topic);
    let valid = sent.expires_at.expect("an end").since(sent.timestamp);
    assert_eq!(valid, LONGEST_VALIDITY);
    assert_eq!(message.expiry, Some(LONGEST_VALIDITY));
    assert_eq!(sent.payload, json!({"plugin_id": "focuser"}));
}

#[test]
fn every_request_begins_a_trace_of_its_own() {
    let (one, other) = (traceparent(), traceparent());
    assert_ne!(one, other);
    let parts: Vec<&str> = one.split('-').collect();
    assert_eq!(parts.iter().map(|p| p.len()).collect::<Vec<_>>(), [2, 32, 16, 2], "{one}");
    assert!(parts.iter().all(|p| p.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))), "{one}");
}

#[test]
fn answers_to_others_are_not_ours() {
    let request = request();
    let yes = json!({"type": "response", "correlation_id": request.correlation_id(),
        "payload": {"success": true, "data": 1}})
    .to_string();
    let response = request.topic.response();
    assert_eq!(request.hear(&response, Some(b"another"), yes.as_bytes()), Heard::Nothing);
    assert_eq!(
        request.hear(
            &RequestTopic::new(request.topic.caller.clone(), Operation::Start).response(),
            None,
            yes.as_bytes()
        ),
        Heard::Nothing
    );
    assert_eq!(request.hear(&response, None, yes.as_bytes()), Heard::Answer(Ok(json!(1))));
    let foreign = json!({"correlation_id": "another", "payload": {"success": true}}).to_string();
    assert_eq!(request.hear(&response, None, foreign.as_bytes()), Heard::Nothing);
}

#[test]
fn a_refusal_is_passed_on_whole_even_with_a_code_from_a_later_version() {
    let request = request();
    let error = json!({"code": "from_the_future", "message": "m", "details": {"a": [1]}});
    let refusal = match answer(&request, &json!({"success": false, "error": error})) {
        Heard::Answer(Err(Failed::Refused(refusal))) => Some(refusal),
        _ => None,
    };
    let refusal = refusal.expect("a refusal");
    assert_eq!((refusal.code.as_str(), refusal.message.as_str()), ("from_the_future", "m"));
    assert_eq!(refusal.details, json!({"a": [1]}));
}

#[test]
fn what_is_no_answer_is_told_as_such() {
    let request = request();
    for payload in [json!({}), json!(null), json!({"success": "yes"}), json!({"success": false}), json!([1])]
    {
        let heard = answer(&request, &payload);
        assert!(matches!(heard, Heard::Answer(Err(Failed::Unreadable(_)))), "{payload}: {heard:?}");
    }
    let id = request.correlation_id().as_bytes();
    let heard = request.hear(&request.topic.response(), Some(id), b"\xff");
    assert!(matches!(heard, Heard::Answer(Err(Failed::Unreadable(_)))));
}

#[test]
fn progress_counts_only_with_our_correlation() {
    let request = request();
    let event = |kind: &str, id: &str| {
        let details = json!({"step": "pull the image", "done": 1, "total": 2, "unit": "bytes"});
        json!({"id": "1", "source": "s", "type": "event", "timestamp": "2026-01-16T00:00:00Z", "correlation_id": id,
            "payload": {"event": kind, "message": "m", "cause": "c", "details": details}}).to_string()
    };
    let topic = topic::coordinator::event(Coordinator::Plugin, "progress");
    let heard = request.hear(&topic, None, event("progress", request.correlation_id()).as_bytes());
    assert!(matches!(heard, Heard::Progress(p) if p.step == "pull the image" && p.total == Some(2)));
    for (kind, id) in [("progress", "another"), ("phase", request.correlation_id())] {
        assert_eq!(request.hear(&topic, None, event(kind, id).as_bytes()), Heard::Nothing);
    }
}
