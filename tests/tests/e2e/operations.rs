//! Operations that run and have run, and an end to one that runs.

use std::collections::BTreeMap;
use std::time::Duration;

use envelope::{ErrorCode, Operation, OperationId, PluginId};
use serde_json::{Value, json};
use testkit::eventually;
use tests::stack::command::Output;
use tests::stack::operator::Operator;
use tokio::net::TcpListener;

use super::runner::Case;
use super::update::{at_step, push, version};
use super::world::{Shared, World, id, sameness};

const PATIENCE: Duration = Duration::from_secs(30);
const HEALTHY: &str = include_str!("../../src/stack/images/healthy.sh");
/// One that runs and never says how it is.
const SILENT: &str = "trap 'exit 0' TERM\necho nothing to say\nsleep 600 &\nwait $!\n";

pub fn cases() -> Vec<Case> {
    crate::beside![
        operations_are_told_with_what_came_of_them,
        a_start_that_waits_for_health_is_ended_by_a_stop,
        an_install_and_an_update_that_pull_are_undone_and_leave_nothing,
        an_update_that_has_swapped_already_goes_back_when_it_is_ended,
        what_cannot_be_ended_is_told_why,
        the_command_line_updates_rolls_back_and_shows_what_came_of_it,
    ]
}

/// Operations on a plugin, at most so many that have ended.
async fn operations(operator: &mut Operator, id: &PluginId, limit: u32) -> Vec<Value> {
    let answer = operator.ask(Operation::Operations, json!({"plugin_id": id, "limit": limit})).await;
    answer.data()["operations"].as_array().cloned().unwrap_or_default()
}

/// Ends an operation by its id, and returns it as it has ended.
async fn cancelled(world: &World, running: &Value) -> Value {
    let mut operator = world.operator().await;
    let answer = operator.ask(Operation::Cancel, json!({"operation_id": running["id"]})).await;
    assert_eq!(answer.data()["id"], running["id"]);
    ended(world, running).await
}

/// The operation once it has ended.
async fn ended(world: &World, running: &Value) -> Value {
    let plugin = running["plugin_id"].as_str().unwrap_or_default();
    eventually(PATIENCE, || async {
        let mut operator = world.operator().await;
        let all = operations(&mut operator, &id(plugin), 50).await;
        match all.iter().find(|o| o["id"] == running["id"] && o["ended_at"].is_string()) {
            Some(operation) => Ok(operation.clone()),
            None => Err(format!("it has not ended: {all:#?}")),
        }
    })
    .await
}

async fn operations_are_told_with_what_came_of_them(world: Shared) {
    let id = id("is-told");
    let mut manifest = version(&id, "1.0.0");
    manifest["start_timeout_seconds"] = json!(4);
    let source = push(&world, "is-told", SILENT, manifest).await;
    let mut operator = world.operator().await;
    operator.ask(Operation::Install, json!({"plugin_id": id, "source": source})).await.data();
    let failed = operator.ask_about(Operation::Start, &id).await;
    let sentence = failed.sentence(ErrorCode::NotReady).to_owned();
    operator.ask_about(Operation::Stop, &id).await.data();

    let told = operations(&mut operator, &id, 50).await;
    let names: Vec<&str> = told.iter().filter_map(|o| o["operation"].as_str()).collect();
    assert_eq!(names, ["stop", "start", "install"], "the newest first: {told:#?}");
    for operation in &told {
        assert_eq!(operation["principal"], "operator:operator", "{operation:#}");
        assert!(operation["ended_at"].as_str() >= operation["started_at"].as_str(), "{operation:#}");
        assert!(
            operation["correlation_id"].is_string() && operation.get("deadline").is_none(),
            "{operation:#}"
        );
        let is_start = operation["operation"] == "start";
        assert_eq!(operation["success"], !is_start, "{operation:#}");
    }
    assert_eq!((&told[1]["code"], &told[1]["message"]), (&json!("not_ready"), &json!(sentence)));
    assert_eq!(operations(&mut operator, &id, 1).await, told[..1]);
    assert!(operations(&mut operator, &id, 0).await.is_empty(), "none that has ended is wanted");
    let all = operator.ask(Operation::Operations, json!({})).await.data()["operations"].clone();
    let all = all.as_array().cloned().unwrap_or_default();
    assert!(all.iter().any(|o| o["id"] == told[0]["id"]), "without a plugin all are told: {all:#?}");
    let many = operator.ask(Operation::Operations, json!({"limit": 1001})).await;
    assert!(many.sentence(ErrorCode::BadRequest).contains("1000"), "{many:?}");
    world.remove(&mut operator, &id, &source).await;
}

