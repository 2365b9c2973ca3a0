//! Names and labels of what is made for a plugin: by them it is found again, and nothing else is touched.

use std::collections::BTreeMap;

use envelope::{PluginId, StartId};

use super::Policy;
use crate::engine::spec::Labels;
use crate::engine::{Container, label};

/// The plugin that a container, network or volume belongs to.
pub const PLUGIN_LABEL: &str = "org.bigskies.plugin_id";
/// The node that runs it.
pub const NODE_LABEL: &str = "org.bigskies.node";
/// What a container is to its plugin: see [`Role`].
pub const ROLE_LABEL: &str = "org.bigskies.role";

/// No id has two points in a row: what stands behind them is never a part of another plugin's id.
const BEHIND_ID: &str = "..";

/// What a container is to its plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The plugin itself.
    Plugin,
    /// What carries its published ports.
    Forwarder,
}

impl Role {
    /// As it stands in the label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plugin => "plugin",
            Self::Forwarder => "forwarder",
        }
    }
}

/// The name of the forwarder that belongs to a plugin's container of that name.
pub fn forwarder_of(container: &str) -> String {
    format!("{container}{BEHIND_ID}forwarder")
}

impl Policy {
    /// What all names on the engine begin with: two installations can share an engine.
    fn prefix(&self) -> String {
        let short: String = self.installation.chars().filter(char::is_ascii_alphanumeric).take(6).collect();
        format!("bigskies-plugin-{short}")
    }

    /// The name of a plugin's container.
    pub fn container_name(&self, id: &PluginId) -> String {
        format!("{}-{id}", self.prefix())
    }

    /// The name of the container that carries a plugin's published ports.
    pub fn forwarder_name(&self, id: &PluginId) -> String {
        forwarder_of(&self.container_name(id))
    }

    /// The name of a plugin's container of that role.
    pub fn name_of(&self, id: &PluginId, role: Role) -> String {
        match role {
            Role::Plugin => self.container_name(id),
            Role::Forwarder => self.forwarder_name(id),
        }
    }

    /// Whether a container is what this installation made for the plugin, whatever its name.
    pub fn is_of(&self, id: &PluginId, role: Role, container: &Container) -> bool {
        container.label(label::INSTALLATION) == Some(self.installation())
            && container.label(PLUGIN_LABEL) == Some(id.as_str())
            && container.label(ROLE_LABEL) == Some(role.as_str())
    }

    pub(super) fn volume_name(&self, id: &PluginId, name: &str) -> String {
        format!("{}-{id}{BEHIND_ID}{name}", self.prefix())
    }

    /// Labels of everything that is made for a plugin.
    pub fn labels(&self, id: &PluginId) -> Labels {
        BTreeMap::from([
            (label::INSTALLATION.to_owned(), self.installation.clone()),
            (PLUGIN_LABEL.to_owned(), id.to_string()),
            (NODE_LABEL.to_owned(), self.settings.node.clone()),
        ])
    }

    /// Labels of a container of one start.
    pub(super) fn container_labels(&self, id: &PluginId, start: StartId, role: Role) -> Labels {
        let mut labels = self.labels(id);
        labels.insert(label::START.to_owned(), start.to_string());
        labels.insert(ROLE_LABEL.to_owned(), role.as_str().to_owned());
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn a_forwarder_has_a_name_that_no_plugin_can_have() {
        let policy = Policy::new(Settings::default(), "6f1c0d5e-0000-4000-8000-000000000001".into());
        let id = PluginId::parse("focuser").expect("an id");
        assert_eq!(policy.container_name(&id), "bigskies-plugin-6f1c0d-focuser");
        assert_eq!(policy.forwarder_name(&id), "bigskies-plugin-6f1c0d-focuser..forwarder");
        assert!(PluginId::parse("focuser..forwarder").is_err());
    }

    #[test]
    fn no_volume_is_one_of_another_plugin_whatever_the_two_are_called() {
        let policy = Policy::new(Settings::default(), "6f1c0d5e-0000-4000-8000-000000000001".into());
        let name = |id: &str, name: &str| policy.volume_name(&PluginId::parse(id).expect("an id"), name);
        assert_eq!(name("cam", "main-data"), "bigskies-plugin-6f1c0d-cam..main-data");
        assert_ne!(name("cam", "main-data"), name("cam-main", "data"));
        assert_ne!(name("cam", "main.data"), name("cam.main", "data"));
        assert_ne!(name("cam", "main..data"), name("cam.main", "data"));
    }
}
