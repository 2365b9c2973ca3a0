//! Operators' accounts.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::OperatorName;
use crate::principal::OperatorRole;
use crate::time::Timestamp;

/// A password on its way to an account. It shows itself nowhere, nor does what is sent in its place.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "serde_json::Value")]
#[schemars(with = "String", extend("minLength" = Self::LEAST))]
pub struct NewPassword(String);

impl TryFrom<serde_json::Value> for NewPassword {
    type Error = &'static str;

    fn try_from(value: serde_json::Value) -> Result<Self, Self::Error> {
        match value {
            serde_json::Value::String(text) => Ok(Self(text)),
            _ => Err("a password is text"),
        }
    }
}

impl NewPassword {
    /// Least length, in characters: the broker hashes with few rounds, because it does so on its only thread.
    pub const LEAST: usize = 16;
    /// Most length, in bytes.
    pub const MOST: usize = 256;

    /// A password.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The password itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Why no account takes it, whatever the account's name.
    pub fn fault(&self) -> Option<PasswordFault> {
        let characters = self.0.chars().count();
        if characters < Self::LEAST {
            Some(PasswordFault::Short(characters))
        } else if self.0.len() > Self::MOST {
            Some(PasswordFault::Long(self.0.len()))
        } else if self.0.chars().any(char::is_control) {
            Some(PasswordFault::Control)
        } else {
            None
        }
    }
}

impl fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewPassword(…)")
    }
}

/// What is wrong with a password. It never shows the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFault {
    /// Too few characters.
    #[error("has {0} characters, and must have at least {least}", least = NewPassword::LEAST)]
    Short(usize),
    /// Too many bytes.
    #[error("has {0} bytes, and must have at most {most}", most = NewPassword::MOST)]
    Long(usize),
    /// It cannot be typed, or be written into a file of settings.
    #[error("contains a control character, such as a tab or the end of a line")]
    Control,
    /// The first thing that anybody tries.
    #[error("is the account's name")]
    IsName,
}

/// `operators`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperatorsRequest {}

/// `add-operator`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AddOperatorRequest {
    /// The account's name.
    pub name: OperatorName,
    /// What it may do.
    pub role: OperatorRole,
    /// Its password, 16 characters to 256 bytes.
    pub password: NewPassword,
}

/// `change-operator`. What is left out stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeOperatorRequest {
    /// The account's name.
    pub name: OperatorName,
    /// What it may do from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<OperatorRole>,
    /// Its new password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<NewPassword>,
    /// Whether it can log in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// `remove-operator`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemoveOperatorRequest {
    /// The account's name.
    pub name: OperatorName,
}

/// An operator's account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperatorAccount {
    /// Its name; the broker login is `operator.{name}`.
    pub name: OperatorName,
    /// What it may do.
    pub role: OperatorRole,
    /// Whether it cannot log in.
    pub disabled: bool,
    /// When it was made; of the one that the installation began with, nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Whether its last change is not known to be at the broker yet; it gets there without being asked again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pending: bool,
    /// What else there is to do after a change, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The answer to `operators`, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperatorsResponse {
    /// Every account.
    pub operators: Vec<OperatorAccount>,
}

/// The answer to `remove-operator`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperatorRemoved {
    /// The account that is gone.
    pub name: OperatorName,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_as_a_password_is_never_shown() {
        let password: NewPassword = serde_json::from_str("\"correct horse battery\"").expect("text");
        assert_eq!(password.expose(), "correct horse battery");
        assert!(!format!("{password:?}").contains("horse"));
        for other in ["12345678901234567", "[\"12345678901234567\"]", "true", "null"] {
            let request = format!(r#"{{"name": "alice", "role": "viewer", "password": {other}}}"#);
            let error = serde_json::from_str::<AddOperatorRequest>(&request).expect_err(other).to_string();
            assert!(error.contains("a password is text") && !error.contains("123456"), "{error}");
        }
    }
}