async fn a_start_that_waits_for_health_is_ended_by_a_stop(world: Shared) {
    let id = id("waits-in-vain");
    let mut manifest = version(&id, "1.0.0");
    manifest["start_timeout_seconds"] = json!(600);
    let source = push(&world, "waits-in-vain", SILENT, manifest).await;
    let mut operator = world.operator().await;
    operator.ask(Operation::Install, json!({"plugin_id": id, "source": source})).await.data();
    let asked = operator.send(Operation::Start, json!({"plugin_id": id})).await;
    let running = at_step(&world, &id, "await_ready").await;
    assert_eq!((&running["operation"], running.get("success")), (&json!("start"), None), "{running:#}");
    assert!(running["deadline"].as_str() > running["started_at"].as_str(), "{running:#}");
    world.running(&id).await;

    let told = cancelled(&world, &running).await;
    assert_eq!((&told["success"], &told["code"]), (&json!(false), &json!("cancelled")), "{told:#}");
    let answer = operator.answer(&asked).await;
    let sentence = answer.sentence(ErrorCode::Cancelled);
    assert!(sentence.contains("operator:operator"), "it says by whom: {sentence}");
    assert_eq!(told["message"], sentence);
    eventually(PATIENCE, || async {
        match world.has_container(&id).await {
            true => Err("it still has a container"),
            false => Ok(()),
        }
    })
    .await;
    operator.ask_about(Operation::Stop, &id).await.data();
    world.remove(&mut operator, &id, &source).await;
}

async fn an_install_and_an_update_that_pull_are_undone_and_leave_nothing(world: Shared) {
    let id = id("pulls-slowly");
    let old = push(&world, "pulls-slowly-1", HEALTHY, version(&id, "1.0.0")).await;
    let new = push(&world, "pulls-slowly-2", HEALTHY, version(&id, "1.1.0")).await;
    // Whoever pulls comes here, and nobody ever answers.
    let registry = world.stack.held_registry();
    let _held = TcpListener::bind(&registry).await.expect("the port is kept for this");
    let slow = |source: &str| source.replacen(&world.stack.registry(), &registry, 1);
    let mut operator = world.operator().await;

    let asked = operator.send(Operation::Install, json!({"plugin_id": id, "source": slow(&old)})).await;
    let told = cancelled(&world, &at_step(&world, &id, "pull").await).await;
    assert_eq!(told["code"], "cancelled", "{told:#}");
    operator.answer(&asked).await.sentence(ErrorCode::Cancelled);
    world.assert_nothing_is_left(&id, &slow(&old)).await;

    world.install_and_start(&mut operator, &id, &old).await;
    let before = sameness(&world.running(&id).await);
    let was = operator.ask_about(Operation::Inspect, &id).await.data().clone();
    let asked = operator.send(Operation::Update, json!({"plugin_id": id, "source": slow(&new)})).await;
    let told = cancelled(&world, &at_step(&world, &id, "pull").await).await;
    assert_eq!(told["code"], "cancelled", "{told:#}");
    operator.answer(&asked).await.sentence(ErrorCode::Cancelled);
    assert_eq!(sameness(&world.running(&id).await), before, "the old one was not touched");
    let is = operator.ask_about(Operation::Inspect, &id).await.data().clone();
    assert_eq!((&is["generation"], is.get("previous")), (&was["generation"], None));
    assert!(!world.has_image(&slow(&new)).await);
    world.remove(&mut operator, &id, &old).await;
}

async fn an_update_that_has_swapped_already_goes_back_when_it_is_ended(world: Shared) {
    let id = id("is-called-back");
    let mut silent = version(&id, "2.0.0");
    silent["start_timeout_seconds"] = json!(600);
    let old = push(&world, "is-called-back-1", HEALTHY, version(&id, "1.0.0")).await;
    let new = push(&world, "is-called-back-2", SILENT, silent).await;
    let mut operator = world.operator().await;
    world.install_and_start(&mut operator, &id, &old).await;
    let was = operator.ask_about(Operation::Inspect, &id).await.data().clone();
    let asked = operator.send(Operation::Update, json!({"plugin_id": id, "source": new})).await;
    let told = cancelled(&world, &at_step(&world, &id, "await_ready").await).await;
    assert_eq!(told["code"], "rolled_back", "{told:#}");
    let answer = operator.answer(&asked).await;
    assert_eq!(answer.error(ErrorCode::RolledBack)["details"]["code"], "cancelled");
    let is = operator.ask_about(Operation::Inspect, &id).await.data().clone();
    assert_eq!((&is["state"]["phase"], &is["state"]["version"]), (&json!("running"), &json!("1.0.0")));
    assert_eq!(is["state"]["digest"], was["state"]["digest"]);
    world.running(&id).await;
    world.remove(&mut operator, &id, &old).await;
}

