//! What the message coordinator sees of the bus itself: proof of the ACLs, and who is connected.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// `proof`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProofRequest {}

/// What a proof tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tried {
    /// To publish.
    Publish,
    /// To subscribe.
    Subscribe,
    /// To be delivered what was published.
    Receive,
}

/// Something that was possible and must not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Leak {
    /// The canary's login.
    pub login: String,
    /// What it did.
    pub tried: Tried,
    /// On which topic or filter.
    pub topic: String,
}

/// The answer to `proof`, and what the last one found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Proof {
    /// When it ended.
    pub at: Timestamp,
    /// What was tried and refused, as it must be.
    pub refused: u32,
    /// What was tried and allowed, as it must be: without it a broker that refuses everything would pass.
    pub allowed: u32,
    /// What was possible and must not be; empty when all is well.
    pub leaks: Vec<Leak>,
    /// What should have been possible and was not.
    pub blocked: Vec<Leak>,
}

/// `sessions`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionsRequest {}

/// One connection, as the broker's log told of it. What was not seen is left out: it is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    /// The MQTT client id, shortened, with characters shown that cannot be seen.
    pub client_id: String,
    /// The login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// From where, `address:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// The answer to `sessions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionsResponse {
    /// Since when the coordinator has listened without a gap: who connected before and did nothing since is
    /// not among the sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listening_since: Option<Timestamp>,
    /// The connections, by client id; at most 1,000.
    pub sessions: Vec<Session>,
    /// How many more there are.
    #[serde(default)]
    pub left_out: u32,
}
