//! What can be asked of whom, by whom: the one table that the topics, the broker's roles and every
//! coordinator's router are made from.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::principal::Coordinator;

/// Something a coordinator does on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Registers a plugin and pulls its image.
    Install,
    /// Runs an installed plugin and waits until it is ready.
    Start,
    /// Stops a plugin and removes its container.
    Stop,
    /// Stops and starts a plugin.
    Restart,
    /// Uninstalls a plugin.
    Remove,
    /// Tells all plugins and their states.
    List,
    /// Tells everything about one plugin.
    Inspect,
    /// Tells the last lines that a plugin wrote.
    Logs,
    /// Tells whether a plugin may publish or subscribe to a topic, and by which rule.
    Explain,
    /// Tells the claims of a plugin's token, and whether a token is valid.
    Introspect,
    /// Makes the broker login of one start of a plugin (between coordinators).
    Provision,
    /// Takes the broker login of one start away (between coordinators).
    Deprovision,
    /// Issues the token of one start (between coordinators).
    Issue,
    /// Revokes the tokens of one start (between coordinators).
    Revoke,
}

/// Who may ask for an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// Operators, and plugins whose token carries this permission.
    People {
        /// What a plugin's token must carry.
        permission: &'static str,
    },
    /// Exactly one coordinator, on the internal topics.
    Internal(Coordinator),
}

impl Operation {
    /// All operations.
    pub const ALL: [Self; 14] = [
        Self::Install,
        Self::Start,
        Self::Stop,
        Self::Restart,
        Self::Remove,
        Self::List,
        Self::Inspect,
        Self::Logs,
        Self::Explain,
        Self::Introspect,
        Self::Provision,
        Self::Deprovision,
        Self::Issue,
        Self::Revoke,
    ];

    /// As it is written in topics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Remove => "remove",
            Self::List => "list",
            Self::Inspect => "inspect",
            Self::Logs => "logs",
            Self::Explain => "explain",
            Self::Introspect => "introspect",
            Self::Provision => "provision",
            Self::Deprovision => "deprovision",
            Self::Issue => "issue",
            Self::Revoke => "revoke",
        }
    }

    /// Who does it.
    pub fn coordinator(self) -> Coordinator {
        match self {
            Self::Install
            | Self::Start
            | Self::Stop
            | Self::Restart
            | Self::Remove
            | Self::List
            | Self::Inspect
            | Self::Logs => Coordinator::Plugin,
            Self::Explain | Self::Provision | Self::Deprovision => Coordinator::Message,
            Self::Introspect | Self::Issue | Self::Revoke => Coordinator::Security,
        }
    }

    /// Who may ask for it.
    pub fn callers(self) -> Callers {
        match self {
            Self::Install | Self::Remove => Callers::People { permission: "plugin:configure" },
            Self::Start | Self::Stop | Self::Restart => Callers::People { permission: "plugin:control" },
            Self::List | Self::Inspect | Self::Explain => Callers::People { permission: "plugin:read" },
            Self::Logs | Self::Introspect => Callers::People { permission: "system:read" },
            Self::Provision | Self::Deprovision | Self::Issue | Self::Revoke => {
                Callers::Internal(Coordinator::Plugin)
            }
        }
    }

    /// Whether it only passes between coordinators.
    pub fn is_internal(self) -> bool {
        matches!(self.callers(), Callers::Internal(_))
    }

    /// The operation of `coordinator` that is written `name` in topics, among the internal ones or
    /// among the others.
    pub fn find(coordinator: Coordinator, name: &str, internal: bool) -> Option<Self> {
        Self::of(coordinator).find(|o| o.as_str() == name && o.is_internal() == internal)
    }

    /// Everything that `coordinator` does.
    pub fn of(coordinator: Coordinator) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |o| o.coordinator() == coordinator)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
