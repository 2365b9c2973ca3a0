//! What the engine is asked to make: containers, networks, files.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// Labels, in a stable order.
pub type Labels = BTreeMap<String, String>;

/// A container to make.
///
/// What a specification cannot say is always the same: every capability is dropped, no new privileges,
/// never privileged, no host namespace, no restart by the engine, output in rotated json files, swap
/// counted as memory, no init process of the engine (PID 1 is the image's own, which gets the signal).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerSpec {
    /// Unique on the engine: `[A-Za-z0-9][A-Za-z0-9_.-]+`.
    pub name: String,
    /// The image, by digest or id; it must have been pulled.
    pub image: String,
    /// The name that the container sees as its own; the engine's choice when `None`.
    pub hostname: Option<String>,
    /// In place of the image's entry point.
    pub entrypoint: Option<Vec<String>>,
    /// In place of the image's command.
    pub command: Option<Vec<String>>,
    /// Environment, over the image's own.
    pub env: BTreeMap<String, String>,
    /// Must hold [`super::label::INSTALLATION`] and [`super::label::START`] to be found again.
    pub labels: Labels,
    /// Volumes and host folders.
    pub mounts: Vec<Mount>,
    /// Folders in memory.
    pub tmpfs: Vec<Tmpfs>,
    /// Ports of the host that lead into the container.
    pub ports: Vec<PortBinding>,
    /// Networks; none of them means no network at all.
    pub networks: Vec<Attachment>,
    /// Who is asked for names that no container has; whom the host asks when `None`.
    pub resolver: Option<IpAddr>,
    /// In place of the image's user.
    pub user: Option<String>,
    /// Groups that its processes are in beside their own.
    pub groups: Vec<u32>,
    /// Bounds on what it may use.
    pub limits: Limits,
    /// Device files of the host.
    pub devices: Vec<Device>,
    /// Whether nothing of its own files can be written; mounts can still be.
    pub read_only: bool,
    /// How long the engine waits at a stop that names no time of its own.
    pub stop_timeout: Option<Duration>,
    /// Size in bytes at which an output file is rotated; 0 is 10 MiB.
    pub log_max_bytes: u64,
    /// Output files that are kept; 0 is 3.
    pub log_max_files: u32,
}

/// A device file of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Where it is on the host, below `/dev`.
    pub path: String,
    /// Where it is in the container, below `/dev`.
    pub container_path: String,
    /// Whether it can only be read.
    pub read_only: bool,
}

/// Bounds on what a container may use. `None` is unbounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Memory in bytes, swap included.
    pub memory_bytes: Option<u64>,
    /// Processor time in billionths of a processor.
    pub nano_cpus: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u32>,
    /// Open files of each process.
    pub nofile: Option<u32>,
}

impl Limits {
    /// Whether they are the same, but for open files: that bound is for life.
    pub fn are_as(&self, other: &Self) -> bool {
        Self { nofile: None, ..*self } == Self { nofile: None, ..*other }
    }
}

/// What is put right of a container that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// One that is held goes on.
    Resume,
    /// It gets this name.
    Rename(String),
    /// It is attached to a network.
    Connect(Attachment),
    /// It is taken off the network of this name.
    Disconnect(String),
    /// It gets these bounds (but for open files, which are for life), and the engine does not start it again by
    /// itself.
    Bound(Limits),
}

/// Something mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Absolute path in the container.
    pub target: String,
    /// Whether the container may only read it.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum MountSource {
    /// A named volume; made when missing.
    Volume(String),
    /// An absolute path on the host; made when missing. A colon in it is refused.
    HostFolder(String),
}

/// A folder in memory, of which nothing can be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tmpfs {
    /// Absolute path in the container.
    pub target: String,
    /// Its size in bytes.
    pub size_bytes: u64,
}

/// A port of the host that leads into a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortBinding {
    /// The host's address to listen on.
    pub host_ip: IpAddr,
    /// The host's port; 0 lets the engine choose.
    pub host_port: u16,
    /// The container's port.
    pub container_port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// A transport protocol of a published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// As the engine and manifests write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A network that a container is attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The network's name.
    pub network: String,
    /// Names under which others on it find the container, beside its own.
    pub aliases: Vec<String>,
}

/// A bridge network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSpec {
    /// Its name.
    pub name: String,
    /// No way out of the host, and no published ports.
    pub internal: bool,
    /// Whether packets that leave the host get its address; without, answers do not come back.
    pub masquerade: bool,
    /// Whether containers on it see each other.
    pub icc: bool,
    /// Labels, set when it is made.
    pub labels: Labels,
}

/// Who owns a file or a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// A file to put into a container before it starts.
#[derive(Clone, PartialEq, Eq)]
pub struct UploadFile {
    /// Absolute path in the container.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its owner.
    pub owner: Owner,
    /// Permission bits, such as `0o400`.
    pub mode: u32,
}

impl fmt::Debug for UploadFile {
    // A configuration can hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UploadFile({}, {} bytes)", self.path, self.bytes.len())
    }
}

/// What a registry asks for before it gives an image.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryLogin {
    /// The registry's `host` or `host:port`, as it stands in the reference.
    pub host: String,
    /// User.
    pub username: String,
    /// Password or access token.
    pub password: String,
}

impl fmt::Debug for RegistryLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegistryLogin({}@{})", self.username, self.host)
    }
}
