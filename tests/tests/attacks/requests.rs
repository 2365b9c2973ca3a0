//! Requests that are meant to reach further than who sends them: aimed answers, forged senders, repeats.

use acl::explain::{Action, decide};
use acl::fixed::{coordinator_role, first_operator};
use envelope::operation::Operation;
use envelope::topic::{RequestTopic, coordinator, operator as operators, plugin};
use envelope::{Coordinator, Envelope, ErrorCode, MessageType, Timestamp};
use serde_json::{Value, json};
use testkit::{Message, Publish, Version};
use tests::stack::listener::{Listener, json as payload};
use tests::stack::operator::{raw_request, request};

use super::arena::{Arena, NOT_AUTHORIZED, PATIENCE, arena, ask, envelope};
use crate::e2e::runner::Case;
use crate::e2e::world::{Shared, World, sameness};

pub fn cases() -> Vec<Case> {
    crate::beside![
        an_answer_is_aimed_at_the_victims_commands,
        an_answer_is_aimed_at_the_keys,
        an_answer_is_aimed_at_an_operator,
        an_answer_is_aimed_with_a_wildcard,
        an_answer_is_aimed_at_the_brokers_administration,
        answers_would_arrive_where_they_are_aimed_without_the_defence,
        a_request_names_an_operator_as_its_source,
        a_health_message_names_the_victim_as_its_source,
        a_reader_that_believes_a_source_is_deceived_without_the_defence,
        a_plugin_asks_for_more_than_its_scope,
        a_plugin_asks_for_what_passes_between_coordinators,
        a_plugin_asks_for_what_needs_an_account,
        an_unnamed_operator_asks_for_what_needs_an_account,
        a_captured_request_is_sent_again,
        a_captured_request_is_carried_out_again_without_the_defence,
        a_used_id_is_given_to_another_request,
        a_request_is_left_at_the_broker_for_whoever_comes,
        a_request_from_the_past_is_sent,
        a_request_is_nested_a_hundred_thousand_deep,
        a_reader_that_follows_each_level_runs_out_of_stack_without_the_defence,
        a_request_is_not_text,
        a_reader_that_repairs_text_takes_two_ids_for_one_without_the_defence,
        a_request_has_an_endless_id,
        a_reader_that_takes_any_id_keeps_all_of_it_without_the_defence,
    ]
}

/// Asks for what the attacker may have, with the answer to go somewhere else, in both ways that there are.
async fn aimed(world: &World, aimed_at: String) {
    let arena = arena(world).await;
    let token = arena.token(world).await;
    let topic = arena.request(Operation::List);
    for by_property in [true, false] {
        let mut listener = arena.asking(world).await;
        let mut asked = envelope(json!({}));
        asked.token = Some(token.clone());
        if !by_property {
            asked.reply_to = Some(aimed_at.clone());
        }
        let message = Publish {
            topic: topic.to_string(),
            payload: asked.encode().into(),
            qos: 1,
            response_topic: (by_property && !aimed_at.contains(['+', '#'])).then(|| aimed_at.clone()),
            correlation_data: Some(asked.id.clone().into()),
            ..Publish::default()
        };
        if by_property && message.response_topic.is_none() {
            // MQTT itself forbids wildcards there; the envelope's field is free text.
            continue;
        }
        listener.client().send(message).await.expect("the connection stands");
        let wanted = |m: &Message| m.correlation_data.as_deref() == Some(asked.id.as_bytes());
        let answer = listener.wait("the refusal", PATIENCE, wanted).await;
        assert_eq!(answer.topic, topic.response(), "it goes to the caller alone");
        let error = &payload(&answer)["payload"]["error"];
        assert_eq!(error["code"], ErrorCode::ReplyRefused.as_str(), "{aimed_at}: {error:#}");
    }
}

async fn an_answer_is_aimed_at_the_victims_commands(world: Shared) {
    let victim = &arena(&world).await.victim;
    let client = world.stack.operator_client(Version::V5).await.expect("connects");
    let mut watch = Listener::on(client, [plugin::control(victim)]).await;
    aimed(&world, plugin::control_command(victim, "park")).await;
    let end = plugin::control_command(victim, "end");
    world.operator().await.publish(&end, "{}").await;
    watch.wait("the end", PATIENCE, |m| m.topic == end).await;
    assert!(watch.heard().is_empty(), "{:?}", watch.heard());
}

async fn an_answer_is_aimed_at_the_keys(world: Shared) {
    aimed(&world, coordinator::jwks()).await;
}

