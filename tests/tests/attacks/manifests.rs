//! Manifests that ask for the host, for the broker, or for somebody else's place.
//!
//! Each is refused at install, before anything is pulled, with the place of the fault. What the engine would do if it
//! were asked all the same is shown by asking it: `without_the_defence`.

use envelope::{ErrorCode, Operation};
use serde_json::{Value, json};
use tests::stack::command::Run;
use tests::stack::image_of;
use tests::stack::images::Script;
use tests::stack::operator::Operator;

use super::arena::arena;
use crate::e2e::runner::Case;
use crate::e2e::world::{Shared, World, id, minimal};

/// An address where nothing is: a manifest that is refused is refused before anybody looks there.
const NOWHERE: &str = "127.0.0.1:1/none:1";

/// What is added to a manifest, and where the fault must be found.
struct Attack {
    more: fn() -> Value,
    pointer: &'static str,
}

macro_rules! attacks {
    ($($name:ident: $pointer:literal, $more:expr;)*) => {
        $(async fn $name(world: Shared) {
            is_refused(&world, stringify!($name), &Attack { more: || $more, pointer: $pointer }).await;
        })*

        fn refused() -> Vec<Case> {
            crate::beside![$($name),*]
        }
    };
}

attacks! {
    an_id_leaves_its_folder: "/id", json!({"id": "../../etc/passwd"});
    an_id_has_a_wildcard: "/id", json!({"id": "arena+#"});
    the_whole_host_is_mounted: "/docker/volumes/0", json!({"docker": {"volumes": ["/:/host"]}});
    the_engines_socket_is_mounted: "/docker/volumes/0", json!({"docker": {"volumes": ["/var/run/docker.sock:/run/engine"]}});
    a_socket_is_mounted_under_another_path: "/docker/volumes/0", json!({"docker": {"volumes": ["/srv/podman.SOCK:/s"]}});
    a_bind_goes_up_with_dots: "/docker/volumes/0", json!({"docker": {"volumes": ["/var/lib/bigskies/plugins/x/../../..:/x"]}});
    the_victims_folder_is_mounted: "/docker/volumes/0", json!({"docker": {"volumes": ["/var/lib/bigskies/plugins/arena-victim:/x"]}});
    the_hosts_processes_are_mounted: "/docker/volumes/0", json!({"docker": {"volumes": ["/proc/1/root:/x"]}});
    a_device_is_mounted_as_a_folder: "/docker/volumes/0", json!({"docker": {"volumes": ["/dev/mem:/x"]}});
    a_container_is_privileged: "/docker/privileged", json!({"docker": {"privileged": true}});
    a_container_is_privileged_in_another_spelling: "/docker/Host_Config", json!({"docker": {"Host_Config": {"Privileged": true}}});
    a_capability_is_added: "/docker/cap_add", json!({"docker": {"cap_add": ["SYS_ADMIN"]}});
    the_hosts_network_is_chosen: "/docker/network_mode", json!({"docker": {"network_mode": "host"}});
    another_network_is_joined: "/docker/networks/0", json!({"docker": {"networks": ["host"]}});
    the_hosts_processes_are_shared: "/docker/pid", json!({"docker": {"pid": "host"}});
    the_confinement_is_switched_off: "/docker/security_opt", json!({"docker": {"security_opt": ["seccomp=unconfined"]}});
    another_host_is_put_into_the_names: "/docker/extra_hosts", json!({"docker": {"extra_hosts": ["mqtt-broker:10.0.0.1"]}});
    a_file_is_passed_off_as_a_device: "/devices/0", json!({"devices": ["/etc/shadow"]});
    a_disk_is_asked_for: "/devices/0", json!({"devices": ["/dev/sda"]});
    the_brokers_name_is_taken: "/id", json!({"id": "MQTT-broker"});
    a_coordinators_name_is_taken_by_an_alias: "/health_check/topic", json!({"health_check": {"topic": "bigskies/plugin/plugin-coordinator/health", "interval_seconds": 1}});
    every_topic_is_read: "/mqtt/topics_subscribe/0", json!({"mqtt": {"topics_subscribe": ["#"]}});
    all_tokens_are_read: "/mqtt/topics_subscribe/0", json!({"mqtt": {"topics_subscribe": ["bigskies/+/security/+/+/token"]}});
    a_topic_is_hidden_behind_a_shared_subscription: "/mqtt/topics_subscribe/0", json!({"mqtt": {"topics_subscribe": ["$share/g/bigskies/#"]}});
    the_broker_is_administered: "/mqtt/topics_publish/0", json!({"mqtt": {"topics_publish": ["$CONTROL/dynamic-security/v1"]}});
    requests_of_operators_are_written: "/mqtt/topics_publish/0", json!({"mqtt": {"topics_publish": ["+/operator/+/request/#"]}});
    a_topic_names_whoever_connects: "/mqtt/topics_publish/0", json!({"mqtt": {"topics_publish": ["weather/%c"]}});
    a_client_id_of_the_framework_is_claimed: "/mqtt/client_id", json!({"mqtt": {"client_id": "Coordinator.plugin"}});
    a_name_clears_the_operators_screen: "/name", json!({"name": "\u{1b}[2J\u{1b}[1;1HAll is well"});
    a_name_is_written_backwards: "/name", json!({"name": "safe\u{202e}live"});
    a_manifest_is_nested_too_deep: "", deep();
    a_manifest_is_as_long_as_a_book: "", json!({"x": "y".repeat(300_000)});
}

