//! What is possible when: operations that meet each other.

use std::time::Duration;

use envelope::topic::coordinator;
use envelope::{ErrorCode, Operation};
use serde_json::json;
use testkit::Version;
use tests::stack::images::Script;
use tests::stack::listener::{Listener, json as payload};

use super::runner::Case;
use super::world::{Shared, id, minimal};

const PATIENCE: Duration = Duration::from_secs(30);

pub fn cases() -> Vec<Case> {
    crate::beside![
        while_a_plugin_starts_other_operations_are_busy_and_a_stop_ends_the_start,
        while_a_plugin_is_removed_nothing_else_is_possible,
        another_image_of_an_installed_plugin_is_refused_and_points_to_update,
        a_plugin_that_ends_by_itself_is_told_of_and_started_again,
    ]
}

async fn while_a_plugin_starts_other_operations_are_busy_and_a_stop_ends_the_start(world: Shared) {
    let id = id("starts-slowly");
    let script = "trap 'exit 0' TERM\nsleep 600 &\nwait $!\n";
    let source =
        Script::new("starts-slowly", script).label(minimal(&id)).push(&world.stack).await.expect("builds");
    let mut operator = world.operator().await;
    operator.ask(Operation::Install, json!({"plugin_id": id, "source": source})).await.data();
    let client = world.stack.operator_client(Version::V5).await.expect("connects");
    let mut watch = Listener::on(client, [coordinator::state(&id)]).await;

    let start = operator.send(Operation::Start, json!({"plugin_id": id})).await;
    watch.wait("the phase starting", PATIENCE, |m| payload(m)["payload"]["phase"] == "starting").await;
    for operation in [Operation::Start, Operation::Restart] {
        let answer = operator.ask_about(operation, &id).await;
        assert!(answer.error(ErrorCode::Busy)["details"]["operation_id"].is_string(), "{answer:?}");
    }
    let stop = operator.send(Operation::Stop, json!({"plugin_id": id})).await;
    operator.answer(&start).await.error(ErrorCode::Cancelled);
    assert_eq!(operator.answer(&stop).await.data()["phase"], "stopped");
    world.remove(&mut operator, &id, &source).await;
}

async fn while_a_plugin_is_removed_nothing_else_is_possible(world: Shared) {
    let id = id("goes-slowly");
    let mut manifest = minimal(&id);
    manifest["stop_timeout_seconds"] = json!(4);
    // Deaf to SIGTERM, so that its removal lasts.
    let script = include_str!("../../src/stack/images/healthy.sh").replace("exit 0", "true");
    let source =
        Script::new("goes-slowly", &script).label(manifest).push(&world.stack).await.expect("builds");
    let mut operator = world.operator().await;
    world.install_and_start(&mut operator, &id, &source).await;

    let remove = operator.send(Operation::Remove, json!({"plugin_id": id})).await;
    for operation in [Operation::Start, Operation::Restart, Operation::Stop] {
        operator.ask_about(operation, &id).await.sentence(ErrorCode::InvalidPhase);
    }
    let install = operator.ask(Operation::Install, json!({"plugin_id": id, "source": source})).await;
    install.sentence(ErrorCode::InvalidPhase);
    operator.answer(&remove).await.data();
    world.assert_nothing_is_left(&id, &source).await;
}

async fn another_image_of_an_installed_plugin_is_refused_and_points_to_update(world: Shared) {
    let id = id("two-images");
    let mut operator = world.operator().await;
    let source = Script::healthy("two-images").label(minimal(&id)).push(&world.stack).await.expect("builds");
    operator.ask(Operation::Install, json!({"plugin_id": id, "source": source})).await.data();
    let other = Script::new("two-images-other", "exit 0\n").label(minimal(&id)).push(&world.stack).await;
    let other = other.expect("builds");
    let answer = operator.ask(Operation::Install, json!({"plugin_id": id, "source": other})).await;
    assert!(answer.sentence(ErrorCode::AlreadyInstalled).contains("update"), "{:#}", answer.answer);
    assert!(!world.has_image(&other).await, "the other image was pulled in vain");
    world.remove(&mut operator, &id, &source).await;
}

async fn a_plugin_that_ends_by_itself_is_told_of_and_started_again(world: Shared) {
    let id = id("ends-by-itself");
    let script = include_str!("../../src/stack/images/healthy.sh").replace("sleep 1", "sleep 4");
    let script = script.replace("wait $!", "wait $!; exit 7");
    let source =
        Script::new("ends-by-itself", &script).label(minimal(&id)).push(&world.stack).await.expect("builds");
    let mut operator = world.operator().await;
    let client = world.stack.operator_client(Version::V5).await.expect("connects");
    let mut watch = Listener::on(client, [coordinator::state(&id)]).await;
    world.install_and_start(&mut operator, &id, &source).await;
    let container = world.stack.plugin_container(&id).await.expect("the engine answers");
    let state = |phase: &'static str| move |m: &testkit::Message| payload(m)["payload"]["phase"] == phase;
    watch.wait("that it runs", PATIENCE, state("running")).await;
    let failed = watch.wait("that it failed", PATIENCE, state("failed")).await;
    let reason = payload(&failed)["payload"]["reason"].as_str().unwrap_or_default().to_owned();
    assert!(reason.contains("code 7"), "{reason}");
    watch.wait("that it runs again", PATIENCE, state("running")).await;
    let again = world.stack.plugin_container(&id).await.expect("the engine answers");
    let container_id = |c: &Option<serde_json::Value>| c.as_ref().map(|c| c["Id"].clone());
    assert_eq!(container_id(&again), container_id(&container), "it keeps its container");
    world.remove(&mut operator, &id, &source).await;
}
