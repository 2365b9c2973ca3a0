//! What a plugin's container may have: from its manifest, minus what is refused, plus what it cannot switch off.
//!
//! To be read as a policy, begin with [`rules`]: what a manifest may ask, and what becomes of it. Each rule there
//! has an example that a test tries. The other parts say how: [`container`] what the container gets, [`network`]
//! where it is and whom it reaches, [`forwarder`] how its ports are published when it has no way out, [`host`]
//! which folders of the host are what they seem, [`config`] which configurations it is given.
//!
//! What is refused outright is a fault of the manifest or a grant that needs approval, and never gets here.
//! Capabilities, privileges and the engine's restart policy are not even expressible: see
//! [`ContainerSpec`](crate::engine::ContainerSpec).

pub mod rules;

pub(crate) mod config;
mod container;
mod forwarder;
pub(crate) mod host;
mod kept;
mod name;
mod network;

use crate::settings::Settings;

pub use container::{CONFIG_FILE, config_files, owned_targets, owner, ports, stop_bound};
pub use kept::{Kept, KeptError, RELEASE_LABEL};
pub use name::{NODE_LABEL, PLUGIN_LABEL, ROLE_LABEL, Role, forwarder_of};

/// The rules of one host.
#[derive(Debug, Clone)]
pub struct Policy {
    settings: Settings,
    installation: String,
}

impl Policy {
    /// The rules of `settings` for this installation.
    pub fn new(settings: Settings, installation: String) -> Self {
        Self { settings, installation }
    }

    /// The installation's id.
    pub fn installation(&self) -> &str {
        &self.installation
    }
}
