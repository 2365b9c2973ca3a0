//! A plugin that says too much: into its log, on its topics, to whoever looks at it.

use std::time::Duration;

use envelope::topic::{coordinator, plugin};
use envelope::{Coordinator, Envelope, MessageType, Operation, PluginId};
use serde_json::json;
use testkit::{Message, Version, eventually};
use tests::stack::command::Run;
use tests::stack::image_of;
use tests::stack::images::Script;
use tests::stack::listener::{Listener, json as payload};

use super::arena::{PATIENCE, arena};
use crate::e2e::runner::Case;
use crate::e2e::world::{Shared, World, id, minimal};

pub fn cases() -> Vec<Case> {
    crate::beside![
        a_log_clears_the_operators_screen,
        a_log_fills_the_disk,
        a_log_fills_the_disk_without_the_defence,
        a_log_has_one_line_without_an_end,
        health_is_said_ten_thousand_times,
        health_is_said_without_a_pause,
        health_is_no_health,
    ]
}

/// A plugin that first does `first` and then is healthy.
async fn started(world: &World, name: &str, first: &str) -> (PluginId, String) {
    let plugin = id(name);
    let script = format!("{first}\n{}", include_str!("../../src/stack/images/healthy.sh"));
    let image = Script::new(name, &script).label(minimal(&plugin));
    let source = image.push(&world.stack).await.expect("the image builds");
    world.install_and_start(&mut world.operator().await, &plugin, &source).await;
    (plugin, source)
}

async fn raw_log(world: &World, plugin: &PluginId) -> String {
    let container = world.running(plugin).await["Id"].as_str().expect("an id").to_owned();
    Run::docker(["logs", &container]).output().await.expect("the engine answers").text
}

