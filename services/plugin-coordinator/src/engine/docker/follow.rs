//! Output and events of containers.

use std::time::Duration;

use bollard::models::EventMessage;
use bollard::query_parameters::{EventsOptions, LogsOptions};
use futures_util::{StreamExt, stream};
use jiff::Timestamp;

use super::connection::Connection;
use super::{DockerEngine, LOOK, fault};
use crate::engine::error::{EngineError, Verb};
use crate::engine::{ContainerId, EngineEvent, EventAction, Events, LogTail, label, text};

/// A log is cut here when it grows faster than it is read.
const MOST_TIME: Duration = Duration::from_secs(15);

/// The events that are followed. Each probe of a health check makes three others.
const FOLLOWED: [&str; 9] =
    ["start", "die", "oom", "destroy", "pause", "unpause", "rename", "update", "health_status"];

pub(super) async fn logs(
    connection: &Connection,
    container: &str,
    tail_lines: u32,
    max_bytes: usize,
) -> Result<LogTail, EngineError> {
    let options = LogsOptions {
        stdout: true,
        stderr: true,
        // One more, to see whether there was more.
        tail: tail_lines.saturating_add(1).to_string(),
        ..Default::default()
    };
    let docker = connection.docker(Verb::Logs, container).await?;
    let mut pieces = docker.logs(container, Some(options));
    let deadline = tokio::time::Instant::now() + MOST_TIME;
    let mut kept = Kept { bytes: Vec::new(), most: max_bytes, cut: false };
    loop {
        match tokio::time::timeout_at(deadline, pieces.next()).await {
            Ok(Some(Ok(piece))) => kept.push(&piece.into_bytes()),
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                let error = fault::engine(Verb::Logs, container, error);
                connection.forget_if_broken(&error);
                return Err(error);
            }
            Err(_) if kept.bytes.is_empty() => {
                return Err(EngineError::Timeout {
                    doing: Verb::Logs,
                    on: container.to_owned(),
                    after: MOST_TIME,
                });
            }
            Err(_) => break,
        }
    }
    Ok(kept.tail(tail_lines))
}

/// The last bytes of a stream.
struct Kept {
    bytes: Vec<u8>,
    most: usize,
    cut: bool,
}

