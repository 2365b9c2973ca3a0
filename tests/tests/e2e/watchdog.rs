//! Plugins that end, are silent or say that they do not work are started again, and what somebody does to a container
//! by hand is put right. Each says why in an event.

use std::time::Duration;

use envelope::payload::event::EventKind;
use envelope::topic::coordinator;
use envelope::{Coordinator, Operation, PluginId};
use serde_json::{Value, json};
use testkit::{Version, eventually};
use tests::stack::command::Run;
use tests::stack::images::Script;
use tests::stack::listener::{Listener, json as payload};

use super::outages::{start, stop};
use super::runner::Case;
use super::world::{Shared, World, id, login, minimal, sameness};

/// A pause of ten seconds, a start, and whatever else goes on.
const PATIENCE: Duration = Duration::from_secs(60);
/// A container that is taken off a network has no event of its own; it is looked at once a minute.
const LOOKED_AT: Duration = Duration::from_secs(120);

pub fn cases() -> Vec<Case> {
    let mut cases = crate::beside![
        a_container_that_was_killed_is_started_again_with_its_login,
        a_plugin_that_used_too_much_memory_is_told_as_such_and_started_again,
        a_plugin_that_is_silent_is_restarted,
        a_plugin_that_says_that_it_does_not_work_is_restarted,
        what_somebody_changes_of_a_container_is_put_right,
        a_container_that_was_renamed_and_whose_name_a_strangers_has_is_removed,
    ];
    // Whoever listens to all plugins, as other cases do, is one who hears a plugin's control topics.
    cases.extend(crate::alone![
        a_plugin_that_stopped_listening_to_its_commands_is_restarted,
        a_plugin_that_got_deaf_while_the_coordinator_was_away_is_restarted
    ]);
    cases
}

/// Functions of the shell: `say` tells once how the plugin is, and `words` prints what it says.
const SAY: &str = r#"
words() {
  echo '{"id":"1","source":"plugin:'"$PLUGIN_ID"'","type":"status","timestamp":"2026-01-16T00:00:00Z","payload":{"component":"script","status":"'"$1"'","message":"as told","details":{}}}'
}
login="-h $MQTT_HOST -p $MQTT_PORT -u $MQTT_USERNAME -P $MQTT_PASSWORD"
say() { mosquitto_pub $login -i "$PLUGIN_ID" -q 1 -t "bigskies/plugin/$PLUGIN_ID/health" -m "$(words "$1")"; }
trap 'exit 0' TERM
echo "last words"
say healthy
"#;

/// Installs and starts a plugin that is to report every `interval` seconds, and does what `script` says after its first
/// health message. With it come the events of the plugin coordinator.
async fn started(
    world: &World,
    name: &str,
    interval: u32,
    script: Option<&str>,
) -> (PluginId, String, Listener) {
    let plugin = id(name);
    let mut manifest = minimal(&plugin);
    manifest["health_check"] =
        json!({"topic": envelope::topic::plugin::health(&plugin), "interval_seconds": interval});
    manifest["resources"] = json!({"memory": "48m"});
    manifest["stop_timeout_seconds"] = json!(3);
    let image = match script {
        Some(script) => Script::new(name, &format!("{SAY}{script}")),
        None => Script::healthy(name),
    };
    let source = image.label(manifest).push(&world.stack).await.expect("the image builds");
    let client = world.stack.operator_client(Version::V5).await.expect("connects");
    let kinds = [EventKind::Drift, EventKind::Health, EventKind::Phase, EventKind::Deaf];
    let events = Listener::on(client, kinds.map(topic_of)).await;
    world.install_and_start(&mut world.operator().await, &plugin, &source).await;
    (plugin, source, events)
}

fn topic_of(kind: EventKind) -> String {
    coordinator::event(Coordinator::Plugin, kind.as_str())
}

