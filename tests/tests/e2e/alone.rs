//! Each coordinator by itself: its image, its configuration, its size.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use envelope::topic::coordinator;
use testkit::Version;
use tests::stack::command::{Output, Run};
use tests::stack::listener::{Listener, json as payload};
use tests::stack::{COORDINATORS, engine, image_of};

use super::runner::Case;
use super::world::{Shared, World};

const MIB: u64 = 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(30);

pub fn cases() -> Vec<Case> {
    let mut cases = crate::beside![
        each_coordinator_prints_its_configuration_without_secrets,
        bad_configuration_ends_with_64_and_names_every_fault,
        health_fails_where_no_coordinator_runs,
        no_coordinator_holds_a_secret_of_another,
    ];
    cases.extend(crate::alone![images_memory_and_start_of_the_coordinators_are_small]);
    cases
}

/// Secrets as `init` makes them, for a coordinator that stands alone.
fn secrets(world: &World, service: &str) -> PathBuf {
    let folder = world.stack.folder().join(format!("secrets-{service}"));
    fs::create_dir_all(&folder).expect("writable");
    for (name, content) in
        [("password", "a-secret-password"), ("key", &"k".repeat(32)), ("installation", "inst")]
    {
        fs::write(folder.join(name), content).expect("writable");
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o644)).expect("ours");
    }
    folder
}

async fn run(world: &World, service: &str, options: &[&str], arguments: &[&str]) -> Output {
    let mount = format!("{}:/secrets:ro", secrets(world, service).display());
    let image = image_of(service);
    let run = ["run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", "--volume", &mount]
        .into_iter()
        .chain(options.iter().copied())
        .chain([image.as_str()])
        .chain(arguments.iter().copied());
    Run::docker(run).output().await.expect("the engine runs it")
}

async fn each_coordinator_prints_its_configuration_without_secrets(world: Shared) {
    for (service, c) in COORDINATORS {
        let login = format!("BIGSKIES_BROKER__USERNAME=coordinator.{c}");
        let options = ["--env", login.as_str(), "--env", "BIGSKIES_BROKER__PORT=18830"];
        let output = run(&world, service, &options, &["--check-config"]).await;
        assert_eq!(output.code, Some(0), "{service}: {}", output.text);
        for part in ["18830", &format!("coordinator.{c}"), "password_file"] {
            assert!(output.text.contains(part), "{service}: {part} is not in {}", output.text);
        }
        assert!(!output.text.contains("a-secret-password"), "{service} shows its password");
    }
}

async fn bad_configuration_ends_with_64_and_names_every_fault(world: Shared) {
    for (service, _) in COORDINATORS {
        let options = [
            "BIGSKIES_BROKER__PORT=none",
            "BIGSKIES_BROKER__USERNAME=x",
            "BIGSKIES_LOG=info",
            "BIGSKIES_NONSENSE=1",
        ];
        let options: Vec<&str> = options.iter().flat_map(|pair| ["--env", pair]).collect();
        for arguments in [&["--check-config"][..], &[]] {
            let output = run(&world, service, &options, arguments).await;
            assert_eq!(output.code, Some(64), "{service}: {}", output.text);
            for fault in ["port", "nonsense"] {
                assert!(output.text.contains(fault), "{service}: {fault} is not in {}", output.text);
            }
        }
        let options =
            ["BIGSKIES_BROKER__PORT=0", "BIGSKIES_BROKER__PASSWORD_FILE=/nowhere", "BIGSKIES_LOG=a=b=c"];
        let options: Vec<&str> = options.iter().flat_map(|pair| ["--env", pair]).collect();
        let output = run(&world, service, &options, &["--check-config"]).await;
        assert_eq!(output.code, Some(64), "{service}: {}", output.text);
        for fault in ["broker.port", "broker.username", "/nowhere", "log"] {
            assert!(output.text.contains(fault), "{service}: {fault} is not in {}", output.text);
        }
    }
}

