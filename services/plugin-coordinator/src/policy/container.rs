//! What the container of a plugin gets.

use std::collections::BTreeMap;
use std::time::Duration;

use envelope::payload::login::ProvisionResponse;
use envelope::{PluginId, StartId};
use manifest::{DeviceAccess, Manifest, VolumeSource};

use super::{Kept, Policy, RELEASE_LABEL, Role};
use crate::engine::{
    Attachment, ContainerSpec, Device, Limits, Mount, MountSource, Owner, PortBinding, Protocol, UploadFile,
};
use crate::record::Record;

/// Where a plugin finds its configuration.
pub const CONFIG_FILE: &str = "/config/plugin.json";

const NOFILE: u32 = 4096;
const LOG_BYTES: u64 = 10 * 1024 * 1024;
pub(super) const LOG_FILES: u32 = 3;

impl Policy {
    /// The named volumes of a plugin, with the path at which each is mounted.
    pub fn volumes(&self, id: &PluginId, manifest: &Manifest) -> BTreeMap<String, String> {
        let mounts = manifest.docker.volumes.iter().filter_map(|volume| match &volume.source {
            VolumeSource::Named { name } => Some((self.volume_name(id, name), volume.target.clone())),
            VolumeSource::OwnFolder { .. } | VolumeSource::HostFolder { .. } => None,
        });
        mounts.collect()
    }

    /// The container of one start.
    pub fn container(
        &self,
        record: &Record,
        manifest: &Manifest,
        start: StartId,
        login: &ProvisionResponse,
    ) -> ContainerSpec {
        let forwards = self.forwards(manifest);
        let mut labels = self.container_labels(&record.id, start, Role::Plugin);
        labels.insert(RELEASE_LABEL.to_owned(), Kept::of(record).encode());
        ContainerSpec {
            name: self.container_name(&record.id),
            image: record.release.reference.clone(),
            hostname: manifest.dns_names().into_iter().next(),
            env: self.environment(record, manifest, login),
            labels,
            mounts: self.mounts(&record.id, manifest),
            ports: if forwards { Vec::new() } else { ports(manifest) },
            networks: self.attachments(manifest, start),
            resolver: Self::resolver(manifest),
            // By number, whatever the image says: the engine would look a name up in the plugin's own /etc/passwd, in its
            // own way and again at each start.
            user: Some(owner(record, manifest).to_string()),
            groups: groups(record, manifest),
            limits: self.limits(manifest),
            devices: manifest.devices.iter().map(device).collect(),
            stop_timeout: Some(manifest.stop_timeout()),
            log_max_bytes: LOG_BYTES,
            log_max_files: LOG_FILES,
            ..ContainerSpec::default()
        }
    }

    /// The networks that the container of one start is on, and its names there.
    pub(crate) fn attachments(&self, manifest: &Manifest, start: StartId) -> Vec<Attachment> {
        let forwards = self.forwards(manifest);
        let networks = self.networks(manifest).into_iter().map(|network| Attachment {
            aliases: match network.internal {
                true if forwards => [manifest.dns_names(), vec![Self::name_of_start(start)]].concat(),
                true => manifest.dns_names(),
                false => Vec::new(),
            },
            network: network.name,
        });
        networks.collect()
    }

    /// The manifest's environment, under what the framework sets itself.
    fn environment(
        &self,
        record: &Record,
        manifest: &Manifest,
        login: &ProvisionResponse,
    ) -> BTreeMap<String, String> {
        let (host, port) = (&self.settings.broker_host, self.settings.broker_port);
        let (user, password) = (&login.username, &login.password);
        let own = [
            ("MQTT_BROKER", format!("tcp://{user}:{password}@{host}:{port}")),
            ("MQTT_HOST", host.clone()),
            ("MQTT_PORT", port.to_string()),
            ("MQTT_USERNAME", user.clone()),
            ("MQTT_PASSWORD", password.clone()),
            ("PLUGIN_ID", record.id.to_string()),
            ("PLUGIN_NAME", manifest.name.clone()),
        ];
        let declared = manifest.environment().into_iter().map(|(k, v)| (k.to_owned(), v.to_owned()));
        declared.chain(own.map(|(k, v)| (k.to_owned(), v))).collect()
    }

