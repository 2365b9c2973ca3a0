//! Requests to the plugin coordinator, and their answers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{Generation, InstallUid, PluginId};
use crate::payload::grant::{GrantStatus, SecurityRating};
use crate::payload::state::PluginState;
use crate::time::Timestamp;

/// `install`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InstallRequest {
    /// The plugin's id; the manifest must name the same.
    pub plugin_id: PluginId,
    /// The image: `registry/name:tag` or `registry/name@sha256:…`. Without it the manifest's `docker.image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The plugin's configuration, delivered as `/config/plugin.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
    /// The manifest, when the image does not carry it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Value>,
    /// Approves exactly what an earlier `approval_required` answer listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve: Option<String>,
}

/// The answer to `install`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Installed {
    /// The plugin's id.
    pub plugin_id: PluginId,
    /// The name in its manifest.
    pub name: String,
    /// The version in its manifest.
    pub version: String,
    /// The image's digest, by which the plugin runs.
    pub digest: String,
    /// Where the manifest came from.
    pub manifest_source: ManifestSource,
    /// False when the same image was installed before and nothing changed.
    pub changed: bool,
    /// What is odd in the manifest and yet no fault.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// Where a manifest came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ManifestSource {
    /// The `manifest` of the install request.
    Request,
    /// The image's label `org.bigskies.plugin.manifest`.
    Label,
    /// The file `/plugin.json` in the image.
    File,
}

/// `start`, `stop`, `restart`, `inspect`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PluginRequest {
    /// The plugin's id.
    pub plugin_id: PluginId,
}

/// `remove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemoveRequest {
    /// The plugin's id.
    pub plugin_id: PluginId,
    /// Whether the plugin's data goes too.
    #[serde(default)]
    pub remove_volumes: bool,
}

/// The answer to `start`, `stop` and `restart`: how the plugin is now.
pub type LifecycleResponse = PluginState;

/// The answer to `remove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Removed {
    /// The plugin's id.
    pub plugin_id: PluginId,
    /// Whether its image is gone, or another plugin or container still uses it.
    pub image_removed: bool,
    /// The volumes that were deleted.
    pub volumes_removed: Vec<String>,
    /// The volumes that were kept.
    pub volumes_kept: Vec<String>,
}

/// `list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListRequest {}

/// The answer to `list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListResponse {
    /// Every registered plugin, by id.
    pub plugins: Vec<PluginState>,
}

/// The answer to `inspect`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Inspection {
    /// How the plugin is.
    pub state: PluginState,
    /// Which installation it is.
    pub uid: InstallUid,
    /// The version of what it should be.
    pub generation: Generation,
    /// The image as it was asked for.
    pub source: String,
    /// When it was installed.
    pub installed_at: Timestamp,
    /// Its manifest.
    pub manifest: Value,
    /// Where the manifest came from.
    pub manifest_source: ManifestSource,
    /// The container, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerSummary>,
    /// Host address to container port, as published.
    pub ports: BTreeMap<String, String>,
    /// Volume name to the path in the container.
    pub volumes: BTreeMap<String, String>,
    /// Its names on `bigskies-network`.
    pub dns_names: Vec<String>,
    /// How the last container ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<ExitRecord>,
    /// What is odd in the manifest and yet no fault.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// How far it has to be trusted with what it has.
    pub rating: SecurityRating,
    /// What it may do beyond its own topics.
    pub grants: Vec<GrantStatus>,
}

/// A plugin's container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContainerSummary {
    /// The engine's id of it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was started, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExitRecord {
    /// Its exit code; 128 + the signal's number when a signal ended it.
    pub code: i64,
    /// Whether it was ended for its use of memory.
    pub oom_killed: bool,
    /// When it was seen to have ended.
    pub at: Timestamp,
    /// The last lines that it wrote.
    pub log_tail: String,
}

/// `logs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogsRequest {
    /// The plugin's id.
    pub plugin_id: PluginId,
    /// How many lines from the end, 1 to 1,000; 100 when left out.
    #[serde(default = "LogsRequest::default_tail")]
    pub tail: u32,
}

impl LogsRequest {
    /// Lines when the request does not say.
    pub const DEFAULT_TAIL: u32 = 100;

    fn default_tail() -> u32 {
        Self::DEFAULT_TAIL
    }
}

/// The answer to `logs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogsResponse {
    /// The plugin's id.
    pub plugin_id: PluginId,
    /// The lines; terminal control characters are shown, not sent.
    pub text: String,
    /// Whether there was more than is told.
    pub truncated: bool,
    /// Whether they are of a container that has ended.
    pub ended: bool,
}
