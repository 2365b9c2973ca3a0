//! Which service owns which folder, and what it finds there.
//!
//! Every service has two volumes: `{service}-data`, its own to write, and `{service}-secrets`, which it
//! can only read. No service sees another's.

use std::path::{Path, PathBuf};

use crate::file::{self, FileError, Owner};

/// A service, as its volumes see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// The MQTT broker.
    Broker,
    /// The message coordinator, administrator of the broker.
    Message,
    /// The security coordinator, the only one that signs.
    Security,
    /// The plugin coordinator, the only one that reaches the engine.
    Plugin,
    /// The containers of the profile `tools`, which act for the operator.
    Operator,
    /// The certificate authority, which is `init` itself: no container that keeps running sees its key.
    Authority,
}

impl Service {
    /// All of them, in the order in which their folders are made.
    pub const ALL: [Service; 6] = [
        Service::Broker,
        Service::Message,
        Service::Security,
        Service::Plugin,
        Service::Operator,
        Service::Authority,
    ];

    /// The user that the service runs as. The plugin coordinator is root without a capability: the
    /// engine's socket belongs to a group whose number differs from host to host.
    pub const fn owner(self) -> Owner {
        let id = match self {
            Service::Broker => 64100,
            Service::Message => 64101,
            Service::Security => 64102,
            Service::Plugin | Service::Authority => 0,
            Service::Operator => 64103,
        };
        Owner { uid: id, gid: id }
    }

    const fn name(self) -> &'static str {
        match self {
            Service::Broker => "broker",
            Service::Message => "message",
            Service::Security => "security",
            Service::Plugin => "plugin",
            Service::Operator => "operator",
            Service::Authority => "authority",
        }
    }

    /// Where its secrets are, below the folder that all volumes are mounted in.
    pub fn secrets(self, volumes: &Path) -> PathBuf {
        volumes.join(format!("{}-secrets", self.name()))
    }

    /// Where its data is, if it keeps any.
    pub fn data(self, volumes: &Path) -> Option<PathBuf> {
        let keeps = !matches!(self, Service::Operator | Service::Authority);
        keeps.then(|| volumes.join(format!("{}-data", self.name())))
    }

    /// Gives the service its folders.
    pub fn ensure_folders(self, volumes: &Path) -> Result<(), FileError> {
        file::ensure_folder(&self.secrets(volumes), self.owner())?;
        self.data(volumes).map_or(Ok(()), |data| file::ensure_folder(&data, self.owner()))
    }
}
