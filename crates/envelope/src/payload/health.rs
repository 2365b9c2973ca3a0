//! Health, in the SDK's format, of plugins and coordinators alike.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How well something is, as it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// Everything works.
    Healthy,
    /// It works, with something missing.
    Degraded,
    /// It does not work.
    Unhealthy,
}

impl HealthStatus {
    /// As it is written on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// The payload of a health message, as the SDK document gives it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// The name of what is healthy or not.
    pub component: String,
    /// How well it is.
    pub status: HealthStatus,
    /// The same in a sentence.
    #[serde(default)]
    pub message: String,
    /// Numbers and more.
    #[serde(default)]
    pub details: BTreeMap<String, Value>,
}
