//! Requests that were accepted before a restart, and not answered; and those that came while nobody was there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use envelope::{Answer, ErrorCode, Operation, Timestamp};
use serde_json::json;
use testkit::Publish;

use super::stage::{Asker, PATIENCE, Stage, request};

const NEVER_ENDS: [(&str, &str); 1] = [("BIGSKIES_PLUGIN__START_NEVER_ENDS", "true")];

/// A request that a life of the coordinator accepts, and does not answer before it is killed.
async fn left_open(stage: &Stage, ann: &mut Asker, expires_at: Option<Timestamp>) -> String {
    let life = stage.start(&NEVER_ENDS);
    let mut asked = request(json!({"plugin_id": "focuser"}));
    asked.expires_at = expires_at;
    ann.send_bytes(Operation::Start, asked.encode()).await;
    // About another plugin, so that it does not wait for the first.
    ann.ask(Operation::Stop, json!({"plugin_id": "dome"})).await.expect("it is answered");
    life.kill().await;
    asked.id
}

/// The answer to this request. Others can come twice: their delivery was not noted before the kill.
async fn answer_to(ann: &mut Asker, id: &str) -> Answer {
    loop {
        let (answer, _) = ann.answer().await;
        if answer.correlation_id.as_deref() == Some(id) {
            return answer.payload;
        }
    }
}

/// A request that says nothing of its age.
async fn of_unknown_age(ann: &mut Asker) -> String {
    let (id, topic) = (envelope::StartId::new().to_string(), ann.topic(Operation::Stop));
    let payload = r#"{"plugin_id": "dome"}"#.into();
    let correlation_data = Some(id.clone().into());
    ann.send(Publish { topic, payload, qos: 1, correlation_data, ..Publish::default() }).await;
    id
}

#[tokio::test]
async fn what_was_begun_before_a_restart_is_answered_by_its_end_and_what_was_not_is_handled() {
    let stage = Stage::new().await;
    let mut ann = stage.operator("ann").await;
    let id = left_open(&stage, &mut ann, None).await;

    let life = stage.start(&[("BIGSKIES_PLUGIN__BEGUN", "true")]);
    ann.ask(Operation::Stop, json!({"plugin_id": "focuser"})).await.expect("it is answered");
    let early = tokio::time::timeout(Duration::from_secs(2), answer_to(&mut ann, &id)).await;
    assert!(early.is_err(), "its end is not there yet: {early:?}");
    life.kill().await;

    let _life = stage.start(&[]);
    let answer = answer_to(&mut ann, &id).await;
    assert!(matches!(answer, Answer::Success(_)), "{answer:?}");
}

#[tokio::test]
async fn what_has_expired_by_the_time_of_the_restart_is_not_carried_out() {
    let stage = Stage::new().await;
    let mut ann = stage.operator("ann").await;
    let soon = Timestamp::now().after(Duration::from_secs(5));
    let id = left_open(&stage, &mut ann, Some(soon)).await;
    tokio::time::sleep(soon.since(Timestamp::now()) + Duration::from_millis(100)).await;
    let _life = stage.start(&[]);
    let answer = answer_to(&mut ann, &id).await;
    assert!(matches!(&answer, Answer::Failure(e) if e.code == ErrorCode::Expired), "{answer:?}");
}

#[tokio::test]
async fn what_the_message_said_of_its_validity_holds_also_after_a_restart() {
    let stage = Stage::new().await;
    let mut ann = stage.operator("ann").await;
    let life = stage.start(&NEVER_ENDS);
    ann.ask(Operation::Stop, json!({"plugin_id": "dome"})).await.expect("it is answered");
    let id = envelope::StartId::new().to_string();
    let asked = Publish {
        topic: ann.topic(Operation::Start),
        payload: r#"{"plugin_id": "focuser"}"#.into(),
        qos: 1,
        correlation_data: Some(id.clone().into()),
        expiry: Some(Duration::from_secs(2)),
        ..Publish::default()
    };
    ann.send(asked).await;
    let sent = Instant::now();
    ann.ask(Operation::Stop, json!({"plugin_id": "dome"})).await.expect("it is answered");
    life.kill().await;
    tokio::time::sleep(Duration::from_millis(2_100).saturating_sub(sent.elapsed())).await;
    let _life = stage.start(&[]);
    let answer = answer_to(&mut ann, &id).await;
    assert!(matches!(&answer, Answer::Failure(e) if e.code == ErrorCode::Expired), "{answer:?}");
}

