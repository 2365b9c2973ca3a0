//! The manifest's block `docker`: the image, and what of a container a plugin may choose.

mod environment;
pub(crate) mod forbidden;
mod image;
mod port;
mod user;
mod volume;

use std::collections::BTreeMap;

use envelope::PluginId;
use schemars::JsonSchema;
use serde::Serialize;

use crate::fault::{Findings, quoted};
use crate::read::{Node, Object};

pub use environment::{CONFIG_VARIABLE, OWN_VARIABLES};
pub use port::{Port, Protocol};
pub use user::User;
pub use volume::{PLUGIN_FOLDERS, Volume, VolumeSource};

/// The one network that a manifest may name.
pub const NETWORK: &str = "bigskies-network";

/// The image of a plugin, and its container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Docker {
    /// The image. The `source` of the install request wins over it.
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Ports that are published on the host: "8080:8080", "127.0.0.1:8080:80/udp", or "8080" for the same
    /// port on both sides. Without an address they can be reached from the host itself only.
    #[schemars(default, length(max = 64))]
    pub ports: Vec<Port>,
    /// Environment variables. The framework's own (`MQTT_BROKER`, `PLUGIN_ID` and so on) win over them.
    /// `PLUGIN_CONFIG` names the file in which the plugin expects its configuration.
    #[schemars(default, schema_with = "crate::schema::environment")]
    pub environment: BTreeMap<String, String>,
    /// What outlives the container, as "source:/target" or "source:/target:ro". The source is a name, or the
    /// plugin's own folder "/var/lib/bigskies/plugins/{id or alias}"; other folders of the host need approval.
    #[schemars(default, length(max = 64))]
    pub volumes: Vec<Volume>,
    /// Nothing but "bigskies-network", which every plugin is on.
    #[schemars(default, schema_with = "crate::schema::networks")]
    pub networks: Vec<String>,
    /// The user that the plugin runs as, by number: "1000:1000". The image's own when absent.
    #[schemars(default, schema_with = "crate::schema::user")]
    pub user: Option<User>,
}

impl Docker {
    /// The path in `PLUGIN_CONFIG`, when the environment has it.
    pub fn config_path(&self) -> Option<&str> {
        self.environment.get(CONFIG_VARIABLE).map(String::as_str)
    }

    /// `owners` are the plugin's id and alias.
    pub(crate) fn read(node: &Node<'_>, owners: &[&PluginId], found: &mut Findings) -> Self {
        let Some(mut object) = node.object(found) else {
            return Self::default();
        };
        let volumes = object.get("volumes").map(|n| volume::read(&n, owners, found));
        let volumes = volumes.unwrap_or_default();
        let docker = Self {
            image: object.get("image").and_then(|n| image::read(&n, found)),
            ports: object.get("ports").map(|n| port::read(&n, found)).unwrap_or_default(),
            environment: environment(&mut object, &volumes, found),
            networks: object.get("networks").map(|n| networks(&n, found)).unwrap_or_default(),
            user: object.get("user").and_then(|n| user::read(&n, found)),
            volumes,
        };
        forbidden::sort_unknown(&object, forbidden::Place::Container, found);
        docker
    }
}

fn environment(
    object: &mut Object<'_>,
    volumes: &[Volume],
    found: &mut Findings,
) -> BTreeMap<String, String> {
    let Some(node) = object.get("environment") else {
        return BTreeMap::new();
    };
    let variables = environment::read(&node, found);
    environment::check_config_path(&variables, volumes, &node.at, found);
    variables
}

fn networks(node: &Node<'_>, found: &mut Findings) -> Vec<String> {
    let mut networks = Vec::new();
    for item in node.list(found, 16) {
        let Some(text) = item.text(found) else {
            continue;
        };
        if text != NETWORK {
            let reason = format!("{} is not a network for plugins", quoted(text));
            found.fault(&item.at, reason, format!("write \"{NETWORK}\", or leave the key out"));
        } else if networks.is_empty() {
            networks.push(NETWORK.to_owned());
        }
    }
    networks
}
