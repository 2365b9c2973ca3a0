//! A plugin whose program does what it likes inside its container: it tries to get out, up, or at its neighbours.
//!
//! One plugin tries everything when it starts and writes what came of it into its log. The same commands are given
//! to a container that the engine was asked for directly, without what the policy adds, where they succeed.

use envelope::Operation;
use serde_json::json;
use testkit::eventually;
use tests::stack::VERSION;
use tests::stack::command::Run;
use tests::stack::images::Script;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;

use super::arena::PATIENCE;
use crate::e2e::runner::Case;
use crate::e2e::world::{Shared, World, id, minimal};

/// Something that a program in a container tries: it succeeded when the command ends well.
struct Attack {
    name: &'static str,
    command: &'static str,
    /// With which the engine lets it succeed.
    without: &'static [&'static str],
}

const ROOT: &str = "0:0";

macro_rules! attacks {
    ($($name:ident: $command:literal, $without:expr;)*) => {
        const ALL: &[Attack] =
            &[$(Attack { name: stringify!($name), command: $command, without: $without }),*];

        $(async fn $name(world: Shared) {
            is_refused(&world, stringify!($name)).await;
        })*

        mod without_the_defence {
            use super::*;

            $(async fn $name(world: Shared) {
                succeeds(&world, stringify!($name)).await;
            })*

            pub fn cases() -> Vec<Case> {
                crate::beside![$($name),*]
            }
        }

        pub fn cases() -> Vec<Case> {
            let mut cases = crate::beside![$($name),*];
            cases.extend(without_the_defence::cases());
            cases
        }
    };
}

attacks! {
    a_file_system_is_mounted: "busybox mount -t tmpfs none /etc", &["--user", ROOT, "--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined"];
    a_disk_is_made: "busybox mknod /tmp/disk b 8 0 || busybox mknod /disk b 8 0", &["--user", ROOT];
    an_owner_is_changed: "busybox chown 1:1 /plugin.sh || busybox chown 1:1 /etc", &["--user", ROOT];
    packets_are_made_by_hand: "busybox ping -c 1 -W 1 127.0.0.1", &["--user", ROOT];
    another_root_is_entered: "busybox chroot / /usr/bin/busybox true", &["--user", ROOT];
    the_machine_is_renamed: "busybox hostname owned", &["--user", ROOT, "--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined"];
    the_network_is_reconfigured: "busybox ip link set lo down", &["--user", ROOT, "--cap-add", "NET_ADMIN"];
    rights_can_still_be_gained: "busybox grep -q 'NoNewPrivs:.0' /proc/self/status", &[];
    a_capability_is_left: "! busybox grep -q 'CapBnd:.0000000000000000' /proc/self/status", &[];
    processes_are_made_without_end: "busybox test \"$(cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null)\" = max", &["--pids-limit", "-1"];
    memory_is_taken_without_end: "m=$(cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null); busybox test \"$m\" = max || busybox test ${#m} -gt 15", &[];
    the_engines_socket_is_there: "busybox test -e /var/run/docker.sock || busybox test -e /run/docker.sock", &["--volume", "/var/run/docker.sock:/var/run/docker.sock"];
    what_only_coordinators_reach_is_reached: "busybox nc -w 2 registry 5000 </dev/null", &["--network", "PROJECT_control"];
    a_service_of_the_host_is_reached: "busybox timeout 8 busybox nc -w 3 $(busybox ip route | busybox awk '/^default/ { print $3 }') PORT </dev/null | busybox grep -q welcome", &[];
    the_secrets_of_a_coordinator_are_read: "cat /secrets/password", &["--user", ROOT, "--volume", "PROJECT_security-secrets:/secrets:ro"];
}

/// The port of a service that the host offers on all its addresses: it greets whoever connects.
static SERVICE: OnceCell<u16> = OnceCell::const_new();

async fn service() -> u16 {
    let listener = TcpListener::bind(("0.0.0.0", 0)).await.expect("a port is free");
    let port = listener.local_addr().expect("it listens").port();
    tokio::spawn(async move {
        while let Ok((mut guest, _)) = listener.accept().await {
            // Who is gone again does not want to be greeted.
            let _ = guest.write_all(b"welcome\n").await;
        }
    });
    port
}

/// The command or argument for this run: with the service's port, and the framework's name.
async fn here(world: &World, text: &str) -> String {
    let port = SERVICE.get_or_init(service).await;
    text.replace("PORT", &port.to_string()).replace("PROJECT", &world.stack.project)
}

static TOLD: OnceCell<String> = OnceCell::const_new();

/// Everything that the plugin's log tells.
async fn told(world: &World) -> &'static str {
    TOLD.get_or_init(|| run(world)).await
}

async fn run(world: &World) -> String {
    let plugin = id("attacks-inside");
    let mut script = String::from("( ");
    for attack in ALL {
        let command = here(world, attack.command).await;
        script.push_str(&format!(
            "if ( {} ) >/dev/null 2>&1; then echo \"tried {} succeeded\"; else echo \"tried {} failed\"; fi\n",
            command, attack.name, attack.name
        ));
    }
    script.push_str("echo \"tried everything\" ) &\n");
    script.push_str(include_str!("../../src/stack/images/healthy.sh"));
    let image = Script::new(plugin.as_str(), &script).label(minimal(&plugin));
    let source = image.push(&world.stack).await.expect("the image builds");
    let mut operator = world.operator().await;
    world.install_and_start(&mut operator, &plugin, &source).await;
    let log = eventually(3 * PATIENCE, || async {
        let logs =
            world.operator().await.ask(Operation::Logs, json!({"plugin_id": plugin, "tail": 500})).await;
        let text = logs.data()["text"].as_str().unwrap_or_default().to_owned();
        if text.contains("tried everything") { Ok(text) } else { Err(text) }
    })
    .await;
    world.remove(&mut operator, &plugin, &source).await;
    log
}

async fn is_refused(world: &World, name: &str) {
    let log = told(world).await;
    assert!(log.contains(&format!("tried {name} failed")), "{log}");
}

async fn succeeds(world: &World, name: &str) {
    let attack = ALL.iter().find(|attack| attack.name == name).expect("it is listed");
    let image = format!("bigskies/tools:{VERSION}");
    let command = here(world, attack.command).await;
    let command = format!("if ( {command} ) >/dev/null 2>&1; then echo succeeded; else echo failed; fi");
    let mut without = Vec::new();
    for argument in attack.without {
        without.push(here(world, argument).await);
    }
    let run = ["run", "--rm"].into_iter().chain(without.iter().map(String::as_str));
    let output = Run::docker(run.chain([image.as_str(), "sh", "-c", &command])).output().await;
    let text = output.expect("the engine answers").text;
    assert!(text.contains("succeeded"), "{command}: {text}");
}