async fn what_cannot_be_ended_is_told_why(world: Shared) {
    let mut operator = world.operator().await;
    let unknown = OperationId::new();
    let answer = operator.ask(Operation::Cancel, json!({"operation_id": unknown})).await;
    let sentence = answer.sentence(ErrorCode::NoSuchOperation);
    assert!(sentence.contains(&unknown.to_string()), "{sentence}");
    for bad in [json!({}), json!({"operation_id": "focuser"}), json!({"operation_id": 7})] {
        operator.ask(Operation::Cancel, bad).await.sentence(ErrorCode::BadRequest);
    }

    let id = id("has-ended");
    let source = push(&world, "has-ended", HEALTHY, version(&id, "1.0.0")).await;
    operator.ask(Operation::Install, json!({"plugin_id": id, "source": source})).await.data();
    let install = operations(&mut operator, &id, 1).await[0].clone();
    let answer = operator.ask(Operation::Cancel, json!({"operation_id": install["id"]})).await;
    assert!(answer.sentence(ErrorCode::InvalidPhase).contains("install"), "{:#}", answer.answer);
    assert_eq!(operations(&mut operator, &id, 1).await, [install], "what has ended stays as it ended");
    world.remove(&mut operator, &id, &source).await;
}

/// Runs the command line with the operator's login.
async fn bigskies<'a>(world: &World, arguments: impl IntoIterator<Item = &'a str>) -> Output {
    let (user, password) = world.stack.operator();
    let environment = BTreeMap::from([
        ("MQTT_HOST".to_owned(), "127.0.0.1".to_owned()),
        ("MQTT_PORT".to_owned(), world.stack.mqtt_port.to_string()),
        ("MQTT_USERNAME".to_owned(), user),
        ("MQTT_PASSWORD".to_owned(), password),
    ]);
    world.stack.command_line(arguments).env(&environment).output().await.expect("it runs")
}

async fn the_command_line_updates_rolls_back_and_shows_what_came_of_it(world: Shared) {
    let id = id("by-command-line");
    let mut silent = version(&id, "2.0.0");
    silent["start_timeout_seconds"] = json!(4);
    let old = push(&world, "by-command-line-1", HEALTHY, version(&id, "1.0.0")).await;
    let new = push(&world, "by-command-line-2", HEALTHY, version(&id, "1.1.0")).await;
    let bad = push(&world, "by-command-line-3", SILENT, silent).await;
    let mut operator = world.operator().await;
    world.install_and_start(&mut operator, &id, &old).await;

    let updated = bigskies(&world, ["plugin", "update", id.as_str(), &new]).await;
    assert_eq!(updated.code, Some(0), "{}", updated.text);
    for part in ["by-command-line updated: 1.0.0 -> 1.1.0\n", "until it was ready again", "rollback"] {
        assert!(updated.text.contains(part), "{part}: {}", updated.text);
    }
    let failed = bigskies(&world, ["plugin", "update", id.as_str(), &bad]).await;
    assert_eq!(failed.code, Some(1), "{}", failed.text);
    for part in
        ["(rolled_back)", "It runs 1.1.0 again.", "| nothing to say", "next: nothing has to be put right"]
    {
        assert!(failed.text.contains(part), "{part}: {}", failed.text);
    }
    let inspected = bigskies(&world, ["plugin", "inspect", id.as_str()]).await;
    assert!(inspected.text.contains("to 1.0.0: "), "{}", inspected.text);
    let back = bigskies(&world, ["plugin", "rollback", id.as_str()]).await;
    assert!(back.text.contains("by-command-line rolled back: 1.1.0 -> 1.0.0\n"), "{}", back.text);
    let told = bigskies(&world, ["operations", "--plugin", id.as_str()]).await;
    assert_eq!(told.code, Some(0), "{}", told.text);
    let results: Vec<&str> = told.text.lines().filter(|line| line.starts_with(id.as_str())).collect();
    assert_eq!(results.len(), 5, "{}", told.text);
    assert!(results[0].contains("rollback") && results[0].contains("done"), "{}", told.text);
    assert!(results[1].contains("update") && results[1].contains("rolled back"), "{}", told.text);
    let unknown = OperationId::new().to_string();
    let cancel = bigskies(&world, ["cancel", &unknown]).await;
    assert_eq!(cancel.code, Some(1), "{}", cancel.text);
    assert!(cancel.text.contains("(no_such_operation)"), "{}", cancel.text);
    world.remove(&mut operator, &id, &old).await;
}
