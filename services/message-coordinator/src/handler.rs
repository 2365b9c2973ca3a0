//! One file per operation. A handler decides and says what the caller is told.

pub(crate) mod add_operator;
pub(crate) mod change_operator;
pub(crate) mod deprovision;
pub(crate) mod explain;
pub(crate) mod operators;
pub(crate) mod proof;
pub(crate) mod provision;
pub(crate) mod remove_operator;
pub(crate) mod sessions;

use envelope::{ErrorBody, ErrorCode};

use crate::keeper::PassError;

/// The answer while the broker cannot be changed.
fn unavailable(error: &PassError, what_next: &str) -> ErrorBody {
    tracing::warn!(error = telemetry::chain(error), "a request needs the broker");
    ErrorBody::new(
        ErrorCode::DependencyUnavailable,
        format!("It is not known to be done: {}. {what_next}", telemetry::chain(error)),
    )
}
