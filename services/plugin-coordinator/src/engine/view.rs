//! What the engine shows: images, containers, networks, events.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;

use super::spec::{Labels, Limits, PortBinding, Protocol};

/// An engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// Its own id; another id is another engine, with other containers.
    pub id: String,
    /// Its release, such as `20.10.24`.
    pub version: String,
    /// The version of its interface that is spoken with it, such as `1.41`.
    pub api_version: String,
    /// The processor that images must be for, as registries write it, such as `amd64`.
    pub architecture: String,
    /// Whether containers outlive a restart of the engine.
    pub live_restore: bool,
    /// Bytes free where images and volumes lie; `None` when that cannot be seen from here.
    pub storage_free_bytes: Option<u64>,
    /// The folder of the host in which it keeps everything; empty where it does not say.
    pub data_root: String,
}

/// How far a pull has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PullProgress {
    /// Layers that are there.
    pub layers_done: u32,
    /// Layers known so far.
    pub layers_total: u32,
    /// Compressed bytes downloaded.
    pub bytes_done: u64,
    /// Compressed bytes known so far; grows while layers are discovered.
    pub bytes_total: u64,
}

/// An image that the engine holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// `sha256:` of its configuration; not the digest that it is pulled by.
    pub id: String,
    /// `repository@sha256:…` under which it was pulled.
    pub repo_digests: Vec<String>,
    /// Its labels.
    pub labels: Labels,
    /// Its user as written in the image; empty is root.
    pub user: String,
    /// Its environment, `NAME=value`.
    pub env: Vec<String>,
    /// `port/protocol` that it says it serves.
    pub exposed_ports: Vec<String>,
    /// Whether it brings a health check that the engine runs.
    pub has_healthcheck: bool,
    /// Its size on disk in bytes, layers shared with others included.
    pub size: u64,
}

/// What lies at a path of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostEntry {
    /// Nothing; the engine makes a folder of it when it is mounted.
    Missing,
    /// A folder.
    Folder,
    /// A regular file.
    File,
    /// A symbolic link: what is mounted is what it leads to.
    Link,
    /// A device, a pipe, a socket.
    Other,
}

/// A container's id, as the engine gave it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(pub(crate) String);

impl ContainerId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::ops::Deref for ContainerId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<String> for ContainerId {
    /// An id that was stored.
    fn from(id: String) -> Self {
        Self(id)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a removal found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is gone now.
    Removed,
    /// It was not there.
    Missing,
    /// Something uses it; it stays.
    InUse,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// The reference of the image that it was made from.
    pub image: String,
    /// The id of that image.
    pub image_id: String,
    /// Its labels, the image's included.
    pub labels: Labels,
    /// What it does.
    pub state: State,
    /// What the image's own health check says.
    pub health: Health,
    /// Network name to address on it; no address while it does not run.
    pub networks: BTreeMap<String, Option<IpAddr>>,
    /// Ports of the host that lead into it.
    pub ports: Vec<PortBinding>,
    /// The bounds that it has now. Of open files nothing is told: that bound is for life.
    pub limits: Limits,
    /// Whether the engine itself would start it again, which is never our doing.
    pub engine_restarts: bool,
}

impl Container {
    /// One of its labels.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }
}

/// How much of the disk a running container uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskUsage {
    /// The container's name.
    pub container: String,
    /// The start that it was made for, as its label says.
    pub start: Option<String>,
    /// Bytes that it has written beside its volumes and binds.
    pub written: u64,
    /// The volumes that are mounted in it, those without a name included, and their bytes. One of a size that
    /// the engine does not know is left out.
    pub volumes: BTreeMap<String, u64>,
}

impl DiskUsage {
    /// All of it, in bytes.
    pub fn total(&self) -> u64 {
        self.volumes.values().fold(self.written, |sum, bytes| sum.saturating_add(*bytes))
    }
}

/// What a container does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Made, never started.
    Created,
    /// Its process runs.
    Running {
        /// The process, in the engine's own numbering.
        pid: i64,
        /// When it was started last.
        started_at: Option<Timestamp>,
    },
    /// Its process has ended.
    Exited {
        /// How.
        exit: Exit,
        /// What the engine said when it could not be started; often empty.
        error: String,
    },
    /// Held by somebody.
    Paused,
    /// Being restarted, which is never our doing.
    Restarting,
    /// Half removed.
    Dead,
}