async fn an_answer_is_aimed_at_an_operator(world: Shared) {
    aimed(&world, operators::responses(&first_operator()).replace('#', "plugin/list")).await;
}

async fn an_answer_is_aimed_with_a_wildcard(world: Shared) {
    let own = plugin::responses(&arena(&world).await.attacker);
    aimed(&world, own.replace('#', "+")).await;
    aimed(&world, own).await;
}

async fn an_answer_is_aimed_at_the_brokers_administration(world: Shared) {
    aimed(&world, envelope::topic::broker::control().to_owned()).await;
}

/// The check of the chassis is the only thing in the way: the coordinators' own rights would carry the answers.
async fn answers_would_arrive_where_they_are_aimed_without_the_defence(_: Shared) {
    let victim = super::bystander::Bystander::attacker();
    let may =
        |c: Coordinator, topic: &str| decide(&[(0, &coordinator_role(c))], Action::Publish, topic).allowed;
    assert!(may(Coordinator::Plugin, &plugin::control_command(&victim, "park")));
    assert!(may(Coordinator::Security, &coordinator::jwks()));
    assert!(may(Coordinator::Message, envelope::topic::broker::control()));
    for c in Coordinator::ALL {
        assert!(may(c, &operators::responses(&first_operator()).replace('#', "plugin/list")));
    }
}

/// What the attacker is told when it asks with its own token.
async fn told(world: &World, topic: &RequestTopic, asked: Envelope) -> Value {
    let arena = arena(world).await;
    let mut asked = asked;
    asked.token = Some(arena.token(world).await);
    ask(&mut arena.asking(world).await, topic, &asked).await
}

async fn a_request_names_an_operator_as_its_source(world: Shared) {
    let arena = arena(&world).await;
    let mut asked = envelope(json!({"plugin_id": arena.victim}));
    asked.source = "operator:operator".to_owned();
    let before = sameness(&world.running(&arena.victim).await);
    let answer = told(&world, &arena.request(Operation::Stop), asked).await;
    assert_eq!(answer["error"]["code"], ErrorCode::Forbidden.as_str(), "{answer:#}");
    assert_eq!(sameness(&world.running(&arena.victim).await), before);
}

/// A health message on the attacker's own topic that says it is the victim's.
fn lie(arena: &Arena) -> Envelope {
    let ill = json!({"component": arena.victim, "status": "unhealthy", "message": "on fire", "details": {}});
    Envelope::new(MessageType::Status, format!("plugin:{}", arena.victim), ill)
}

async fn a_health_message_names_the_victim_as_its_source(world: Shared) {
    let arena = arena(&world).await;
    let client = world.stack.operator_client(Version::V5).await.expect("connects");
    let filters = [coordinator::state(&arena.victim), coordinator::events(Coordinator::Plugin)];
    let mut watch = Listener::on(client, filters).await;
    let attacker = arena.connect(&world, Version::V5).await;
    let code = attacker.publish(&plugin::health(&arena.attacker), lie(arena).encode(), 1, false).await;
    assert_eq!(code, Ok(0), "its own topic is its own");
    // It is reported, and by then it has been read.
    let reported = |m: &Message| {
        m.topic != coordinator::state(&arena.victim) && m.text().contains(arena.victim.as_str())
    };
    watch.wait("the report of the lie", PATIENCE, reported).await;
    let states = watch.heard().iter().filter(|m| m.topic == coordinator::state(&arena.victim));
    for state in states {
        assert!(!state.text().contains("on fire") && !state.text().contains("unhealthy"), "{}", state.text());
    }
}

async fn a_reader_that_believes_a_source_is_deceived_without_the_defence(world: Shared) {
    let arena = arena(&world).await;
    let said: Envelope = serde_json::from_slice(&lie(arena).encode()).expect("an envelope");
    assert_eq!(said.source, format!("plugin:{}", arena.victim));
    assert_eq!(plugin::owner(&plugin::health(&arena.attacker)), Some(arena.attacker.as_str()));
}

async fn a_plugin_asks_for_more_than_its_scope(world: Shared) {
    let arena = arena(&world).await;
    let asked = json!({"plugin_id": "attacks-uninvited", "source": arena.image});
    let answer = told(&world, &arena.request(Operation::Install), envelope(asked)).await;
    assert_eq!(answer["error"]["code"], ErrorCode::Forbidden.as_str(), "{answer:#}");
    assert_eq!(answer["error"]["details"]["missing"], "plugin:configure", "{answer:#}");
    // With what it was granted, the same plugin is served.
    let answer = told(&world, &arena.request(Operation::List), envelope(json!({}))).await;
    assert_eq!(answer["success"], true, "{answer:#}");
}