async fn health_fails_where_no_coordinator_runs(world: Shared) {
    for (service, c) in COORDINATORS {
        let login = format!("BIGSKIES_BROKER__USERNAME=coordinator.{c}");
        let output = run(&world, service, &["--env", &login], &["health"]).await;
        assert_eq!(output.code, Some(1), "{service}: {}", output.text);
    }
}

async fn no_coordinator_holds_a_secret_of_another(world: Shared) {
    for (service, c) in COORDINATORS {
        let container = engine::inspect(&world.stack.container(service)).await.expect("the engine answers");
        let container = container.expect("it runs");
        let mounts = container["Mounts"].as_array().cloned().unwrap_or_default();
        for mount in &mounts {
            let name = mount["Name"].as_str().or(mount["Source"].as_str()).unwrap_or_default();
            let of_others = ["broker-", "message-", "security-", "plugin-", "operator-"]
                .into_iter()
                .filter(|part| !part.starts_with(c.as_str()))
                .any(|part| name.contains(&format!("_{part}")));
            assert!(!of_others, "{service} has {name}");
            let is_socket = mount["Destination"] == "/var/run/docker.sock";
            assert!(!is_socket || service == "plugin-coordinator", "{service} reaches the engine");
        }
        assert_eq!(container["HostConfig"]["ReadonlyRootfs"], true, "{service}");
        assert_eq!(container["HostConfig"]["CapDrop"], serde_json::json!(["ALL"]), "{service}");
        assert!(container["Config"]["Env"].to_string().find("PASSWORD=").is_none(), "{service}");
    }
}

/// Whether the images were built to be used, and not to try something out.
fn is_release() -> bool {
    std::env::var("BIGSKIES_PROFILE").is_ok_and(|profile| profile == "release")
}

fn mib(bytes: u64) -> String {
    format!("{}.{} MiB", bytes / MIB, bytes % MIB * 10 / MIB)
}

async fn images_memory_and_start_of_the_coordinators_are_small(world: Shared) {
    for (service, c) in COORDINATORS {
        let image = image_of(service);
        let size = Run::docker(["image", "inspect", "--format", "{{.Size}}", &image]).line().await;
        let size: u64 = size.expect("the image is there").parse().expect("a number");
        let container = world.stack.container(service);
        let busy = engine::resident_bytes(&container).await.expect("it runs");
        let ready = start_to_ready(&world, service, c).await;
        world.stack.healthy().await;
        let idle = engine::resident_bytes(&container).await.expect("it runs");
        println!(
            "figure: {service}: image {}, resident {} idle and {} after the tests, healthy {} ms after its start",
            mib(size),
            mib(idle),
            mib(busy),
            ready.as_millis()
        );
        if is_release() {
            assert!(size < 15 * MIB, "the image of {service} has {}", mib(size));
            assert!(idle < 15 * MIB, "{service} has {} resident", mib(idle));
        }
    }
}

/// From the start of the process to its saying that it is healthy, with the broker and the others there.
async fn start_to_ready(world: &World, service: &str, c: envelope::Coordinator) -> Duration {
    let name = world.stack.container(service);
    Run::docker(["stop", "--time", "30", &name]).ok().await.expect("it stops");
    let client = world.stack.operator_client(Version::V5).await.expect("connects");
    let topic = coordinator::health(c);
    let mut watch = Listener::on(client, [&topic]).await;
    Run::docker(["start", &name]).ok().await.expect("it starts");
    let healthy =
        |m: &testkit::Message| !m.retain && m.topic == topic && payload(m)["payload"]["status"] == "healthy";
    let said = payload(&watch.wait("that it is healthy", PATIENCE, healthy).await);
    let container = engine::inspect(&name).await.expect("the engine answers").expect("it runs");
    let at = |text: &serde_json::Value| {
        let text = text.as_str().unwrap_or_default();
        text.parse::<envelope::Timestamp>().unwrap_or_else(|e| panic!("{text} is no time: {e}"))
    };
    at(&said["timestamp"]).since(at(&container["State"]["StartedAt"]))
}
