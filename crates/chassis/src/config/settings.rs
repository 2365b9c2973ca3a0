//! What can be configured of every coordinator.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Fault;

/// A coordinator's own section. Its default is a working configuration, and its field names are the keys.
pub trait Section: Default + Serialize + DeserializeOwned + Send + 'static {
    /// What makes no sense although it has the right form; each with its key below the section.
    fn faults(&self) -> Vec<Fault>;
}

/// What every coordinator has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Common {
    /// The broker.
    pub broker: BrokerSettings,
    /// This process among the coordinator's replicas; made up at the first start when left out.
    pub instance: Option<String>,
    /// Where the database is kept.
    pub data_dir: PathBuf,
    /// Where the health file is kept, for `health`.
    pub run_dir: PathBuf,
    /// Which log lines are written: `error`, `warn`, `info`, `debug`, or `target=level,…`.
    pub log: String,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            broker: BrokerSettings::default(),
            instance: None,
            data_dir: "/data".into(),
            run_dir: "/run/bigskies".into(),
            log: "info".into(),
        }
    }
}

impl Common {
    /// What makes no sense although it has the right form.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if let Err(e) = telemetry::check_filter(&self.log) {
            faults.push(Fault::new("log", telemetry::chain(&e)));
        }
        if let Some(name) = &self.instance
            && let Err(e) = envelope::InstanceId::parse(name)
        {
            faults.push(Fault::new("instance", format!("{name:?} {e}")));
        }
        if self.broker.host.is_empty() {
            faults.push(Fault::new("broker.host", "is empty; give the broker's name or address"));
        }
        if self.broker.port == 0 {
            faults.push(Fault::new("broker.port", "is 0; the broker listens on 1883, or 8883 with TLS"));
        }
        if self.broker.username.is_empty() {
            faults.push(Fault::new("broker.username", "is empty; give the coordinator's login"));
        }
        for (key, file) in [
            ("broker.password_file", Some(&self.broker.password_file)),
            ("broker.ca_file", self.broker.ca_file.as_ref()),
        ] {
            if let Some(Err(e)) = file.map(std::fs::metadata) {
                let file = file.map(|f| f.display().to_string()).unwrap_or_default();
                faults.push(Fault::new(key, format!("cannot read {file}: {e}")));
            }
        }
        faults
    }
}

/// How to reach the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerSettings {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Login.
    pub username: String,
    /// The file that holds the password.
    pub password_file: PathBuf,
    /// The file with the certificates (PEM) that the broker's must be signed by; with it TLS is used.
    pub ca_file: Option<PathBuf>,
}

impl Default for BrokerSettings {
    fn default() -> Self {
        Self {
            host: "mqtt-broker".into(),
            port: 1883,
            username: String::new(),
            password_file: "/secrets/password".into(),
            ca_file: None,
        }
    }
}

/// The broker's address with the login read from its file.
#[derive(Debug, Clone)]
pub struct BrokerLogin {
    settings: BrokerSettings,
    password: bus::Password,
    tls: Option<bus::Tls>,
}

impl BrokerLogin {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// A file cannot be read or holds nothing.
    pub fn read(settings: &BrokerSettings) -> Result<Self, Fault> {
        let read = |key: &str, file: &Path| {
            std::fs::read_to_string(file)
                .map_err(|e| Fault::new(key, format!("cannot read {}: {e}", file.display())))
        };
        let password = read("broker.password_file", &settings.password_file)?;
        let password = password.trim();
        if password.is_empty() {
            return Err(Fault::new("broker.password_file", "holds no password"));
        }
        let tls = match &settings.ca_file {
            None => None,
            Some(file) => Some(bus::Tls { ca_pem: read("broker.ca_file", file)?.into_bytes() }),
        };
        Ok(Self { settings: settings.clone(), password: bus::Password::new(password), tls })
    }

    /// A session's configuration under `client_id`.
    pub fn session(&self, client_id: impl Into<String>) -> bus::Config {
        let mut config = bus::Config::new(self.settings.host.clone(), self.settings.port, client_id)
            .login(self.settings.username.clone(), self.password.clone());
        config.tls = self.tls.clone();
        config.keep_alive = Duration::from_secs(15);
        config
    }
}