async fn a_plugin_asks_for_what_passes_between_coordinators(world: Shared) {
    let arena = arena(&world).await;
    for operation in [Operation::Provision, Operation::Deprovision, Operation::Issue] {
        let answer =
            told(&world, &arena.request(operation), envelope(json!({"plugin_id": arena.victim}))).await;
        assert_eq!(answer["error"]["code"], ErrorCode::UnknownOperation.as_str(), "{operation}: {answer:#}");
    }
}

async fn a_plugin_asks_for_what_needs_an_account(world: Shared) {
    let arena = arena(&world).await;
    for operation in [Operation::AddOperator, Operation::Rotate, Operation::Approve] {
        let answer = told(&world, &arena.request(operation), envelope(json!({}))).await;
        assert_eq!(answer["error"]["code"], ErrorCode::Forbidden.as_str(), "{operation}: {answer:#}");
    }
}

async fn an_unnamed_operator_asks_for_what_needs_an_account(world: Shared) {
    let client = world.stack.operator_client(Version::V5).await.expect("connects");
    for operation in [Operation::AddOperator, Operation::Rotate, Operation::RevokeToken, Operation::Approve] {
        let code = client.publish(&raw_request(operation).to_string(), "{}", 1, false).await;
        assert_eq!(code, Ok(NOT_AUTHORIZED), "{operation}");
    }
}

async fn restarts(world: &World, fresh_id: bool) -> bool {
    // Whoever captured the request can send its bytes again, and a middleman of the network can do so as the operator.
    let plugin = crate::e2e::world::id(if fresh_id { "attacks-fresh" } else { "attacks-replayed" });
    let mut operator = world.operator().await;
    let script = tests::stack::images::Script::healthy(plugin.as_str());
    let image =
        script.label(crate::e2e::world::minimal(&plugin)).push(&world.stack).await.expect("the image builds");
    world.install_and_start(&mut operator, &plugin, &image).await;
    let topic = request(Operation::Restart).to_string();
    let mut asked = envelope(json!({"plugin_id": plugin}));
    operator.publish(&topic, asked.encode()).await;
    operator.answer(&asked.id).await.data();
    let before = sameness(&world.running(&plugin).await);
    if fresh_id {
        asked.id = uuid::Uuid::new_v4().to_string();
    }
    operator.publish(&topic, asked.encode()).await;
    operator.answer(&asked.id).await.data();
    let again = sameness(&world.running(&plugin).await) != before;
    world.remove(&mut operator, &plugin, &image).await;
    again
}

async fn a_captured_request_is_sent_again(world: Shared) {
    assert!(!restarts(&world, false).await, "a replayed request was carried out again");
}

async fn a_captured_request_is_carried_out_again_without_the_defence(world: Shared) {
    assert!(restarts(&world, true).await, "the same request under another id is another request");
}

async fn a_used_id_is_given_to_another_request(world: Shared) {
    let arena = arena(&world).await;
    let mut operator = world.operator().await;
    let mut asked = envelope(json!({"plugin_id": arena.victim}));
    operator.publish(&request(Operation::Inspect).to_string(), asked.encode()).await;
    operator.answer(&asked.id).await.data();
    asked.payload = json!({"plugin_id": arena.attacker});
    operator.publish(&request(Operation::Inspect).to_string(), asked.encode()).await;
    let conflict = |m: &Message| payload(m)["payload"]["error"]["code"] == ErrorCode::Conflict.as_str();
    operator.listener.wait("the conflict", PATIENCE, conflict).await;
}

async fn a_request_is_left_at_the_broker_for_whoever_comes(world: Shared) {
    let arena = arena(&world).await;
    let before = sameness(&world.running(&arena.victim).await);
    let mut operator = world.operator().await;
    let topic = request(Operation::Stop).to_string();
    let asked = envelope(json!({"plugin_id": arena.victim}));
    let publish = |payload: Vec<u8>| Publish {
        topic: topic.clone(),
        payload: payload.into(),
        qos: 1,
        retain: true,
        ..Publish::default()
    };
    operator.publish_with(publish(asked.encode())).await;
    operator.publish_with(publish(Vec::new())).await;
    operator.ask(Operation::List, json!({})).await.data();
    assert!(operator.listener.heard().iter().all(|m| payload(m)["correlation_id"] != *asked.id));
    assert_eq!(sameness(&world.running(&arena.victim).await), before);
}

