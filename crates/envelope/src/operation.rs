//! What can be asked of whom, by whom: the one table that the topics, the broker's roles and every
//! coordinator's router are made from.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::principal::{Coordinator, OperatorRole};

/// Something a coordinator does on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
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
    /// Replaces a plugin's image, and goes back by itself when the new one does not get ready.
    Update,
    /// Goes back to the image, manifest, configuration and grants that a plugin had before its last update.
    Rollback,
    /// Replaces a plugin's configuration, and restarts it with the new one when it runs.
    Config,
    /// Tells all plugins and their states.
    List,
    /// Tells everything about one plugin; a plugin that asks, of itself only.
    Inspect,
    /// Tells the last lines that a plugin wrote; a plugin that asks, its own only.
    Logs,
    /// Tells what a plugin may do beyond its own topics, and who approved it.
    Grants,
    /// Approves what an installed plugin asks for and was not granted, or was taken back.
    Approve,
    /// Takes one grant back from a plugin, and restarts or stops it when it runs.
    RevokeGrant,
    /// Tells the operations that run, and those that have ended, with what came of them.
    Operations,
    /// Ends an operation that runs: what was not done yet is undone.
    Cancel,
    /// Tells whether a plugin may publish or subscribe to a topic, and by which rule.
    Explain,
    /// Tries at the broker that no plugin can reach what is not its own.
    Proof,
    /// Tells who is connected to the broker, from where, under which client ids.
    Sessions,
    /// Tells the operators' accounts.
    Operators,
    /// Makes an operator's account.
    AddOperator,
    /// Changes an operator's role or password, or disables or enables the account.
    ChangeOperator,
    /// Deletes an operator's account.
    RemoveOperator,
    /// Tells the claims of a plugin's token, and whether a token is valid.
    Introspect,
    /// Makes the next signing key the active one, and a new one the next.
    Rotate,
    /// Makes one token, or all tokens that a plugin has, invalid at once.
    RevokeToken,
    /// Puts a fresh token on the asking plugin's own token topic.
    Token,
    /// Tells who asked the coordinator for what, and what came of it. Each coordinator answers for itself.
    Audit,
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
        /// What a plugin's token must carry. Its verb says which operators may ask: see [`OperatorRole`].
        permission: &'static str,
    },
    /// Operators on the topics of their own accounts alone: it must be known who asks.
    Accounts {
        /// Its verb says which operators may ask: see [`OperatorRole`].
        permission: &'static str,
    },
    /// A plugin about itself. Its topic proves who it is; it needs no token, for it may have none left.
    Itself,
    /// Exactly one coordinator, on the internal topics.
    Internal(Coordinator),
}

impl Operation {
    /// All operations.
    pub const ALL: [Self; 32] = [
        Self::Install,
        Self::Start,
        Self::Stop,
        Self::Restart,
        Self::Remove,
        Self::Update,
        Self::Rollback,
        Self::Config,
        Self::List,
        Self::Inspect,
        Self::Logs,
        Self::Grants,
        Self::Approve,
        Self::RevokeGrant,
        Self::Operations,
        Self::Cancel,
        Self::Explain,
        Self::Proof,
        Self::Sessions,
        Self::Operators,
        Self::AddOperator,
        Self::ChangeOperator,
        Self::RemoveOperator,
        Self::Introspect,
        Self::Rotate,
        Self::RevokeToken,
        Self::Token,
        Self::Audit,
        Self::Provision,
        Self::Deprovision,
        Self::Issue,
        Self::Revoke,
    ];

