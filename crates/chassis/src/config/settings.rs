//! What can be configured of every coordinator.

use std::ops::RangeInclusive;
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
    /// How many records the audit trail keeps.
    pub audit_records: u32,
    /// Bytes that should stay free on the disk under `data_dir`. With less the coordinator is degraded.
    pub data_reserve_bytes: u64,
    /// The most bytes that the database's file may have. What is kept in it is bounded far below.
    pub database_max_bytes: u64,
    /// How often each principal may ask.
    pub requests: RequestSettings,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            broker: BrokerSettings::default(),
            instance: None,
            data_dir: "/data".into(),
            run_dir: "/run/bigskies".into(),
            log: "info".into(),
            audit_records: 10_000,
            data_reserve_bytes: 256 << 20,
            database_max_bytes: store::MOST_BYTES,
            requests: RequestSettings::default(),
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
        if !AUDIT_RECORDS.contains(&self.audit_records) {
            let (least, most) = (AUDIT_RECORDS.start(), AUDIT_RECORDS.end());
            faults.push(Fault::new("audit_records", format!("give a number from {least} to {most}")));
        }
        if self.database_max_bytes < LEAST_DATABASE {
            let reason = format!("is less than {LEAST_DATABASE}, which the empty tables need");
            faults.push(Fault::new("database_max_bytes", reason));
        }
        faults.extend(self.requests.faults());
        faults
    }
}

/// Fewer would not tell of a day's work, more would make the database slow.
const AUDIT_RECORDS: RangeInclusive<u32> = 100..=1_000_000;

/// A database with nothing in it has about half of that.
const LEAST_DATABASE: u64 = 512 * 1024;

/// How often each principal may ask. What comes over it is refused, and most of it not even answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestSettings {
    /// Requests a second of one plugin that are taken in the long run.
    pub plugin_per_second: u32,
    /// Requests of one plugin that are taken at once, and that may wait for their turn.
    pub plugin_burst: u32,
    /// Requests a second of one operator that are taken in the long run. Operators on the SDK's topics are one.
    pub operator_per_second: u32,
    /// Requests of one operator that are taken at once, and that may wait for their turn.
    pub operator_burst: u32,
}

impl Default for RequestSettings {
    fn default() -> Self {
        Self { plugin_per_second: 10, plugin_burst: 50, operator_per_second: 50, operator_burst: 200 }
    }
}

impl RequestSettings {
    fn faults(&self) -> impl Iterator<Item = Fault> {
        let all = [
            ("requests.plugin_per_second", self.plugin_per_second),
            ("requests.plugin_burst", self.plugin_burst),
            ("requests.operator_per_second", self.operator_per_second),
            ("requests.operator_burst", self.operator_burst),
        ];
        let wrong = all.into_iter().filter(|(_, value)| !(1..=100_000).contains(value));
        wrong.map(|(key, _)| Fault::new(key, "give a number from 1 to 100000"))
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
    /// The file that holds the password. When it has two lines, the first is the login, which wins over
    /// `username`: both change together when secrets are renewed.
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
        let content = read("broker.password_file", &settings.password_file)?;
        let content = content.trim();
        let (username, password) = content.split_once('\n').unwrap_or((&settings.username, content));
        let password = password.trim();
        if password.is_empty() {
            return Err(Fault::new("broker.password_file", "holds no password"));
        }
        let settings = BrokerSettings { username: username.trim().to_owned(), ..settings.clone() };
        let tls = match &settings.ca_file {
            None => None,
            Some(file) => Some(bus::Tls { ca_pem: read("broker.ca_file", file)?.into_bytes() }),
        };
        let password = bus::Password::new(password);
        Ok(Self { settings, password, tls })
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
