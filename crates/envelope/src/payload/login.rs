//! Broker logins of plugins (between the plugin and the message coordinator), and `explain`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{Generation, InstallUid, PluginId, StartId};

/// `provision`: makes the login of one start, with the rights of the acknowledged generation. Asked again
/// for the same start it answers the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProvisionRequest {
    /// The plugin's id.
    pub plugin_id: PluginId,
    /// The start that the login is for.
    pub start_id: StartId,
    /// The installation.
    pub uid: InstallUid,
    /// The generation whose ACL the login gets.
    pub generation: Generation,
}

/// The answer to `provision`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProvisionResponse {
    /// The start that the login is for.
    pub start_id: StartId,
    /// The login's name.
    pub username: String,
    /// Its password: base64url, because client libraries do not percent-decode.
    pub password: String,
}

impl fmt::Debug for ProvisionResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProvisionResponse")
            .field("start_id", &self.start_id)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// `deprovision`: takes the login of one start away. Done already is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeprovisionRequest {
    /// The plugin's id.
    pub plugin_id: PluginId,
    /// The start whose login it was; a login of a later start stays.
    pub start_id: StartId,
}

/// The answer to `deprovision`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deprovisioned {
    /// The start whose login it was.
    pub start_id: StartId,
}

/// What a client does with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Sends to it.
    Publish,
    /// Subscribes to it, and is sent what arrives there.
    Subscribe,
}

/// `explain`: may this plugin do that?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainRequest {
    /// The plugin's id.
    pub plugin_id: PluginId,
    /// What it would do.
    pub access: Access,
    /// The topic, or for subscribing the filter.
    pub topic: String,
}

/// The answer to `explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// The plugin's id.
    pub plugin_id: PluginId,
    /// What it would do.
    pub access: Access,
    /// The topic, or for subscribing the filter.
    pub topic: String,
    /// Whether it may.
    pub allowed: bool,
    /// The broker role with the deciding rule; none when nothing matched and the default decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The deciding rule's filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The same in a sentence.
    pub reason: String,
}