fn deep() -> Value {
    (0..60).fold(json!(1), |inner, _| json!({"x": inner}))
}

pub fn cases() -> Vec<Case> {
    let mut cases = refused();
    cases.extend(crate::beside![
        a_manifest_of_ten_megabytes_is_in_the_image,
        a_key_stands_twice_in_the_label,
        a_manifest_in_the_image_is_not_text,
        the_alias_of_the_victim_is_claimed,
        root_is_asked_for,
        a_camera_is_asked_for,
        the_hosts_passwords_are_asked_for,
        a_port_to_the_world_is_asked_for,
        an_approval_is_of_something_else,
        a_volume_is_named_so_that_it_reads_like_the_victims,
        a_tag_is_moved_after_the_installation,
        the_engine_would_mount_the_host_without_the_defence,
        the_engine_would_hand_out_its_socket_without_the_defence,
        the_engine_would_hand_out_a_device_without_the_defence,
        the_engine_would_follow_dots_without_the_defence,
        the_engine_would_give_a_capability_without_the_defence,
        the_engine_would_share_the_hosts_network_without_the_defence,
        the_engine_would_share_the_hosts_processes_without_the_defence,
        the_engine_would_answer_to_any_name_without_the_defence,
    ]);
    cases
}

/// Asks for an installation with this manifest, and returns the error.
async fn install(operator: &mut Operator, name: &str, source: &str, manifest: Value) -> Value {
    let asked = json!({"plugin_id": name, "source": source, "manifest": manifest});
    let answer = operator.ask(Operation::Install, asked).await;
    assert_eq!(answer.answer["success"], false, "{:#}", answer.answer);
    answer.answer["error"].clone()
}

async fn is_refused(world: &World, name: &str, attack: &Attack) {
    let short: String = name.replace('_', "-").chars().take(40).collect();
    let plugin = id(format!("attacks-{short}").trim_end_matches('-'));
    let mut manifest = minimal(&plugin);
    for (key, value) in (attack.more)().as_object().expect("an object") {
        manifest[key] = value.clone();
    }
    let error = install(&mut world.operator().await, plugin.as_str(), NOWHERE, manifest).await;
    assert_eq!(error["code"], ErrorCode::ManifestInvalid.as_str(), "{error:#}");
    let faults = error["details"]["faults"].as_array().cloned().unwrap_or_default();
    let pointers: Vec<&str> = faults.iter().filter_map(|fault| fault["pointer"].as_str()).collect();
    let found = pointers.contains(&attack.pointer) || (attack.pointer.is_empty() && !pointers.is_empty());
    assert!(found, "{} is not among {pointers:?}", attack.pointer);
    assert!(!error.to_string().contains("\\u001b"), "the answer would clear the screen: {error}");
    assert!(!world.has_container(&plugin).await);
}

