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
