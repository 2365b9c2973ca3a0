//! Where a container is, and whom it reaches.
//!
//! | network | who is on it | way out | they see each other |
//! |---|---|---|---|
//! | `bigskies-network` | the broker, every plugin, forwarders | none: `internal` | yes |
//! | `bigskies-network-internet` | plugins with `requires_internet` | yes | no |
//! | `bigskies-network-ports` | forwarders | answers only: no masquerade | no |
//!
//! A plugin without `requires_internet` is on the first alone. Taking masquerading away would not be enough: its
//! packets would still leave the host, only answers would not come back.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use envelope::StartId;
use manifest::Manifest;

use super::Policy;
use crate::engine::{NetworkSpec, label};

impl Policy {
    /// The networks that a plugin itself is on.
    pub fn networks(&self, manifest: &Manifest) -> Vec<NetworkSpec> {
        let mut networks = vec![self.inside()];
        if manifest.capabilities.requires_internet {
            networks.push(self.network("-internet", false, true));
        }
        networks
    }

    /// The network with the broker. It is made with the framework, never by us: one of ours would have no broker.
    pub fn inside(&self) -> NetworkSpec {
        self.network("", true, true)
    }

    /// The network from which forwarders publish ports.
    pub fn outside(&self) -> NetworkSpec {
        self.network("-ports", false, false)
    }

    /// Whether a forwarder carries the published ports: the plugin has some, and no way out that would publish
    /// them.
    pub fn forwards(&self, manifest: &Manifest) -> bool {
        !manifest.capabilities.requires_internet && !manifest.docker.ports.is_empty()
    }

    /// Engines before 23.0.11 and 25.0.5 ask the host's name server for a container on an internal network too, which is
    /// a way out (CVE-2024-29018). Asked is the container itself instead, where nobody answers.
    pub(super) fn resolver(manifest: &Manifest) -> Option<IpAddr> {
        (!manifest.capabilities.requires_internet).then_some(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// Under which name a forwarder finds the container of a start. Nobody can have it or guess it, and it is
    /// short enough for every resolver, which an id need not be.
    pub(super) fn name_of_start(start: StartId) -> String {
        format!("bigskies-start-{start}")
    }

    fn network(&self, suffix: &str, internal: bool, masquerade: bool) -> NetworkSpec {
        NetworkSpec {
            name: format!("{}{suffix}", self.settings.network),
            internal,
            masquerade,
            // On the network with the broker plugins see each other, by their names; elsewhere they do not.
            icc: internal,
            labels: BTreeMap::from([(label::INSTALLATION.to_owned(), self.installation.clone())]),
        }
    }
}
