//! The two permanent canaries. Their ids begin as no plugin's can, so nothing else is ever named so.

use envelope::payload::spec::{Presence, Spec};
use envelope::topic::plugin;
use envelope::{Generation, InstallUid, PluginId};

/// The ids of both.
pub(crate) fn ids() -> [PluginId; 2] {
    ["bigskies-canary-a", "bigskies-canary-b"]
        .map(|id| PluginId::parse(id).expect("it is of the allowed characters"))
}

/// Whether this is one of them.
pub(crate) fn is_canary(id: &PluginId) -> bool {
    ids().contains(id)
}

/// What a plugin with this id asks that declares the most that is granted without asking.
pub(crate) fn spec(id: &PluginId) -> Spec {
    Spec {
        plugin_id: id.clone(),
        uid: InstallUid::new(),
        generation: Generation::FIRST,
        node: "none".into(),
        presence: Presence::Present,
        alias: None,
        client_ids: Vec::new(),
        publish: vec![plugin::namespace(id)],
        subscribe: vec![plugin::namespace(id)],
        health_topic: plugin::health(id),
        permissions: Vec::new(),
        manifest_digest: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canaries_are_granted_what_they_ask_and_nothing_needs_an_operator() {
        for id in ids() {
            assert!(is_canary(&id));
            let roles = acl::compile::compile(&spec(&id)).expect("it is granted");
            assert_eq!(roles, acl::compile::compile(&spec(&id)).expect("again"), "whatever the install");
        }
    }
}