async fn a_log_clears_the_operators_screen(world: Shared) {
    let first = r#"printf 'before\033[2J\033]0;owned\007\302\233after\n'"#;
    let (plugin, source) = started(&world, "attacks-log-control", first).await;
    let mut operator = world.operator().await;
    let log = eventually(PATIENCE, || async {
        let text = world.log(&mut world.operator().await, &plugin).await;
        if text.contains("after") { Ok(text) } else { Err(text) }
    })
    .await;
    assert!(log.contains("before"), "{log:?}");
    assert!(!log.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{log:?}");
    // What the engine itself gives would do it.
    assert!(raw_log(&world, &plugin).await.contains("\u{1b}[2J"));
    world.remove(&mut operator, &plugin, &source).await;
}

/// 64 MB of lines.
const MUCH: &str =
    "busybox yes 'a line that says nothing, again and again and again' | busybox head -c 67108864";

/// How many bytes the engine keeps of a container's log, in all its files.
fn kept(log: &str) -> u64 {
    let folder = std::path::Path::new(log).parent().expect("a folder");
    let files = std::fs::read_dir(folder).expect("readable");
    files.filter_map(|entry| entry.ok()?.metadata().ok()).map(|metadata| metadata.len()).sum()
}

async fn a_log_fills_the_disk(world: Shared) {
    let (plugin, source) = started(&world, "attacks-log-flood", MUCH).await;
    let container = world.running(&plugin).await;
    let log = &container["HostConfig"]["LogConfig"];
    assert_eq!(log["Type"], "json-file", "{log:#}");
    let limit = log["Config"]["max-size"].as_str().unwrap_or_default();
    assert!(!limit.is_empty(), "the log has no limit: {log:#}");
    let bytes = kept(container["LogPath"].as_str().expect("a path"));
    assert!(bytes < 48 << 20, "64 MB were written and {bytes} bytes are kept");
    let mut operator = world.operator().await;
    let text = world.log(&mut operator, &plugin).await;
    assert!(text.len() < 1 << 20, "{} bytes are told", text.len());
    world.remove(&mut operator, &plugin, &source).await;
}

/// The same in a container that the engine was asked for directly.
async fn a_log_fills_the_disk_without_the_defence(_: Shared) {
    let image = image_of("tools");
    let run = ["create", "--log-driver", "json-file", &image, "sh", "-c", MUCH];
    let container = Run::docker(run).line().await.expect("it is created");
    Run::docker(["start", &container]).ok().await.expect("it starts");
    Run::docker(["wait", &container]).ok().await.expect("it ends");
    let path = Run::docker(["inspect", "--format", "{{.LogPath}}", &container]).line().await;
    let bytes = kept(&path.expect("it has a log"));
    Run::docker(["rm", "--force", "--volumes", &container]).ok().await.expect("it goes");
    assert!(bytes > 64 << 20, "{bytes} bytes are kept");
}

async fn a_log_has_one_line_without_an_end(world: Shared) {
    let first = "busybox head -c 8388608 /dev/zero | busybox tr '\\000' x; echo";
    let (plugin, source) = started(&world, "attacks-log-line", first).await;
    let mut operator = world.operator().await;
    let asked = json!({"plugin_id": plugin, "tail": 1000});
    let answer = operator.ask(Operation::Logs, asked).await;
    assert!(answer.message.payload.len() < 1 << 20, "{} bytes are told", answer.message.payload.len());
    answer.data();
    // What the engine itself gives has all of it.
    let raw = raw_log(&world, &plugin).await;
    assert!(raw.len() > 8 << 20, "the engine tells {} bytes", raw.len());
    world.remove(&mut operator, &plugin, &source).await;
}

async fn health_is_said_ten_thousand_times(world: Shared) {
    let arena = arena(&world).await;
    let (plugin, source) = started(&world, "attacks-health-flood", "true").await;
    let client = world.plugin_client(&plugin, Version::V3).await;
    let topic = plugin::health(&plugin);
    let watching = world.stack.operator_client(Version::V5).await.expect("connects");
    let mut watch = Listener::on(watching, [topic.clone(), coordinator::state(&plugin)]).await;
    for n in 0..10_000 {
        let status = if n % 2 == 0 { "healthy" } else { "unhealthy" };
        // It may be stopped for it; then the flood is over.
        if client.publish(&topic, health(&plugin, status, &n.to_string()), 0, false).await.is_err() {
            break;
        }
    }
    // The others are served meanwhile, and are as they were.
    let begin = std::time::Instant::now();
    let mut operator = world.operator().await;
    let listed = operator.ask(Operation::List, json!({})).await;
    assert!(begin.elapsed() < PATIENCE, "the list took {:?}", begin.elapsed());
    let plugins = listed.data()["plugins"].as_array().cloned().unwrap_or_default();
    let victim = plugins.iter().find(|p| p["plugin_id"] == *arena.victim.as_str()).expect("it is listed");
    assert_eq!(victim["phase"], "running", "{victim:#}");
    // Whoever reads all that is said has that much to do: each message is news. Little of it got any further.
    watch.find(Duration::from_secs(2), |_| false).await;
    let (said, told): (Vec<_>, Vec<_>) = watch.heard().iter().partition(|m| m.topic == topic);
    assert!(said.len() > 10 * told.len(), "{} messages, {} states", said.len(), told.len());
    world.remove(&mut operator, &plugin, &source).await;
}

/// Waits until the framework has stopped a plugin for a flood, and returns what it says why.
pub(super) async fn stopped_for_a_flood(world: &World, plugin: &PluginId) -> String {
    eventually(PATIENCE, || async {
        let listed = world.operator().await.ask(Operation::List, json!({})).await;
        let plugins = listed.data()["plugins"].as_array().cloned().unwrap_or_default();
        let found = plugins.into_iter().find(|p| p["plugin_id"] == *plugin.as_str()).unwrap_or_default();
        let reason = found["reason"].as_str().unwrap_or_default();
        let is_it = found["phase"] == "stopped" && reason.contains("flood: ");
        if is_it { Ok(reason.to_owned()) } else { Err(format!("{found:#}")) }
    })
    .await
}

async fn health_is_said_without_a_pause(world: Shared) {
    let (plugin, source) = started(&world, "attacks-health-endless", "true").await;
    let client = world.plugin_client(&plugin, Version::V3).await;
    let begin = std::time::Instant::now();
    let said = health(&plugin, "healthy", "again");
    // It is thrown out when it is stopped.
    while client.publish(&plugin::health(&plugin), said.clone(), 1, false).await.is_ok() {
        assert!(begin.elapsed() < PATIENCE, "it goes on and on");
    }
    let why = stopped_for_a_flood(&world, &plugin).await;
    assert!(why.contains("messages a second"), "{why}");
    world.remove(&mut world.operator().await, &plugin, &source).await;
}

/// A health message of a plugin, as the SDK document gives it.
fn health(id: &PluginId, status: &str, message: &str) -> Vec<u8> {
    let said = json!({"component": "x", "status": status, "message": message, "details": {}});
    Envelope::new(MessageType::Status, format!("plugin:{id}"), said).encode()
}

/// What is no health, with words of the fault that is told: a sequence without an end, and no text.
fn no_health() -> [(Vec<u8>, &'static str); 2] {
    [(vec![b'['; 300_000], "expected a string"), (vec![0xff, 0xfe, 0x00], "expected value")]
}

async fn health_is_no_health(world: Shared) {
    let (plugin, source) = started(&world, "attacks-health-garbage", "true").await;
    let client = world.plugin_client(&plugin, Version::V3).await;
    let watching = world.stack.operator_client(Version::V5).await.expect("connects");
    let mut watch = Listener::on(watching, [coordinator::event(Coordinator::Plugin, "refused")]).await;
    for (said, fault) in no_health() {
        client.publish(&plugin::health(&plugin), said, 1, false).await.expect("its own topic");
        let refused = |m: &Message| {
            let told = &payload(m)["payload"];
            let message = told["message"].as_str().unwrap_or_default();
            told["plugin_id"] == *plugin.as_str()
                && message.contains("is not a health message")
                && message.contains(fault)
        };
        watch.wait(&format!("the refusal for {fault:?}"), PATIENCE, refused).await;
    }
    world.remove(&mut world.operator().await, &plugin, &source).await;
}