/// An image with a manifest that must be refused when it is installed by its name alone.
async fn image_is_refused(world: &World, name: &str, script: Script, code: ErrorCode) -> Value {
    let plugin = id(name);
    let source = script.push(&world.stack).await.expect("the image builds");
    let mut operator = world.operator().await;
    let answer = operator.ask(Operation::Install, json!({"plugin_id": plugin, "source": source})).await;
    let error = answer.error(code).clone();
    world.assert_nothing_is_left(&plugin, &source).await;
    error
}

fn ten_megabytes(name: &str) -> Value {
    let mut manifest = minimal(&id(name));
    manifest["x"] = json!("y".repeat(10 << 20));
    manifest
}

async fn a_manifest_of_ten_megabytes_is_in_the_image(world: Shared) {
    let name = "attacks-ten-megabytes";
    let script = Script::healthy(name).file(ten_megabytes(name));
    let error = image_is_refused(&world, name, script, ErrorCode::EngineRefused).await;
    assert!(error.to_string().contains("larger"), "{error:#}");
}

/// The same key twice: whoever reviews the first is shown something else than what is used.
const TWICE: &str = r#"{"id":"attacks-twice","name":"Twice","version":"1.0.0","docker":{"user":"1000:1000"},"docker":{"user":"0:0"}}"#;

async fn a_key_stands_twice_in_the_label(world: Shared) {
    let script = Script::healthy("attacks-twice").raw_label(TWICE);
    let error = image_is_refused(&world, "attacks-twice", script, ErrorCode::ManifestInvalid).await;
    assert!(error.to_string().contains("/docker"), "{error:#}");
}

/// A manifest whose name is no text.
const NO_TEXT: &[u8] = b"{\"id\":\"attacks-no-text\",\"name\":\"\xc3\x28\",\"version\":\"1.0.0\"}";

async fn a_manifest_in_the_image_is_not_text(world: Shared) {
    let script = Script::healthy("attacks-no-text").raw_file(NO_TEXT.to_vec());
    image_is_refused(&world, "attacks-no-text", script, ErrorCode::ManifestInvalid).await;
}

async fn the_alias_of_the_victim_is_claimed(world: Shared) {
    let arena = arena(&world).await;
    let name = "attacks-impostor";
    let mut manifest = minimal(&id(name));
    manifest["health_check"] =
        json!({"topic": format!("bigskies/plugin/{}/health", arena.victim), "interval_seconds": 1});
    let script = Script::healthy(name).label(manifest);
    let error = image_is_refused(&world, name, script, ErrorCode::NameTaken).await;
    assert!(error.to_string().contains(arena.victim.as_str()), "{error:#}");
}

/// Beyond the plugin's own: it is not refused, but nothing happens until an operator has approved it.
async fn needs_approval(world: &World, name: &str, more: Value) -> Value {
    let mut manifest = minimal(&id(name));
    for (key, value) in more.as_object().expect("an object") {
        manifest[key] = value.clone();
    }
    let script = Script::healthy(name).label(manifest);
    image_is_refused(world, name, script, ErrorCode::ApprovalRequired).await
}

async fn root_is_asked_for(world: Shared) {
    needs_approval(&world, "attacks-root", json!({"docker": {"user": "0:0"}})).await;
}

async fn a_camera_is_asked_for(world: Shared) {
    let error = needs_approval(&world, "attacks-camera", json!({"devices": ["/dev/video0"]})).await;
    assert!(error.to_string().contains("/dev/video0"), "{error:#}");
}