    /// As it is written in topics. Among what passes between coordinators a name may stand a second time.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Remove => "remove",
            Self::Update => "update",
            Self::Rollback => "rollback",
            Self::Config => "config",
            Self::List => "list",
            Self::Inspect => "inspect",
            Self::Logs => "logs",
            Self::Grants => "grants",
            Self::Approve => "approve",
            Self::RevokeGrant => "revoke-grant",
            Self::Operations => "operations",
            Self::Cancel => "cancel",
            Self::Explain => "explain",
            Self::Proof => "proof",
            Self::Sessions => "sessions",
            Self::Operators => "operators",
            Self::AddOperator => "add-operator",
            Self::ChangeOperator => "change-operator",
            Self::RemoveOperator => "remove-operator",
            Self::Introspect => "introspect",
            Self::Rotate => "rotate",
            Self::RevokeToken | Self::Revoke => "revoke",
            Self::Token => "token",
            Self::Audit => "audit",
            Self::Provision => "provision",
            Self::Deprovision => "deprovision",
            Self::Issue => "issue",
        }
    }

    /// Its name where no other operation has the same: in schemas and documents.
    pub fn unique_name(self) -> &'static str {
        match self {
            Self::RevokeToken => "revoke-token",
            other => other.as_str(),
        }
    }

    /// Who does it; of one that every coordinator does for itself, the first.
    pub fn coordinator(self) -> Coordinator {
        match self {
            Self::Install
            | Self::Start
            | Self::Stop
            | Self::Restart
            | Self::Remove
            | Self::Update
            | Self::Rollback
            | Self::Config
            | Self::List
            | Self::Inspect
            | Self::Logs
            | Self::Grants
            | Self::Approve
            | Self::RevokeGrant
            | Self::Operations
            | Self::Cancel
            | Self::Audit => Coordinator::Plugin,
            Self::Explain
            | Self::Proof
            | Self::Sessions
            | Self::Operators
            | Self::AddOperator
            | Self::ChangeOperator
            | Self::RemoveOperator
            | Self::Provision
            | Self::Deprovision => Coordinator::Message,
            Self::Introspect
            | Self::Rotate
            | Self::RevokeToken
            | Self::Token
            | Self::Issue
            | Self::Revoke => Coordinator::Security,
        }
    }

    /// Whether every coordinator does it for itself.
    pub fn is_common(self) -> bool {
        self == Self::Audit
    }

    /// Who may ask for it.
    pub fn callers(self) -> Callers {
        match self {
            Self::Install | Self::Remove | Self::Update | Self::Rollback | Self::Config => {
                Callers::People { permission: "plugin:configure" }
            }
            Self::Start | Self::Stop | Self::Restart | Self::Cancel => {
                Callers::People { permission: "plugin:control" }
            }
            Self::List | Self::Inspect | Self::Grants | Self::Operations | Self::Explain => {
                Callers::People { permission: "plugin:read" }
            }
            // A plugin about itself; those of others are not the framework's data.
            Self::Logs | Self::Introspect => Callers::People { permission: "system:read" },
            // Who did what, and who is there from where: data of users.
            Self::Sessions | Self::Audit => Callers::People { permission: "user:read" },
            Self::Approve | Self::RevokeGrant => Callers::Accounts { permission: "plugin:configure" },
            Self::Proof => Callers::People { permission: "system:control" },
            Self::Operators => Callers::Accounts { permission: "user:read" },
            Self::AddOperator | Self::ChangeOperator | Self::RemoveOperator => {
                Callers::Accounts { permission: "user:configure" }
            }
            Self::Rotate | Self::RevokeToken => Callers::Accounts { permission: "system:configure" },
            Self::Token => Callers::Itself,
            Self::Provision | Self::Deprovision | Self::Issue | Self::Revoke => {
                Callers::Internal(Coordinator::Plugin)
            }
        }
    }

    /// Whether it only passes between coordinators.
    pub fn is_internal(self) -> bool {
        matches!(self.callers(), Callers::Internal(_))
    }

    /// Whether operators may ask for it on the SDK's topics, where it is not known which of them asks.
    pub fn is_raw(self) -> bool {
        matches!(self.callers(), Callers::People { .. })
    }

    /// Whether an operator of this role may ask for it.
    pub fn is_open_to(self, role: OperatorRole) -> bool {
        match self.callers() {
            Callers::People { permission } | Callers::Accounts { permission } => {
                let verb = permission.rsplit(':').next().unwrap_or_default();
                role.verbs().contains(&verb)
            }
            Callers::Itself | Callers::Internal(_) => false,
        }
    }

    /// The operation of `coordinator` that is written `name` in topics, among the internal ones or
    /// among the others.
    pub fn find(coordinator: Coordinator, name: &str, internal: bool) -> Option<Self> {
        Self::of(coordinator).find(|o| o.as_str() == name && o.is_internal() == internal)
    }

    /// Everything that `coordinator` does.
    pub fn of(coordinator: Coordinator) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |o| o.coordinator() == coordinator || o.is_common())
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_may_ask_follows_from_the_verb() {
        let open = |operation: Operation| OperatorRole::ALL.map(|role| operation.is_open_to(role));
        assert_eq!(open(Operation::List), [true, true, true]);
        assert_eq!(open(Operation::Start), [false, true, true]);
        assert_eq!(open(Operation::Install), [false, false, true]);
        assert_eq!(open(Operation::AddOperator), [false, false, true]);
        assert_eq!(open(Operation::Token), [false; 3]);
        assert_eq!(open(Operation::Provision), [false; 3]);
    }

    #[test]
    fn no_two_operations_of_a_coordinator_have_one_name_for_the_same_callers() {
        for c in Coordinator::ALL {
            for operation in Operation::of(c) {
                let found = Operation::find(c, operation.as_str(), operation.is_internal());
                assert_eq!(found, Some(operation), "{c} {operation}");
            }
        }
    }
}
