//! Starting and ending containers.

use std::time::Duration;

use bollard::errors::Error;
use bollard::query_parameters::{
    KillContainerOptions, RemoveContainerOptions, StartContainerOptions, StopContainerOptions,
    WaitContainerOptions,
};
use futures_util::StreamExt;

use super::connection::Connection;
use super::{CHANGE, observe};
use crate::engine::error::{EngineError, StartError, Verb};
use crate::engine::{Exit, Removal, State};

/// What a stop may take beyond its grace.
const AFTER_GRACE: Duration = Duration::from_secs(30);

pub(super) async fn start(connection: &Connection, container: &str) -> Result<(), StartError> {
    let answer = connection
        .call(Verb::Start, container, CHANGE, |docker| async move {
            docker.start_container(container, None::<StartContainerOptions>).await
        })
        .await;
    match answer {
        Ok(()) => Ok(()),
        Err(EngineError::NotFound { message, .. }) if message.contains("network") => {
            Err(StartError::MissingNetwork { message })
        }
        Err(EngineError::Refused { status, message, .. }) => {
            Err(why(connection, container, status, message).await)
        }
        Err(error) => Err(error.into()),
    }
}

/// Why a start was refused: the container knows its exit code and its ports, the rest are words.
async fn why(connection: &Connection, container: &str, status: u16, message: String) -> StartError {
    let there = observe::raw(connection, Verb::Start, container).await.ok().flatten();
    let code = there.as_ref().and_then(|there| there.state.as_ref()).and_then(|state| state.exit_code);
    if is_port_taken(&message) {
        let bindings = there.as_ref().map(observe::wanted_ports).unwrap_or_default();
        let ports: Vec<u16> = bindings.iter().map(|binding| binding.host_port).collect();
        return StartError::PortTaken { port: taken_port(&message, &ports), message };
    }
    if is_stuck(&message) {
        return StartError::Stuck { message };
    }
    match code {
        Some(code @ (126 | 127)) => StartError::BadCommand { code, message },
        _ => EngineError::Refused { doing: Verb::Start, on: container.to_owned(), status, message }.into(),
    }
}

/// The engine has no code for it; these are the words of its releases from 20.10 to 28.
fn is_port_taken(message: &str) -> bool {
    ["port is already allocated", "address already in use", "failed to bind host port"]
        .iter()
        .any(|words| message.contains(words))
}

/// The words of containerd and its runtime for what an earlier engine has left of the same container.
fn is_stuck(message: &str) -> bool {
    let left = |kind: &str| message.contains(kind) && message.contains("already exists");
    left("task ") || left("container with id") || message.contains("container with id exists")
}

/// The container's only port, or the one that the message names first: the host's comes before the
/// container's own.
fn taken_port(message: &str, ports: &[u16]) -> Option<u16> {
    let place = |port: u16| {
        let wanted = format!(":{port}");
        let ends = |at: usize| !message[at + wanted.len()..].starts_with(|next: char| next.is_ascii_digit());
        message.match_indices(&wanted).map(|(at, _)| at).find(|at| ends(*at))
    };
    match ports {
        [only] => Some(*only),
        _ => ports.iter().copied().filter_map(|port| Some((place(port)?, port))).min().map(|(_, port)| port),
    }
}

