//! Names of things: plugins, operators, coordinators.
//!
//! An id becomes part of topics, container names and broker logins, so each is checked once, when it
//! is parsed, and can be trusted to be harmless afterwards.

use std::fmt;

use serde::{Deserialize, Serialize};

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

/// A plugin's identity: 2 to 64 of `A-Z a-z 0-9 . _ -`, alphanumeric at both ends, no `..`.
///
/// It is compared by exact bytes: `Focuser` and `focuser` are two plugins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PluginId(String);

impl PluginId {
    /// Fewest characters of an id.
    pub const MIN: usize = 2;
    /// Most characters of an id.
    pub const MAX: usize = 64;

    /// Checks `text` and takes it as an id.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        check(text, Self::MIN, Self::MAX)?;
        Ok(Self(text.to_owned()))
    }

    /// The id as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PluginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for PluginId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        Self::parse(&text)
    }
}

impl From<PluginId> for String {
    fn from(id: PluginId) -> Self {
        id.0
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
