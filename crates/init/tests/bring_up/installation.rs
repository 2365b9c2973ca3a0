//! An installation in a temporary folder, with the program under test.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::Duration;

use bus::{Bus, Config, Link, Password, Tls};
use tempfile::TempDir;
use testkit::{Client, Refusal, eventually, free_port};

/// How long a broker may take to accept connections.
const PATIENCE: Duration = Duration::from_secs(10);
/// Ports that are tried.
const ATTEMPTS: usize = 5;
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Volumes, checkout and operator's folder.
pub struct Installation {
    folder: TempDir,
    broker_root: PathBuf,
}

impl Installation {
    /// Logins of the framework, with the service that has the password.
    pub const LOGINS: [(&str, &str); 4] = [
        ("coordinator.message", "message"),
        ("coordinator.security", "security"),
        ("coordinator.plugin", "plugin"),
        ("operator.operator", "operator"),
    ];

    /// An empty one.
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("installation-").expect("a temporary folder");
        fs::create_dir(folder.path().join("volumes")).expect("a folder");
        fs::write(folder.path().join("docker-compose.yml"), "").expect("a file");
        let output = Command::new(Path::new(ROOT).join("deploy/broker-root.sh")).output().expect("a shell");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let broker_root = String::from_utf8(output.stdout).expect("a path");
        Self { folder, broker_root: broker_root.trim_end().into() }
    }

    /// The folder with everybody's volumes.
    pub fn volumes(&self) -> PathBuf {
        self.folder.path().join("volumes")
    }

    /// The broker's identities.
    pub fn identities(&self) -> PathBuf {
        self.volumes().join("broker-data/dynamic-security.json")
    }

    /// What the service would read from its secrets.
    pub fn password(&self, service: &str) -> String {
        let path = self.volumes().join(format!("{service}-secrets/password"));
        let content = fs::read_to_string(path).expect("the password");
        content.lines().last().expect("it holds a line").to_owned()
    }

    /// What is left for clients on other machines.
    pub fn authority_certificate(&self) -> String {
        fs::read_to_string(self.folder.path().join(".bigskies/ca.crt")).expect("the certificate")
    }

    /// Adds a client to the identities, as the message coordinator would through the broker.
    pub fn add_client(&self, username: &str, password: &str) {
        let content = fs::read(self.identities()).expect("the identities");
        let mut document: serde_json::Value = serde_json::from_slice(&content).expect("JSON");
        let mut client = serde_json::to_value(acl::password::hash(password).expect("random")).expect("JSON");
        client["username"] = username.into();
        client["roles"] = serde_json::json!([]);
        document["clients"].as_array_mut().expect("a list").push(client);
        fs::write(self.identities(), document.to_string()).expect("write");
    }

    /// Runs `secrets` to its end.
    pub fn run_secrets(&self) {
        let output = self.run(&["secrets"]);
        assert!(output.status.success(), "{} (is this root?)", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs one stage of `rotate` against a running broker; fails with what it says.
    pub fn rotate(&self, stage: &str, broker: &Broker) -> Result<(), String> {
        let port = broker.port.to_string();
        let at = ["--broker-host", "127.0.0.1", "--broker-port", &port];
        let output = self.run(&[&["rotate", stage], at.as_slice()].concat());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(told) }
    }

    fn run(&self, command: &[&str]) -> Output {
        let path = |name: &str| self.folder.path().join(name);
        Command::new(env!("CARGO_BIN_EXE_bigskies-init"))
            .args(command)
            .arg("--volumes")
            .arg(path("volumes"))
            .arg("--operator")
            .arg(path(".bigskies"))
            .arg("--checkout")
            .arg(path("docker-compose.yml"))
            .output()
            .expect("the program")
    }

    /// Starts the broker through its entry point, with the configuration of its image.
    pub async fn start_broker(&self) -> Broker {
        for _ in 0..ATTEMPTS {
            let (port, tls_port) = (free_port(), free_port());
            let mut broker = Broker { process: self.spawn_broker(port, tls_port), port, tls_port };
            // Another program may have taken the port in between.
            if broker.accepts_connections().await {
                return broker;
            }
        }
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        panic!("the broker ended {ATTEMPTS} times instead of starting; its log:\n{log}");
    }

    fn spawn_broker(&self, port: u16, tls_port: u16) -> Child {
        let config = self.folder.path().join("mosquitto.conf");
        let data = format!("{}/", self.volumes().join("broker-data").display());
        let plugin = self.broker_root.join("dynamic-security.so");
        let image = fs::read_to_string(Path::new(ROOT).join("deploy/broker/mosquitto.conf"))
            .expect("the configuration");
        let here = image
            .replace("listener 1883", &format!("user root\nlistener {port} 127.0.0.1"))
            .replace("/usr/lib/mosquitto_dynamic_security.so", &plugin.to_string_lossy())
            .replace("/data/", &data);
        fs::write(&config, here).expect("write");
        let tls = fs::read_to_string(Path::new(ROOT).join("deploy/broker/mosquitto-tls.conf"))
            .expect("the configuration");
        let secrets = format!("{}/", self.volumes().join("broker-secrets").display());
        let tls_config = self.folder.path().join("mosquitto-tls.conf");
        let here = tls.replace("listener 8883", &format!("listener {tls_port} 127.0.0.1"));
        fs::write(&tls_config, here.replace("/secrets/", &secrets)).expect("write");
        Command::new(env!("CARGO_BIN_EXE_bigskies-init"))
            .arg("broker")
            .arg("--program")
            .arg(self.broker_root.join("run-mosquitto"))
            .arg("--config")
            .arg(&config)
            .arg("--identities")
            .arg(self.identities())
            .arg("--seed")
            .arg(self.volumes().join("broker-secrets/dynamic-security.seed.json"))
            .args(["--tls", "1", "--tls-config"])
            .arg(&tls_config)
            .arg("--whole-config")
            .arg(self.volumes().join("broker-data/mosquitto.conf"))
            .stderr(File::create(self.log()).expect("a log"))
            .spawn()
            .expect("the program")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("broker.log")
    }
}

