//! The host comes back without a network, and a database is held by somebody else for a while.

use std::time::Duration;

use chassis::Service as _;
use envelope::{Coordinator, Operation};
use plugin_coordinator::PluginCoordinator;
use serde_json::json;
use store::Store;
use testkit::eventually;
use tests::stack::COORDINATORS;
use tests::stack::command::Run;
use tests::stack::images::Script;

use super::outages::{start, stop};
use super::runner::Case;
use super::world::{Shared, id, minimal, sameness};

const PATIENCE: Duration = Duration::from_secs(90);
/// Longer than a connection to the database waits by itself.
const HELD: Duration = Duration::from_secs(8);

pub fn cases() -> Vec<Case> {
    crate::alone![after_a_reboot_without_a_network_what_ran_runs_again, a_locked_database_loses_no_request,]
}

async fn after_a_reboot_without_a_network_what_ran_runs_again(world: Shared) {
    let (hello, _held) = world.hello_id().await;
    let source = world.hello().await.to_owned();
    let mut operator = world.operator().await;
    world.install_and_start(&mut operator, &hello, &source).await;
    let stopped = id("away-stopped");
    let other = Script::healthy("away").push(&world.stack).await.expect("builds");
    let request = json!({"plugin_id": stopped, "source": other, "manifest": minimal(&stopped)});
    operator.ask(Operation::Install, request).await.data();
    let inspected = operator.ask_about(Operation::Inspect, &hello).await;
    let (before, generation) = (world.running(&hello).await, inspected.data()["generation"].clone());

    // The power fails: everything at once, the registry too, which stays away.
    let mut all: Vec<String> =
        COORDINATORS.iter().map(|(service, _)| world.stack.container(service)).collect();
    all.push(world.stack.container("mqtt-broker"));
    let (plugin, registry) = (before["Id"].as_str().unwrap_or_default(), world.stack.container("registry"));
    let services: Vec<&str> = all.iter().map(String::as_str).collect();
    let killed = ["kill", plugin, &registry].into_iter().chain(services.iter().copied());
    Run::docker(killed).ok().await.expect("everything is killed");
    // As the engine does by itself when it comes up.
    Run::docker(["start"].into_iter().chain(services)).ok().await.expect("the services start");

    world.stack.healthy().await;
    let mut operator = world.operator().await;
    eventually(PATIENCE, || async {
        let seen =
            world.stack.plugin_container(&hello).await.expect("the engine answers").unwrap_or_default();
        if seen["State"]["Status"] == "running" { Ok(()) } else { Err(format!("{:#}", seen["State"])) }
    })
    .await;
    let after = world.running(&hello).await;
    assert_eq!(after["Id"], before["Id"], "the container is started again, not made anew");
    assert_ne!(sameness(&after), sameness(&before));
    eventually(PATIENCE, || async {
        let mut operator = world.operator().await;
        let told = operator.ask_about(Operation::Inspect, &hello).await.data().clone();
        if told["state"]["phase"] == "running" { Ok(()) } else { Err(format!("{:#}", told["state"])) }
    })
    .await;
    let last = operator.ask_about(Operation::Inspect, &hello).await.data().clone();
    assert_eq!(last["generation"], generation, "{last:#}");
    assert!(!world.has_container(&stopped).await, "what was stopped stays stopped");
    let installed = operator.ask_about(Operation::Start, &stopped).await;
    assert_eq!(installed.data()["phase"], "running", "a start needs no registry");

    start(&world, "registry").await;
    operator.ask(Operation::Remove, json!({"plugin_id": stopped, "remove_volumes": true})).await.data();
    world.remove(&mut operator, &hello, &source).await;
}

async fn a_locked_database_loses_no_request(world: Shared) {
    let (hello, _held) = world.hello_id().await;
    let source = world.hello().await.to_owned();
    let mut operator = world.operator().await;
    world.install_and_start(&mut operator, &hello, &source).await;
    let before = sameness(&world.running(&hello).await);
    let file = world.folder_of("plugin-data").await.join(format!("{}.db", Coordinator::Plugin));

    let store = Store::open(&file, PluginCoordinator::migrations()).await.expect("opens beside its owner");
    let lock = store.pool().begin_with("BEGIN IMMEDIATE").await.expect("locks");
    let asked = [
        operator.send(Operation::Restart, json!({"plugin_id": hello})).await,
        operator.send(Operation::List, json!({})).await,
    ];
    // Held until the coordinator has run into it at least once, by the clock: there is nothing to be seen of that.
    tokio::time::timeout(HELD, std::future::pending::<()>()).await.expect_err("nothing ends it earlier");
    assert_eq!(sameness(&world.running(&hello).await), before, "nothing is done that is not recorded");
    drop(lock);
    store.pool().close().await;

    let [restart, list] = asked;
    assert_eq!(operator.answer(&restart).await.data()["phase"], "running");
    assert_eq!(operator.answer(&list).await.data()["plugins"][0]["plugin_id"], *hello.as_str());
    assert_ne!(sameness(&world.running(&hello).await), before);
    world.stack.healthy().await;
    // A coordinator that comes up beside a locked database waits, too.
    let store = Store::open(&file, PluginCoordinator::migrations()).await.expect("opens beside its owner");
    stop(&world, "plugin-coordinator").await;
    let lock = store.pool().begin_with("BEGIN IMMEDIATE").await.expect("locks");
    let before = sameness(&world.running(&hello).await);
    start(&world, "plugin-coordinator").await;
    tokio::time::timeout(HELD, std::future::pending::<()>()).await.expect_err("nothing ends it earlier");
    drop(lock);
    store.pool().close().await;
    world.stack.healthy().await;
    assert_eq!(sameness(&world.running(&hello).await), before);
    world.remove(&mut operator, &hello, &source).await;
}
