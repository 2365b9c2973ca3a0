//! Manifests: raw bytes, and good manifests with anything changed in them. What is accepted is also compiled
//! to the roles of its login, and then must not reach what no plugin may reach.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::LazyLock;

use acl::compile::{PluginRoles, compile};
use acl::explain::{Action, decide};
use envelope::payload::spec::{Presence, Spec};
use envelope::topic::{RequestTopic, broker, coordinator, operator, plugin};
use envelope::{Coordinator, Generation, InstallUid, Operation, OperatorName, PluginId, Principal};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use manifest::{Manifest, approval_digest, framework_version, parse};
use serde_json::{Value, json};

use crate::json;

const WORDS: &[&str] = &[
    "id",
    "name",
    "version",
    "description",
    "author",
    "license",
    "homepage",
    "capabilities",
    "mqtt",
    "docker",
    "topics_subscribe",
    "topics_publish",
    "client_id",
    "image",
    "ports",
    "environment",
    "volumes",
    "networks",
    "user",
    "privileged",
    "cap_add",
    "network_mode",
    "pid",
    "ui_elements",
    "health_check",
    "topic",
    "interval_seconds",
    "dependencies",
    "coordinators",
    "min_framework_version",
    "permissions",
    "resources",
    "memory",
    "cpus",
    "pids",
    "disk",
    "devices",
    "path",
    "container_path",
    "access",
    "config_schema",
    "requires_internet",
    "start_timeout_seconds",
    "focuser",
    "mqtt-broker",
    "localhost",
    "bigskies-x",
    "host",
    "bigskies/plugin/focuser/",
    "bigskies/plugin/other/",
    "bigskies/coordinator/",
    "bigskies/operator/",
    "#",
    "+",
    "/",
    "..",
    "%c",
    "$share/g/",
    "$SYS/#",
    "$CONTROL/#",
    "health",
    "status",
    "request/",
    "response/",
    "token",
    "/var/lib/bigskies/plugins/focuser",
    "/var/run/docker.sock",
    "/",
    "/etc",
    "/data",
    ":",
    ":ro",
    "127.0.0.1:",
    "0.0.0.0:",
    "[::]:",
    "8080:80",
    "/udp",
    "0:0",
    "1000:1000",
    "/dev/ttyUSB0",
    "/dev/sda",
    "rw",
    "system:read",
    "plugin:control",
    "telescope/",
    "user:write",
    "1.0.0",
    "64m",
    "1e9",
    "\u{1b}[2J",
    "\u{202e}",
];

/// The blocks that a manifest is put together from.
static BLOCKS: LazyLock<Vec<(&str, Value)>> = LazyLock::new(|| {
    vec![
        (
            "mqtt",
            json!({
                "topics_subscribe": ["bigskies/plugin/focuser/#", "bigskies/plugin/weather/data"],
                "topics_publish": ["bigskies/plugin/focuser/position", "bigskies/plugin/dome/control/slew"],
                "client_id": "focuser-client",
            }),
        ),
        (
            "docker",
            json!({
                "image": "registry.example.org/focuser:2.1",
                "ports": ["127.0.0.1:8080:80", "0.0.0.0:4030:4030/udp"],
                "environment": {"PLUGIN_CONFIG": "/config/focuser.json"},
                "volumes": ["/var/lib/bigskies/plugins/focuser:/data", "cache:/cache", "/srv/images:/images:ro"],
                "networks": ["bigskies-network"],
                "user": "0:0",
            }),
        ),
        ("capabilities", json!({"provides_ui": true, "requires_internet": true})),
        ("ui_elements", json!([{"id": "p", "type": "panel", "title": "P", "url": "/plugin/focuser/panel"}])),
        ("health_check", json!({"topic": "bigskies/plugin/focus/health", "interval_seconds": 10})),
        ("dependencies", json!({"coordinators": ["message"], "min_framework_version": "1.0.0"})),
        ("permissions", json!(["system:read", "telescope/main:control"])),
        ("resources", json!({"memory": "256m", "cpus": 0.5, "pids": 64, "disk": 1_073_741_824})),
        (
            "devices",
            json!(["/dev/ttyUSB0", {"path": "/dev/video0", "container_path": "/dev/video1", "access": "r"}]),
        ),
        ("config_schema", json!({"type": "object"})),
    ]
});

/// Raw when the first byte says so, else a good manifest with changes.
pub fn check(bytes: &[u8]) {
    match bytes.split_first() {
        Some((0, rest)) => check_bytes(rest, false),
        Some((_, rest)) => {
            let _ = changed(rest);
        }
        None => {}
    }
}

fn changed(bytes: &[u8]) -> Result<()> {
    let mut u = Unstructured::new(bytes);
    let mut manifest = json!({"id": "focuser", "name": "Focuser", "version": "1.0.0"});
    // Few at a time, so that a change hits what it is meant for.
    let blocks = u.arbitrary::<u16>()? & u.arbitrary::<u16>()?;
    for (place, (key, block)) in BLOCKS.iter().enumerate() {
        if blocks & (1 << place) != 0 {
            manifest[key] = block.clone();
        }
    }
    let manifest = json::mutated(manifest, &mut u, WORDS)?;
    let (bytes, twice) = json::written(&manifest, &mut u)?;
    check_bytes(&bytes, twice);
    Ok(())
}

