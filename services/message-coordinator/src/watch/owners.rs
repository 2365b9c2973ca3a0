//! Whose a client id is.

use envelope::PluginId;
use envelope::payload::spec::{Presence, Spec};

use crate::specs::{Known, Specs};

/// The plugin whose the client id is: its id, its alias, or what its manifest declares. Ids and aliases go
/// first; what two plugins declare is nobody's.
pub(crate) fn owner_of(specs: &Specs, client_id: &str) -> Option<PluginId> {
    let installed = || {
        let known = specs.values().filter(|known| known.is_applied());
        known.map(|Known { spec, .. }| spec).filter(|spec| spec.presence == Presence::Present)
    };
    let named = |spec: &&Spec| {
        std::iter::once(&spec.plugin_id).chain(&spec.alias).any(|name| name.as_str() == client_id)
    };
    if let Some(spec) = installed().find(named) {
        return Some(spec.plugin_id.clone());
    }
    let mut declaring = installed().filter(|spec| spec.client_ids.iter().any(|id| id == client_id));
    match (declaring.next(), declaring.next()) {
        (Some(spec), None) => Some(spec.plugin_id.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use envelope::payload::spec::{AclOutcome, AclStatus};
    use envelope::{Generation, InstallUid, Timestamp};

    use super::*;

    fn id(text: &str) -> PluginId {
        PluginId::parse(text).expect("an id")
    }

    fn specs(all: &[(&str, &str, &[&str])]) -> Specs {
        let known = all.iter().map(|(name, alias, client_ids)| {
            let spec = Spec {
                plugin_id: id(name),
                uid: InstallUid::new(),
                generation: Generation::FIRST,
                node: "node".into(),
                presence: Presence::Present,
                alias: Some(id(alias)),
                client_ids: client_ids.iter().map(|&c| c.to_owned()).collect(),
                publish: vec![],
                subscribe: vec![],
                health_topic: String::new(),
                permissions: vec![],
                manifest_digest: String::new(),
            };
            let status = AclStatus {
                plugin_id: id(name),
                uid: spec.uid,
                generation: spec.generation,
                outcome: AclOutcome::Applied { role: String::new() },
                at: Timestamp::now(),
            };
            (id(name), Known { spec, status: Some(status) })
        });
        known.collect()
    }

    #[test]
    fn ids_and_aliases_go_before_what_a_manifest_declares() {
        let specs = specs(&[
            ("evil", "evil-alias", &["focuser", "mount", "shared", "own"]),
            ("focuser", "mount", &["shared"]),
        ]);
        let owner = |client_id| owner_of(&specs, client_id);
        for name in ["focuser", "mount"] {
            assert_eq!(owner(name), Some(id("focuser")));
        }
        assert_eq!(owner("own"), Some(id("evil")));
        assert_eq!(owner("shared"), None, "two declare it");
        assert_eq!(owner("nobody"), None);
    }
}
