//! Requests that come twice, too late, or wrong: one outcome for each, and an answer to all.

use std::time::Duration;

use acl::fixed::first_operator;
use envelope::topic::{coordinator, operator as operators, plugin};
use envelope::{Coordinator, Envelope, ErrorCode, MessageType, Operation, Timestamp};
use serde_json::{Value, json};
use testkit::{Publish, Version};
use tests::stack::images::Script;
use tests::stack::listener::{Listener, json as payload};
use tests::stack::operator::{Operator, request};

use super::runner::Case;
use super::world::{Shared, id, minimal};

const PATIENCE: Duration = Duration::from_secs(20);

pub fn cases() -> Vec<Case> {
    crate::beside![
        a_repeated_request_has_one_effect_and_is_given_the_same_bytes_again,
        a_request_with_a_used_id_and_other_content_is_a_conflict,
        a_retained_request_is_not_carried_out,
        an_expired_request_is_not_carried_out,
        an_answer_cannot_be_aimed_outside_of_the_callers_own_space,
        what_cannot_be_decoded_is_answered_and_reported,
    ]
}

fn envelope(payload: Value) -> Envelope {
    Envelope::new(MessageType::Request, "tests", payload)
}

async fn a_repeated_request_has_one_effect_and_is_given_the_same_bytes_again(world: Shared) {
    for version in [Version::V3, Version::V5] {
        let id = id(&format!("asked-twice-{version:?}").to_lowercase());
        let source =
            Script::healthy(id.as_str()).label(minimal(&id)).push(&world.stack).await.expect("builds");
        let mut operator = Operator::connect(&world.stack, version).await.expect("connects");
        let client = world.stack.operator_client(Version::V5).await.expect("connects");
        let outcomes = coordinator::event(Coordinator::Plugin, "outcome");
        let mut watch = Listener::on(client, [outcomes]).await;
        let topic = request(Operation::Install).to_string();
        let asked = envelope(json!({"plugin_id": id, "source": source}));

        // Twice at once, and once more when it is done.
        operator.publish(&topic, asked.encode()).await;
        operator.publish(&topic, asked.encode()).await;
        let first = operator.answer(&asked.id).await;
        assert_eq!(first.data()["changed"], true);
        operator.publish(&topic, asked.encode()).await;
        let again = operator.answer(&asked.id).await;
        assert_eq!(again.message.payload, first.message.payload, "not the same bytes");

        // The end of another operation on the plugin: by then every outcome of this one has been told.
        operator.ask_about(Operation::Start, &id).await.data();
        let of = |operation: &'static str| {
            let id = id.clone();
            move |m: &testkit::Message| {
                let event = &payload(m)["payload"];
                event["plugin_id"] == *id.as_str() && event["cause"].to_string().contains(operation)
            }
        };
        watch.wait("the outcome of the start", PATIENCE, of("start by")).await;
        let told = watch.heard().iter().filter(|m| of("install by")(m)).count();
        assert_eq!(told, 1, "{:?}", watch.heard());
        world.remove(&mut operator, &id, &source).await;
    }
}

async fn a_request_with_a_used_id_and_other_content_is_a_conflict(world: Shared) {
    let mut operator = world.operator().await;
    let topic = request(Operation::Inspect).to_string();
    let mut asked = envelope(json!({"plugin_id": "nobody-knows-me"}));
    operator.publish(&topic, asked.encode()).await;
    operator.answer(&asked.id).await.error(ErrorCode::UnknownPlugin);
    asked.payload = json!({"plugin_id": "nobody-knows-me-either"});
    operator.publish(&topic, asked.encode()).await;
    let conflict = operator.listener.wait("the conflict", PATIENCE, |m| {
        payload(m)["payload"]["error"]["code"] == ErrorCode::Conflict.as_str()
    });
    conflict.await;
}

async fn a_retained_request_is_not_carried_out(world: Shared) {
    let mut operator = world.operator().await;
    let topic = request(Operation::List).to_string();
    let retained = envelope(json!({}));
    let publish = |payload: Vec<u8>| Publish {
        topic: topic.clone(),
        payload: payload.into(),
        qos: 1,
        retain: true,
        ..Publish::default()
    };
    operator.publish_with(publish(retained.encode())).await;
    // One after the other, so the retained one would have been answered first.
    operator.ask(Operation::List, json!({})).await.data();
    operator.publish_with(publish(Vec::new())).await;
    operator.ask(Operation::List, json!({})).await.data();
    let heard = operator.listener.heard();
    let answered = heard.iter().any(|m| payload(m)["correlation_id"] == *retained.id);
    assert!(!answered, "a retained request was answered: {heard:?}");
}

