//! Who speaks: coordinators, operators, plugins.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{OperatorName, PluginId};

/// One of the three coordinators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Coordinator {
    /// Registry, container lifecycle, plugin health.
    Plugin,
    /// Broker identities and topic ACLs.
    Message,
    /// Keys, tokens, revocations.
    Security,
}

impl Coordinator {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Plugin, Self::Message, Self::Security];

    /// As it is written in topics and logins.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plugin => "plugin",
            Self::Message => "message",
            Self::Security => "security",
        }
    }
}

impl fmt::Display for Coordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Coordinator {
    type Err = UnknownCoordinator;

    fn from_str(text: &str) -> Result<Self, UnknownCoordinator> {
        Self::ALL.into_iter().find(|c| c.as_str() == text).ok_or(UnknownCoordinator)
    }
}

/// The text names none of the three coordinators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such coordinator; the coordinators are plugin, message and security")]
pub struct UnknownCoordinator;

/// Who made a request, as its topic proves: the broker lets just one principal write there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", content = "name", rename_all = "lowercase")]
pub enum Principal {
    /// Somebody with the operator's role, on a topic that does not tell operators apart.
    Unnamed,
    /// An operator's account.
    Operator(OperatorName),
    /// An installed plugin.
    Plugin(PluginId),
    /// Another coordinator.
    Coordinator(Coordinator),
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unnamed => f.write_str("operator (unnamed)"),
            Self::Operator(name) => write!(f, "operator:{name}"),
            Self::Plugin(id) => write!(f, "plugin:{id}"),
            Self::Coordinator(c) => write!(f, "coordinator:{c}"),
        }
    }
}

/// What an operator's account may do. Each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OperatorRole {
    /// Look: states, health, events, who may do what.
    Viewer,
    /// Also run what is installed: start, stop, restart, and tell plugins what to do.
    Operator,
    /// Also decide what is installed, what it is granted, who has an account, and which keys are used.
    Admin,
}

impl OperatorRole {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The verbs of the permissions that it has, on every resource.
    pub fn verbs(self) -> &'static [&'static str] {
        match self {
            Self::Viewer => &["read"],
            Self::Operator => &["read", "control"],
            Self::Admin => &["read", "control", "write", "configure"],
        }
    }
}

impl fmt::Display for OperatorRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OperatorRole {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

/// The text names none of the three roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such role; the roles are viewer, operator and admin")]
pub struct UnknownRole;

/// The broker login of a plugin, `plugin.{id}`.
pub fn plugin_login(id: &PluginId) -> String {
    format!("plugin.{id}")
}

/// The broker login of an operator, `operator.{name}`.
pub fn operator_login(name: &OperatorName) -> String {
    format!("operator.{name}")
}

/// The broker login of a coordinator, `coordinator.{c}`.
pub fn coordinator_login(coordinator: Coordinator) -> String {
    format!("coordinator.{coordinator}")
}

/// The other broker login of a coordinator, `coordinator.{c}.2`. There is usually one of the two; while
/// passwords are renewed there are both, and the coordinator goes over from one to the other.
pub fn coordinator_other_login(coordinator: Coordinator) -> String {
    format!("coordinator.{coordinator}.2")
}

/// Whose broker login that is, when it is one of a coordinator's two.
pub fn coordinator_of_login(login: &str) -> Option<Coordinator> {
    Coordinator::ALL
        .into_iter()
        .find(|c| coordinator_login(*c) == login || coordinator_other_login(*c) == login)
}
