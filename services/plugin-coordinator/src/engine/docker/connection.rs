//! One connection to the engine: made late, made again, every call bounded.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker, errors::Error};

use super::{LOOK, fault};
use crate::engine::error::{EngineError, Verb};

/// The client's own timeout. Longer than any call of ours, each of which has its own.
const CLIENT_TIMEOUT_SECONDS: u64 = 24 * 3600;

/// A connection to a Docker engine.
#[derive(Debug)]
pub(super) struct Connection {
    socket: String,
    negotiated: Mutex<Option<Negotiated>>,
}

/// A client that speaks a version of the interface which the engine knows.
#[derive(Debug, Clone)]
pub(super) struct Negotiated {
    pub(super) docker: Docker,
    /// Such as `1.41`.
    pub(super) api_version: String,
}

impl Connection {
    pub(super) const fn new(socket: String) -> Self {
        Self { socket, negotiated: Mutex::new(None) }
    }

    /// A client, of a version that was negotiated now or before.
    pub(super) async fn negotiated(&self, doing: Verb, on: &str) -> Result<Negotiated, EngineError> {
        let known = self.negotiated.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let docker = Docker::connect_with_unix(&self.socket, CLIENT_TIMEOUT_SECONDS, API_DEFAULT_VERSION)
            .map_err(|error| fault::engine(doing, on, error))?;
        let answer = bounded(doing, on, LOOK, docker.version()).await?;
        let api_version =
            common_version(answer.api_version.as_deref()).ok_or_else(|| EngineError::Broken {
                doing,
                on: on.to_owned(),
                source: "it tells no version of its interface".into(),
            })?;
        let version = api_version.clone();
        let negotiated = Negotiated {
            docker: docker.with_request_modifier(move |request| adjust(request, &version)),
            api_version,
        };
        *self.negotiated.lock().unwrap_or_else(PoisonError::into_inner) = Some(negotiated.clone());
        Ok(negotiated)
    }

    /// A client for a call that bounds itself.
    pub(super) async fn docker(&self, doing: Verb, on: &str) -> Result<Docker, EngineError> {
        Ok(self.negotiated(doing, on).await?.docker)
    }

    /// Makes one call within a time.
    pub(super) async fn call<T, F>(
        &self,
        doing: Verb,
        on: &str,
        within: Duration,
        call: impl FnOnce(Docker) -> F + Send,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, Error>> + Send,
    {
        let docker = self.docker(doing, on).await?;
        let answer = bounded(doing, on, within, call(docker)).await;
        if let Err(error) = &answer {
            self.forget_if_broken(error);
        }
        answer
    }

    /// After a break another engine may come, with another version.
    pub(super) fn forget_if_broken(&self, error: &EngineError) {
        if error.is_unreachable() {
            *self.negotiated.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

/// Waits for one answer within a time.
pub(super) async fn bounded<T>(
    doing: Verb,
    on: &str,
    within: Duration,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, EngineError> {
    match tokio::time::timeout(within, answer).await {
        Ok(answer) => answer.map_err(|error| fault::engine(doing, on, error)),
        Err(_) => Err(EngineError::Timeout { doing, on: on.to_owned(), after: within }),
    }
}

/// The newest version that both know.
fn common_version(engine: Option<&str>) -> Option<String> {
    let (major, minor) = engine?.split_once('.')?;
    let engine: (usize, usize) = (major.parse().ok()?, minor.parse().ok()?);
    let ours = (API_DEFAULT_VERSION.major_version, API_DEFAULT_VERSION.minor_version);
    let (major, minor) = engine.min(ours);
    Some(format!("{major}.{minor}"))
}

/// Puts the version into a request, which the client leaves out, and repairs the login: the client
/// encodes it in standard base64 where the engine wants the alphabet for URLs (RFC 4648 section 5), so
/// that some passwords would silently become no login.
fn adjust(mut request: BollardRequest, api_version: &str) -> BollardRequest {
    let uri = request.uri().to_string();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    if let Some(authority) = uri.strip_suffix(path)
        && let Ok(versioned) = format!("{authority}/v{api_version}{path}").parse()
    {
        *request.uri_mut() = versioned;
    }
    if let Some(login) = request.headers_mut().get_mut("x-registry-auth")
        && let Ok(text) = login.to_str()
        && let Ok(repaired) = text.replace('+', "-").replace('/', "_").parse()
    {
        *login = repaired;
        login.set_sensitive(true);
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_older_of_the_two() {
        let ours = format!("{}.{}", API_DEFAULT_VERSION.major_version, API_DEFAULT_VERSION.minor_version);
        assert_eq!(common_version(Some("1.41")).as_deref(), Some("1.41"));
        assert_eq!(common_version(Some("1.9")).as_deref(), Some("1.9"));
        assert_eq!(common_version(Some("9.0")), Some(ours));
        for broken in [None, Some(""), Some("1"), Some("1."), Some("a.b"), Some("1.41-x")] {
            assert_eq!(common_version(broken), None);
        }
    }
}
