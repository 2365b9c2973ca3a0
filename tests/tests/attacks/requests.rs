//! Requests that are meant to reach further than who sends them: aimed answers, forged senders, repeats.

use std::time::Duration;

use acl::fixed::first_operator;
use envelope::operation::Operation;
use envelope::principal::{coordinator_login, operator_login, plugin_login};
use envelope::topic::{self, RequestTopic, broker, coordinator, operator as operators, plugin};
use envelope::{Answer, Coordinator, Envelope, ErrorCode, MessageType, PluginId, Principal, Timestamp};
use serde_json::{Value, json};
use testkit::{Message, Publish, Version, eventually};
use tests::stack::listener::{Listener, json as payload};
use tests::stack::operator::{Operator, raw_request, request};

use super::arena::{Arena, NOT_AUTHORIZED, PATIENCE, arena, ask, envelope};
use super::replica::Replica;
use crate::e2e::runner::Case;
use crate::e2e::world::{Shared, World, id, sameness};

/// How long a coordinator may be on its way back, on a busy machine.
const RETURN: Duration = Duration::from_secs(90);

pub fn cases() -> Vec<Case> {
    let mut cases = crate::beside![
        an_answer_is_aimed_at_the_victims_commands,
        an_answer_is_aimed_at_the_keys,
        an_answer_is_aimed_at_an_operator,
        an_answer_is_aimed_with_a_wildcard,
        an_answer_is_aimed_at_the_brokers_administration,
        answers_arrive_where_they_are_aimed_without_the_defence,
        a_request_names_an_operator_as_its_source,
        a_health_message_names_the_victim_as_its_source,
        a_plugin_asks_for_more_than_its_scope,
        a_plugin_asks_for_what_passes_between_coordinators,
        a_plugin_asks_for_what_needs_an_account,
        an_unnamed_operator_asks_for_what_needs_an_account,
        a_captured_request_is_sent_again,
        a_captured_request_is_carried_out_again_without_the_defence,
        a_used_id_is_given_to_another_request,
        a_request_from_the_past_is_sent,
        a_request_is_nested_a_hundred_thousand_deep,
        a_request_is_not_text,
        a_request_has_an_endless_id,
    ];
    // The coordinator is restarted.
    cases.extend(crate::alone![a_request_is_left_at_the_broker_for_whoever_comes]);
    cases
}

/// A request with the answer to go somewhere else, in one of the two ways that there are. None where MQTT itself
/// forbids it: a wildcard in the property. The envelope's field is free text.
fn aimed_at(topic: &RequestTopic, mut asked: Envelope, aim: &str, by_property: bool) -> Option<Publish> {
    if by_property && aim.contains(['+', '#']) {
        return None;
    }
    asked.reply_to = (!by_property).then(|| aim.to_owned());
    Some(Publish {
        topic: topic.to_string(),
        payload: asked.encode().into(),
        qos: 1,
        response_topic: by_property.then(|| aim.to_owned()),
        correlation_data: Some(asked.id.into()),
        ..Publish::default()
    })
}

/// Asks for what the attacker may have of the coordinator whose own rights would carry the answer to there.
async fn aimed(world: &World, operation: Operation, payload_of: Value, aim: String) {
    let arena = arena(world).await;
    let token = arena.token(world).await;
    let topic = arena.request(operation);
    for by_property in [true, false] {
        let mut listener = arena.asking(world).await;
        let mut asked = envelope(payload_of.clone());
        asked.token = Some(token.clone());
        let Some(message) = aimed_at(&topic, asked.clone(), &aim, by_property) else { continue };
        listener.client().send(message).await.expect("the connection stands");
        let wanted = |m: &Message| m.correlation_data.as_deref() == Some(asked.id.as_bytes());
        let answer = listener.wait("the refusal", PATIENCE, wanted).await;
        assert_eq!(answer.topic, topic.response(), "it goes to the caller alone");
        let error = &payload(&answer)["payload"]["error"];
        assert_eq!(error["code"], ErrorCode::ReplyRefused.as_str(), "{aim}: {error:#}");
        // Aimed at nothing, the same is answered: only the aim was wrong.
        asked.id = uuid::Uuid::new_v4().to_string();
        let answer = ask(&mut listener, &topic, &asked).await;
        assert_eq!(answer["success"], true, "{answer:#}");
    }
}

async fn an_answer_is_aimed_at_the_victims_commands(world: Shared) {
    let victim = &arena(&world).await.victim;
    let client = world.stack.operator_client(Version::V5).await.expect("connects");
    let mut watch = Listener::on(client, [plugin::control(victim)]).await;
    aimed(&world, Operation::List, json!({}), plugin::control_command(victim, "park")).await;
    let end = plugin::control_command(victim, "end");
    world.operator().await.publish(&end, "{}").await;
    watch.wait("the end", PATIENCE, |m| m.topic == end).await;
    assert!(watch.heard().is_empty(), "{:?}", watch.heard());
}

async fn an_answer_is_aimed_at_the_keys(world: Shared) {
    aimed(&world, Operation::Introspect, json!({}), coordinator::jwks()).await;
}

/// Where the first operator is told what it asked to be listed.
fn operators_list() -> String {
    RequestTopic::new(Principal::Operator(first_operator()), Operation::List).response()
}

async fn an_answer_is_aimed_at_an_operator(world: Shared) {
    aimed(&world, Operation::List, json!({}), operators_list()).await;
}

async fn an_answer_is_aimed_with_a_wildcard(world: Shared) {
    let own = plugin::responses(&arena(&world).await.attacker);
    aimed(&world, Operation::List, json!({}), own.replace('#', "+")).await;
    aimed(&world, Operation::List, json!({}), own).await;
}

