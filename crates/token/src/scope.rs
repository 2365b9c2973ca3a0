//! The scope of a token: the set of permissions that were granted.
//!
//! What a permission is, the manifest decides ([`manifest::Permission`]). A permission covers itself only. In
//! particular no verb includes another: who may write need not be allowed to read, and says so in its
//! manifest.

use std::collections::BTreeSet;
use std::fmt;

use envelope::payload::token::Claims;
pub use manifest::{Permission, PermissionError, Resource, Verb};

/// Most permissions in one scope; with it a token stays far below [`crate::MAX_BYTES`].
pub const MAX_PERMISSIONS: usize = 64;

/// Why a text is not a scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// One of its parts is not a permission.
    #[error("permission {text:?} {reason}; write it as resource:verb, for example \"system:read\"")]
    Permission {
        /// The part, cut short.
        text: String,
        /// What is wrong with it.
        reason: PermissionError,
    },
    /// More than [`MAX_PERMISSIONS`].
    #[error("{0} permissions are asked for; {MAX_PERMISSIONS} are the most that a token carries")]
    TooMany(usize),
}

/// Whether every plugin has `permission` without asking: the SDK makes system data readable to all.
fn is_granted_to_all(permission: &Permission) -> bool {
    permission.resource == Resource::System && permission.verb == Verb::Read
}

/// A set of permissions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope(BTreeSet<Permission>);

impl Scope {
    /// Reads permissions, one each, as a manifest and an issue request list them; repeats are one.
    pub fn parse<'a>(permissions: impl IntoIterator<Item = &'a str>) -> Result<Self, ScopeError> {
        let read = |text: &str| {
            let excerpt = || crate::refusal::excerpt(text);
            Permission::parse(text).map_err(|reason| ScopeError::Permission { text: excerpt(), reason })
        };
        let set = permissions.into_iter().map(read).collect::<Result<BTreeSet<Permission>, _>>()?;
        match set.len() {
            most if most > MAX_PERMISSIONS => Err(ScopeError::TooMany(most)),
            _ => Ok(Self(set)),
        }
    }

    /// What verified claims grant. Permissions that this version does not know grant nothing.
    pub fn granted(claims: &Claims) -> Self {
        Self(claims.scope.split(' ').filter_map(|permission| permission.parse().ok()).collect())
    }

    /// Whether `permission` is granted: literally, or because every plugin has it.
    pub fn covers(&self, permission: &Permission) -> bool {
        is_granted_to_all(permission) || self.0.contains(permission)
    }

    /// The permissions, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = &Permission> {
        self.0.iter()
    }
}

/// As the `scope` claim says it: separated by single spaces, in a fixed order (RFC 6749, 3.3).
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, permission) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{permission}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn permission(text: &str) -> Permission {
        text.parse().expect("a permission")
    }

    #[test]
    fn what_is_no_permission_is_refused_with_what_and_why() {
        let refused = |text: &str| Scope::parse(["system:read", text]).expect_err("refused").to_string();
        assert!(refused("moon:read").contains("\"moon:read\" names a resource other than system"));
        assert!(refused("system:*").contains("\"system:*\" names a verb other than read"));
        let long = refused(&"x".repeat(5_000));
        assert!(long.chars().count() < 300, "{long}");
        assert!(!refused("\u{1b}[2J").contains('\u{1b}'));
    }

    #[test]
    fn no_verb_and_no_resource_includes_another() {
        let scope = Scope::parse(["telescope/a:control", "system:configure"]).expect("a scope");
        assert!(scope.covers(&permission("telescope/a:control")));
        for text in [
            "telescope/a:read",
            "telescope/a:write",
            "telescope/b:control",
            "system:write",
            "user:read",
            "plugin:control",
        ] {
            assert!(!scope.covers(&permission(text)), "{text}");
        }
    }

    #[test]
    fn only_system_data_is_readable_without_a_grant() {
        let nothing = Scope::default();
        assert!(nothing.covers(&permission("system:read")));
        for text in ["user:read", "plugin:read", "telescope/a:read", "system:write"] {
            assert!(!nothing.covers(&permission(text)), "{text}");
        }
    }

    #[test]
    fn too_many_permissions_are_refused_and_repeats_are_one() {
        let many: Vec<String> = (0..=MAX_PERMISSIONS).map(|n| format!("telescope/{n}:read")).collect();
        assert_eq!(
            Scope::parse(many.iter().map(String::as_str)),
            Err(ScopeError::TooMany(MAX_PERMISSIONS + 1))
        );
        assert!(Scope::parse(many.iter().skip(1).map(String::as_str)).is_ok());
        let twice = Scope::parse(["user:read", "system:read", "user:read"]).expect("a scope");
        assert_eq!(twice.to_string(), "system:read user:read");
    }

    proptest! {
        #[test]
        fn a_scope_is_read_back_from_what_was_written(
            list in proptest::collection::vec("(system|plugin|user|telescope/[a-z]{1,4}):(read|write|control|configure)", 0..8),
            odd in ".{0,40}",
        ) {
            let scope = Scope::parse(list.iter().map(String::as_str)).expect("permissions");
            let text = scope.to_string();
            let again = Scope::parse(text.split(' ').filter(|p| !p.is_empty())).expect("just written");
            prop_assert_eq!(&again, &scope);
            // Any other text is read without a panic, and what is read is written alike.
            if let Ok(one) = Scope::parse([odd.as_str()]) {
                prop_assert_eq!(one.to_string(), odd);
            }
        }
    }
}
