//! What the compose file promises: who reaches what, and with which rights. Asks compose itself, so that what
//! is checked is what would run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use serde_json::{Map, Value};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const COORDINATORS: [&str; 3] = ["plugin-coordinator", "security-coordinator", "message-coordinator"];

static DEPLOYMENT: LazyLock<Value> = LazyLock::new(|| {
    let output = Command::new(Path::new(ROOT).join("deploy/compose.sh"))
        .args(["--profile", "tools", "--profile", "registry", "config", "--format", "json"])
        .env_remove("COMPOSE_PROJECT_NAME")
        .output()
        .expect("a shell");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
});

fn services() -> &'static Map<String, Value> {
    DEPLOYMENT["services"].as_object().expect("services")
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn networks(service: &Value) -> Vec<&str> {
    service["networks"].as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect()
}

/// Volumes and host paths of a service.
fn sources(service: &Value) -> Vec<&str> {
    let mounts = service["volumes"].as_array().into_iter().flatten();
    mounts.filter_map(|mount| mount["source"].as_str()).collect()
}

#[test]
fn every_container_is_read_only_and_without_rights() {
    for (name, service) in services() {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
        assert!(texts(&service["security_opt"]).contains(&"no-new-privileges"), "{name}");
        assert_ne!(service["privileged"], true, "{name}");
        for member in ["pid", "ipc", "devices"] {
            assert!(service.get(member).is_none(), "{name} has {member}");
        }
        if name != "init" {
            assert!(service.get("cap_add").is_none(), "{name} has capabilities");
        }
        assert_eq!(service["logging"]["options"]["max-size"], "10m", "{name}");
    }
}

#[test]
fn every_service_but_two_has_a_user_of_its_own() {
    let mut seen = BTreeSet::new();
    for (name, service) in services() {
        // `init` gives files away, the plugin coordinator owns the socket; tools and command line are the operator.
        if ["init", "plugin-coordinator", "cli"].contains(&name.as_str()) {
            continue;
        }
        let user = service["user"].as_str().unwrap_or_default();
        let uid: u32 = user.split(':').next().and_then(|uid| uid.parse().ok()).unwrap_or_default();
        assert!(uid >= 64000, "{name} runs as {user:?}");
        assert!(seen.insert(uid), "{name} shares its user");
    }
}

#[test]
fn only_the_plugin_coordinator_reaches_the_engine() {
    for (name, service) in services() {
        let has_socket = sources(service).iter().any(|source| source.ends_with("docker.sock"));
        assert_eq!(has_socket, name == "plugin-coordinator", "{name}");
    }
}

#[test]
fn a_service_sees_its_own_volumes_only_and_only_reads_its_secrets() {
    for (name, service) in services().iter().filter(|(name, _)| *name != "init") {
        let owner_of_volumes = match name.as_str() {
            "mqtt-broker" => "broker",
            "tools" | "cli" => "operator",
            other => other.strip_suffix("-coordinator").unwrap_or(other),
        };
        for mount in
            service["volumes"].as_array().into_iter().flatten().filter(|mount| mount["type"] == "volume")
        {
            let source = mount["source"].as_str().unwrap_or_default();
            let (owner, kind) = source.rsplit_once('-').unwrap_or_default();
            assert_eq!(owner, owner_of_volumes, "{name} mounts {source}");
            assert_eq!(mount["read_only"] == true, kind == "secrets", "{name} mounts {source}");
        }
    }
}

#[test]
fn init_has_no_network_and_every_volume_with_secrets_or_data_of_the_framework() {
    let init = &services()["init"];
    assert_eq!(init["network_mode"], "none");
    let volumes = DEPLOYMENT["volumes"].as_object().expect("volumes").keys();
    let mounted: BTreeSet<&str> = sources(init).into_iter().collect();
    for volume in volumes.filter(|volume| *volume != "registry-data") {
        assert!(mounted.contains(volume.as_str()), "{volume}");
    }
}

#[test]
fn plugins_share_a_network_without_a_way_out_with_the_broker_and_no_coordinator() {
    assert_eq!(DEPLOYMENT["networks"]["bigskies-network"]["internal"], true);
    for name in COORDINATORS {
        assert_eq!(networks(&services()[name]), ["control"], "{name}");
    }
    let broker: BTreeSet<&str> = networks(&services()["mqtt-broker"]).into_iter().collect();
    assert_eq!(broker, BTreeSet::from(["bigskies-network", "control"]));
    assert_eq!(networks(&services()["registry"]), ["control"]);
}

#[test]
fn whatever_is_published_is_published_on_loopback() {
    for (name, service) in services() {
        for port in service["ports"].as_array().into_iter().flatten() {
            assert_eq!(port["host_ip"], "127.0.0.1", "{name}");
        }
    }
}

#[test]
fn what_is_to_keep_running_is_restarted_and_tells_whether_it_is_healthy() {
    assert_eq!(services()["mqtt-broker"]["restart"], "always");
    for name in COORDINATORS {
        assert_eq!(services()[name]["restart"], "always", "{name}");
        let program = format!("/{name}");
        assert_eq!(texts(&services()[name]["healthcheck"]["test"]), ["CMD", &program, "health"], "{name}");
    }
    assert_eq!(services()["init"]["restart"], "no");
}

#[test]
fn images_are_of_this_version_and_never_pulled_under_our_name() {
    for (name, service) in services() {
        let image = service["image"].as_str().unwrap_or_default();
        let expected = format!(":{}", env!("CARGO_PKG_VERSION"));
        assert!(image.starts_with("bigskies/") && image.ends_with(&expected), "{name} runs {image}");
        assert_eq!(service["pull_policy"], "never", "{name}");
    }
}

#[test]
fn both_ways_to_build_an_image_end_in_the_user_that_it_runs_as() {
    let dockerfile = fs::read_to_string(Path::new(ROOT).join("deploy/Dockerfile")).expect("the Dockerfile");
    let script = fs::read_to_string(Path::new(ROOT).join("deploy/build-images.sh")).expect("the script");
    let mut users = BTreeMap::new();
    let mut target = "";
    for line in dockerfile.lines() {
        if let Some((_, name)) = line.strip_prefix("FROM ").and_then(|rest| rest.split_once(" AS ")) {
            target = name;
        } else if let Some(user) = line.strip_prefix("USER ") {
            users.insert(target, user);
        }
    }
    for (name, service) in services() {
        let target = service["build"]["target"].as_str().unwrap_or_default();
        let user = users.get(target).copied().unwrap_or_default();
        assert_eq!(service["user"].as_str().unwrap_or("0:0"), user, "{name}");
        let uid = user.split(':').next().unwrap_or_default();
        let listed = script.lines().any(|line| {
            line.trim().split_once(") echo ").is_some_and(|(names, rest)| {
                rest.trim_end_matches(" ;;") == uid
                    && names.split(" | ").any(|name| name == target || name == "*")
            })
        });
        assert!(listed, "deploy/build-images.sh does not give {target} the user {uid}");
    }
}
