//! A plugin that takes all that it can get: processes, memory and connections. Others go on beside it.

use envelope::{Operation, topic};
use serde_json::json;
use testkit::{Version, eventually};
use tests::stack::command::Run;
use tests::stack::image_of;
use tests::stack::images::Script;
use tests::stack::listener::Listener;

use super::arena::{PATIENCE, arena};
use super::floods::stopped_for_a_flood;
use crate::e2e::runner::Case;
use crate::e2e::world::{Shared, World, id, login, minimal, sameness};

pub fn cases() -> Vec<Case> {
    crate::beside![
        processes_are_made_without_end,
        processes_are_made_without_the_defence,
        memory_is_taken_without_end,
        memory_is_taken_without_the_defence,
        connections_are_made_without_end,
        connections_are_made_without_the_defence,
    ]
}

/// As many processes as it can have, and no more than a test should make. The shell ends when it can have no
/// more; the one around it ends them all and goes on.
const PROCESSES: &str = r#"( n=0; while [ $n -lt 1000 ]; do sleep 60 & n=$((n+1)); echo "made $n"; done; echo "made all" )
kill -9 -1
echo "tried everything"
"#;

/// A gigabyte, every page of it written to.
const MEMORY: &str = r#"busybox dd if=/dev/zero of=/dev/null bs=1073741824 count=1 && echo "took all"
echo "tried everything"
"#;

/// What a plugin's log says that first does this and then is healthy. The arena's victim has to stay as
/// it is, and to be heard.
async fn told(world: &World, name: &str, first: &str) -> String {
    let arena = arena(world).await;
    let victim = sameness(&world.running(&arena.victim).await);
    let plugin = id(name);
    let script = format!("{first}{}", include_str!("../../src/stack/images/healthy.sh"));
    let source = Script::new(name, &script).label(minimal(&plugin)).push(&world.stack).await;
    let source = source.expect("the image builds");
    let mut operator = world.operator().await;
    world.install_and_start(&mut operator, &plugin, &source).await;
    let log = eventually(PATIENCE, || async {
        let asked = json!({"plugin_id": plugin, "tail": 1000});
        let logs = world.operator().await.ask(Operation::Logs, asked).await;
        let text = logs.data()["text"].as_str().unwrap_or_default().to_owned();
        if text.contains("tried everything") { Ok(text) } else { Err(text) }
    })
    .await;
    let watching = world.stack.operator_client(Version::V5).await.expect("connects");
    let mut watch = Listener::on(watching, [topic::plugin::health(&arena.victim)]).await;
    watch.wait("the victim's health, afterwards", PATIENCE, |_| true).await;
    assert_eq!(sameness(&world.running(&arena.victim).await), victim, "the victim is not as it was");
    world.remove(&mut operator, &plugin, &source).await;
    log
}

/// What the same comes to in a container that the engine was asked for directly, without limits.
async fn unlimited(script: &str) -> String {
    let image = image_of("tools");
    let run = ["run", "--rm", "--pids-limit", "-1", &image, "sh", "-c", script];
    Run::docker(run).output().await.expect("the engine answers").text
}

async fn processes_are_made_without_end(world: Shared) {
    let log = told(&world, "attacks-fork-bomb", PROCESSES).await;
    assert!(log.contains("can't fork") && !log.contains("made all"), "{log}");
    let made = log.lines().filter(|line| line.contains("made ")).count();
    // The limit that is set when a manifest asks for none, less the shells.
    assert!((200..256).contains(&made), "{made} processes: {log}");
}

async fn processes_are_made_without_the_defence(_: Shared) {
    let text = unlimited(PROCESSES).await;
    assert!(text.contains("made 1000") && text.contains("made all"), "{text}");
}

async fn memory_is_taken_without_end(world: Shared) {
    let log = told(&world, "attacks-memory", MEMORY).await;
    assert!(log.contains("Killed") && !log.contains("took all"), "{log}");
}

async fn memory_is_taken_without_the_defence(_: Shared) {
    let text = unlimited(MEMORY).await;
    assert!(text.contains("took all"), "{text}");
}

async fn connections_are_made_without_end(world: Shared) {
    let arena = arena(&world).await;
    let victim = sameness(&world.running(&arena.victim).await);
    let plugin = id("attacks-connections");
    let source = Script::healthy("attacks-connections").label(minimal(&plugin)).push(&world.stack).await;
    let source = source.expect("the image builds");
    let mut operator = world.operator().await;
    world.install_and_start(&mut operator, &plugin, &source).await;
    let login = login(&world.running(&plugin).await);
    let held = connections(&world, &login).await;
    assert!(held < MANY, "it has {held} connections");
    let why = stopped_for_a_flood(&world, &plugin).await;
    assert!(why.contains("connections to the broker"), "{why}");
    assert_eq!(sameness(&world.running(&arena.victim).await), victim, "the victim is not as it was");
    world.remove(&mut operator, &plugin, &source).await;
}

/// An operator's login has no such bound: the broker itself knows none.
async fn connections_are_made_without_the_defence(world: Shared) {
    assert_eq!(connections(&world, &world.stack.operator()).await, MANY);
}

/// More connections than anybody needs.
const MANY: usize = 300;

/// How many connections this login gets, up to [`MANY`], each under an id of its own.
async fn connections(world: &World, login: &(String, String)) -> usize {
    let mut held = Vec::new();
    while held.len() < MANY {
        let client = world.stack.client(Version::V5).login(login.0.clone(), login.1.clone());
        match client.connect().await {
            Ok(client) => held.push(client),
            Err(_) => break,
        }
    }
    held.len()
}
