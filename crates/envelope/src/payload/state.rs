//! How a plugin is: its phase and its health.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{Generation, OperationId, PluginId};
use crate::operation::Operation;
use crate::time::Timestamp;

/// Where a plugin is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Installed, and no container exists.
    Stopped,
    /// A container is being made, or was started and has not reported health yet.
    Starting,
    /// Its container runs and it has reported health.
    Running,
    /// It is being stopped.
    Stopping,
    /// It should run and does not; the reason says why.
    Failed,
    /// It is being uninstalled.
    Removing,
}

impl Phase {
    /// As it is written on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
            Self::Removing => "removing",
        }
    }
}

/// A plugin's health as the plugin coordinator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PluginHealth {
    /// It says so.
    Healthy,
    /// It says so, or it says `healthy` and something else says that it is not quite.
    Degraded,
    /// It says so.
    Unhealthy,
    /// It has not reported for three intervals.
    Stale,
    /// It has not reported yet, or does not run.
    Unknown,
}

impl PluginHealth {
    /// As it is written on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
            Self::Stale => "stale",
            Self::Unknown => "unknown",
        }
    }
}

/// The retained state of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PluginState {
    /// The plugin's id.
    pub plugin_id: PluginId,
    /// The name in its manifest.
    pub name: String,
    /// The version in its manifest.
    pub version: String,
    /// Where it is in its life.
    pub phase: Phase,
    /// Its health.
    pub health: PluginHealth,
    /// What it says about its health, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_message: Option<String>,
    /// Why it is in this phase, where that needs saying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The image's digest.
    pub digest: String,
    /// The node it runs on.
    pub node: String,
    /// The version of what it should be.
    pub generation: Generation,
    /// How far it has to be trusted with what it has, from 1, the most, to 6; see `SecurityRating`.
    #[serde(default)]
    pub rating: u8,
    /// Since when it is in this phase.
    pub since: Timestamp,
    /// What brought it there.
    pub cause: String,
    /// Joins the state to the request that brought it there.
    pub correlation_id: String,
    /// The operation that runs on it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<RunningOperation>,
    /// Set when the watchdog does not look after it as usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<Watchdog>,
}

/// What the watchdog does about a plugin's health, where it is not the usual.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Watchdog {
    /// Which it is.
    pub state: WatchdogState,
    /// What is wrong with the plugin; goes on after its name.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// What the watchdog does about a plugin's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WatchdogState {
    /// It was restarted too often in a row and that did not help: it is left running as it is, until somebody asks for
    /// a start, a restart or an update, or it has been well for ten minutes.
    Suspended,
}

/// An operation that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunningOperation {
    /// Its id.
    pub id: OperationId,
    /// What was asked for.
    pub operation: Operation,
    /// The step it is at.
    pub step: String,
    /// Since when.
    pub since: Timestamp,
}
