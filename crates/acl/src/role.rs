//! How roles are put together and named.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use envelope::{OperatorName, PluginId};

use crate::dynsec::{Acl, AclType, Role};

/// Where the roles of a plugin's login stand to one another: the first that has a matching rule decides.
///
/// What every plugin gets under its own id stands above what no plugin may do, so that the exceptions
/// (its own token, its own requests) need no rule of their own; and what its manifest asks stands below.
pub mod priority {
    /// What every plugin gets.
    pub const OWN: i32 = 300;
    /// What no plugin may do.
    pub const GUARD: i32 = 200;
    /// What a manifest asks.
    pub const MANIFEST: i32 = 100;
    /// The one role, or the only roles, of a coordinator or operator.
    pub const FIXED: i32 = 100;
}

/// The name of the role that every plugin gets under its own id.
///
/// Like all roles of plugins it is named after its content and never changed: another version of the
/// framework, or another generation of the plugin, makes another role beside it, and the login gets that
/// with its next start. So neither disconnects a running plugin. A `:` occurs in no id.
pub fn own_name(id: &PluginId, acls: &[Acl]) -> String {
    named(&format!("plugin.{id}:own"), acls)
}

/// The name of the role of a plugin's manifest.
pub fn manifest_name(id: &PluginId, acls: &[Acl]) -> String {
    named(&format!("plugin.{id}:manifest"), acls)
}

/// The name of the guard role.
pub fn guard_name(acls: &[Acl]) -> String {
    named("guard", acls)
}

/// The plugin that a role belongs to, by its name.
pub fn plugin_of(rolename: &str) -> Option<PluginId> {
    let (id, _) = rolename.strip_prefix("plugin.")?.split_once(':')?;
    PluginId::parse(id).ok()
}

/// The operator's account whose own role it is, by its name.
pub fn operator_of(rolename: &str) -> Option<OperatorName> {
    OperatorName::parse(rolename.strip_prefix("operator.")?).ok()
}

/// Whether a name is one of the guard's.
pub fn is_guard(rolename: &str) -> bool {
    rolename.starts_with("guard:")
}

/// Whether a role's name is made of its rules: then it is as it was made, whichever version made it.
pub fn is_genuine(role: &Role) -> bool {
    role.rolename.rsplit_once(':').is_some_and(|(prefix, _)| named(prefix, &role.acls) == role.rolename)
}

/// `prefix`, and the first 16 bytes of the SHA-256 over the rules.
fn named(prefix: &str, acls: &[Acl]) -> String {
    let mut sorted: Vec<&Acl> = acls.iter().collect();
    sorted.sort();
    let text = serde_json::to_vec(&sorted).expect("text, numbers and lists always serialise");
    let digest = digest::digest(&digest::SHA256, &text);
    let mut name = format!("{prefix}:");
    for byte in &digest.as_ref()[..16] {
        write!(name, "{byte:02x}").expect("a String takes all");
    }
    name
}

/// Rules in the making.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules(Vec<Acl>);

impl Rules {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Allows publishing to `topics`.
    pub(crate) fn publish<T: Into<String>>(self, topics: impl IntoIterator<Item = T>) -> Self {
        self.all(AclType::PublishClientSend, topics, true, 0)
    }

    /// Allows subscribing to whatever lies inside `topics`, and being delivered it.
    pub(crate) fn subscribe<T: Into<String>>(self, topics: impl IntoIterator<Item = T>) -> Self {
        let topics: Vec<String> = topics.into_iter().map(Into::into).collect();
        self.all(AclType::SubscribePattern, topics.clone(), true, 0).receive(topics)
    }

    /// Allows subscribing to exactly `topics`, and being delivered what they match.
    pub(crate) fn subscribe_literally<T: Into<String>>(self, topics: impl IntoIterator<Item = T>) -> Self {
        let topics: Vec<String> = topics.into_iter().map(Into::into).collect();
        self.all(AclType::SubscribeLiteral, topics.clone(), true, 0).receive(topics)
    }

    fn receive<T: Into<String>>(self, topics: impl IntoIterator<Item = T>) -> Self {
        self.all(AclType::PublishClientReceive, topics, true, 0)
    }

    /// Adds one rule for each of `topics`; the first of two for the same stays, as at the broker.
    pub(crate) fn all<T: Into<String>>(
        mut self,
        acltype: AclType,
        topics: impl IntoIterator<Item = T>,
        allow: bool,
        priority: i32,
    ) -> Self {
        for topic in topics {
            let acl = Acl { acltype, topic: topic.into(), priority, allow };
            if !self.0.iter().any(|a| a.acltype == acl.acltype && a.topic == acl.topic) {
                self.0.push(acl);
            }
        }
        self
    }

    /// Gives the rules of `acltype` for `topics` another priority.
    pub(crate) fn raise(mut self, acltype: AclType, topics: &[String], priority: i32) -> Self {
        for acl in &mut self.0 {
            if acl.acltype == acltype && topics.contains(&acl.topic) {
                acl.priority = priority;
            }
        }
        self
    }

    /// The rules, in a role whose name is made of them.
    pub(crate) fn into_role(self, name: impl FnOnce(&[Acl]) -> String) -> Role {
        Role { rolename: name(&self.0), acls: self.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> PluginId {
        PluginId::parse(text).expect("an id")
    }

    #[test]
    fn a_role_is_named_after_its_rules_and_not_after_their_order() {
        let a = Rules::new().publish(["x", "y"]).into_role(|acls| own_name(&id("p1"), acls));
        let b = Rules::new().publish(["y", "x", "y"]).into_role(|acls| own_name(&id("p1"), acls));
        let c = Rules::new().publish(["x"]).into_role(|acls| own_name(&id("p1"), acls));
        assert_eq!(a.rolename, b.rolename);
        assert_ne!(a.rolename, c.rolename);
        assert!(a.has_rules_of(&b) && !a.has_rules_of(&c));
    }

    #[test]
    fn no_plugin_can_be_named_so_that_its_roles_are_anothers() {
        let mine = manifest_name(&id("victim"), &[]);
        let hash = mine.rsplit(':').next().expect("a hash");
        for evil in ["victim.manifest", &format!("victim.{hash}"), "victim-own"] {
            assert_ne!(manifest_name(&id(evil), &[]), mine);
            assert_ne!(own_name(&id(evil), &[]), mine);
        }
        assert!(PluginId::parse("victim:own").is_err());
        assert_eq!(plugin_of(&mine), Some(id("victim")));
        assert_eq!(plugin_of("guard:00"), None);
    }

    #[test]
    fn a_role_that_was_changed_by_hand_is_not_genuine() {
        let mut role = Rules::new().publish(["x"]).into_role(|acls| own_name(&id("p1"), acls));
        assert!(is_genuine(&role));
        role.acls[0].topic = "#".into();
        assert!(!is_genuine(&role));
        assert!(!is_genuine(&Role { rolename: "operator".into(), acls: vec![] }));
    }
}