impl Kept {
    fn push(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
        // Twice as much is let grow, so that not every piece moves the rest.
        if self.bytes.len() > self.most.saturating_mul(2) {
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        let too_many = self.bytes.len().saturating_sub(self.most);
        self.bytes.drain(..too_many);
        self.cut |= too_many > 0;
    }

    fn tail(mut self, lines: u32) -> LogTail {
        self.shorten();
        let from = first_of_last_lines(&self.bytes, lines as usize);
        let whole = String::from_utf8_lossy(&self.bytes[from..]);
        // A character that was cut in half begins the text as a replacement.
        let whole = if self.cut { whole.trim_start_matches('\u{fffd}') } else { &whole };
        LogTail { text: text::lines(whole), truncated: self.cut || from > 0 }
    }
}

/// Where the last lines begin.
fn first_of_last_lines(bytes: &[u8], lines: usize) -> usize {
    let end = bytes.len() - usize::from(bytes.last() == Some(&b'\n'));
    if lines == 0 {
        return bytes.len();
    }
    let ends = bytes[..end].iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    ends.map(|(at, _)| at + 1).nth(lines - 1).unwrap_or(0)
}

pub(super) async fn events(engine: DockerEngine, installation: String) -> Result<Events, EngineError> {
    let connection = engine.connection();
    // The request goes out when the stream is polled first: it asks from this moment of the engine's own
    // clock on, and the engine replays what happened in between.
    let info = connection
        .call(Verb::Events, &installation, LOOK, |docker| async move { docker.info().await })
        .await?;
    let now =
        info.system_time.as_deref().and_then(|time| time.parse::<Timestamp>().ok()).ok_or_else(|| {
            EngineError::Broken {
                doing: Verb::Events,
                on: installation.clone(),
                source: "it tells no time".into(),
            }
        })?;
    let filters = [
        ("type".to_owned(), vec!["container".to_owned()]),
        ("event".to_owned(), FOLLOWED.map(str::to_owned).to_vec()),
        ("label".to_owned(), vec![format!("{}={installation}", label::INSTALLATION)]),
    ];
    let options = EventsOptions {
        since: Some(format!("{}.{:09}", now.as_second(), now.subsec_nanosecond())),
        until: None,
        filters: Some(filters.into()),
    };
    let docker = connection.docker(Verb::Events, &installation).await?;
    let messages = docker.events(Some(options)).boxed();
    let state = Some((engine, installation, messages));
    Ok(stream::unfold(state, |state| async move {
        let (engine, installation, mut messages) = state?;
        loop {
            let error = match messages.next().await {
                Some(Ok(message)) => match event(message) {
                    Some(event) => {
                        return Some((Ok(event), Some((engine, installation, messages))));
                    }
                    None => continue,
                },
                Some(Err(error)) => fault::engine(Verb::Events, &installation, error),
                None => EngineError::Unreachable {
                    doing: Verb::Events,
                    on: installation,
                    source: "the stream of events has ended".into(),
                },
            };
            engine.connection().forget_if_broken(&error);
            return Some((Err(error), None));
        }
    })
    .boxed())
}

fn event(message: EventMessage) -> Option<EngineEvent> {
    let actor = message.actor?;
    // The engine mixes attributes of its own into the labels.
    let mut labels = actor.attributes.unwrap_or_default();
    let exit_code = labels.remove("exitCode").and_then(|code| code.parse().ok());
    let name = labels.remove("name").unwrap_or_default();
    labels.remove("image");
    let action = match message.action?.as_str() {
        "start" => EventAction::Start,
        "die" => EventAction::Die { code: exit_code.unwrap_or(-1) },
        "oom" => EventAction::Oom,
        "destroy" => EventAction::Destroy,
        "pause" => EventAction::Pause,
        "unpause" => EventAction::Unpause,
        "rename" => EventAction::Rename,
        "update" => EventAction::Update,
        "health_status: healthy" => EventAction::Healthy,
        "health_status: unhealthy" => EventAction::Unhealthy,
        _ => return None,
    };
    Some(EngineEvent {
        container: ContainerId(actor.id?),
        name,
        labels: labels.into_iter().collect(),
        action,
        at: message.time_nano.and_then(|nanos| Timestamp::from_nanosecond(i128::from(nanos)).ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(pieces: &[&[u8]], lines: u32, most: usize) -> (String, bool) {
        let mut kept = Kept { bytes: Vec::new(), most, cut: false };
        for piece in pieces {
            kept.push(piece);
        }
        let tail = kept.tail(lines);
        (tail.text, tail.truncated)
    }

    #[test]
    fn the_last_lines_are_kept_and_what_is_missing_is_told() {
        assert_eq!(tail(&[b"a\nb\n", b"c\n"], 2, 100), ("b\nc\n".into(), true));
        assert_eq!(tail(&[b"a\nb\n", b"c\n"], 3, 100), ("a\nb\nc\n".into(), false));
        assert_eq!(tail(&[b"a\nb\nc"], 2, 100), ("b\nc".into(), true));
        assert_eq!(tail(&[b"a\n"], 0, 100), (String::new(), true));
        assert_eq!(tail(&[], 2, 100), (String::new(), false));
    }

    #[test]
    fn an_endless_line_is_cut_between_characters() {
        assert_eq!(tail(&["äöü".as_bytes()], 9, 3), ("ü".into(), true));
        let (text, truncated) = tail(&[b"x".as_slice(); 10_000], 9, 100);
        assert_eq!((text.len(), truncated), (100, true));
    }

    #[test]
    fn bytes_that_are_no_text_and_escapes_are_made_visible() {
        assert_eq!(tail(&[b"\xff\x1b[2J\n"], 9, 100), ("\u{fffd}\\u{1b}[2J\n".into(), false));
    }
}