fn check_bytes(bytes: &[u8], twice: bool) {
    match parse(bytes, &framework_version()) {
        Ok(parsed) => {
            assert!(!twice, "a key that stands twice is taken");
            check_manifest(&parsed.manifest);
        }
        Err(faults) => {
            assert!((1..=manifest::MAX_LISTED + 1).contains(&faults.list().len()));
            for fault in faults.list() {
                assert!(fault.pointer.len() + fault.reason.len() + fault.fix.len() < 4096, "{fault}");
                assert!(!fault.to_string().chars().any(char::is_control), "{fault:?}");
            }
        }
    }
}

fn check_manifest(manifest: &Manifest) {
    let loaded: Manifest = serde_json::from_str(&manifest.canonical()).expect("it was without faults");
    assert_eq!(loaded.digest(), manifest.digest());
    let grants = manifest.grants();
    assert_eq!(loaded.grants(), grants);
    for grant in &grants {
        assert!(!grant.sentence().chars().any(char::is_control), "{grant:?}");
        let _ = grant.risk();
    }
    assert!(approval_digest("sha256:0", &manifest.digest(), &grants).starts_with("sha256:"));
    for name in manifest.dns_names() {
        assert!(!manifest::is_reserved_name(&name), "{name}");
    }
    for (name, _) in manifest.environment() {
        assert!(!name.is_empty() && !name.contains(['=', '\0']), "{name:?}");
    }
    let spec = spec(manifest);
    match compile(&spec) {
        Ok(roles) => check_roles(manifest, &roles),
        Err(reasons) => panic!("what was accepted is refused at the broker: {reasons:?}"),
    }
}

static UID: LazyLock<InstallUid> = LazyLock::new(InstallUid::new);

fn spec(manifest: &Manifest) -> Spec {
    let topics = manifest.topics();
    Spec {
        plugin_id: manifest.id.clone(),
        uid: *UID,
        generation: Generation::FIRST,
        node: "node".to_owned(),
        presence: Presence::Present,
        alias: manifest.alias().cloned(),
        client_ids: manifest.client_ids(),
        publish: topics.publish.iter().map(ToString::to_string).collect(),
        subscribe: topics.subscribe.iter().map(ToString::to_string).collect(),
        health_topic: manifest.health_topic().to_string(),
        permissions: manifest.permissions.iter().map(ToString::to_string).collect(),
        manifest_digest: manifest.digest(),
    }
}

/// What is somebody else's, whoever somebody is.
struct Foreign {
    written: Vec<String>,
    read: Vec<String>,
}

static FOREIGN: LazyLock<Foreign> = LazyLock::new(|| {
    let other = PluginId::parse("the-other-one").expect("an id");
    let name = OperatorName::parse("operator").expect("a name");
    let of_operators = RequestTopic::new(Principal::Operator(name), Operation::Install);
    let raw = RequestTopic::new(Principal::Unnamed, Operation::Install);
    let of_plugins = RequestTopic::new(Principal::Plugin(other.clone()), Operation::Stop);
    let internal = RequestTopic::new(Principal::Coordinator(Coordinator::Plugin), Operation::Provision);
    let mut read = vec![coordinator::token(&other), broker::control_answers().to_owned()];
    for request in [of_operators, raw, of_plugins, internal] {
        read.extend([request.to_string(), request.response()]);
    }
    let mut written = read.clone();
    written.extend([
        coordinator::jwks(),
        coordinator::revoked(),
        coordinator::spec(&other),
        coordinator::state(&other),
        coordinator::acl(&other),
        plugin::health(&other),
        plugin::status(&other),
        broker::control().to_owned(),
    ]);
    written.extend(Coordinator::ALL.map(coordinator::health));
    Foreign { written, read }
});

thread_local! {
    static SEEN: RefCell<HashSet<String>> = RefCell::default();
}

fn check_roles(manifest: &Manifest, roles: &PluginRoles) {
    // Rules that were looked at have the name that they had then; the fuzzer's memory is bounded.
    let name = roles.manifest.rolename.clone();
    if SEEN.with_borrow_mut(|seen| seen.len() < 300_000 && !seen.insert(name)) {
        return;
    }
    if manifest.names().any(|name| name.as_str() == "the-other-one") {
        return;
    }
    let held = roles.by_priority();
    for topic in &FOREIGN.written {
        assert!(!decide(&held, Action::Publish, topic).allowed, "{} may publish {topic}", manifest.id);
    }
    for topic in &FOREIGN.read {
        assert!(!decide(&held, Action::Receive, topic).allowed, "{} may read {topic}", manifest.id);
    }
    for filter in broker::broadest().iter().chain([&operator::all()]) {
        assert!(
            !decide(&held, Action::Subscribe, filter).allowed,
            "{} may subscribe to {filter}",
            manifest.id
        );
    }
}