async fn an_expired_request_is_not_carried_out(world: Shared) {
    let id = id("too-late");
    let source = Script::healthy("too-late").label(minimal(&id)).push(&world.stack).await.expect("builds");
    let mut operator = world.operator().await;
    let topic = request(Operation::Install).to_string();
    let mut asked = envelope(json!({"plugin_id": id, "source": source}));
    asked.expires_at = Some(Timestamp::from_seconds(1_700_000_000));
    operator.publish(&topic, asked.encode()).await;
    let wanted = |m: &testkit::Message| payload(m)["payload"]["error"]["code"] == ErrorCode::Expired.as_str();
    operator.listener.wait("that it is expired", PATIENCE, wanted).await;
    world.assert_nothing_is_left(&id, &source).await;
}

async fn an_answer_cannot_be_aimed_outside_of_the_callers_own_space(world: Shared) {
    let mut operator = world.operator().await;
    let topic = request(Operation::List).to_string();
    let victim = id("mount");
    let client = world.stack.operator_client(Version::V5).await.expect("connects");
    let mut watch = Listener::on(client, [plugin::all()]).await;
    for aimed in [plugin::control_command(&victim, "park"), coordinator::jwks(), "$SYS/x".to_owned()] {
        for by_property in [true, false] {
            let mut asked = envelope(json!({}));
            if !by_property {
                asked.reply_to = Some(aimed.clone());
            }
            let data = uuid::Uuid::new_v4().to_string();
            operator
                .publish_with(Publish {
                    topic: topic.clone(),
                    payload: asked.encode().into(),
                    qos: 1,
                    response_topic: by_property.then(|| aimed.clone()),
                    correlation_data: Some(data.clone().into()),
                    ..Publish::default()
                })
                .await;
            let wanted = |m: &testkit::Message| m.correlation_data.as_deref() == Some(data.as_bytes());
            let refusal = operator.listener.wait("the refusal", PATIENCE, wanted).await;
            let error = &payload(&refusal)["payload"]["error"];
            assert_eq!(error["code"], ErrorCode::ReplyRefused.as_str(), "{aimed}: {error:#}");
        }
    }
    // Told after the refusals, so what was aimed would be here by now.
    operator.publish(&plugin::control_command(&victim, "end-of-test"), "{}").await;
    watch.wait("the end", PATIENCE, |m| m.topic.ends_with("/end-of-test")).await;
    let hit = watch.heard().iter().any(|m| m.topic == plugin::control_command(&victim, "park"));
    assert!(!hit, "an answer was aimed at a plugin");

    // Inside of it, it goes where it should.
    let mut asked = envelope(json!({}));
    let mine = operators::responses(&first_operator()).replace('#', "my/own/place");
    asked.reply_to = Some(mine.clone());
    operator.publish(&topic, asked.encode()).await;
    assert_eq!(operator.answer(&asked.id).await.message.topic, mine);
}

async fn what_cannot_be_decoded_is_answered_and_reported(world: Shared) {
    let mut operator = world.operator().await;
    let topic = request(Operation::Start).to_string();
    let client = world.stack.operator_client(Version::V5).await.expect("connects");
    let refusals = coordinator::event(Coordinator::Plugin, "refused");
    let mut watch = Listener::on(client, [refusals]).await;
    let texts = ["{", "[1]", "\u{0}", r#"{"type":"request","payload":{}}"#, r#"{"plugin_id":7}"#, "{}"];
    let long = format!(r#"{{"plugin_id":"x","padding":"{}"}}"#, "x".repeat(600 * 1024));
    let deep = "[".repeat(100_000);
    for text in texts.into_iter().chain([long.as_str(), deep.as_str()]) {
        let data = uuid::Uuid::new_v4().to_string();
        operator
            .publish_with(Publish {
                topic: topic.clone(),
                payload: text.to_owned().into(),
                qos: 1,
                correlation_data: Some(data.clone().into()),
                ..Publish::default()
            })
            .await;
        let wanted = |m: &testkit::Message| m.correlation_data.as_deref() == Some(data.as_bytes());
        let shown: String = text.chars().take(40).collect();
        let answer = operator.listener.wait(&format!("the answer to {shown}"), PATIENCE, wanted).await;
        let error = &payload(&answer)["payload"]["error"];
        assert_eq!(error["code"], ErrorCode::BadRequest.as_str(), "{shown}: {error:#}");
    }
    let reported = |m: &testkit::Message| payload(m)["payload"]["details"]["code"] == "bad_request";
    watch.wait("the event", PATIENCE, reported).await;
}