/// A running broker; dropping it kills it, as a power failure would.
pub struct Broker {
    process: Child,
    port: u16,
    tls_port: u16,
}

impl Broker {
    /// Logs in and out.
    pub async fn try_login(&self, login: &str, password: &str) -> Result<(), Refusal> {
        Client::at(self.port, "bring-up").login(login, password).connect().await.map(drop)
    }

    /// Logs in over TLS to `host`, which must be this machine, trusting `ca_pem`. Fails with the reason.
    pub async fn try_tls(&self, host: &str, ca_pem: &str, login: &str, password: &str) -> Result<(), String> {
        let mut config =
            Config::new(host, self.tls_port, "bring-up-tls").login(login, Password::new(password));
        config.tls = Some(Tls { ca_pem: ca_pem.as_bytes().to_vec() });
        let (bus, _inbox) = Bus::connect(config);
        let mut link = bus.link();
        let settled = |link: &Link| match link {
            Link::Down { reason } => reason.contains("certificate") || reason.contains("CA"),
            Link::Up { .. } => true,
        };
        let found = tokio::time::timeout(PATIENCE, link.wait_for(settled)).await;
        match found.expect("it connects, or says why not").expect("the session lives").clone() {
            Link::Up { .. } => Ok(()),
            Link::Down { reason } => Err(reason),
        }
    }

    /// Tries to get in without a login.
    pub async fn try_anonymous(&self) -> Result<(), Refusal> {
        Client::at(self.port, "bring-up").connect().await.map(drop)
    }

    /// Waits until it does, or has ended.
    async fn accepts_connections(&mut self) -> bool {
        let port = self.port;
        eventually(PATIENCE, || {
            let ended = matches!(self.process.try_wait(), Ok(Some(_)));
            async move {
                if ended {
                    return Ok(false);
                }
                tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.map(|_| true)
            }
        })
        .await
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
