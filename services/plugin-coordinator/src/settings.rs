//! What can be configured of the plugin coordinator.

use std::path::PathBuf;

use chassis::{Fault, Section};
use manifest::ResourceKind;
use serde::{Deserialize, Serialize};

/// The section `plugin` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The container engine's socket.
    pub engine_socket: PathBuf,
    /// Where that is on the host: no plugin is given a folder that contains it.
    pub engine_socket_on_host: PathBuf,
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
    /// The image that carries the published ports of plugins without internet.
    pub forwarder_image: String,
    /// The most bytes that the layers of an image may have, compressed, as its registry tells them.
    pub max_image_bytes: u64,
    /// Bytes that stay free where the engine keeps its images. A pull that would take them is cancelled.
    pub disk_reserve_bytes: u64,
    /// A folder on the file system where the engine keeps its images, for seeing how much of it is free. When
    /// it is not there the engine's own folder is looked at.
    pub engine_storage: PathBuf,
    /// Seconds between two looks for images that were pulled for plugins and that none needs any more.
    pub image_sweep_seconds: u32,
    /// Messages a second that are taken of each plugin, of all its topics that are read here together. Over it for
    /// 10 seconds without a pause the plugin is stopped.
    pub messages_per_second: u32,
    /// Messages that a plugin may send at once before [`Self::messages_per_second`] counts.
    pub messages_burst: u32,
    /// Seconds after which it is looked whether a plugin hears its control topics: after it got ready, and
    /// after it connected again.
    pub deaf_grace_seconds: u32,
    /// Seconds between two looks at how much of the disk plugins use. The engine reads all volumes for each.
    pub disk_interval_seconds: u32,
    /// Whether plugins are restarted that are silent, or say again and again that they do not work. One that does not
    /// hear its control topics, or has ended, is always restarted.
    pub watchdog: bool,
    /// A plugin is restarted when it says `unhealthy` in so many of its last [`Self::watchdog_unhealthy_of`] health
    /// messages.
    pub watchdog_unhealthy: u32,
    /// See [`Self::watchdog_unhealthy`].
    pub watchdog_unhealthy_of: u32,
    /// How often in a row a plugin is restarted for its health before it is left running as it is.
    pub watchdog_restarts: u32,
    /// Seconds between two such restarts, whosever they are.
    pub watchdog_pace_seconds: u32,
    /// How many plugins take a step at once that makes the engine, the disk or the network work.
    pub concurrent_steps: u32,
    /// Seconds after which a step that lasts lets another plugin take its place beside it.
    pub step_place_seconds: u32,
    /// Bytes of disk for a plugin whose manifest does not say: what its container wrote, and its volumes. Over it
    /// the plugin is stopped.
    pub default_disk_bytes: u64,
}

/// So many of a plugin's last health messages are remembered.
pub(crate) const MOST_HEALTH_MESSAGES: u32 = 20;

/// Where images of the framework's own are, as a repository's first part.
const FRAMEWORKS_IMAGES: &str = "bigskies";

impl Default for Settings {
    fn default() -> Self {
        Self {
            engine_socket: "/var/run/docker.sock".into(),
            engine_socket_on_host: "/var/run/docker.sock".into(),
            installation_file: "/secrets/installation".into(),
            node: "local".into(),
            network: "bigskies-network".into(),
            broker_host: "mqtt-broker".into(),
            broker_port: 1883,
            registry_config: "/registry/config.json".into(),
            registry_aliases: String::new(),
            registry_insecure: String::new(),
            default_memory_bytes: ResourceKind::Memory.usual().into(),
            default_pids: ResourceKind::Pids.usual(),
            default_millicpus: ResourceKind::Cpus.usual(),
            forwarder_image: format!("{FRAMEWORKS_IMAGES}/forwarder:{}", env!("CARGO_PKG_VERSION")),
            max_image_bytes: 4 << 30,
            disk_reserve_bytes: 1 << 30,
            engine_storage: "/data".into(),
            image_sweep_seconds: 3600,
            messages_per_second: 20,
            messages_burst: 200,
            deaf_grace_seconds: 10,
            disk_interval_seconds: 300,
            watchdog: true,
            watchdog_unhealthy: 3,
            watchdog_unhealthy_of: 5,
            watchdog_restarts: 5,
            watchdog_pace_seconds: 5,
            concurrent_steps: 8,
            step_place_seconds: 10,
            default_disk_bytes: ResourceKind::Disk.usual().into(),
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

    /// In how many of how many of its last health messages a plugin says `unhealthy` that is to be restarted.
    pub(crate) fn unhealthy_bounds(&self) -> (usize, usize) {
        (self.watchdog_unhealthy as usize, self.watchdog_unhealthy_of as usize)
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
        if !crate::engine::image_ref::is_reference(&self.forwarder_image) {
            let reason = format!("{:?} is no image; write repository:tag", self.forwarder_image);
            faults.push(Fault::new("forwarder_image", reason));
        }
        if self.max_image_bytes == 0 {
            faults.push(Fault::new("max_image_bytes", "must not be 0: no image would be let in"));
        }
        let nonzero = [
            ("messages_per_second", u64::from(self.messages_per_second)),
            ("messages_burst", u64::from(self.messages_burst)),
            ("deaf_grace_seconds", u64::from(self.deaf_grace_seconds)),
            ("disk_interval_seconds", u64::from(self.disk_interval_seconds)),
            ("image_sweep_seconds", u64::from(self.image_sweep_seconds)),
            ("default_disk_bytes", self.default_disk_bytes),
            ("watchdog_unhealthy", u64::from(self.watchdog_unhealthy)),
            ("watchdog_restarts", u64::from(self.watchdog_restarts)),
            ("watchdog_pace_seconds", u64::from(self.watchdog_pace_seconds)),
            ("concurrent_steps", u64::from(self.concurrent_steps)),
            ("step_place_seconds", u64::from(self.step_place_seconds)),
        ];
        for (key, _) in nonzero.into_iter().filter(|(_, value)| *value == 0) {
            faults.push(Fault::new(key, "must not be 0: no plugin could run, or be looked at"));
        }
        if self.watchdog_unhealthy > self.watchdog_unhealthy_of
            || self.watchdog_unhealthy_of > MOST_HEALTH_MESSAGES
        {
            let reason = format!(
                "must not be more than watchdog_unhealthy_of, and that not more than {MOST_HEALTH_MESSAGES}"
            );
            faults.push(Fault::new("watchdog_unhealthy", reason));
        }
        faults
    }
}
