//! Events: every transition, progress step and refusal, with its cause.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{OperationId, PluginId};

/// What kind of event; also the last level of its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A plugin went from one phase to another.
    Phase,
    /// A running operation came further.
    Progress,
    /// An operation ended, well or not.
    Outcome,
    /// A plugin's health changed.
    Health,
    /// A request or message was refused.
    Refused,
    /// Something was found other than it should be, and put right.
    Drift,
    /// The ACL of a plugin was applied or refused.
    Acl,
    /// A token was issued, refreshed or cleared.
    Token,
    /// A signing key came into use or out of it.
    Key,
    /// A grant was approved or taken back.
    Grant,
    /// An operator's account was made, changed or deleted.
    Account,
    /// A login failed at the broker.
    Login,
    /// A plugin connected to the broker, or its connection ended.
    Session,
    /// A client id was taken over by another connection.
    Takeover,
    /// The ACLs were tried out at the broker.
    Proof,
    /// A plugin does not hear its control topics.
    Deaf,
    /// Somebody sends more than is taken.
    Flood,
}

impl EventKind {
    /// As it is written in topics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Phase => "phase",
            Self::Progress => "progress",
            Self::Outcome => "outcome",
            Self::Health => "health",
            Self::Refused => "refused",
            Self::Drift => "drift",
            Self::Acl => "acl",
            Self::Token => "token",
            Self::Key => "key",
            Self::Grant => "grant",
            Self::Account => "account",
            Self::Login => "login",
            Self::Session => "session",
            Self::Takeover => "takeover",
            Self::Proof => "proof",
            Self::Deaf => "deaf",
            Self::Flood => "flood",
        }
    }
}

/// Something happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// What kind of event.
    pub event: EventKind,
    /// Which plugin it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin_id: Option<PluginId>,
    /// Which operation it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation_id: Option<OperationId>,
    /// What happened, in a sentence for people.
    pub message: String,
    /// Why it happened: a request and who made it, or what was observed.
    pub cause: String,
    /// More, depending on the kind.
    #[serde(default)]
    pub details: Value,
}

/// Details of a [`EventKind::Progress`] event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// The step that runs now.
    pub step: String,
    /// How far, in `unit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<u64>,
    /// How far it goes, in `unit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// What is counted: `bytes` or `seconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}