    fn mounts(&self, id: &PluginId, manifest: &Manifest) -> Vec<Mount> {
        let mounts = manifest.docker.volumes.iter().map(|volume| Mount {
            source: match &volume.source {
                VolumeSource::Named { name } => MountSource::Volume(self.volume_name(id, name)),
                VolumeSource::OwnFolder { path } | VolumeSource::HostFolder { path } => {
                    MountSource::HostFolder(path.clone())
                }
            },
            target: volume.target.clone(),
            read_only: volume.read_only,
        });
        mounts.collect()
    }

    /// What a plugin may use.
    pub(crate) fn limits(&self, manifest: &Manifest) -> Limits {
        let wanted = &manifest.resources;
        let pids = wanted.pids.and_then(|pids| u32::try_from(pids).ok());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bounded by the manifest"
        )]
        let nano_cpus = wanted
            .cpus
            .map(|cpus| (cpus * 1e9) as u64)
            .unwrap_or(u64::from(self.settings.default_millicpus) * 1_000_000);
        Limits {
            memory_bytes: Some(wanted.memory.unwrap_or(self.settings.default_memory_bytes)),
            nano_cpus: Some(nano_cpus),
            pids: Some(pids.unwrap_or(self.settings.default_pids)),
            nofile: Some(NOFILE),
        }
    }
}

/// Only as it was approved.
fn device(asked: &manifest::Device) -> Device {
    Device {
        path: asked.path.clone(),
        container_path: asked.container_path.clone(),
        read_only: asked.access == DeviceAccess::Read,
    }
}

/// The ports that a manifest publishes; without an address they lead from loopback only.
pub fn ports(manifest: &Manifest) -> Vec<PortBinding> {
    let ports = manifest.docker.ports.iter().map(|port| PortBinding {
        host_ip: port.host_address(),
        host_port: port.host_port,
        container_port: port.container_port,
        protocol: match port.protocol {
            manifest::Protocol::Tcp => Protocol::Tcp,
            manifest::Protocol::Udp => Protocol::Udp,
        },
    });
    ports.collect()
}

/// Mount points whose root belongs to the plugin: its volumes and its own folder.
pub fn owned_targets(manifest: &Manifest) -> Vec<String> {
    let own = |source: &VolumeSource| !matches!(source, VolumeSource::HostFolder { .. });
    let owned = manifest.docker.volumes.iter().filter(|v| own(&v.source) && !v.read_only);
    owned.map(|volume| volume.target.clone()).collect()
}

/// The files that carry a plugin's configuration, readable by its user only.
pub fn config_files(record: &Record, manifest: &Manifest) -> Vec<UploadFile> {
    let Some(config) = &record.release.config else { return Vec::new() };
    let bytes = serde_json::to_vec_pretty(config).expect("a JSON value encodes");
    let mut paths = vec![CONFIG_FILE.to_owned()];
    paths.extend(manifest.docker.config_path().filter(|p| *p != CONFIG_FILE).map(str::to_owned));
    let file = |path| UploadFile { path, bytes: bytes.clone(), owner: owner(record, manifest), mode: 0o400 };
    paths.into_iter().map(file).collect()
}

/// The numbers of the user that a plugin runs as.
pub fn owner(record: &Record, manifest: &Manifest) -> Owner {
    match manifest.docker.user {
        Some(user) => Owner { uid: user.uid, gid: user.gid.unwrap_or(record.release.gid) },
        None => Owner { uid: record.release.uid, gid: record.release.gid },
    }
}

/// The groups that the plugin's processes are in beside their own: those of the image's user.
fn groups(record: &Record, manifest: &Manifest) -> Vec<u32> {
    if manifest.docker.user.is_some() { Vec::new() } else { record.release.groups.clone() }
}

/// How long an engine call that stops a plugin may take in all.
pub fn stop_bound(manifest: &Manifest) -> Duration {
    manifest.stop_timeout() + Duration::from_secs(30)
}