pub(super) async fn stop(
    connection: &Connection,
    container: &str,
    grace: Duration,
) -> Result<Option<Exit>, EngineError> {
    let options = StopContainerOptions { signal: None, t: Some(whole_seconds(grace)) };
    let answer = connection
        .call(Verb::Stop, container, grace.saturating_add(AFTER_GRACE), |docker| async move {
            docker.stop_container(container, Some(options)).await
        })
        .await;
    match answer {
        Ok(()) => exit(connection, Verb::Stop, container).await,
        Err(EngineError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) async fn kill(connection: &Connection, container: &str) -> Result<Option<Exit>, EngineError> {
    let answer = connection
        .call(Verb::Kill, container, CHANGE, |docker| async move {
            let options = KillContainerOptions { signal: "SIGKILL".into() };
            docker.kill_container(container, Some(options)).await?;
            // The signal is sent; the end of the process comes later.
            let options = WaitContainerOptions { condition: "not-running".into() };
            match docker.wait_container(container, Some(options)).next().await {
                Some(Err(error)) if !matches!(error, Error::DockerContainerWaitError { .. }) => Err(error),
                _ => Ok(()),
            }
        })
        .await;
    match answer {
        // In conflict with a kill is only that it does not run.
        Ok(()) | Err(EngineError::Conflict { .. }) => exit(connection, Verb::Kill, container).await,
        Err(EngineError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// How a container that was just ended did end.
async fn exit(connection: &Connection, doing: Verb, container: &str) -> Result<Option<Exit>, EngineError> {
    let Some(there) = observe::inspect(connection, doing, container).await? else {
        return Ok(None);
    };
    match there.state {
        State::Exited { exit, .. } => Ok(Some(exit)),
        // Never started.
        State::Created | State::Dead => Ok(Some(Exit { code: 0, oom_killed: false, finished_at: None })),
        State::Running { .. } | State::Paused | State::Restarting => Err(EngineError::Refused {
            doing,
            on: container.to_owned(),
            status: 500,
            message: "its process is still there".into(),
        }),
    }
}

pub(super) async fn remove(
    connection: &Connection,
    doing: Verb,
    container: &str,
) -> Result<Removal, EngineError> {
    let options = RemoveContainerOptions { v: true, force: true, link: false };
    let answer = connection
        .call(doing, container, CHANGE, |docker| async move {
            docker.remove_container(container, Some(options)).await
        })
        .await;
    match answer {
        Ok(()) => Ok(Removal::Removed),
        Err(EngineError::NotFound { .. }) => Ok(Removal::Missing),
        // A removal is under way already: wait for its end, which is all that was asked for.
        Err(EngineError::Conflict { .. }) => removed(connection, doing, container).await,
        Err(error) => Err(error),
    }
}

async fn removed(connection: &Connection, doing: Verb, container: &str) -> Result<Removal, EngineError> {
    let options = WaitContainerOptions { condition: "removed".into() };
    let answer = connection
        .call(doing, container, CHANGE, |docker| async move {
            match docker.wait_container(container, Some(options)).next().await {
                Some(Err(error)) if !matches!(error, Error::DockerContainerWaitError { .. }) => Err(error),
                _ => Ok(()),
            }
        })
        .await;
    match answer {
        Ok(()) | Err(EngineError::NotFound { .. }) => Ok(Removal::Removed),
        Err(error) => Err(error),
    }
}

/// The engine counts in whole seconds; less than one is rounded up.
pub(super) fn whole_seconds(time: Duration) -> i32 {
    let seconds = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_told_from_the_words_of_every_release() {
        for (message, port) in [
            (
                "driver failed programming external connectivity on endpoint x (0a): Bind for 127.0.0.1:8080 failed: port is already allocated",
                Some(8080),
            ),
            (
                "Error starting userland proxy: listen tcp4 127.0.0.1:8080: bind: address already in use",
                Some(8080),
            ),
            ("failed to bind host port 127.0.0.1:8080/tcp: address already in use", Some(8080)),
            ("failed to bind host port for 0.0.0.0:808:172.17.0.2:80/tcp: address already in use", Some(808)),
            ("address already in use", None),
        ] {
            assert!(is_port_taken(message), "{message}");
            assert_eq!(taken_port(message, &[80, 808, 8080]), port, "{message}");
        }
        assert_eq!(taken_port("address already in use", &[80]), Some(80));
        assert!(!is_port_taken("no such file or directory"));
    }

    #[test]
    fn times_are_rounded_up_to_whole_seconds() {
        assert_eq!(whole_seconds(Duration::ZERO), 0);
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(30)), 30);
        assert_eq!(whole_seconds(Duration::MAX), i32::MAX);
    }
}