/// The message and the cause of the next event of this kind about the plugin that says `text`.
async fn told(
    events: &mut Listener,
    patience: Duration,
    kind: EventKind,
    id: &PluginId,
    text: &str,
) -> Value {
    let wanted = |message: &testkit::Message| {
        let event = &payload(message)["payload"];
        message.topic == topic_of(kind)
            && event["plugin_id"] == *id.as_str()
            && event["message"].as_str().is_some_and(|message| message.contains(text))
    };
    let what = format!("an event about {id} that says {text:?}");
    let event = payload(&events.wait(&what, patience, wanted).await)["payload"].clone();
    assert!(event["cause"].as_str().is_some_and(|cause| !cause.is_empty()), "{event:#}");
    event
}

async fn state(world: &World, id: &PluginId) -> Value {
    world.operator().await.ask_about(Operation::Inspect, id).await.data().clone()
}

/// Until the plugin runs in another process than before, in the same container.
async fn runs_again(world: &World, id: &PluginId, before: &Value) -> Value {
    eventually(PATIENCE, || async {
        let seen = state(world, id).await["state"].clone();
        let container = world.stack.plugin_container(id).await.expect("the engine answers");
        let container = container.unwrap_or_default();
        let another = sameness(&container) != sameness(before);
        if seen["phase"] == "running" && another && container["State"]["Running"] == true {
            assert_eq!(container["Id"], before["Id"], "it is the same container");
            assert_eq!(login(&container), login(before));
            Ok(container)
        } else {
            Err(format!("{seen:#}"))
        }
    })
    .await
}

async fn remove(world: &World, id: &PluginId, source: &str) {
    world.remove(&mut world.operator().await, id, source).await;
}

fn container_id(container: &Value) -> String {
    container["Id"].as_str().expect("an id").to_owned()
}

async fn a_container_that_was_killed_is_started_again_with_its_login(world: Shared) {
    let (plugin, source, mut events) = started(&world, "watchdog-killed", 2, None).await;
    let before = world.running(&plugin).await;
    Run::docker(["kill", &container_id(&before)]).ok().await.expect("it is killed");
    told(&mut events, PATIENCE, EventKind::Drift, &plugin, "exited with code 137").await;
    told(&mut events, PATIENCE, EventKind::Phase, &plugin, "is failed").await;
    runs_again(&world, &plugin, &before).await;
    let exit = state(&world, &plugin).await["last_exit"].clone();
    assert_eq!((&exit["code"], &exit["oom_killed"]), (&json!(137), &json!(false)), "{exit:#}");
    assert!(exit["log_tail"].as_str().is_some_and(|tail| tail.contains("starts")), "{exit:#}");
    remove(&world, &plugin, &source).await;
}

async fn a_plugin_that_used_too_much_memory_is_told_as_such_and_started_again(world: Shared) {
    let eats = "sleep 2 & wait $!\nx=xxxxxxxxxxxxxxxx\nwhile :; do x=$x$x; done";
    let (plugin, source, mut events) = started(&world, "watchdog-memory", 2, Some(eats)).await;
    let before =
        world.stack.plugin_container(&plugin).await.expect("the engine answers").expect("it is there");
    // The engine hears of a want of memory on another way than of the end, and sometimes too late.
    told(&mut events, PATIENCE, EventKind::Drift, &plugin, "memory").await;
    let exit = eventually(PATIENCE, || async {
        let exit = state(&world, &plugin).await["last_exit"].clone();
        if exit.is_null() { Err("its end is not kept yet".to_owned()) } else { Ok(exit) }
    })
    .await;
    assert_eq!(exit["code"], 137, "{exit:#}");
    assert!(exit["log_tail"].as_str().is_some_and(|tail| tail.contains("last words")), "{exit:#}");
    runs_again(&world, &plugin, &before).await;
    remove(&world, &plugin, &source).await;
}

