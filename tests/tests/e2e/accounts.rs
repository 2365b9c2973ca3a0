//! Operators' accounts: each may do what its role allows, and everybody can see who asked for what.

use std::time::Duration;

use envelope::principal::operator_login;
use envelope::topic::coordinator;
use envelope::{Coordinator, Envelope, ErrorCode, MessageType, Operation, OperatorName};
use futures_util::future::join_all;
use serde_json::{Value, json};
use testkit::{Client, Publish, Version, eventually};
use tests::stack::listener::json as payload;
use tests::stack::operator::{Operator, raw_request};

use super::runner::Case;
use super::world::{Shared, World};

const PATIENCE: Duration = Duration::from_secs(20);
const PASSWORD: &str = "a password for tests";
const ANOTHER: &str = "another one for tests";
/// MQTT 5's reason code: not authorized.
const NOT_AUTHORIZED: u8 = 0x87;
/// Requests at once, more than anybody may.
const FLOOD: usize = 500;

pub fn cases() -> Vec<Case> {
    crate::beside![
        each_account_may_do_what_its_role_allows_until_it_is_disabled_or_removed,
        the_last_admin_cannot_be_disabled,
        each_coordinator_tells_who_asked_for_what_and_what_came_of_it,
        an_account_that_asks_too_often_is_refused_and_others_are_served,
    ]
}

fn name(text: &str) -> OperatorName {
    OperatorName::parse(text).expect("a valid name")
}

async fn add(world: &World, who: &str, role: &str) -> Operator {
    let mut admin = world.operator().await;
    let account = json!({"name": who, "role": role, "password": PASSWORD});
    let added = admin.ask(Operation::AddOperator, account).await;
    assert_eq!(added.data()["created_by"], "operator:operator", "{:#}", added.answer);
    log_in(world, who, PASSWORD).await.expect("it can log in at once")
}

async fn log_in(world: &World, who: &str, password: &str) -> anyhow::Result<Operator> {
    Operator::log_in(&world.stack, Version::V5, name(who), password).await
}

async fn change(world: &World, asked: Value) -> Value {
    world.operator().await.ask(Operation::ChangeOperator, asked).await.data().clone()
}

async fn remove(world: &World, who: &str) {
    world.operator().await.ask(Operation::RemoveOperator, json!({"name": who})).await.data();
}

/// What the broker says to this account's request.
async fn code(operator: &Operator, topic: String) -> u8 {
    operator.listener.client().publish(&topic, "{}", 1, false).await.expect("the connection stands")
}

/// The connection is cut.
async fn is_cut(client: &Client) {
    eventually(PATIENCE, || async {
        match client.is_connected() {
            true => Err("it is still connected"),
            false => Ok(()),
        }
    })
    .await;
}

