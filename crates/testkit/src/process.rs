//! A program that runs beside the test and ends with it.

use std::fs::{self, File};
use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a program may take to accept connections, or to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(5);
/// The first of the ports that tests listen on, and how many they are.
const PORTS: (u16, u16) = (20_000, 12_000);
/// Lines of the log that a failing test prints.
const TAIL: usize = 60;

/// A running program with its log.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts a program and waits until it accepts connections on the port; `Err` with its log when
    /// it ends or does not listen in time.
    pub(crate) fn start(mut command: Command, log: &Path, port: u16) -> Result<Self, String> {
        let name = command.get_program().to_string_lossy().into_owned();
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(|e| format!("cannot write {}: {e}", log.display()))?;
        let errors = output.try_clone().map_err(|e| e.to_string())?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(|e| format!("cannot run {name}: {e}"))?;
        let mut process = Self { child, name, log: log.to_owned() };
        process.wait_for_port(port)?;
        Ok(process)
    }

    fn wait_for_port(&mut self, port: u16) -> Result<(), String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let end = Instant::now() + PATIENCE;
        loop {
            // First, so that a stranger on the port is not taken for a program that has ended.
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("{} ended with {status}; its log:\n{}", self.name, self.tail()));
            }
            if TcpStream::connect_timeout(&address, PATIENCE).is_ok() {
                return Ok(());
            }
            if Instant::now() > end {
                self.kill();
                let log = self.tail();
                return Err(format!("{} does not listen on port {port}; its log:\n{log}", self.name));
            }
            sleep(INTERVAL);
        }
    }

    /// Ends the program at once, as a power failure would.
    pub(crate) fn kill(&mut self) {
        // Both fail only when the program has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal; true when the program is there to get it.
    pub(crate) fn signal(&self, name: &str) -> bool {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        sent.is_ok_and(|status| status.success())
    }

    /// Asks the program to end, and waits until it has.
    pub(crate) fn terminate(&mut self) {
        let end = Instant::now() + PATIENCE;
        if self.signal("TERM") {
            while Instant::now() < end {
                if matches!(self.child.try_wait(), Ok(Some(_))) {
                    return;
                }
                sleep(INTERVAL);
            }
        }
        self.kill();
    }

    /// The end of the log.
    pub(crate) fn tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the last lines of {}:\n{}", self.name, self.tail());
        }
        self.kill();
    }
}

/// A port of the loopback that nothing listens on now, and that this process was not given before. Another
/// program may take it before we do: who starts something there must be ready to try another one.
///
/// It lies below the ports that the kernel gives to outgoing connections (`ip_local_port_range`): whoever tries to
/// reach one of those before anybody listens can be connected to itself, and takes that for an answer.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    static TAKEN: LazyLock<AtomicU16> = LazyLock::new(|| {
        // Test programs that run at the same time begin at different ports.
        let random = RandomState::new().hash_one(std::process::id());
        AtomicU16::new(u16::try_from(random % u64::from(PORTS.1)).unwrap_or_default())
    });
    (0..PORTS.1)
        .map(|_| PORTS.0 + TAKEN.fetch_add(1, Ordering::Relaxed) % PORTS.1)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port on loopback")
}
