//! Keys with which container descriptions ask for rights that no plugin can have.

use serde_json::Value;

use crate::fault::{Findings, quoted};
use crate::read::Object;

/// Keys in lower case without `_` and `-`, so that compose's, the engine's and other spellings are one; why
/// none of them can be granted, and what to do instead.
struct Rule {
    /// Keys that mean the same wherever they stand.
    plain: &'static [&'static str],
    /// Keys that mean it in a description of a container only; elsewhere they are ordinary words.
    words: &'static [&'static str],
    reason: &'static str,
    fix: &'static str,
}

const LEAVE_OUT: &str = "leave the key out";

const RULES: [Rule; 9] = [
    Rule {
        plain: &["privileged"],
        words: &[],
        reason: "asks for a privileged container, which owns its host; no plugin gets one",
        fix: "leave the key out, and list what the plugin needs under \"devices\" or \"permissions\"",
    },
    Rule {
        plain: &["capadd"],
        words: &["capabilities"],
        reason: "changes kernel capabilities; every plugin runs without any",
        fix: LEAVE_OUT,
    },
    Rule {
        plain: &["networkmode", "hostnetwork"],
        words: &["network"],
        reason: "chooses another network; every plugin is on bigskies-network, and none on its host's",
        fix: "leave the key out; ports are published with \"docker.ports\"",
    },
    Rule {
        plain: &[
            "pidmode",
            "hostpid",
            "ipcmode",
            "hostipc",
            "utsmode",
            "usernsmode",
            "cgroupnsmode",
            "cgroupparent",
        ],
        words: &["pid", "ipc", "uts", "userns", "cgroup", "cgroupns"],
        reason: "asks for a namespace of the host; every plugin has its own",
        fix: LEAVE_OUT,
    },
    Rule {
        plain: &["devicecgrouprules", "devicerequests"],
        words: &["devices", "gpus"],
        reason: "asks for devices in a place that nobody approves",
        fix: "list the devices under the manifest's own key \"devices\"",
    },
    Rule {
        plain: &["securityopt", "oomscoreadj", "oomkilldisable", "groupadd"],
        words: &["apparmor", "seccomp", "sysctls", "runtime"],
        reason: "changes how a container is confined; that is the same for every plugin",
        fix: LEAVE_OUT,
    },
    Rule {
        plain: &["volumesfrom", "volumedriver"],
        words: &["mounts", "binds"],
        reason: "mounts in a way that cannot be checked",
        fix: "list volumes under \"docker.volumes\"",
    },
    Rule {
        plain: &["extrahosts", "externallinks", "networkaliases"],
        words: &["links", "aliases"],
        reason: "chooses names on the network; they are made from the plugin's id and alias",
        fix: LEAVE_OUT,
    },
    Rule {
        plain: &["hostconfig", "dockersocket", "dockersock"],
        words: &[],
        reason: "asks for the container engine's own settings",
        fix: LEAVE_OUT,
    },
];

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the manifest itself.
    Manifest,
    /// In its block `docker`.
    Container,
}

/// Refuses the forbidden ones among the keys that have no meaning in `object`; warns of the others.
pub(crate) fn sort_unknown(object: &Object<'_>, place: Place, found: &mut Findings) {
    for (key, node) in object.unknown() {
        let plain: String =
            key.chars().filter(|c| !"_-".contains(*c)).map(|c| c.to_ascii_lowercase()).collect();
        let names = |keys: &[&str]| keys.contains(&plain.as_str());
        let rule =
            RULES.iter().find(|rule| names(rule.plain) || (place == Place::Container && names(rule.words)));
        match rule {
            Some(rule) if !asks_for_nothing(node.value) => {
                found.fault(&node.at, rule.reason, rule.fix);
            }
            _ => found.warn(&node.at, format!("the key {} has no meaning here and is ignored", quoted(key))),
        }
    }
}

fn asks_for_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) | Value::Number(_) => false,
        Value::String(text) => text.is_empty() || text == super::NETWORK,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}
