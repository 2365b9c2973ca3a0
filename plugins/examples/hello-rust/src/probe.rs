//! How Docker's HEALTHCHECK learns how the plugin is.
//!
//! The running plugin listens on an abstract Unix socket: it lives in the container's network
//! namespace, so it needs neither a port nor a file, and a read-only container has it too.

use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::watch;

/// Docker's own time-out is longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks the running plugin `id` and prints its answer: success when it is well, even if something
/// is missing.
pub fn ask(id: &str) -> ExitCode {
    match answer(id) {
        Ok(answer) => {
            print!("{answer}");
            if is_well(&answer) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            println!("unhealthy: the plugin does not answer: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Opens the socket of the plugin `id`.
pub fn listen(id: &str) -> std::io::Result<tokio::net::UnixListener> {
    let listener = UnixListener::bind_addr(&address(id)?)?;
    listener.set_nonblocking(true)?;
    tokio::net::UnixListener::from_std(listener)
}

/// Tells everybody who connects what `status` says now, for ever.
pub async fn serve(listener: tokio::net::UnixListener, status: watch::Receiver<String>) {
    loop {
        match listener.accept().await {
            Ok((mut stream, _)) => {
                let line = format!("{}\n", *status.borrow());
                // An asker that does not wait for the answer does not get one.
                let _ = tokio::time::timeout(PATIENCE, stream.write_all(line.as_bytes())).await;
            }
            // Out of file descriptors, most likely; they may come back.
            Err(_) => tokio::time::sleep(PATIENCE).await,
        }
    }
}

fn answer(id: &str) -> std::io::Result<String> {
    let stream = UnixStream::connect_addr(&address(id)?)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    stream.take(1024).read_to_string(&mut answer)?;
    Ok(answer)
}

fn address(id: &str) -> std::io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("bigskies.plugin.{id}.health"))
}

fn is_well(answer: &str) -> bool {
    answer.starts_with("healthy") || answer.starts_with("degraded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_asks_hears_the_latest_status() {
        let id = format!("probe-{}", std::process::id());
        assert!(answer(&id).is_err());
        let (tell, status) = watch::channel("healthy".to_owned());
        let server = tokio::spawn(serve(listen(&id).expect("a free name"), status));
        for now in ["healthy", "unhealthy: not connected"] {
            tell.send_replace(now.to_owned());
            let id = id.clone();
            let heard = tokio::task::spawn_blocking(move || answer(&id)).await.expect("no panic");
            assert_eq!(heard.expect("an answer"), format!("{now}\n"));
        }
        server.abort();
    }

    #[test]
    fn only_unhealthy_and_silence_are_failures() {
        assert!(is_well("healthy\n") && is_well("degraded: the token is refused\n"));
        assert!(!is_well("unhealthy\n") && !is_well(""));
    }
}
