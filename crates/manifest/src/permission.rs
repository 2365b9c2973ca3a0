//! Permissions: what a plugin may ask the framework for, as `resource:verb`.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a text is not a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PermissionError {
    /// No colon between resource and verb.
    #[error("has no resource and verb with a \":\" between them")]
    Form,
    /// A resource that does not exist.
    #[error("names a resource other than system, plugin, user and telescope/{{id}}")]
    Resource,
    /// An id of a telescope that cannot stand in a topic or a scope.
    #[error("names a telescope by an id other than 1 to 64 of A-Z a-z 0-9 . _ -, alphanumeric at both ends")]
    Telescope,
    /// A verb that does not exist.
    #[error("names a verb other than read, write, control and configure")]
    Verb,
}

/// What a permission is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// The framework as a whole.
    System,
    /// The other plugins and their lifecycle.
    Plugin,
    /// Data of users.
    User,
    /// One telescope, by its id.
    Telescope(String),
}

/// What may be done, in the SDK's words.
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

/// A permission. It is also one scope of a token (RFC 6749 section 3.3).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = PATTERN))]
pub struct Permission {
    /// What it is about.
    pub resource: Resource,
    /// What may be done with it.
    pub verb: Verb,
}

const PATTERN: &str = "^(?:system|plugin|user|telescope/[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?)\
                       :(?:read|write|control|configure)$";

impl Permission {
    /// Takes `resource:verb`.
    ///
    /// # Errors
    /// Says which part is unknown, and which exist.
    pub fn parse(text: &str) -> Result<Self, PermissionError> {
        let (resource, verb) = text.rsplit_once(':').ok_or(PermissionError::Form)?;
        let resource = match resource {
            "system" => Resource::System,
            "plugin" => Resource::Plugin,
            "user" => Resource::User,
            _ => match resource.strip_prefix("telescope/") {
                Some(id) if is_telescope(id) => Resource::Telescope(id.to_owned()),
                Some(_) => return Err(PermissionError::Telescope),
                None => return Err(PermissionError::Resource),
            },
        };
        let verb = Verb::ALL.into_iter().find(|v| v.as_str() == verb);
        Ok(Self { resource, verb: verb.ok_or(PermissionError::Verb)? })
    }

    /// Whether an operator has to agree. Reading needs no approval, except of users' data, which the SDK
    /// document promises to open with explicit permission only.
    pub fn needs_approval(&self) -> bool {
        self.verb != Verb::Read || self.resource == Resource::User
    }
}

impl Verb {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Control, Self::Configure];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Control => "control",
            Self::Configure => "configure",
        }
    }
}

fn is_telescope(id: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    id.len() <= 64
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && edge(id.chars().next())
        && edge(id.chars().last())
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::Plugin => f.write_str("plugin"),
            Self::User => f.write_str("user"),
            Self::Telescope(id) => write!(f, "telescope/{id}"),
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.resource, self.verb.as_str())
    }
}

impl FromStr for Permission {
    type Err = PermissionError;

    fn from_str(text: &str) -> Result<Self, PermissionError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Permission {
    type Error = PermissionError;

    fn try_from(text: String) -> Result<Self, PermissionError> {
        Self::parse(&text)
    }
}

impl From<Permission> for String {
    fn from(permission: Permission) -> Self {
        permission.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_written_as_they_are_read() {
        for text in
            ["system:read", "plugin:control", "user:write", "telescope/main-1:configure", "telescope/1:read"]
        {
            assert_eq!(Permission::parse(text).map(|p| p.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_is_no_permission_is_refused() {
        use PermissionError::*;
        for (text, want) in [
            ("", Form),
            ("system", Form),
            ("system:", Verb),
            ("system:READ", Verb),
            ("system:delete", Verb),
            ("system:read ", Verb),
            ("systems:read", Resource),
            (":read", Resource),
            ("*:read", Resource),
            ("telescope:read", Resource),
            ("telescope/:read", Telescope),
            ("telescope/+:read", Telescope),
            ("telescope/a b:read", Telescope),
            ("telescope/a/b:read", Telescope),
            ("telescope/..:read", Telescope),
        ] {
            assert_eq!(Permission::parse(text), Err(want), "{text:?}");
        }
    }

    #[test]
    fn reading_needs_no_approval_except_of_users() {
        let needs = |text: &str| Permission::parse(text).expect("a permission").needs_approval();
        assert!(!needs("system:read") && !needs("telescope/1:read"));
        assert!(needs("user:read") && needs("system:write") && needs("telescope/1:control"));
    }
}
