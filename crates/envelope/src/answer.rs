//! Answers to requests, and the closed list of what can go wrong.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a response carries: `{"success": true, "data": …}` or `{"success": false, "error": …}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(into = "Wire", try_from = "Wire")]
#[schemars(with = "Wire")]
pub enum Answer {
    /// It was done; `data` depends on the operation.
    Success(Value),
    /// It was not done.
    Failure(ErrorBody),
}

#[derive(Serialize, Deserialize, JsonSchema, Clone)]
#[schemars(rename = "Answer")]
struct Wire {
    /// Whether it was done.
    success: bool,
    /// What the operation answers; present when it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    /// Why it was not done; present when it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<ErrorBody>,
}

impl From<Answer> for Wire {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Success(data) => Self { success: true, data: Some(data), error: None },
            Answer::Failure(error) => Self { success: false, data: None, error: Some(error) },
        }
    }
}

impl TryFrom<Wire> for Answer {
    type Error = &'static str;

    fn try_from(wire: Wire) -> Result<Self, Self::Error> {
        match (wire.success, wire.error) {
            (true, None) => Ok(Self::Success(wire.data.unwrap_or(Value::Null))),
            (false, Some(error)) => Ok(Self::Failure(error)),
            _ => Err("a response has either success true, or success false and an error"),
        }
    }
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// What kind of failure, for programs.
    pub code: ErrorCode,
    /// A sentence that tells the reader what failed and what to do next.
    pub message: String,
    /// More, depending on the code; `null` when there is no more.
    #[serde(default)]
    pub details: Value,
}

impl ErrorBody {
    /// A failure without details.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Value::Null }
    }

    /// The same with `details`.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }
}

impl fmt::Display for ErrorBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ErrorBody {}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $text:literal,)*) => {
        /// What kind of failure: the closed list. New ones may be added, none changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum ErrorCode {
            $($(#[doc = $doc])* $variant,)*
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// As it is written on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// What it means.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),*).trim_ascii(),)* }
            }
        }
    };
}

codes! {
    /// The request cannot be decoded, or a field is missing or of the wrong kind.
    BadRequest = "bad_request",
    /// The coordinator has no such operation.
    UnknownOperation = "unknown_operation",
    /// No operation of this id runs, or is remembered.
    NoSuchOperation = "no_such_operation",
    /// No plugin of this id is installed.
    UnknownPlugin = "unknown_plugin",
    /// The same request id was used before with other content.
    Conflict = "conflict",
    /// The request waited longer than it was valid.
    Expired = "expired",
    /// The principal lacks the permission that the operation needs.
    Forbidden = "forbidden",
    /// The request needs a token, and has none that is valid.
    TokenInvalid = "token_invalid",
    /// The response topic lies outside the caller's own response space.
    ReplyRefused = "reply_refused",
    /// Another operation on the same plugin is still running.
    Busy = "busy",
    /// The operation is not possible in the phase that the plugin is in.
    InvalidPhase = "invalid_phase",
    /// Another request ended the operation before it was done.
    Cancelled = "cancelled",
    /// The operation did not end before its deadline.
    TimedOut = "timed_out",
    /// No manifest was found: neither in the request, nor as the image's label, nor in the image.
    ManifestMissing = "manifest_missing",
    /// The manifest has faults; every one is in the details.
    ManifestInvalid = "manifest_invalid",
    /// Two sources of the manifest disagree, or it is of another plugin than the request says.
    ManifestMismatch = "manifest_mismatch",
    /// The manifest asks for more than a plugin's own namespace, which an operator must approve.
    ApprovalRequired = "approval_required",
    /// What was approved is not what the image asks for now.
    ApprovalChanged = "approval_changed",
    /// An update did not get ready, and what ran before runs again.
    RolledBack = "rolled_back",
    /// The plugin is installed with another image.
    AlreadyInstalled = "already_installed",
    /// The id, alias or client id belongs to another plugin, or the name to another account.
    NameTaken = "name_taken",
    /// There is no such operator's account.
    UnknownOperator = "unknown_operator",
    /// It would leave no enabled admin, and so nobody who decides about accounts.
    LastAdmin = "last_admin",
    /// The plugin has no such grant.
    UnknownGrant = "unknown_grant",
    /// The plugin's configuration does not fit the schema in its manifest; every fault is in the details.
    ConfigInvalid = "config_invalid",
    /// The caller asks more often than is allowed.
    TooManyRequests = "too_many_requests",
    /// The disk has no room for it.
    DiskFull = "disk_full",
    /// A host port is taken by another container or process.
    PortTaken = "port_taken",
    /// The registry has no such image.
    ImageNotFound = "image_not_found",
    /// The image cannot be used: not an image, of another platform, too large, or changed meanwhile.
    ImageRefused = "image_refused",
    /// The registry does not answer.
    RegistryUnreachable = "registry_unreachable",
    /// The registry wants a login, or refused the one configured.
    RegistryLogin = "registry_login",
    /// The container could not be made or started.
    StartFailed = "start_failed",
    /// The plugin started and did not report health in time.
    NotReady = "not_ready",
    /// Another coordinator that is needed does not answer.
    DependencyUnavailable = "dependency_unavailable",
    /// The container engine does not answer.
    EngineUnavailable = "engine_unavailable",
    /// The container engine refused a step.
    EngineRefused = "engine_refused",
    /// The coordinator itself failed; its log has more.
    Internal = "internal",
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_written_as_documented() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_value(code).expect("serialises"), code.as_str());
            assert!(code.meaning().ends_with('.'), "{code}");
        }
    }

    #[test]
    fn an_answer_says_success_with_data_or_failure_with_an_error() {
        let text = r#"{"success":false,"error":{"code":"busy","message":"m","details":null}}"#;
        let answer: Answer = serde_json::from_str(text).expect("decodes");
        assert_eq!(serde_json::to_string(&answer).expect("encodes"), text);
        assert!(serde_json::from_str::<Answer>(r#"{"success":false}"#).is_err());
        assert!(serde_json::from_str::<Answer>(r#"{"success":true}"#).is_ok());
    }
}
