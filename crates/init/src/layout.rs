//! Which service owns which folder, and what it finds there.
//!
//! Every service has two volumes: `{service}-data`, its own to write, and `{service}-secrets`, which it
//! can only read. No service sees another's.

use std::path::{Path, PathBuf};

use envelope::Coordinator;
use envelope::principal::{coordinator_login, operator_login};

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
}

impl Service {
    /// All of them, in the order in which their folders are made.
    pub const ALL: [Service; 5] =
        [Service::Broker, Service::Message, Service::Security, Service::Plugin, Service::Operator];

    /// The user that the service runs as. The plugin coordinator is root without a capability: the
    /// engine's socket belongs to a group whose number differs from host to host.
    pub const fn owner(self) -> Owner {
        let id = match self {
            Service::Broker => 64100,
            Service::Message => 64101,
            Service::Security => 64102,
            Service::Plugin => 0,
            Service::Operator => 64103,
        };
        Owner { uid: id, gid: id }
    }

    /// The name that its login at the broker has; the broker itself has none.
    pub fn login(self) -> Option<String> {
        match self {
            Service::Broker => None,
            Service::Message => Some(coordinator_login(Coordinator::Message)),
            Service::Security => Some(coordinator_login(Coordinator::Security)),
            Service::Plugin => Some(coordinator_login(Coordinator::Plugin)),
            Service::Operator => Some(operator_login(&acl::fixed::first_operator())),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Service::Broker => "broker",
            Service::Message => "message",
            Service::Security => "security",
            Service::Plugin => "plugin",
            Service::Operator => "operator",
        }
    }

    /// Where its secrets are, below the folder that all volumes are mounted in.
    pub fn secrets(self, volumes: &Path) -> PathBuf {
        volumes.join(format!("{}-secrets", self.name()))
    }

    /// Where its data is; the operator's tools keep none.
    pub fn data(self, volumes: &Path) -> Option<PathBuf> {
        (self != Service::Operator).then(|| volumes.join(format!("{}-data", self.name())))
    }

    /// Gives the service its folders.
    pub fn ensure_folders(self, volumes: &Path) -> Result<(), FileError> {
        file::ensure_folder(&self.secrets(volumes), self.owner())?;
        self.data(volumes).map_or(Ok(()), |data| file::ensure_folder(&data, self.owner()))
    }
}