/// What a plugin may ask the message coordinator for: what it may do itself.
fn explain(id: &PluginId) -> Value {
    json!({"plugin_id": id, "topic": "x", "access": "publish"})
}

async fn an_answer_is_aimed_at_the_brokers_administration(world: Shared) {
    let own = explain(&arena(&world).await.attacker);
    aimed(&world, Operation::Explain, own, broker::control().to_owned()).await;
}

/// A coordinator that answers where it is asked to, on a broker with the framework's own logins and roles. The
/// attacker may not publish where its victims read, and what it asks for is published there.
async fn answers_arrive_where_they_are_aimed_without_the_defence(_: Shared) {
    let (attacker, victim) = (id("arena-attacker"), id("arena-victim"));
    let replica = Replica::start(&[&attacker, &victim]).await;
    let thief = replica.client(&plugin_login(&attacker)).await;
    let (operator, message) = (operator_login(&first_operator()), coordinator_login(Coordinator::Message));
    for (operation, aim, reader, filter) in [
        (
            Operation::List,
            plugin::control_command(&victim, "park"),
            plugin_login(&victim),
            plugin::control(&victim),
        ),
        (Operation::Introspect, coordinator::jwks(), message.clone(), coordinator::keys()),
        (Operation::List, operators_list(), operator, operators::responses(&first_operator())),
        // There, whoever administers the broker reads what came of it.
        (Operation::Explain, broker::control().to_owned(), message, broker::control_answers().to_owned()),
    ] {
        let topic = RequestTopic::new(Principal::Plugin(attacker.clone()), operation);
        let served_by = coordinator_login(topic.coordinator);
        let requests = topic::request_filters(topic.coordinator);
        let mut careless = Listener::on(replica.client(&served_by).await, requests).await;
        let mut reader = Listener::on(replica.client(&reader).await, [&filter]).await;
        assert_eq!(thief.publish(&aim, "{}", 1, false).await, Ok(NOT_AUTHORIZED), "{aim}");
        for by_property in [true, false] {
            let message = aimed_at(&topic, envelope(json!({})), &aim, by_property);
            thief.send(message.expect("no wildcard")).await.expect("the connection stands");
            let asked = careless.wait("the request", PATIENCE, |m| m.topic == topic.to_string()).await;
            let in_it = payload(&asked)["reply_to"].as_str().map(str::to_owned);
            let told = asked.response_topic.or(in_it).expect("it says where");
            let answer = Envelope::new(MessageType::Response, served_by.as_str(), Answer::Success(json!({})));
            let code = careless.client().publish(&told, answer.encode(), 1, false).await;
            assert!(code.is_ok_and(|code| code < 0x80), "{served_by} may not publish on {told}");
            let arrived = |m: &Message| m.topic == aim || (told == broker::control() && m.topic == filter);
            reader.wait(&format!("what was aimed at {aim}"), PATIENCE, arrived).await;
        }
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
    // It is reported as the attacker's, and by then it has been read.
    let reported = |m: &Message| {
        let told = payload(m)["payload"].clone();
        told["event"].is_string()
            && told["plugin_id"] == *arena.attacker.as_str()
            && told.to_string().contains(&format!("plugin:{}", arena.victim))
    };
    watch.wait("the report of the lie", PATIENCE, reported).await;
    let states = watch.heard().iter().filter(|m| m.topic == coordinator::state(&arena.victim));
    for state in states {
        assert!(!state.text().contains("on fire") && !state.text().contains("unhealthy"), "{}", state.text());
    }
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

/// Waits until the audit trail tells of so many stops that were asked for since then. All must have been ignored.
async fn ignored(operator: &mut Operator, since: Timestamp, many: u64) {
    let operator = tokio::sync::Mutex::new(operator);
    let came = eventually(RETURN, || async {
        let asked = json!({"operation": Operation::Stop.as_str(), "since": since});
        let told = operator.lock().await.ask(Operation::Audit, asked).await;
        let records = told.data()["records"].as_array().cloned().unwrap_or_default();
        // Refusals that are alike share a record.
        let asked: u64 = records.iter().map(|record| record["times"].as_u64().unwrap_or(1)).sum();
        if asked >= many { Ok(records) } else { Err(format!("{records:#?}")) }
    })
    .await;
    for record in came {
        let told = record["message"].as_str().unwrap_or_default();
        assert!(record["result"] == "refused" && told.contains("retained"), "{record:#}");
    }
}

/// It reaches the coordinator that is there, and the one that comes after it: who subscribes is sent what is retained.
async fn a_request_is_left_at_the_broker_for_whoever_comes(world: Shared) {
    let arena = arena(&world).await;
    let before = sameness(&world.running(&arena.victim).await);
    let mut operator = world.operator().await;
    let since = Timestamp::now();
    let topic = request(Operation::Stop).to_string();
    let asked = envelope(json!({"plugin_id": arena.victim}));
    let left = |payload: Vec<u8>| Publish {
        topic: topic.clone(),
        payload: payload.into(),
        qos: 1,
        retain: true,
        ..Publish::default()
    };
    operator.publish_with(left(asked.encode())).await;
    ignored(&mut operator, since, 1).await;
    world.stack.compose(["restart", "plugin-coordinator"]).ok().await.expect("it is restarted");
    ignored(&mut operator, since, 2).await;
    operator.publish_with(left(Vec::new())).await;
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

/// Two ids that are no text.
const NO_TEXT: [&[u8]; 2] = [b"{\"plugin_id\": \"\xff\xfe\"}", b"{\"plugin_id\": \"\xfe\xff\"}"];

async fn a_request_is_not_text(world: Shared) {
    for bytes in NO_TEXT {
        is_no_request(&world, bytes.to_vec()).await;
    }
    is_no_request(&world, b"\xef\xbb\xbf{}".to_vec()).await;
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
