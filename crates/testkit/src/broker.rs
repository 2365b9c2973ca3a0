//! A private Mosquitto.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::certificate::Certificate;
use crate::process::{Process, free_port};

/// Where the broker's files lie when it is not the checkout's own place for them.
const ROOT_VARIABLE: &str = "BIGSKIES_BROKER_ROOT";
/// Ports that are tried, in case that other programs take them first.
const ATTEMPTS: usize = 5;

/// How a broker is to be started; awaiting it starts it.
#[derive(Clone, Debug, Default)]
pub struct BrokerOptions {
    identities: Option<Value>,
    lines: Vec<String>,
    certificate: Option<Certificate>,
}

impl BrokerOptions {
    /// Adds a line to the broker's configuration, such as `max_packet_size 20000`.
    #[must_use]
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// Encrypts the listener; the broker is `localhost` and `127.0.0.1` in its certificate.
    ///
    /// # Panics
    ///
    /// When no certificate can be made.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.certificate = Some(Certificate::new());
        self
    }

    /// Starts the broker and waits until it accepts connections.
    ///
    /// # Panics
    ///
    /// When it cannot be found or does not start: the message says what to run, or shows its log.
    #[expect(clippy::unused_async, reason = "starting is waiting, whatever it waits on today")]
    pub async fn start(self) -> Broker {
        Broker::new(self)
    }
}

impl IntoFuture for BrokerOptions {
    type Output = Broker;
    type IntoFuture = Pin<Box<dyn Future<Output = Broker> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.start())
    }
}

/// A running Mosquitto on loopback, with its files in a temporary folder. It ends with this value.
#[derive(Debug)]
pub struct Broker {
    // Before the folder: the program ends first, and a failing test prints its log.
    process: Option<Process>,
    folder: TempDir,
    port: u16,
    options: BrokerOptions,
}

impl Broker {
    /// A broker that lets everybody do everything.
    #[must_use]
    pub fn open() -> BrokerOptions {
        BrokerOptions::default()
    }

    /// A broker with the dynamic security plugin, which reads these identities
    /// ([`crate::Identities`] makes some). Nobody gets in without a login.
    #[must_use]
    pub fn with_identities(identities: Value) -> BrokerOptions {
        BrokerOptions { identities: Some(identities), ..BrokerOptions::default() }
    }

    /// Starts a broker that lets everybody do everything.
    ///
    /// # Panics
    ///
    /// As [`BrokerOptions::start`].
    pub async fn start() -> Self {
        Self::open().start().await
    }

