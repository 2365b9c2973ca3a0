//! Requests to the plugin coordinator, and their answers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::answer::ErrorCode;
use crate::id::{Generation, InstallUid, OperationId, PluginId};
use crate::operation::Operation;
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

/// `update`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UpdateRequest {
    /// The plugin's id; the new manifest must name the same.
    pub plugin_id: PluginId,
    /// The new image: `registry/name:tag` or `registry/name@sha256:…`. Without it the manifest's `docker.image` when a
    /// manifest is given, else the image that was asked for before, looked up again: its tag may have moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// A new configuration; without it the plugin keeps its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
    /// The new manifest, when the image does not carry it. Without it the new image must.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Value>,
    /// Approves exactly what an earlier `approval_required` answer listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve: Option<String>,
}

/// The answer to `update` and `rollback`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Updated {
    /// The plugin's id.
    pub plugin_id: PluginId,
    /// The version in its manifest now.
    pub version: String,
    /// The version before.
    pub previous_version: String,
    /// The image's digest now.
    pub digest: String,
    /// The image's digest before.
    pub previous_digest: String,
    /// False when it was this image, manifest and configuration before, and nothing changed.
    pub changed: bool,
    /// How long the plugin was away, in milliseconds: from the stop of what ran before to the first health of what
    /// runs now. Absent when it did not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downtime_ms: Option<u64>,
    /// What is odd in the manifest and yet no fault.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// `config`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigRequest {
    /// The plugin's id.
    pub plugin_id: PluginId,
    /// The configuration in the place of the present one, delivered as `/config/plugin.json`; `null` or left out
    /// takes it away. It can hold secrets, so nobody is ever told it.
    #[serde(default)]
    pub config: Option<Value>,
}

/// `operations`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperationsRequest {
    /// Only those on this plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin_id: Option<PluginId>,
    /// At most so many that have ended, 0 to 1,000; 50 when left out. Those that run are always told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl OperationsRequest {
    /// Ended operations when the request does not say.
    pub const DEFAULT_LIMIT: u32 = 50;
    /// Most ended operations in one answer.
    pub const MAX_LIMIT: u32 = 1_000;
}

/// The answer to `operations`: those that run, then those that have ended, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperationsResponse {
    /// The operations.
    pub operations: Vec<OperationEntry>,
}

/// An operation that runs or has ended. The answer to `cancel`, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperationEntry {
    /// Its id.
    pub id: OperationId,
    /// The plugin that it is on.
    pub plugin_id: PluginId,
    /// What was asked for.
    pub operation: Operation,
    /// Who asked, as the topic proves.
    pub principal: String,
    /// The step that it is at, or was at last.
    pub step: String,
    /// When it was accepted.
    pub started_at: Timestamp,
    /// When it fails at the latest, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Whether it was done; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success: Option<bool>,
    /// Why it was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<ErrorCode>,
    /// The sentence that whoever asked was told, when it was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Joins it to everything that came of it.
    pub correlation_id: String,
}

/// `cancel`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CancelRequest {
    /// The operation's id, as `operations` and events tell it.
    pub operation_id: OperationId,
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

/// `start`, `stop`, `restart`, `inspect`, `rollback`.
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

/// The answer to `start`, `stop`, `restart` and `config`: how the plugin is now.
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
    /// What `rollback` would bring back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousRelease>,
}

/// What a plugin was before its last update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PreviousRelease {
    /// The version in its manifest.
    pub version: String,
    /// The image as it was asked for.
    pub source: String,
    /// The image's digest.
    pub digest: String,
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