async fn the_hosts_passwords_are_asked_for(world: Shared) {
    let volumes = json!({"docker": {"volumes": ["/etc:/etc-of-the-host:ro"]}});
    let error = needs_approval(&world, "attacks-etc", volumes).await;
    assert!(error.to_string().contains("high"), "{error:#}");
}

async fn a_port_to_the_world_is_asked_for(world: Shared) {
    needs_approval(&world, "attacks-port", json!({"docker": {"ports": ["0.0.0.0:47321:80"]}})).await;
}

async fn an_approval_is_of_something_else(world: Shared) {
    let name = "attacks-approval";
    let plugin = id(name);
    let asked = |user: &str| {
        let mut manifest = minimal(&plugin);
        manifest["docker"] = json!({"user": user, "ports": ["0.0.0.0:47322:80"]});
        manifest
    };
    let source = Script::healthy(name).push(&world.stack).await.expect("the image builds");
    let mut operator = world.operator().await;
    // An operator approves a port; the attacker then asks for root as well.
    let error = install(&mut operator, name, &source, asked("1000:1000")).await;
    let digest = error["details"]["approve"].as_str().or(error["details"]["digest"].as_str());
    let digest = digest.unwrap_or_else(|| panic!("no digest in {error:#}")).to_owned();
    let request = json!({"plugin_id": name, "source": source, "manifest": asked("0:0"), "approve": digest});
    operator.ask(Operation::Install, request).await.error(ErrorCode::ApprovalChanged);
    world.assert_nothing_is_left(&plugin, &source).await;
}

/// The volume of a plugin that runs, as the engine names it.
async fn volume_of(world: &World, operator: &mut Operator, name: &str, volume: &str) -> (String, String) {
    let plugin = id(name);
    let mut manifest = minimal(&plugin);
    manifest["docker"] = json!({"volumes": [format!("{volume}:/data")]});
    let source = Script::healthy(name).label(manifest).push(&world.stack).await.expect("the image builds");
    world.install_and_start(operator, &plugin, &source).await;
    let mounts = world.running(&plugin).await["Mounts"].clone();
    let mount = mounts.as_array().into_iter().flatten().find(|mount| mount["Destination"] == "/data");
    let name = mount.and_then(|mount| mount["Name"].as_str()).expect("a volume").to_owned();
    (name, source)
}

async fn a_volume_is_named_so_that_it_reads_like_the_victims(world: Shared) {
    let mut operator = world.operator().await;
    let (victims, first) = volume_of(&world, &mut operator, "attacks-cam-main", "data").await;
    let (own, second) = volume_of(&world, &mut operator, "attacks-cam", "main-data").await;
    assert_ne!(own, victims);
    // Without a mark that no id has between id and name, they are the same.
    assert_eq!(own.replace("..", "-"), victims.replace("..", "-"));
    world.remove(&mut operator, &id("attacks-cam"), &second).await;
    world.remove(&mut operator, &id("attacks-cam-main"), &first).await;
}

async fn a_tag_is_moved_after_the_installation(world: Shared) {
    let name = "attacks-moved";
    let plugin = id(name);
    let mut operator = world.operator().await;
    let honest = Script::healthy(name).label(minimal(&plugin));
    let source = honest.push(&world.stack).await.expect("the image builds");
    world.install_and_start(&mut operator, &plugin, &source).await;
    let before = world.running(&plugin).await["Image"].clone();
    let evil = Script::new(name, "echo evil; sleep 1000").label(minimal(&plugin));
    assert_eq!(evil.push(&world.stack).await.expect("the tag is moved"), source);
    operator.ask_about(Operation::Restart, &plugin).await.data();
    assert_eq!(world.running(&plugin).await["Image"], before);
    // Without the digest: whoever asks the registry for the tag now gets the other one.
    Run::docker(["pull", "--quiet", &source]).ok().await.expect("the registry has it");
    let moved =
        Run::docker(["image", "inspect", "--format", "{{.Id}}", &source]).line().await.expect("it is here");
    assert_ne!(json!(moved), before);
    Run::docker(["rmi", &source]).ok().await.expect("the engine forgets it");
    world.remove(&mut operator, &plugin, &source).await;
}

