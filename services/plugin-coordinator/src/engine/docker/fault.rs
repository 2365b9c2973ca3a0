//! The client library's errors in the port's words.

use bollard::errors::Error;

use crate::engine::error::{EngineError, Verb};
use crate::engine::text;

/// The most of the engine's words that are kept, in bytes.
const MOST_WORDS: usize = 600;

/// What a failed call means.
pub(super) fn engine(doing: Verb, on: &str, error: Error) -> EngineError {
    let on = on.to_owned();
    match error {
        Error::DockerResponseServerError { status_code: 404, message } => {
            EngineError::NotFound { doing, on, message: words(&message) }
        }
        Error::DockerResponseServerError { status_code: 409, message } => {
            EngineError::Conflict { doing, on, message: words(&message) }
        }
        Error::DockerResponseServerError { status_code: status, message } => {
            EngineError::Refused { doing, on, status, message: words(&message) }
        }
        Error::DockerStreamError { error } => {
            EngineError::Refused { doing, on, status: 0, message: words(&error) }
        }
        error @ (Error::SocketNotFoundError(_)
        | Error::HyperLegacyError { .. }
        | Error::HyperResponseError { .. }
        | Error::RequestTimeoutError
        | Error::IOError { .. }) => EngineError::Unreachable { doing, on, source: Box::new(error) },
        error => EngineError::Broken { doing, on, source: Box::new(error) },
    }
}

/// The engine's words, which may quote an image or a registry.
pub(super) fn words(message: &str) -> String {
    text::line(message, MOST_WORDS)
}

/// Missing is an answer.
pub(super) fn found<T>(answer: Result<T, EngineError>) -> Result<Option<T>, EngineError> {
    match answer {
        Ok(there) => Ok(Some(there)),
        Err(EngineError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
