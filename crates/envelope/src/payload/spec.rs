//! What a plugin should be, as the message coordinator needs to know it; and its acknowledgement.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{Generation, InstallUid, PluginId};
use crate::time::Timestamp;

/// The retained spec of one plugin. No environment and no secret is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spec {
    /// The plugin's id.
    pub plugin_id: PluginId,
    /// The installation.
    pub uid: InstallUid,
    /// The version of the spec inside the installation.
    pub generation: Generation,
    /// The node that runs it.
    pub node: String,
    /// Whether it should exist at all.
    pub presence: Presence,
    /// Its second namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<PluginId>,
    /// The MQTT client ids that are its own.
    pub client_ids: Vec<String>,
    /// Filters it may publish to, as its manifest declares.
    pub publish: Vec<String>,
    /// Filters it may subscribe to, as its manifest declares.
    pub subscribe: Vec<String>,
    /// Where it reports health.
    pub health_topic: String,
    /// Permissions that its tokens carry.
    pub permissions: Vec<String>,
    /// SHA-256 of the manifest.
    pub manifest_digest: String,
}

/// Whether a plugin should exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// It is installed.
    Present,
    /// It is being removed: its rights and logins must go. That a spec is missing never means this.
    Absent,
}

/// The retained acknowledgement of a spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AclStatus {
    /// The plugin's id.
    pub plugin_id: PluginId,
    /// The installation.
    pub uid: InstallUid,
    /// The spec's generation.
    pub generation: Generation,
    /// What became of it.
    pub outcome: AclOutcome,
    /// When.
    pub at: Timestamp,
}

/// What became of a spec at the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "result", rename_all = "lowercase")]
pub enum AclOutcome {
    /// The role is at the broker, and was read back.
    Applied {
        /// The role's name.
        role: String,
    },
    /// Nothing of the plugin is left at the broker.
    Absent,
    /// The spec asks for what is never granted, or cannot be compiled.
    Refused {
        /// Why, one sentence each.
        reasons: Vec<String>,
    },
}