async fn a_plugin_that_is_silent_is_restarted(world: Shared) {
    let (plugin, source, mut events) =
        started(&world, "watchdog-silent", 2, Some("while :; do sleep 1 & wait $!; done")).await;
    let before = world.running(&plugin).await;
    told(&mut events, PATIENCE, EventKind::Health, &plugin, "is restarted").await;
    runs_again(&world, &plugin, &before).await;
    remove(&world, &plugin, &source).await;
}

async fn a_plugin_that_says_that_it_does_not_work_is_restarted(world: Shared) {
    let says = "while :; do say unhealthy; sleep 1 & wait $!; done";
    let (plugin, source, mut events) = started(&world, "watchdog-unhealthy", 2, Some(says)).await;
    let before = world.running(&plugin).await;
    let event = told(&mut events, PATIENCE, EventKind::Health, &plugin, "is restarted").await;
    let message = event["message"].as_str().unwrap_or_default();
    assert!(message.contains("unhealthy in 3 of its last 5 health messages: as told"), "{message}");
    runs_again(&world, &plugin, &before).await;
    remove(&world, &plugin, &source).await;
}

/// Listens for twenty seconds, and connects again without listening, as a plugin does that subscribes once only.
const DEAFENS: &str = r#"
mosquitto_sub $login -i "$PLUGIN_ID-ears" -W 20 -t "bigskies/plugin/$PLUGIN_ID/control/#" >/dev/null &
talk() { mosquitto_pub $login -i "$PLUGIN_ID" -q 1 -t "bigskies/plugin/$PLUGIN_ID/health" -l; }
for second in $(seq 25); do words healthy; sleep 1; done | talk
while :; do words healthy; sleep 1; done | talk"#;

async fn a_plugin_that_stopped_listening_to_its_commands_is_restarted(world: Shared) {
    let (plugin, source, mut events) = started(&world, "watchdog-deaf", 2, Some(DEAFENS)).await;
    let before = world.running(&plugin).await;
    let event = told(&mut events, PATIENCE, EventKind::Deaf, &plugin, "it is restarted").await;
    assert_eq!(event["cause"], "nobody is subscribed to its control topics");
    runs_again(&world, &plugin, &before).await;
    remove(&world, &plugin, &source).await;
}

async fn a_plugin_that_got_deaf_while_the_coordinator_was_away_is_restarted(world: Shared) {
    let (plugin, source, mut events) = started(&world, "watchdog-deafened", 2, Some(DEAFENS)).await;
    let before = world.running(&plugin).await;
    // It is looked at ten seconds after it got ready.
    tokio::time::sleep(Duration::from_secs(14)).await;
    stop(&world, "plugin-coordinator").await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    start(&world, "plugin-coordinator").await;
    told(&mut events, PATIENCE, EventKind::Deaf, &plugin, "it is restarted").await;
    runs_again(&world, &plugin, &before).await;
    remove(&world, &plugin, &source).await;
}