async fn a_request_from_the_past_is_sent(world: Shared) {
    let arena = arena(&world).await;
    let before = sameness(&world.running(&arena.victim).await);
    let mut operator = world.operator().await;
    let mut asked = envelope(json!({"plugin_id": arena.victim}));
    asked.expires_at = Some(Timestamp::from_seconds(Timestamp::now().as_seconds() - 3600));
    operator.publish(&request(Operation::Stop).to_string(), asked.encode()).await;
    let expired = |m: &Message| payload(m)["payload"]["error"]["code"] == ErrorCode::Expired.as_str();
    operator.listener.wait("that it is expired", PATIENCE, expired).await;
    assert_eq!(sameness(&world.running(&arena.victim).await), before);
}

/// Sends bytes as a request of the attacker's; the coordinator must answer that they are none, and go on.
async fn is_no_request(world: &World, bytes: Vec<u8>) {
    let arena = arena(world).await;
    let mut listener = arena.asking(world).await;
    let data = uuid::Uuid::new_v4().to_string();
    let message = Publish {
        topic: arena.request(Operation::List).to_string(),
        payload: bytes.into(),
        qos: 1,
        correlation_data: Some(data.clone().into()),
        ..Publish::default()
    };
    listener.client().send(message).await.expect("the connection stands");
    let wanted = |m: &Message| m.correlation_data.as_deref() == Some(data.as_bytes());
    let answer = payload(&listener.wait("the answer", PATIENCE, wanted).await);
    assert_eq!(answer["payload"]["error"]["code"], ErrorCode::BadRequest.as_str(), "{answer:#}");
    world.operator().await.ask(Operation::List, json!({})).await.data();
}

async fn a_request_is_nested_a_hundred_thousand_deep(world: Shared) {
    is_no_request(&world, "[".repeat(100_000).into_bytes()).await;
    let deep = format!("{}1{}", r#"{"payload":"#.repeat(40_000), "}".repeat(40_000));
    is_no_request(&world, deep.into_bytes()).await;
}

/// Reads lists in lists as a reader does that has no limit, and answers how deep the stack went, in bytes.
fn stack_of(nested: &[u8], top: usize) -> usize {
    let here = [0u8; 1];
    let here = std::hint::black_box(here.as_ptr() as usize);
    match nested.split_first() {
        Some((b'[', inner)) => std::hint::black_box(stack_of(inner, top)),
        _ => top.abs_diff(here),
    }
}

async fn a_reader_that_follows_each_level_runs_out_of_stack_without_the_defence(_: Shared) {
    /// A worker thread of the runtime has so much (`tokio::runtime::Builder::thread_stack_size`).
    const WORKER: usize = 2 << 20;
    let reading = std::thread::Builder::new().stack_size(256 << 20).spawn(|| {
        let top = [0u8; 1];
        stack_of("[".repeat(100_000).as_bytes(), top.as_ptr() as usize)
    });
    let used = reading.expect("a thread").join().expect("it has room enough");
    assert!(used > WORKER, "{used} bytes");
}

/// Two ids that are no text.
const NO_TEXT: [&[u8]; 2] = [b"{\"plugin_id\": \"\xff\xfe\"}", b"{\"plugin_id\": \"\xfe\xff\"}"];

async fn a_request_is_not_text(world: Shared) {
    for bytes in NO_TEXT {
        is_no_request(&world, bytes.to_vec()).await;
    }
    is_no_request(&world, b"\xef\xbb\xbf{}".to_vec()).await;
}

async fn a_reader_that_repairs_text_takes_two_ids_for_one_without_the_defence(_: Shared) {
    let [one, other] = NO_TEXT.map(|bytes| {
        let read: Value = serde_json::from_str(&String::from_utf8_lossy(bytes)).expect("it is repaired");
        read["plugin_id"].as_str().map(str::to_owned).expect("an id")
    });
    assert_eq!(one, other);
}

/// A request whose id is as long as a book, of which each answer and each entry of a journal would have a copy.
fn endless() -> Envelope {
    let mut asked = envelope(json!({}));
    asked.id = "x".repeat(100_000);
    asked
}

async fn a_request_has_an_endless_id(world: Shared) {
    is_no_request(&world, endless().encode()).await;
}

async fn a_reader_that_takes_any_id_keeps_all_of_it_without_the_defence(_: Shared) {
    let read: Value = serde_json::from_slice(&endless().encode()).expect("it is JSON");
    assert_eq!(read["id"].as_str().map(str::len), Some(100_000));
}
