//! What can be asked of the security coordinator: one file per operation.

pub(crate) mod introspect;
pub(crate) mod issue;
pub(crate) mod revoke;
pub(crate) mod revoke_token;
pub(crate) mod rotate;
pub(crate) mod token;

use std::time::Duration;

use envelope::{ErrorBody, ErrorCode};

/// How long an answer waits for the broker to have what it speaks of.
const PUBLISHED: Duration = Duration::from_millis(500);

/// The answer when the coordinator itself failed. The reason is in the log, under the request's span.
fn internal(error: &dyn std::error::Error) -> ErrorBody {
    tracing::error!(error = telemetry::chain(error), "a request failed inside the coordinator");
    ErrorBody::new(
        ErrorCode::Internal,
        "The security coordinator failed to do it, and nothing was changed. Ask again; its log has the \
         reason, under this correlation id.",
    )
}