impl State {
    /// Whether a process is there.
    pub const fn is_running(&self) -> bool {
        matches!(self, Self::Running { .. } | Self::Paused | Self::Restarting)
    }

    /// How its process ended, when it has.
    pub const fn exit(&self) -> Option<Exit> {
        match self {
            Self::Exited { exit, .. } => Some(*exit),
            _ => None,
        }
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Exit code; 128 + n when signal n ended it.
    pub code: i64,
    /// Whether the kernel ended it for want of memory.
    pub oom_killed: bool,
    /// When, by the engine's clock.
    pub finished_at: Option<Timestamp>,
}

/// What an image's own health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// The image has none.
    None,
    /// Not decided yet.
    Starting,
    /// Passed.
    Healthy,
    /// Failed often enough.
    Unhealthy,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// See [`super::NetworkSpec`].
    pub internal: bool,
    /// See [`super::NetworkSpec`].
    pub masquerade: bool,
    /// See [`super::NetworkSpec`].
    pub icc: bool,
    /// Its labels.
    pub labels: Labels,
    /// Names of the containers that run on it, sorted.
    pub containers: Vec<String>,
}

/// A port that a running container publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedPort {
    /// The container's name.
    pub container: String,
    /// The installation that it belongs to, if any.
    pub installation: Option<String>,
    /// The host's address; `None` is every address.
    pub host_ip: Option<IpAddr>,
    /// The host's port.
    pub host_port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

impl PublishedPort {
    /// Whether a wanted binding cannot be had beside this one: same protocol and port, and the same
    /// address or one of the two on every address.
    pub fn conflicts_with(&self, wanted: &PortBinding) -> bool {
        let same_address = match self.host_ip {
            None => true,
            Some(ip) => ip == wanted.host_ip || ip.is_unspecified(),
        };
        wanted.host_port != 0
            && self.host_port == wanted.host_port
            && self.protocol == wanted.protocol
            && (same_address || wanted.host_ip.is_unspecified())
    }
}

/// The end of a container's output.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogTail {
    /// Lines of stdout and stderr (each in its order, not against each other); control characters are
    /// spelled out.
    pub text: String,
    /// Whether there was more before it.
    pub truncated: bool,
}

/// Something that happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineEvent {
    /// The container.
    pub container: ContainerId,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// What happened.
    pub action: EventAction,
    /// When, by the engine's clock.
    pub at: Option<Timestamp>,
}

/// What happened to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventAction {
    /// Its process was started.
    Start,
    /// Its process ended.
    Die {
        /// Exit code.
        code: i64,
    },
    /// The kernel ended something in it for want of memory; comes before [`EventAction::Die`].
    Oom,
    /// It was removed.
    Destroy,
    /// Somebody holds it.
    Pause,
    /// It is let go again.
    Unpause,
    /// It has another name now.
    Rename,
    /// Its bounds, or whether the engine starts it again, were changed.
    Update,
    /// Its own health check passes.
    Healthy,
    /// Its own health check fails.
    Unhealthy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_conflict_on_one_address_or_on_every_address() {
        let used = |ip: Option<&str>| PublishedPort {
            container: "x".into(),
            installation: None,
            host_ip: ip.map(|ip| ip.parse().expect("an address")),
            host_port: 80,
            protocol: Protocol::Tcp,
        };
        let want = |ip: &str, host_port, protocol| PortBinding {
            host_ip: ip.parse().expect("an address"),
            host_port,
            container_port: 1,
            protocol,
        };
        let tcp = Protocol::Tcp;
        assert!(used(Some("127.0.0.1")).conflicts_with(&want("127.0.0.1", 80, tcp)));
        assert!(used(Some("0.0.0.0")).conflicts_with(&want("127.0.0.1", 80, tcp)));
        assert!(used(None).conflicts_with(&want("127.0.0.1", 80, tcp)));
        assert!(used(Some("127.0.0.1")).conflicts_with(&want("0.0.0.0", 80, tcp)));
        assert!(!used(Some("127.0.0.1")).conflicts_with(&want("127.0.0.2", 80, tcp)));
        assert!(!used(Some("127.0.0.1")).conflicts_with(&want("127.0.0.1", 81, tcp)));
        assert!(!used(Some("127.0.0.1")).conflicts_with(&want("127.0.0.1", 0, tcp)));
        assert!(!used(None).conflicts_with(&want("127.0.0.1", 80, Protocol::Udp)));
    }
}
