//! One who asks too often, and those who do not.

use std::time::{Duration, Instant};

use envelope::payload::audit::{AuditRecord, AuditRequest};
use envelope::payload::event::EventKind;
use envelope::{Answer, Envelope, ErrorCode, Operation};
use serde_json::json;
use testkit::Publish;

use super::stage::{PATIENCE, Stage, request};

const FLOOD: usize = 3000;

#[tokio::test]
async fn a_flood_is_refused_without_a_trace_per_request_and_holds_up_nobody() {
    let stage = Stage::new().await;
    let _life = stage.start(&[]);
    let mut listener = stage.listener().await;
    let mut ann = stage.operator("ann").await;
    let mut evil = stage.plugin("evil").await;
    ann.ask(Operation::List, json!({})).await.expect("answered");

    // Without waiting for the broker, and about the plugin that the operator asks about, too.
    let topic = evil.topic(Operation::Start);
    let payload = request(json!({"plugin_id": "mount"})).encode();
    let started = Instant::now();
    for n in 0..FLOOD {
        // The last is acknowledged, and so the broker has had them all.
        let qos = if n % 50 == 49 { 1 } else { 0 };
        let (topic, payload) = (topic.clone(), payload.clone().into());
        evil.client.send(Publish { topic, payload, qos, ..Publish::default() }).await.expect("sent");
    }
    let asked = Instant::now();
    ann.ask(Operation::Stop, json!({"plugin_id": "mount"})).await.expect("answered");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());

    let event = listener.next(EventKind::Flood, PATIENCE).await.expect("an event of the flood");
    assert_eq!(event.plugin_id.map(|id| id.to_string()).as_deref(), Some("evil"));
    assert_eq!(event.details["principal"], "plugin:evil");

    let of_evil = AuditRequest { principal: Some("plugin:evil".into()), ..AuditRequest::default() };
    let counted = |records: &[AuditRecord]| {
        records.iter().any(|r| r.code == Some(ErrorCode::TooManyRequests) && r.times > 1)
    };
    let records = stage.records(of_evil, counted).await;
    assert!(records.len() <= 3, "{records:?}");

    // Those that were let in are one request and its repeats, each answered alike.
    let seconds = usize::try_from(started.elapsed().as_secs()).expect("a short test") + 1;
    let mut too_many = 0;
    while let Some(message) = evil.client.recv(Duration::from_millis(200)).await {
        let answer: Envelope<Answer> = serde_json::from_slice(&message.payload).expect("a response");
        let Answer::Failure(error) = answer.payload else { panic!("it has no token") };
        if error.code == ErrorCode::TooManyRequests {
            too_many += 1;
            assert_eq!(error.details["per_second"], 10);
        }
    }
    assert!((1..=seconds).contains(&too_many), "{too_many} answers in {seconds} s");
}

#[tokio::test]
async fn an_operator_who_asks_too_often_is_told_so_and_is_let_in_again() {
    let stage = Stage::new().await;
    let settings =
        [("BIGSKIES_REQUESTS__OPERATOR_PER_SECOND", "2"), ("BIGSKIES_REQUESTS__OPERATOR_BURST", "3")];
    let _life = stage.start(&settings);
    let mut ann = stage.operator("ann").await;
    for _ in 0..8 {
        ann.send_bytes(Operation::List, request(json!({})).encode()).await;
    }
    let error = loop {
        if let Answer::Failure(error) = ann.answer().await.0.payload {
            break error;
        }
    };
    assert_eq!(error.code, ErrorCode::TooManyRequests);
    assert!(error.message.contains("2 requests a second, and 3 at once"), "{}", error.message);
    let patience = Instant::now() + PATIENCE;
    loop {
        // Each wait is long enough for one more to be let in.
        ann.send_bytes(Operation::List, request(json!({})).encode()).await;
        match ann.client.recv(Duration::from_millis(600)).await {
            Some(message) if message.text().contains("\"success\":true") => break,
            other => assert!(Instant::now() < patience, "{other:?}"),
        }
    }
}

#[tokio::test]
async fn the_service_hears_of_a_flood_that_does_not_end() {
    let stage = Stage::new().await;
    let settings = [("BIGSKIES_REQUESTS__PLUGIN_PER_SECOND", "1"), ("BIGSKIES_REQUESTS__PLUGIN_BURST", "1")];
    let _life = stage.start(&settings);
    let mut listener = stage.listener().await;
    let evil = stage.plugin("evil").await;
    let started = Instant::now();
    let heard = loop {
        evil.send_bytes(Operation::List, "{}").await;
        if let Some(event) = listener.next(EventKind::Phase, Duration::from_millis(100)).await {
            break event;
        }
        assert!(started.elapsed() < PATIENCE, "nothing was heard");
    };
    assert_eq!(heard.message, "plugin:evil");
    assert!(started.elapsed() >= Duration::from_secs(9), "{:?}", started.elapsed());
}