async fn each_account_may_do_what_its_role_allows_until_it_is_disabled_or_removed(world: Shared) {
    let mut viewer = add(&world, "looks-on", "viewer").await;
    viewer.ask(Operation::List, json!({})).await.data();
    for operation in [Operation::Start, Operation::Install, Operation::AddOperator, Operation::Rotate] {
        let asked = viewer.request(operation).to_string();
        assert_eq!(code(&viewer, asked).await, NOT_AUTHORIZED, "{operation}");
    }
    for operation in [Operation::List, Operation::Start] {
        let raw = raw_request(operation).to_string();
        assert_eq!(code(&viewer, raw).await, NOT_AUTHORIZED, "{operation} where nobody knows who asks");
    }
    // In another's name nobody asks.
    let foreign = world.operator().await.request(Operation::List).to_string();
    assert_eq!(code(&viewer, foreign).await, NOT_AUTHORIZED);

    let mut acting = add(&world, "acts", "operator").await;
    let start = acting.ask(Operation::Start, json!({"plugin_id": "not-there"})).await;
    start.error(ErrorCode::UnknownPlugin);
    for operation in [Operation::Install, Operation::Approve, Operation::ChangeOperator] {
        let asked = acting.request(operation).to_string();
        assert_eq!(code(&acting, asked).await, NOT_AUTHORIZED, "{operation}");
    }
    let told = acting.ask(Operation::Operators, json!({})).await.data()["operators"].clone();
    let of = |who: &str| {
        let accounts = told.as_array().into_iter().flatten();
        accounts
            .filter(|account| account["name"] == who)
            .map(|account| account["role"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        [of("looks-on"), of("acts"), of("operator")],
        [[json!("viewer")], [json!("operator")], [json!("admin")]]
    );

    let disabled = change(&world, json!({"name": "acts", "disabled": true})).await;
    assert_eq!(disabled["disabled"], true);
    is_cut(acting.listener.client()).await;
    assert!(log_in(&world, "acts", PASSWORD).await.is_err(), "a disabled account is let in");
    change(&world, json!({"name": "acts", "disabled": false})).await;
    log_in(&world, "acts", PASSWORD).await.expect("it is enabled");

    change(&world, json!({"name": "looks-on", "password": ANOTHER})).await;
    is_cut(viewer.listener.client()).await;
    assert!(log_in(&world, "looks-on", PASSWORD).await.is_err(), "the old password is taken");
    let viewer = log_in(&world, "looks-on", ANOTHER).await.expect("the new password is taken");
    remove(&world, "looks-on").await;
    is_cut(viewer.listener.client()).await;
    assert!(log_in(&world, "looks-on", ANOTHER).await.is_err(), "a removed account is let in");
    remove(&world, "acts").await;
}

async fn the_last_admin_cannot_be_disabled(world: Shared) {
    let mut admin = world.operator().await;
    for asked in
        [json!({"name": "operator", "disabled": true}), json!({"name": "operator", "role": "viewer"})]
    {
        admin.ask(Operation::ChangeOperator, asked).await.sentence(ErrorCode::LastAdmin);
    }
}

/// A question that each coordinator answers, and a viewer may ask.
fn question(c: Coordinator) -> (Operation, Value) {
    let target = json!({"plugin_id": "never-was-there"});
    match c {
        Coordinator::Plugin => (Operation::Inspect, target),
        Coordinator::Security => (Operation::Introspect, target),
        Coordinator::Message => {
            let topic = coordinator::health(c);
            (
                Operation::Explain,
                json!({"plugin_id": "never-was-there", "access": "subscribe", "topic": topic}),
            )
        }
    }
}

async fn each_coordinator_tells_who_asked_for_what_and_what_came_of_it(world: Shared) {
    let mut curious = add(&world, "is-curious", "admin").await;
    for c in Coordinator::ALL {
        let (operation, asked) = question(c);
        curious.ask(operation, asked).await;
        // What no operator may ask for at all.
        let refused = curious.ask_of(c, Operation::Token, json!({})).await;
        let code = refused.answer["error"]["code"].clone();

        let condition = json!({"principal": "operator:is-curious", "limit": 10});
        let told = curious.ask_of(c, Operation::Audit, condition).await.data().clone();
        assert_eq!(told["coordinator"], c.as_str());
        let records = told["records"].as_array().cloned().unwrap_or_default();
        let of = |operation: &str| records.iter().find(|r| r["operation"] == operation).cloned();
        let done = of(operation.as_str()).unwrap_or_else(|| panic!("{c}: no {operation} in {told:#}"));
        assert_eq!(
            (&done["principal"], &done["target"]),
            (&json!("operator:is-curious"), &json!("never-was-there"))
        );
        assert!(["done", "failed"].contains(&done["result"].as_str().unwrap_or_default()), "{done:#}");
        let no = of("token").unwrap_or_else(|| panic!("{c}: nothing of what was refused in {told:#}"));
        assert_eq!((&no["result"], &no["code"]), (&json!("refused"), &code), "{no:#}");
        assert!(no["message"].is_string() && no["correlation_id"].is_string(), "{no:#}");

        let condition = json!({"correlation_id": done["correlation_id"]});
        let one = curious.ask_of(c, Operation::Audit, condition).await;
        assert_eq!(one.data()["records"].as_array().map(Vec::len), Some(1), "{:#}", one.answer);
    }
    // Who made the account is known too, and its password is not.
    let condition = json!({"target": "is-curious", "operation": "add-operator"});
    let made = curious.ask_of(Coordinator::Message, Operation::Audit, condition).await;
    assert_eq!(made.data()["records"][0]["principal"], "operator:operator", "{:#}", made.answer);
    assert!(!made.answer.to_string().contains(PASSWORD));
    remove(&world, "is-curious").await;
}

async fn an_account_that_asks_too_often_is_refused_and_others_are_served(world: Shared) {
    let mut flooder = add(&world, "floods", "viewer").await;
    let topic = flooder.request(Operation::List).to_string();
    let client = world.stack.client(Version::V5).login(operator_login(&name("floods")), PASSWORD);
    let client = client.connect().await.expect("it can log in twice");
    let flood = async {
        let ask = |_| {
            let envelope = Envelope::new(MessageType::Request, "tests", json!({}));
            client.send(Publish {
                topic: topic.clone(),
                payload: envelope.encode().into(),
                qos: 1,
                ..Publish::default()
            })
        };
        join_all((0..FLOOD).map(ask)).await
    };
    let mut other = world.operator().await;
    let (sent, ()) = tokio::join!(flood, async {
        for _ in 0..5 {
            let begin = std::time::Instant::now();
            other.ask(Operation::List, json!({})).await.data();
            assert!(begin.elapsed() < Duration::from_secs(10), "another waited {:?}", begin.elapsed());
        }
    });
    assert!(sent.iter().all(Result::is_ok), "{:?}", sent.iter().find(|s| s.is_err()));
    let refused =
        |m: &testkit::Message| payload(m)["payload"]["error"]["code"] == ErrorCode::TooManyRequests.as_str();
    let refused = flooder.listener.wait("that it asks too often", PATIENCE, refused).await;
    assert!(payload(&refused)["payload"]["error"]["details"]["retry_after_seconds"].is_number());
    eventually(PATIENCE, || async {
        let condition = json!({"principal": "operator:floods", "limit": 1000});
        let mut admin = world.operator().await;
        let told = admin.ask_of(Coordinator::Plugin, Operation::Audit, condition).await.data().clone();
        let mut records = told["records"].as_array().into_iter().flatten();
        let code = ErrorCode::TooManyRequests.as_str();
        match records.find(|r| r["code"] == code && r["times"].as_u64() > Some(1)) {
            Some(_) => Ok(()),
            None => Err(format!("{:#}", told["records"][0])),
        }
    })
    .await;
    remove(&world, "floods").await;
}
