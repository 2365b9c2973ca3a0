//! Permissions, `resource:verb`, and the scope of a token: the set of those that were granted.
//!
//! A permission covers itself only. In particular no verb includes another: who may write need
//! not be allowed to read, and says so in its manifest.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use envelope::payload::token::Claims;

/// Most permissions in one scope; with it a token stays far below [`crate::MAX_BYTES`].
pub const MAX_PERMISSIONS: usize = 64;

/// What a permission is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// The framework: coordinators, health, settings.
    System,
    /// Plugins and their lifecycle.
    Plugin,
    /// Data of users.
    User,
    /// One telescope, by its id.
    Telescope(String),
}

/// What may be done, in the SDK's four words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// View configurations and status.
    Read,
    /// Modify configurations.
    Write,
    /// Execute device commands.
    Control,
    /// Modify system settings.
    Configure,
}

/// One permission.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permission {
    /// About what.
    pub resource: Resource,
    /// To do what.
    pub verb: Verb,
}

/// Why a text is not a permission or a scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Not `resource:verb`.
    #[error("permission {0:?} has no verb; write it as resource:verb, for example \"system:read\"")]
    NoVerb(String),
    /// A resource that does not exist.
    #[error("permission {0:?} names an unknown resource; use system, plugin, user or telescope/{{id}}")]
    Resource(String),
    /// A verb that does not exist.
    #[error("permission {0:?} names an unknown verb; use read, write, control or configure")]
    Verb(String),
    /// More than [`MAX_PERMISSIONS`].
    #[error("{0} permissions are asked for; {MAX_PERMISSIONS} are the most that a token carries")]
    TooMany(usize),
}

impl Permission {
    /// Whether every plugin has it without asking: the SDK makes system data readable to all.
    pub fn is_granted_to_all(&self) -> bool {
        self.resource == Resource::System && self.verb == Verb::Read
    }
}

impl FromStr for Permission {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let (resource, verb) =
            text.rsplit_once(':').ok_or_else(|| ScopeError::NoVerb(crate::refusal::excerpt(text)))?;
        let shown = || crate::refusal::excerpt(text);
        let resource = match resource {
            "system" => Resource::System,
            "plugin" => Resource::Plugin,
            "user" => Resource::User,
            other => match other.strip_prefix("telescope/") {
                Some(id) if is_telescope_id(id) => Resource::Telescope(id.to_owned()),
                _ => return Err(ScopeError::Resource(shown())),
            },
        };
        let verb = match verb {
            "read" => Verb::Read,
            "write" => Verb::Write,
            "control" => Verb::Control,
            "configure" => Verb::Configure,
            _ => return Err(ScopeError::Verb(shown())),
        };
        Ok(Self { resource, verb })
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.resource {
            Resource::System => f.write_str("system")?,
            Resource::Plugin => f.write_str("plugin")?,
            Resource::User => f.write_str("user")?,
            Resource::Telescope(id) => write!(f, "telescope/{id}")?,
        }
        f.write_str(match self.verb {
            Verb::Read => ":read",
            Verb::Write => ":write",
            Verb::Control => ":control",
            Verb::Configure => ":configure",
        })
    }
}

/// A set of permissions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope(BTreeSet<Permission>);

impl Scope {
    /// Reads permissions, one each, as a manifest and an issue request list them; repeats are one.
    pub fn parse<'a>(permissions: impl IntoIterator<Item = &'a str>) -> Result<Self, ScopeError> {
        let set = permissions.into_iter().map(str::parse).collect::<Result<BTreeSet<Permission>, _>>()?;
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
        permission.is_granted_to_all() || self.0.contains(permission)
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

/// 1 to 64 of `A-Z a-z 0-9 . _ -`: the id becomes a level of a topic.
fn is_telescope_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn permission(text: &str) -> Permission {
        text.parse().expect("a permission")
    }

    #[test]
    fn permissions_of_the_design_are_read_and_written_alike() {
        for text in
            ["system:read", "plugin:control", "telescope/dome-1:control", "user:read", "system:configure"]
        {
            assert_eq!(permission(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_permission_is_refused_with_its_reason() {
        let long = format!("telescope/{}:read", "x".repeat(65));
        for text in [
            "moon:read",
            ":read",
            "telescope:read",
            "telescope/:read",
            "telescope/a/b:read",
            "telescope/+:read",
            "SYSTEM:read",
            &long,
        ] {
            assert!(matches!(text.parse::<Permission>(), Err(ScopeError::Resource(_))), "{text}");
        }
        for text in ["system:", "system:Read", "system:read ", "system:*"] {
            assert!(matches!(text.parse::<Permission>(), Err(ScopeError::Verb(_))), "{text}");
        }
        for text in ["", "system", "read"] {
            assert!(matches!(text.parse::<Permission>(), Err(ScopeError::NoVerb(_))), "{text}");
        }
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
        fn any_text_is_read_without_a_panic_and_what_is_read_is_written_alike(text in ".{0,40}|(system|telescope/[a-z]{1,4}):[a-z]{4,7}") {
            if let Ok(permission) = text.parse::<Permission>() {
                prop_assert_eq!(permission.to_string(), text);
            }
        }
    }
}
