//! A plugin whose program does what it likes inside its container: it tries to get out, up, or at its neighbours.
//!
//! One plugin tries everything when it starts and writes what came of it into its log. The same commands are given
//! to a container that the engine was asked for directly, without what the policy adds, where they succeed.

use envelope::Operation;
use serde_json::json;
use testkit::eventually;
use tests::stack::command::Run;
use tests::stack::engine;
use tests::stack::images::Script;
use tests::stack::{COORDINATORS, image_of};
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
    the_engines_socket_is_there: "busybox test -e /var/run/docker.sock || busybox test -e /run/docker.sock", &["--volume", "/var/run/docker.sock:/var/run/docker.sock"];
    what_only_coordinators_reach_is_reached: "busybox nc -w 2 registry 5000 </dev/null", &["--network", "PROJECT_control"];
    what_only_coordinators_reach_is_reached_by_its_address: "busybox nc -w 2 REGISTRY 5000 </dev/null", &["--network", "PROJECT_control"];
    a_coordinator_is_reached_by_its_address: "for one in COORDINATORS; do busybox nc -w 2 $one 80 </dev/null 2>&1; done | busybox grep -q refused", &["--network", "PROJECT_control"];
    a_service_of_the_host_is_reached: "welcomes $(FIRST) PORT", &["--network", "PROJECT-with-an-address"];
    the_secrets_of_a_coordinator_are_read: "cat /secrets/password", &["--user", ROOT, "--volume", "PROJECT_security-secrets:/secrets:ro"];
}

/// The first address of the network that a container is on: there the host is, if it is anywhere on it. A network
/// without a way out gives a container no route that would name it.
const FIRST: &str = r#"busybox ipcalc -n "$(busybox ip -4 -o addr show scope global | busybox awk '{ print $4; exit }')" | busybox awk -F '[=.]' '{ print $2 "." $3 "." $4 "." $5 + 1 }'"#;
/// Whether something greets at an address and port.
const WELCOMES: &str =
    r#"welcomes() { busybox timeout 8 busybox nc -w 3 "$1" "$2" </dev/null | busybox grep -q welcome; }"#;
/// Greets whoever connects, as the host's service does.
const GREETER: &str = "while :; do echo welcome | busybox nc -l -p PORT; done";

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

/// The address of a service's container on the network of this name.
async fn address(container: &str, network: &str) -> String {
    let found = engine::inspect(container).await.expect("the engine answers").expect("it is there");
    let address = found["NetworkSettings"]["Networks"][network]["IPAddress"].as_str().unwrap_or_default();
    assert!(!address.is_empty(), "{container} has no address on {network}");
    address.to_owned()
}

/// The command or argument for this run: with the host's port, and the framework's names and addresses.
async fn here(world: &World, text: &str) -> String {
    let port = SERVICE.get_or_init(service).await;
    let control = format!("{}_control", world.stack.project);
    let mut coordinators = Vec::new();
    for (service, _) in COORDINATORS {
        coordinators.push(address(&world.stack.container(service), &control).await);
    }
    let registry = address(&world.stack.container("registry"), &control).await;
    text.replace("PORT", &port.to_string())
        .replace("PROJECT", &world.stack.project)
        .replace("COORDINATORS", &coordinators.join(" "))
        .replace("REGISTRY", &registry)
        .replace("FIRST", FIRST)
}

static TOLD: OnceCell<String> = OnceCell::const_new();

/// Everything that the plugin's log tells.
async fn told(world: &World) -> &'static str {
    TOLD.get_or_init(|| run(world)).await
}

async fn run(world: &World) -> String {
    let plugin = id("attacks-inside");
    // What the plugin may reach: another container on its network, which greets on the same port.
    let network = world.stack.project.clone();
    let greeter = format!("{network}-greeter");
    start_greeter(world, &greeter, &network).await;
    let greeter_at = address(&greeter, &network).await;
    let mut script = format!("{WELCOMES}\n( echo \"the first address is $({FIRST})\"\n");
    let control = here(world, &format!("welcomes {greeter_at} PORT")).await;
    script.push_str(&format!("if {control}; then echo \"a greeter is reached\"; fi\n"));
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
    Run::docker(["rm", "--force", &greeter]).ok().await.expect("it is ours");
    log
}

async fn start_greeter(world: &World, name: &str, network: &str) {
    let image = image_of("tools");
    let label = format!("com.docker.compose.project={}", world.stack.project);
    let command = here(world, GREETER).await;
    let run = ["run", "--detach", "--name", name, "--label", &label, "--network", network];
    let run = run.into_iter().chain([image.as_str(), "sh", "-c", &command]);
    Run::docker(run).ok().await.expect("the engine asks nobody");
}

/// A network without a way out as the framework's is, but with an address for the host on it.
async fn network_with_an_address(world: &World) -> String {
    let name = format!("{}-with-an-address", world.stack.project);
    let label = format!("com.docker.compose.project={}", world.stack.project);
    let create = ["network", "create", "--internal", "--label", &label, &name];
    Run::docker(create).ok().await.expect("the engine makes it");
    name
}

async fn is_refused(world: &World, name: &str) {
    let log = told(world).await;
    assert!(log.contains(&format!("tried {name} failed")), "{log}");
    if name == "a_service_of_the_host_is_reached" {
        // It asked at the right place and can see who greets: that nobody did says something.
        let network = world.stack.project.as_str();
        let gateway = "{{(index .IPAM.Config 0).Gateway}}";
        let gateway = Run::docker(["network", "inspect", "--format", gateway, network]).line().await;
        let first = format!("the first address is {}\n", gateway.expect("the engine keeps one for the host"));
        assert!(log.contains(&first) && log.contains("a greeter is reached"), "{first}{log}");
    }
}

async fn succeeds(world: &World, name: &str) {
    let attack = ALL.iter().find(|attack| attack.name == name).expect("it is listed");
    let network = match name {
        "a_service_of_the_host_is_reached" => Some(network_with_an_address(world).await),
        _ => None,
    };
    let image = image_of("tools");
    let command = here(world, attack.command).await;
    let command =
        format!("{WELCOMES}\nif ( {command} ) >/dev/null 2>&1; then echo succeeded; else echo failed; fi");
    let mut without = Vec::new();
    for argument in attack.without {
        without.push(here(world, argument).await);
    }
    let run = ["run", "--rm"].into_iter().chain(without.iter().map(String::as_str));
    let output = Run::docker(run.chain([image.as_str(), "sh", "-c", &command])).output().await;
    let text = output.expect("the engine answers").text;
    if let Some(network) = network {
        Run::docker(["network", "rm", &network]).ok().await.expect("nobody is on it");
    }
    assert!(text.contains("succeeded"), "{command}: {text}");
}
