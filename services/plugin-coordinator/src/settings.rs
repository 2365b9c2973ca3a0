//! What can be configured of the plugin coordinator.

use std::path::PathBuf;

use chassis::{Fault, Section};
use serde::{Deserialize, Serialize};

/// The section `plugin` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The container engine's socket.
    pub engine_socket: PathBuf,
    /// The file that holds the id of this installation. Containers of another are never touched.
    pub installation_file: PathBuf,
    /// The name of this host among those that run plugins.
    pub node: String,
    /// The network on which plugins find the broker.
    pub network: String,
    /// Where a plugin's container finds the broker.
    pub broker_host: String,
    /// The broker's port on that network.
    pub broker_port: u16,
    /// Registry logins, as `docker login` writes them; a file that does not exist is no logins.
    pub registry_config: PathBuf,
    /// Registries that this process reaches under another address than the engine does: pairs
    /// `host:port=host:port`, joined by commas.
    pub registry_aliases: String,
    /// Registries that are spoken to without TLS, beside those on loopback: `host:port`, joined by commas.
    pub registry_insecure: String,
    /// Bytes of memory for a plugin whose manifest does not say.
    pub default_memory_bytes: u64,
    /// Processes and threads for a plugin whose manifest does not say.
    pub default_pids: u32,
    /// Thousandths of a processor for a plugin whose manifest does not say.
    pub default_millicpus: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            engine_socket: "/var/run/docker.sock".into(),
            installation_file: "/secrets/installation".into(),
            node: "local".into(),
            network: "bigskies-network".into(),
            broker_host: "mqtt-broker".into(),
            broker_port: 1883,
            registry_config: "/registry/config.json".into(),
            registry_aliases: String::new(),
            registry_insecure: String::new(),
            default_memory_bytes: 512 * 1024 * 1024,
            default_pids: 256,
            default_millicpus: 1000,
        }
    }
}

impl Settings {
    /// [`Self::registry_aliases`] taken apart.
    pub fn aliases(&self) -> Vec<(String, String)> {
        let pairs = self.registry_aliases.split(',').filter_map(|pair| pair.split_once('='));
        // Without TLS or with it is decided by the address that the engine uses.
        let host = |text: &str| text.trim().trim_start_matches("http://").to_owned();
        pairs.map(|(a, b)| (a.trim().to_owned(), host(b))).collect()
    }

    /// [`Self::registry_insecure`] taken apart.
    pub fn insecure(&self) -> Vec<String> {
        list(&self.registry_insecure).map(str::to_owned).collect()
    }
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

impl Section for Settings {
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if let Err(e) = std::fs::metadata(&self.installation_file) {
            let file = self.installation_file.display();
            faults.push(Fault::new("installation_file", format!("cannot read {file}: {e}")));
        }
        for (key, text) in [("node", &self.node), ("network", &self.network)] {
            if let Err(e) = envelope::PluginId::parse(text) {
                faults.push(Fault::new(key, format!("{text:?} {e}")));
            }
        }
        for pair in list(&self.registry_aliases) {
            if !pair.split_once('=').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty()) {
                let reason = format!("{pair:?} is no pair; write host:port=host:port");
                faults.push(Fault::new("registry_aliases", reason));
            }
        }
        if self.default_memory_bytes < 8 * 1024 * 1024 {
            faults.push(Fault::new(
                "default_memory_bytes",
                "is less than 8 MiB, with which no container starts",
            ));
        }
        if self.default_pids == 0 || self.default_millicpus == 0 {
            faults.push(Fault::new("default_pids, default_millicpus", "must not be 0"));
        }
        faults
    }
}
