//! Who asked for what, and what came of it.

use envelope::payload::audit::{AuditRecord, AuditRequest, AuditResult};
use envelope::payload::event::EventKind;
use envelope::{ErrorCode, Operation, Timestamp, topic};
use serde_json::json;
use testkit::Publish;

use super::stage::{Asker, PATIENCE, Stage, request};

fn shown(record: &AuditRecord) -> (String, String, Option<String>, AuditResult, Option<ErrorCode>, u32) {
    let r = record.clone();
    (r.principal, r.operation, r.target, r.result, r.code, r.times)
}

#[tokio::test]
async fn every_request_leaves_one_record_of_who_asked_for_what_and_what_came_of_it() {
    let stage = Stage::new().await;
    let _life = stage.start(&[]);
    let mut ann = stage.operator("ann").await;
    let mut evil = stage.plugin("evil").await;
    ann.ask(Operation::List, json!({})).await.expect("answered");
    ann.ask(Operation::Stop, json!({"plugin_id": "mount"})).await.expect("answered");
    ann.ask(Operation::Stop, json!({"plugin_id": 47_114_711, "name": "mount"})).await.expect_err("refused");
    for _ in 0..3 {
        let refused = evil.ask(Operation::Start, json!({"plugin_id": "mount"})).await.expect_err("refused");
        assert_eq!(refused.code, ErrorCode::TokenInvalid);
    }
    evil.send_bytes(Operation::List, "[\"a-password\"").await;
    assert_eq!(evil.refusal().await.code, ErrorCode::BadRequest);

    let records = ann.audit(AuditRequest::default()).await;
    use AuditResult::{Accepted, Done, Failed, Refused};
    let of = |who: &str, operation: &str, target: Option<&str>, result, code, times| {
        (who.to_owned(), operation.to_owned(), target.map(str::to_owned), result, code, times)
    };
    let (ann_is, evil_is) = ("operator:ann", "plugin:evil");
    let told: Vec<_> = records.iter().map(shown).collect();
    assert_eq!(
        told,
        [
            of(ann_is, "audit", None, Accepted, None, 1),
            of(evil_is, "list", None, Refused, Some(ErrorCode::BadRequest), 1),
            of(evil_is, "start", Some("mount"), Refused, Some(ErrorCode::TokenInvalid), 3),
            of(ann_is, "stop", Some("mount"), Failed, Some(ErrorCode::BadRequest), 1),
            of(ann_is, "stop", Some("mount"), Done, None, 1),
            of(ann_is, "list", None, Done, None, 1),
        ]
    );
    let text = format!("{records:?}");
    assert!(!text.contains("47114711") && !text.contains("a-password"), "{text}");
}

#[tokio::test]
async fn a_repeat_leaves_no_record_and_gets_the_first_answer() {
    let stage = Stage::new().await;
    let _life = stage.start(&[]);
    let mut ann = stage.operator("ann").await;
    let once = request(json!({})).encode();
    let mut answers = Vec::new();
    for _ in 0..3 {
        ann.send_bytes(Operation::List, once.clone()).await;
        answers.push(ann.answer().await.1.payload);
    }
    assert!(answers.iter().all(|a| *a == answers[0]));
    let lists = AuditRequest { operation: Some("list".into()), ..AuditRequest::default() };
    assert_eq!(ann.audit(lists).await.len(), 1);
}

#[tokio::test]
async fn what_is_refused_at_the_door_is_recorded_with_why() {
    let stage = Stage::new().await;
    let _life = stage.start(&[]);
    let mut ann = stage.operator("ann").await;
    let on = |target: &str| json!({"plugin_id": target});

    let mut late = request(on("late"));
    late.expires_at = Some(Timestamp::from_seconds(0));
    ann.send_bytes(Operation::Start, late.encode()).await;
    assert_eq!(ann.refusal().await.code, ErrorCode::Expired);

    let mut aimed = request(on("aimed"));
    aimed.reply_to = Some(topic::plugin::status(&"mount".parse().expect("an id")));
    ann.send_bytes(Operation::Start, aimed.encode()).await;
    assert_eq!(ann.refusal().await.code, ErrorCode::ReplyRefused);

    let first = request(on("first"));
    let mut second = request(on("second"));
    second.id = first.id.clone();
    ann.send_bytes(Operation::Start, first.encode()).await;
    ann.answer().await;
    ann.send_bytes(Operation::Start, second.encode()).await;
    assert_eq!(ann.refusal().await.code, ErrorCode::Conflict);

    let topic = ann.topic(Operation::Remove);
    let payload = request(on("kept")).encode().into();
    ann.send(Publish { topic, payload, qos: 1, retain: true, ..Publish::default() }).await;

    let refused = async |ann: &mut Asker| {
        let records = ann.audit(AuditRequest::default()).await;
        let refused = records.into_iter().filter(|r| r.result == AuditResult::Refused);
        refused.map(|r| (r.target.unwrap_or_default(), r.code.expect("a code"))).collect::<Vec<_>>()
    };
    assert_eq!(
        refused(&mut ann).await,
        [
            (String::new(), ErrorCode::BadRequest),
            ("second".to_owned(), ErrorCode::Conflict),
            ("aimed".to_owned(), ErrorCode::ReplyRefused),
            ("late".to_owned(), ErrorCode::Expired),
        ]
    );
}

#[tokio::test]
async fn a_plugin_without_the_permission_cannot_read_the_records() {
    let stage = Stage::new().await;
    let _life = stage.start(&[]);
    let mut listener = stage.listener().await;
    let mut evil = stage.plugin("evil").await;
    let refused = evil.ask(Operation::Audit, json!({})).await.expect_err("refused");
    assert_eq!(refused.code, ErrorCode::TokenInvalid);
    let event = listener.next(EventKind::Refused, PATIENCE).await.expect("an event");
    assert_eq!(event.cause, "plugin:evil asked for audit");
}

#[tokio::test]
async fn a_coordinator_killed_between_accepting_and_answering_leaves_one_record_with_the_final_result() {
    let stage = Stage::new().await;
    let first = stage.start(&[("BIGSKIES_PLUGIN__START_NEVER_ENDS", "true")]);
    let mut ann = stage.operator("ann").await;
    ann.send_bytes(Operation::Start, request(json!({"plugin_id": "mount"})).encode()).await;
    let starts = || AuditRequest { operation: Some("start".into()), ..AuditRequest::default() };
    stage.records(starts(), |records| matches!(records, [one] if one.result == AuditResult::Accepted)).await;
    first.kill().await;

    let _second = stage.start(&[]);
    let (answer, _) = ann.answer().await;
    assert!(matches!(answer.payload, envelope::Answer::Success(_)), "it was taken up again: {answer:?}");
    let [record] = ann.audit(starts()).await.try_into().expect("one record");
    assert_eq!((record.result, record.times), (AuditResult::Done, 1));
    assert_eq!(Some(record.correlation_id), answer.correlation_id);
}
