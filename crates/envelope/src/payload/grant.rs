//! What a plugin may do beyond its own namespace, as operators see it: the list to approve, what was
//! approved, and how far the plugin has to be trusted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::PluginId;
use crate::time::Timestamp;

/// How much harm a grant can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// It shows what is hardly secret.
    Low,
    /// It shows what is private, or opens a way in from outside.
    Medium,
    /// It moves hardware, changes the framework, or reaches the host.
    High,
}

impl Risk {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// How far a plugin has to be trusted, from what it may do: 6 needs no trust, 1 needs as much as the
/// operator of the host has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecurityRating {
    /// From 1, the most trust needed, to 6.
    pub score: u8,
    /// What lowered it, one sentence each; empty at 6.
    pub reasons: Vec<String>,
}

/// One thing that a plugin asks for beyond its own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrantEntry {
    /// Names it within the plugin, for `revoke-grant`: `publish:{filter}`, `subscribe:{filter}`,
    /// `permission:{permission}`, `device:{path}`, `folder:{path}`, `port:{address}:{port}/{protocol}`, `root`.
    pub key: String,
    /// What it means, in a sentence.
    pub sentence: String,
    /// How much harm it can do.
    pub risk: Risk,
    /// The same for programs.
    pub grant: Value,
}

/// Whether a plugin has what it asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum GrantState {
    /// An operator approved it.
    Approved {
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// An operator took it back.
    Revoked {
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
}

/// One grant of an installed plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrantStatus {
    /// What is asked for.
    #[serde(flatten)]
    pub entry: GrantEntry,
    /// Whether the plugin has it.
    #[serde(flatten)]
    pub state: GrantState,
}

/// Details of an `approval_required` or `approval_changed` error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalDetails {
    /// Everything to approve.
    pub grants: Vec<GrantEntry>,
    /// The digest over image, manifest and list: to be sent back as `approve`.
    pub approve: String,
    /// How far the plugin has to be trusted when all of it is approved.
    pub rating: SecurityRating,
}

/// The answer to `grants`, `approve` and `revoke-grant`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Grants {
    /// The plugin's id.
    pub plugin_id: PluginId,
    /// Everything that it asks for beyond its own namespace, and whether it has it.
    pub grants: Vec<GrantStatus>,
    /// How far it has to be trusted with what it has.
    pub rating: SecurityRating,
    /// What waits for approval: what was taken back, or what an update asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<ApprovalDetails>,
}

/// `approve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApproveRequest {
    /// The plugin's id.
    pub plugin_id: PluginId,
    /// The digest of what is approved, from `grants` or an `approval_required` error.
    pub approve: String,
}

/// `revoke-grant`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevokeGrantRequest {
    /// The plugin's id.
    pub plugin_id: PluginId,
    /// Which one: its [`GrantEntry::key`].
    pub grant: String,
}
