//! Names of things: plugins, operators, coordinators.
//!
//! An id becomes part of topics, container names and broker logins, so each is checked once, when it
//! is parsed, and can be trusted to be harmless afterwards.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Shorter or longer than allowed.
    #[error("has {found} characters; use {min} to {max}")]
    Length {
        /// Characters found.
        found: usize,
        /// Fewest allowed.
        min: usize,
        /// Most allowed.
        max: usize,
    },
    /// A character that would mean something in a topic, a path or a container name.
    #[error("contains {0:?}; use only A-Z a-z 0-9 . _ -")]
    Character(char),
    /// Does not begin and end with a letter or a digit.
    #[error("must begin and end with a letter or a digit")]
    Edge,
    /// Contains `..`, which means "the folder above" in a path.
    #[error("contains \"..\"; use single dots")]
    DoubleDot,
}

/// A name that is checked when it is parsed: its type, its bounds, and what it is.
macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $min:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(extend("minLength" = $min, "maxLength" = $max, "pattern" = PATTERN))]
        pub struct $type(String);

        impl $type {
            /// Fewest characters.
            pub const MIN: usize = $min;
            /// Most characters.
            pub const MAX: usize = $max;

            /// Checks `text` and takes it.
            ///
            /// # Errors
            /// Says what is wrong with `text` and what is allowed.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                check(text, Self::MIN, Self::MAX)?;
                Ok(Self(text.to_owned()))
            }

            /// As it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }

        impl FromStr for $type {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl From<$type> for String {
            fn from(id: $type) -> Self {
                id.0
            }
        }
    };
}

const PATTERN: &str = "^[A-Za-z0-9](?:[A-Za-z0-9_-]|\\.(?!\\.))*[A-Za-z0-9]$";

name!(
    /// A plugin's identity: 2 to 64 of `A-Z a-z 0-9 . _ -`, alphanumeric at both ends, no `..`.
    ///
    /// It is compared by exact bytes: `Focuser` and `focuser` are two plugins.
    PluginId, 2, 64
);
name!(
    /// The name of an operator's account: 2 to 64 characters of the same kind as a plugin id.
    OperatorName, 2, 64
);
name!(
    /// One running process of a coordinator, unique among its replicas: 2 to 64 characters of the same
    /// kind as a plugin id.
    InstanceId, 2, 64
);

/// A random identity: its type and what it identifies.
macro_rules! random {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub struct $type(Uuid);

        impl $type {
            /// A new one, ordered by the time of its making (RFC 9562, version 7).
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl Default for $type {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $type {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

random!(
    /// One installation of a plugin: a plugin that is removed and installed again has another.
    InstallUid
);
random!(
    /// One start of a new container. It names the container, its login and the session of its tokens (`sid`).
    StartId
);
random!(
    /// One accepted request that takes longer than its handler.
    OperationId
);

/// Counts the versions of what an installation should be; it only grows inside one [`InstallUid`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Generation(pub u64);

impl Generation {
    /// That of a fresh installation.
    pub const FIRST: Self = Self(1);

    /// The next one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn check(text: &str, min: usize, max: usize) -> Result<(), IdError> {
    let found = text.chars().count();
    if let Some(bad) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || "._-".contains(*c))) {
        return Err(IdError::Character(bad));
    }
    if found < min || found > max {
        return Err(IdError::Length { found, min, max });
    }
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if !edge(text.chars().next()) || !edge(text.chars().last()) {
        return Err(IdError::Edge);
    }
    if text.contains("..") {
        return Err(IdError::DoubleDot);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_sdk_document_are_accepted() {
        for id in ["unique-plugin-guid", "my-plugin-guid", "a1", "org.example_x-2"] {
            assert_eq!(PluginId::parse(id).map(|i| i.to_string()), Ok(id.to_owned()));
        }
    }

    #[test]
    fn ids_that_could_leave_their_topic_or_folder_are_refused() {
        use IdError::*;
        let cases = [
            ("", Length { found: 0, min: 2, max: 64 }),
            ("a", Length { found: 1, min: 2, max: 64 }),
            ("a/b", Character('/')),
            ("a+", Character('+')),
            ("#a", Character('#')),
            ("a b", Character(' ')),
            ("a\0b", Character('\0')),
            ("é-plugin", Character('é')),
            ("-ab", Edge),
            ("ab.", Edge),
            ("a..b", DoubleDot),
        ];
        for (text, want) in cases {
            assert_eq!(PluginId::parse(text), Err(want), "{text:?}");
        }
        assert!(PluginId::parse(&"x".repeat(65)).is_err());
    }

    #[test]
    fn an_id_on_the_wire_is_checked_like_any_other() {
        assert!(serde_json::from_str::<PluginId>("\"../etc\"").is_err());
        assert!(serde_json::from_str::<PluginId>("\"focuser\"").is_ok());
    }
}
