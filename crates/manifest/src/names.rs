//! The names of a plugin on `bigskies-network`.
//!
//! A container that answers to the broker's name would collect passwords, and one that answers to a name
//! of the internet would be asked in its place. So names are plain labels without dots, and those of the
//! framework and of engines are reserved.

use envelope::{Coordinator, PluginId};

/// Longest label that resolvers ask for (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

/// Names that engines, resolvers and the framework's own deployment answer to. Beside them nobody may have
/// `bigskies-…` and the name of a coordinator.
pub const RESERVED_NAMES: [&str; 24] = [
    "mqtt-broker",
    "broker",
    "mosquitto",
    "mqtt",
    "localhost",
    "localdomain",
    "bigskies",
    "init",
    "rotate",
    "tools",
    "cli",
    "operator",
    "registry",
    "postgres",
    "forwarder",
    "otel-collector",
    "gateway",
    "host",
    "host-docker-internal",
    "gateway-docker-internal",
    "host-containers-internal",
    "kubernetes",
    "metadata",
    "wpad",
];
const RESERVED_PREFIX: &str = "bigskies-";

/// The name that `id` becomes: lower case, with `-` in the place of each `.`.
pub fn dns_name(id: &PluginId) -> String {
    id.as_str().to_ascii_lowercase().replace('.', "-")
}

/// Whether no plugin may have this name.
pub fn is_reserved_name(name: &str) -> bool {
    let coordinator = |c: Coordinator| name.strip_suffix("-coordinator") == Some(c.as_str());
    RESERVED_NAMES.contains(&name)
        || name.starts_with(RESERVED_PREFIX)
        || Coordinator::ALL.into_iter().any(coordinator)
}

/// What is odd about the name that `id` becomes.
pub(crate) fn oddity(id: &PluginId) -> Option<String> {
    let name = dns_name(id);
    if name.len() > MAX_LABEL {
        return Some(format!("is too long for a name on the network: {name} cannot be resolved"));
    }
    if name.bytes().all(|b| b.is_ascii_digit()) {
        return Some(format!("is a number: resolvers take {name} for an address"));
    }
    if id.as_str().contains('.') {
        return Some(format!("contains \".\"; the plugin's name on the network is {name}"));
    }
    if name.contains('_') {
        return Some(format!("contains \"_\"; some programs refuse {name} as a name on the network"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> PluginId {
        PluginId::parse(text).expect("an id")
    }

    #[test]
    fn a_name_is_one_label_in_lower_case() {
        assert_eq!(dns_name(&id("Org.Example.Focuser_2")), "org-example-focuser_2");
        assert_eq!(oddity(&id("focuser-2")), None);
        for odd in ["a.b", "a_b", "127001", &"x".repeat(64)] {
            assert!(oddity(&id(odd)).is_some(), "{odd}");
        }
    }

    #[test]
    fn names_that_others_answer_to_are_reserved_however_they_are_written() {
        for text in [
            "mqtt-broker",
            "MQTT-Broker",
            "mqtt.broker",
            "localhost",
            "bigskies-x",
            "bigskies.plugin",
            "init",
            "tools",
            "plugin-coordinator",
            "security-coordinator",
            "Message-Coordinator",
            "host.docker.internal",
            "gateway.docker.internal",
            "gateway",
        ] {
            assert!(is_reserved_name(&dns_name(&id(text))), "{text}");
        }
        for text in ["message", "plugin", "my-mqtt-broker", "dome-coordinator", "toolset"] {
            assert!(!is_reserved_name(&dns_name(&id(text))), "{text}");
        }
    }
}
