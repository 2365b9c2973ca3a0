//! The policy, rule by rule: what a manifest may ask for its container, and what becomes of it.
//!
//! What is refused is refused where the manifest is read, with all its faults at once: keys that ask for rights of
//! the host in `manifest`'s `docker/forbidden.rs`, sources and targets of volumes in `docker/volume.rs`, networks
//! in `docker.rs`, names in `names.rs`. What needs approval is a `manifest::Grant`. Here it all stands together.

/// What becomes of something that a manifest asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is given without asking anybody; what that means.
    Given(&'static str),
    /// An operator has to approve it, who reads a sentence with these words in it.
    Approval(&'static str),
    /// It is a fault of the manifest, whose reason has these words in it.
    Refused(&'static str),
}

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// What is asked for.
    pub asks: &'static str,
    /// A part of a manifest that asks for it.
    pub example: &'static str,
    /// What becomes of it.
    pub outcome: Outcome,
}

const fn rule(asks: &'static str, example: &'static str, outcome: Outcome) -> Rule {
    Rule { asks, example, outcome }
}

use Outcome::{Approval, Given, Refused};

/// What a manifest may ask for, from what is given to what nobody can have.
#[rustfmt::skip]
pub const RULES: &[Rule] = &[
    // Network.
    rule("to be on bigskies-network", r#"{"docker": {"networks": ["bigskies-network"]}}"#, Given("every plugin is on it, and on no other that has the broker")),
    rule("no internet", r#"{"capabilities": {"requires_internet": false}}"#, Given("the plugin is on bigskies-network alone, which has no way out")),
    rule("internet", r#"{"capabilities": {"requires_internet": true}}"#, Given("a second network with a way out, on which plugins do not see each other")),
    rule("a port on loopback", r#"{"docker": {"ports": ["8080:80"]}}"#, Given("published on 127.0.0.1; without internet a forwarder of ours carries it")),
    rule("a port for other machines", r#"{"docker": {"ports": ["0.0.0.0:8080:80"]}}"#, Approval("8080")),
    rule("another network", r#"{"docker": {"networks": ["other"]}}"#, Refused("is not a network for plugins")),
    rule("the host's network", r#"{"docker": {"network_mode": "host"}}"#, Refused("chooses another network")),
    rule("a name on the network", r#"{"docker": {"aliases": ["mqtt-broker"]}}"#, Refused("chooses names on the network")),
    rule("the broker's name as its id", r#"{"id": "mqtt.broker"}"#, Refused("reserved name")),
    rule("a name of the framework as its alias", r#"{"health_check": {"topic": "bigskies/plugin/bigskies-x/health"}}"#, Refused("reserved name")),
    rule("names for addresses", r#"{"docker": {"extra_hosts": ["mqtt-broker:1.2.3.4"]}}"#, Refused("chooses names on the network")),
    // Storage.
    rule("a volume", r#"{"docker": {"volumes": ["data:/data"]}}"#, Given("a volume of the plugin's own, whose root its user owns")),
    rule("its own folder on the host", r#"{"docker": {"volumes": ["/var/lib/bigskies/plugins/the-plugin:/data"]}}"#, Given("exactly that folder, unless it is a link")),
    rule("a place inside its own folder", r#"{"docker": {"volumes": ["/var/lib/bigskies/plugins/the-plugin/deep:/data"]}}"#, Given("a volume: the plugin could plant a link there")),
    rule("another folder of the host", r#"{"docker": {"volumes": ["/srv/images:/images"]}}"#, Approval("/srv/images")),
    rule("another plugin's folder", r#"{"docker": {"volumes": ["/var/lib/bigskies/plugins/other:/data"]}}"#, Refused("belongs to the framework or to another plugin")),
    rule("the whole host", r#"{"docker": {"volumes": ["/:/host"]}}"#, Refused("would show")),
    rule("a way up", r#"{"docker": {"volumes": ["/srv/../etc:/etc"]}}"#, Refused("contains \"..\"")),
    rule("the engine's socket", r#"{"docker": {"volumes": ["/var/run/docker.sock:/s"]}}"#, Refused("socket")),
    rule("a socket of any name", r#"{"docker": {"volumes": ["/srv/x.sock:/s"]}}"#, Refused("socket")),
    rule("the kernel's files", r#"{"docker": {"volumes": ["/proc:/p"]}}"#, Refused("would show")),
    rule("to cover its configuration", r#"{"docker": {"volumes": ["data:/config"]}}"#, Refused("would cover /config")),
    rule("mounts of another form", r#"{"docker": {"mounts": [{"type": "bind", "source": "/"}]}}"#, Refused("mounts in a way that cannot be checked")),
    // The machine.
    rule("memory, processors, processes", r#"{"resources": {"memory": "64M", "cpus": 0.5, "pids": 20}}"#, Given("as limits; what is not asked for has the limits of plugin.default_*")),
    rule("more of the machine than usual", r#"{"resources": {"memory": "8g"}}"#, Approval("8 GiB of memory")),
    rule("a device", r#"{"devices": ["/dev/ttyUSB0"]}"#, Approval("/dev/ttyUSB0")),
    rule("a device in another place", r#"{"docker": {"devices": ["/dev/sda"]}}"#, Refused("in a place that nobody approves")),
    rule("a user by number", r#"{"docker": {"user": "1000:1000"}}"#, Given("that user, without any capability")),
    rule("root", r#"{"docker": {"user": "root"}}"#, Approval("root")),
    rule("a privileged container", r#"{"docker": {"privileged": true}}"#, Refused("no plugin gets one")),
    rule("a capability", r#"{"docker": {"cap_add": ["SYS_ADMIN"]}}"#, Refused("every plugin runs without any")),
    rule("a namespace of the host", r#"{"docker": {"pid_mode": "host"}}"#, Refused("asks for a namespace of the host")),
    rule("weaker confinement", r#"{"docker": {"security_opt": ["seccomp=unconfined"]}}"#, Refused("changes how a container is confined")),
    rule("another runtime", r#"{"docker": {"runtime": "other"}}"#, Refused("changes how a container is confined")),
    rule("the engine's own settings", r#"{"HostConfig": {"Privileged": true}}"#, Refused("the container engine's own settings")),
    // What it is told.
    rule("environment", r#"{"docker": {"environment": {"LEVEL": "debug"}}}"#, Given("under the framework's own variables, which win")),
    rule("its configuration in a place of its own", r#"{"docker": {"environment": {"PLUGIN_CONFIG": "/etc/the-plugin/x.json"}}}"#, Given("a second copy there, readable by its user alone")),
    rule("its configuration in the kernel's files", r#"{"docker": {"environment": {"PLUGIN_CONFIG": "/proc/x"}}}"#, Refused("would cover /proc")),
    rule("a schema for its configuration", r#"{"config_schema": {"type": "object"}}"#, Given("a configuration that does not fit is refused at the installation")),
    rule("a schema from elsewhere", r#"{"config_schema": {"$ref": "http://169.254.169.254/"}}"#, Refused("is no place in this schema")),
];

/// What every plugin has, whatever it asks for, and where that is made so.
pub const ALWAYS: &[(&str, &str)] = &[
    (
        "every capability dropped, no new privileges, the engine's default seccomp profile",
        "engine/docker/create.rs",
    ),
    ("never privileged, no namespace of the host, no restart by the engine", "engine/docker/create.rs"),
    ("limits on memory (swap included), processors, processes and open files", "policy/container.rs"),
    ("output in rotated files of 10 MiB, three of them", "policy/container.rs"),
    ("labels with installation, plugin, node, role and start, over those of the image", "policy/name.rs"),
    (
        "a login and a token of its own for each start, in the environment and on its topic",
        "policy/container.rs",
    ),
    ("its configuration in /config/plugin.json, for its user alone to read", "policy/container.rs"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use manifest::{framework_version, parse};
    use serde_json::Value;

    fn manifest(example: &str) -> Vec<u8> {
        let mut document = serde_json::json!({"id": "the-plugin", "name": "The plugin", "version": "1.0.0"});
        let more: Value = serde_json::from_str(example).expect("the example is JSON");
        for (key, value) in more.as_object().expect("an object") {
            document[key] = value.clone();
        }
        document.to_string().into_bytes()
    }

    #[test]
    fn each_rule_is_what_its_example_meets() {
        for rule in RULES {
            let read = parse(&manifest(rule.example), &framework_version());
            let grants = read.as_ref().map(|parsed| parsed.manifest.grants()).unwrap_or_default();
            match rule.outcome {
                Given(_) => assert!(read.is_ok() && grants.is_empty(), "{}: {read:?} {grants:?}", rule.asks),
                Approval(words) => {
                    assert_eq!(grants.len(), 1, "{}: {read:?}", rule.asks);
                    let sentence = grants[0].sentence();
                    assert!(sentence.contains(words), "{}: {sentence}", rule.asks);
                }
                Refused(words) => {
                    let faults = read.expect_err(rule.asks);
                    assert_eq!(faults.list().len(), 1, "{}: {faults}", rule.asks);
                    assert!(faults.list()[0].reason.contains(words), "{}: {faults}", rule.asks);
                }
            }
        }
    }

    #[test]
    fn what_is_always_so_is_made_so_where_the_table_says() {
        for (what, place) in ALWAYS {
            let path = format!("{}/src/{place}", env!("CARGO_MANIFEST_DIR"));
            assert!(std::path::Path::new(&path).exists(), "{what}: {place}");
        }
    }
}