async fn what_somebody_changes_of_a_container_is_put_right(world: Shared) {
    // Off the network it is silent; it must not be restarted for that before it is looked at.
    let (plugin, source, mut events) = started(&world, "watchdog-drift", 60, None).await;
    let before = world.running(&plugin).await;
    let container = container_id(&before);
    let networks = before["NetworkSettings"]["Networks"].as_object().cloned().unwrap_or_default();
    let network = networks.keys().next().expect("it is on one").clone();
    let limits = ["Memory", "PidsLimit", "NanoCpus", "RestartPolicy"];
    for (arguments, text) in [
        (vec!["pause", &container], "was held"),
        (vec!["rename", &container, "watchdog-drift-renamed"], "had the name watchdog-drift-renamed"),
        (vec!["update", "--pids-limit", "7000", "--restart", "always", &container], "was to start it again"),
        (vec!["network", "connect", "bridge", &container], "was on bridge, where it has no business"),
        (vec!["network", "disconnect", "--force", &network, &container], "was not on"),
    ] {
        Run::docker(arguments.iter().copied()).ok().await.expect("somebody does it");
        told(&mut events, LOOKED_AT, EventKind::Drift, &plugin, text).await;
        let after = world.running(&plugin).await;
        assert_eq!(sameness(&after), sameness(&before), "its process runs on after {arguments:?}");
        assert_eq!(after["Name"], before["Name"]);
        for limit in limits {
            assert_eq!(after["HostConfig"][limit], before["HostConfig"][limit], "{limit}");
        }
        let on = after["NetworkSettings"]["Networks"].as_object().cloned().unwrap_or_default();
        assert!(on.keys().eq(networks.keys()), "{:?}", on.keys());
    }
    // One that somebody makes in the plugin's name, and one whose plugin is not installed.
    let label = before["Config"]["Labels"].as_object().cloned().unwrap_or_default();
    for of in [plugin.as_str(), "watchdog-of-nobody"] {
        let mut run =
            vec!["run".to_owned(), "--detach".to_owned(), "--network".to_owned(), "none".to_owned()];
        for (key, value) in &label {
            let value = if key == "org.bigskies.plugin_id" { of } else { value.as_str().unwrap_or_default() };
            run.extend(["--label".to_owned(), format!("{key}={value}")]);
        }
        run.push(before["Image"].as_str().expect("an image").to_owned());
        let stray = Run::docker(run.iter().map(String::as_str)).line().await.expect("it runs");
        eventually(PATIENCE, || async {
            match tests::stack::engine::inspect(&stray).await.expect("the engine answers") {
                None => Ok(()),
                Some(container) => Err(format!("it is there: {:#}", container["State"])),
            }
        })
        .await;
    }
    assert_eq!(sameness(&world.running(&plugin).await), sameness(&before));
    remove(&world, &plugin, &source).await;
}

async fn a_container_that_was_renamed_and_whose_name_a_strangers_has_is_removed(world: Shared) {
    let (plugin, source, mut events) = started(&world, "watchdog-replaced", 60, None).await;
    let before = world.running(&plugin).await;
    let (ours, image) = (container_id(&before), before["Image"].as_str().expect("an image"));
    let taken = before["Name"].as_str().expect("a name").trim_start_matches('/');
    let run = ["run", "--detach", "--rm", "--network", "none", "--entrypoint", "sh", image];
    let theirs = Run::docker(run.into_iter().chain(["-c", "echo a secret; sleep 600"])).line().await;
    let theirs = theirs.expect("it runs");
    // A rename alone is put right at once: until somebody is faster.
    eventually(PATIENCE, || async {
        for (container, name) in [(&ours, "watchdog-replaced-renamed"), (&theirs, taken)] {
            Run::docker(["rename", container, name]).ok().await.map_err(|error| format!("{error:#}"))?;
        }
        Ok::<(), String>(())
    })
    .await;
    told(&mut events, LOOKED_AT, EventKind::Drift, &plugin, "one that is not ours has its own name").await;
    eventually(PATIENCE, || async {
        match tests::stack::engine::inspect(&ours).await.expect("the engine answers") {
            None => Ok(()),
            Some(there) => Err(format!("it is there: {:#}", there["State"])),
        }
    })
    .await;
    // What the stranger's container says and is, is nobody's business.
    let mut operator = world.operator().await;
    let asked = json!({"plugin_id": plugin, "tail": 10});
    let log = operator.ask(Operation::Logs, asked).await.data().clone();
    assert!(!log.to_string().contains("a secret"), "{log}");
    let told = operator.ask_about(Operation::Inspect, &plugin).await.data().clone();
    assert!(told["container"].is_null(), "{told:#}");
    // Nothing that is asked for waits for it.
    operator.ask_about(Operation::Stop, &plugin).await.data();
    Run::docker(["rm", "--force", &theirs]).ok().await.expect("it is there still, and its owner removes it");
    operator.ask_about(Operation::Start, &plugin).await.data();
    world.running(&plugin).await;
    remove(&world, &plugin, &source).await;
}