/// What a container prints that the engine was asked for directly.
async fn engine(arguments: &[&str], command: &str) -> String {
    let image = image_of("tools");
    let run = ["run", "--rm"].into_iter().chain(arguments.iter().copied());
    let run = run.chain([image.as_str(), "sh", "-c", command]);
    Run::docker(run).output().await.expect("the engine answers").text
}

async fn the_engine_would_mount_the_host_without_the_defence(_: Shared) {
    let shown = engine(&["--user", "0:0", "--volume", "/:/host:ro"], "cat /host/etc/shadow").await;
    assert!(shown.contains("root:"), "{shown}");
}

async fn the_engine_would_hand_out_its_socket_without_the_defence(_: Shared) {
    let socket =
        std::env::var("BIGSKIES_ENGINE_SOCKET").unwrap_or_else(|_| "/var/run/docker.sock".to_owned());
    let volume = format!("{socket}:/run/engine");
    let shown = engine(&["--volume", &volume], "busybox test -S /run/engine && echo there").await;
    assert!(shown.contains("there"), "{shown}");
}

async fn the_engine_would_hand_out_a_device_without_the_defence(_: Shared) {
    // Whatever is in the host's `/dev`, under any name. This one takes nothing and harms nobody.
    let asked = ["--device", "/dev/full:/dev/sda"];
    let shown = engine(&asked, "echo x > /dev/sda; busybox stat -c %t:%T /dev/sda").await;
    assert!(shown.contains("No space left") && shown.contains("1:7"), "{shown}");
}

async fn the_engine_would_follow_dots_without_the_defence(_: Shared) {
    let volume = "/var/lib/../../etc:/x:ro";
    let shown = engine(&["--volume", volume], "cat /x/hostname /x/passwd").await;
    assert!(shown.contains("root:"), "{shown}");
}

async fn the_engine_would_give_a_capability_without_the_defence(_: Shared) {
    let command = "busybox grep CapEff /proc/self/status";
    let added = engine(&["--user", "0:0", "--cap-drop", "ALL", "--cap-add", "SYS_ADMIN"], command).await;
    assert!(added.contains("0000000000200000"), "{added}");
}

async fn the_engine_would_share_the_hosts_network_without_the_defence(_: Shared) {
    let host = std::fs::read_link("/proc/self/ns/net").expect("Linux").display().to_string();
    let shared = engine(&["--network", "host"], "busybox readlink /proc/self/ns/net").await;
    let own = engine(&[], "busybox readlink /proc/self/ns/net").await;
    assert!(shared.contains(&host) && !own.contains(&host), "{shared} {own} {host}");
}

async fn the_engine_would_share_the_hosts_processes_without_the_defence(_: Shared) {
    let processes =
        |text: String| text.split_whitespace().filter_map(|word| word.parse::<u32>().ok()).count();
    let shared = processes(engine(&["--pid", "host"], "cd /proc && echo *").await);
    let own = processes(engine(&[], "cd /proc && echo *").await);
    assert!(shared > own, "{shared} {own}");
}

async fn the_engine_would_answer_to_any_name_without_the_defence(world: Shared) {
    let network = world.stack.project.clone();
    let impostor = format!("{network}-impostor");
    let image = image_of("tools");
    let label = format!("com.docker.compose.project={network}");
    let run = ["run", "--detach", "--rm", "--name", &impostor, "--label", &label, "--network", &network];
    let run = run.into_iter().chain(["--network-alias", "attacks-anything", &image, "sleep", "60"]);
    Run::docker(run).ok().await.expect("the engine asks nobody");
    let shown = engine(&["--network", &network], "busybox nslookup attacks-anything").await;
    Run::docker(["rm", "--force", &impostor]).ok().await.expect("it is ours");
    assert!(shown.contains("attacks-anything") && shown.contains("Address"), "{shown}");
}
