//! The container engine of this machine.

use std::env;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);

/// The socket of a container engine that answers: `BIGSKIES_ENGINE_SOCKET`, else `DOCKER_HOST` when
/// it names a socket, else `/var/run/docker.sock`.
///
/// # Panics
///
/// When none answers: the message says what to run.
#[must_use]
pub fn engine() -> PathBuf {
    let socket = env::var("BIGSKIES_ENGINE_SOCKET")
        .ok()
        .or_else(|| Some(env::var("DOCKER_HOST").ok()?.strip_prefix("unix://")?.to_owned()))
        .unwrap_or_else(|| "/var/run/docker.sock".to_owned());
    answering(PathBuf::from(socket))
}

fn answering(socket: PathBuf) -> PathBuf {
    if let Err(why) = ping(&socket) {
        panic!("no container engine answers at {} ({why}); run `deploy/engine.sh start`", socket.display());
    }
    socket
}

fn ping(socket: &Path) -> Result<(), String> {
    let text = |e: std::io::Error| e.to_string();
    let mut stream = UnixStream::connect(socket).map_err(text)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(text)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(text)?;
    stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n").map_err(text)?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).map_err(text)?;
    if status.ends_with(b" 200") {
        Ok(())
    } else {
        Err(format!("it says {:?}", String::from_utf8_lossy(&status)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "run `deploy/engine.sh start`")]
    fn a_missing_engine_fails_the_test_and_says_what_to_run() {
        answering(PathBuf::from("/nonexistent/engine.sock"));
    }
}