#[tokio::test]
async fn what_lay_recorded_for_too_long_is_not_carried_out_whatever_it_was_and_what_had_begun_is_left() {
    let stage = Stage::new().await;
    let mut ann = stage.operator("ann").await;
    let now = Timestamp::now();
    let at = |seconds: i64| Timestamp::from_millis(now.as_millis() + seconds * 1000);
    let raw = || br#"{"plugin_id": "focuser"}"#.to_vec();
    let enveloped = |until: Option<Timestamp>| {
        let mut asked = request(json!({"plugin_id": "focuser"}));
        asked.expires_at = until;
        asked.encode()
    };
    let hour = 3600;
    let left = [
        ("raw, just now", -30, 30, raw(), true),
        ("raw, long ago", -hour, 60 - hour, raw(), false),
        ("raw, before the clock was put back", hour, hour + 60, raw(), false),
        ("an envelope, just now", -30, 30, enveloped(None), true),
        ("an envelope, long ago", -hour, 60 - hour, enveloped(None), false),
        ("an envelope, long ago, that may wait", -hour, hour, enveloped(Some(at(hour))), true),
    ];
    let count = left.len();
    let mut wanted = BTreeMap::new();
    for (id, came, expires, body, is_done) in left {
        stage.accepted(&ann, id, body, at(came), at(expires)).await;
        wanted.insert(id.to_owned(), is_done);
    }
    let life = stage.start(&[("BIGSKIES_PLUGIN__BEGUN", "true")]);
    ann.ask(Operation::Stop, json!({"plugin_id": "focuser"})).await.expect("its turn came after theirs");
    life.kill().await;
    let _life = stage.start(&[]);
    let mut found = BTreeMap::new();
    while found.len() < count {
        let (answer, _) = ann.answer().await;
        let is_done = match answer.payload {
            Answer::Success(_) => true,
            Answer::Failure(error) => {
                assert_eq!(error.code, ErrorCode::Expired, "{error}");
                false
            }
        };
        let id = answer.correlation_id.expect("it has one");
        if wanted.contains_key(&id) {
            found.insert(id, is_done);
        }
    }
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn what_waited_in_the_broker_for_too_long_is_not_carried_out_and_what_comes_after_it_is() {
    let stage = Stage::new().await;
    let mut ann = stage.operator("ann").await;
    let life = stage.start(&[]);
    ann.ask(Operation::Stop, json!({"plugin_id": "focuser"})).await.expect("it is answered");
    life.kill().await;
    let hour = Duration::from_secs(3_600);
    for long_ago in
        [Timestamp::from_millis(Timestamp::now().as_millis() - 3_600_000), Timestamp::now().after(hour)]
    {
        stage.was_up(long_ago).await;
        let id = of_unknown_age(&mut ann).await;
        let life = stage.start(&[]);
        let answer = answer_to(&mut ann, &id).await;
        assert!(matches!(&answer, Answer::Failure(e) if e.code == ErrorCode::Expired), "{answer:?}");
        let end = Instant::now() + PATIENCE;
        loop {
            let id = of_unknown_age(&mut ann).await;
            match answer_to(&mut ann, &id).await {
                Answer::Success(_) => break,
                Answer::Failure(error) => assert!(Instant::now() < end, "{error}"),
            }
        }
        life.kill().await;
    }
}