    fn new(options: BrokerOptions) -> Self {
        let folder = TempDir::with_prefix("broker-").expect("a temporary folder");
        let mut broker = Self { process: None, folder, port: 0, options };
        broker.fresh_data();
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            broker.port = free_port();
            match broker.launch() {
                Ok(()) => return broker,
                Err(error) => last = error,
            }
        }
        panic!("the broker did not start on {ATTEMPTS} ports; the last time: {last}");
    }

    /// Where it listens: `127.0.0.1`.
    #[must_use]
    pub const fn host(&self) -> &'static str {
        "127.0.0.1"
    }

    /// The port on which it listens; stays the same over restarts.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The certificate (PEM) by which an encrypted broker is to be trusted.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        Some(&self.options.certificate.as_ref()?.pem)
    }

    /// The file of the dynamic security plugin.
    #[must_use]
    pub fn identities_file(&self) -> PathBuf {
        self.data().join("identities.json")
    }

    /// The log so far, its last lines.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Kills the broker at once: what it had not saved is lost, as in a power failure.
    pub fn kill9(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill();
        }
        self.process = None;
    }

    /// Freezes the broker: connections stay, and nothing is answered until [`Broker::resume`].
    ///
    /// # Panics
    ///
    /// When the broker does not run.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets a frozen broker go on.
    ///
    /// # Panics
    ///
    /// When the broker does not run.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Has the broker read its configuration again; connections stay.
    ///
    /// # Panics
    ///
    /// When the broker does not run.
    pub fn reload(&self) {
        self.signal("HUP");
    }

    fn signal(&self, name: &str) {
        let sent = self.process.as_ref().is_some_and(|process| process.signal(name));
        assert!(sent, "the broker does not run and cannot get the signal {name}");
    }

    /// Stops the broker in good order: it saves sessions and retained messages.
    pub fn stop(&mut self) {
        if let Some(process) = &mut self.process {
            process.terminate();
        }
        self.process = None;
    }

    /// Stops the broker if it runs, and starts it on the same port with the same data.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[expect(clippy::unused_async, reason = "starting is waiting, whatever it waits on today")]
    pub async fn restart(&mut self) {
        self.stop();
        self.relaunch();
    }

    /// Kills the broker if it runs, and starts it on the same port with nothing but the identities
    /// that it began with.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[expect(clippy::unused_async, reason = "starting is waiting, whatever it waits on today")]
    pub async fn restart_with_fresh_data(&mut self) {
        self.kill9();
        self.fresh_data();
        self.relaunch();
    }

    fn relaunch(&mut self) {
        if let Err(error) = self.launch() {
            panic!("the broker did not start again: {error}");
        }
    }

    fn fresh_data(&self) {
        let data = self.data();
        if data.exists() {
            fs::remove_dir_all(&data).expect("our own temporary folder can be emptied");
        }
        fs::create_dir(&data).expect("our own temporary folder is writable");
        if let Some(identities) = &self.options.identities {
            fs::write(self.identities_file(), identities.to_string())
                .expect("our own temporary folder is writable");
        }
    }

    fn launch(&mut self) -> Result<(), String> {
        let (program, plugin) = installation(root());
        let configuration = self.folder.path().join("mosquitto.conf");
        self.configuration(&plugin)
            .and_then(|text| fs::write(&configuration, text))
            .map_err(|e| format!("cannot write below {}: {e}", self.folder.path().display()))?;
        let mut command = Command::new(program);
        command.arg("-c").arg(configuration);
        self.process = Some(Process::start(command, &self.log_file(), self.port)?);
        Ok(())
    }

    fn configuration(&self, plugin: &Path) -> io::Result<String> {
        let mut lines = vec![
            // Unless it is told to stay, a broker that is started by root changes to a user that
            // may not read our files.
            "user root".to_owned(),
            format!("listener {} {}", self.port, self.host()),
            format!("allow_anonymous {}", self.options.identities.is_none()),
            "set_tcp_nodelay true".to_owned(),
            "persistence true".to_owned(),
            format!("persistence_location {}/", self.data().display()),
            "autosave_interval 60".to_owned(),
            "log_dest stderr".to_owned(),
            "log_dest topic".to_owned(),
            "log_type error".to_owned(),
            "log_type warning".to_owned(),
            "log_type notice".to_owned(),
            "log_type information".to_owned(),
            "log_type subscribe".to_owned(),
        ];
        if self.options.identities.is_some() {
            lines.push(format!("plugin {}", plugin.display()));
            let file = self.identities_file();
            lines.push(format!("plugin_opt_config_file {}", file.display()));
        }
        if let Some(certificate) = &self.options.certificate {
            for (option, name, content) in
                [("certfile", "certificate.pem", &certificate.pem), ("keyfile", "key.pem", &certificate.key)]
            {
                let file = self.folder.path().join(name);
                fs::write(&file, content)?;
                lines.push(format!("{option} {}", file.display()));
            }
        }
        lines.extend(self.options.lines.iter().cloned());
        Ok(lines.join("\n") + "\n")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("mosquitto.log")
    }
}

/// Where the program and all that it needs lie: the checkout's own copy of a known version.
fn root() -> PathBuf {
    env::var_os(ROOT_VARIABLE)
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/broker-root"), PathBuf::from)
}

fn installation(root: PathBuf) -> (PathBuf, PathBuf) {
    let program = root.join("run-mosquitto");
    let plugin = root.join("dynamic-security.so");
    for file in [&program, &plugin] {
        assert!(
            file.exists(),
            "no broker to test with: {} is missing; run `deploy/broker-root.sh`, or set \
             {ROOT_VARIABLE} to the folder that it made elsewhere",
            file.display()
        );
    }
    (program, plugin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "run `deploy/broker-root.sh`")]
    fn a_missing_broker_fails_the_test_and_says_what_to_run() {
        installation(PathBuf::from("/nonexistent"));
    }
}
