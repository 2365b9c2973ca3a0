//! Who asked for what, and what came of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::answer::ErrorCode;
use crate::principal::Coordinator;
use crate::time::Timestamp;

/// `audit`. All conditions must hold; without any, the newest records are told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditRequest {
    /// Only what this principal asked, as records write it: `operator:ann`, `plugin:focuser`, `operator (unnamed)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// Only this operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Only what was asked on this plugin or account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Only what belongs to this correlation id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Only from this time on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Only records older than this one, for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
    /// At most so many, 1 to 1,000; 100 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl AuditRequest {
    /// Records when the request does not say.
    pub const DEFAULT_LIMIT: u32 = 100;
    /// Most records in one answer.
    pub const MAX_LIMIT: u32 = 1_000;
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuditResult {
    /// It was accepted and its outcome is not known yet.
    Accepted,
    /// It was done.
    Done,
    /// It was accepted, and failed.
    Failed,
    /// It was not accepted, or the caller may not ask for it.
    Refused,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditRecord {
    /// Its place in this coordinator's records; larger is later.
    pub id: i64,
    /// When it arrived.
    pub at: Timestamp,
    /// Who asked, as the topic proves.
    pub principal: String,
    /// For what.
    pub operation: String,
    /// On which plugin or account, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What came of it.
    pub result: AuditResult,
    /// Why not, when it was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<ErrorCode>,
    /// The sentence that the caller was told, when it was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Joins it to everything that came of it.
    pub correlation_id: String,
    /// How often the same was refused in a row; 1 otherwise.
    pub times: u32,
}

/// The answer to `audit`: newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditResponse {
    /// Whose records these are.
    pub coordinator: Coordinator,
    /// The records.
    pub records: Vec<AuditRecord>,
    /// Whether there are older ones that match.
    pub more: bool,
}
