//! Grants: what a plugin asks for beyond its own namespace, for an operator to approve.

mod limit;

use std::net::{IpAddr, SocketAddr};

use envelope::payload::grant::{GrantEntry, Risk};
use envelope::topic::{coordinator, plugin};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::device::{Device, DeviceAccess};
use crate::docker::{Port, Protocol, Volume, VolumeSource};
use crate::document::digest_of;
use crate::fault::quoted;
use crate::filter::TopicFilter;
use crate::manifest::Manifest;
use crate::namespace::{Access, Namespace, Verdict};
use crate::path::is_within;
use crate::permission::{Permission, Resource, Verb};
use crate::resources::{ResourceKind, Resources};

/// One thing that a plugin may do when an operator has approved it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Grant {
    /// To publish on topics that are not its own.
    Publish {
        /// Which topics.
        topic: TopicFilter,
    },
    /// To receive topics that are not its own.
    Subscribe {
        /// Which topics.
        topic: TopicFilter,
    },
    /// To ask the coordinators for more than reading.
    Permission {
        /// Which permission.
        permission: Permission,
    },
    /// To use a device of the host.
    Device {
        /// The device on the host.
        path: String,
        /// Where it stands in the container.
        container_path: String,
        /// Read, or read and write.
        access: DeviceAccess,
    },
    /// To use a folder or file of the host.
    HostFolder {
        /// The folder on the host.
        path: String,
        /// Where it stands in the container.
        target: String,
        /// Whether it may only be read.
        read_only: bool,
    },
    /// To be reached from other machines.
    Port {
        /// The host's address.
        host_ip: IpAddr,
        /// The host's port.
        host_port: u16,
        /// The container's port.
        container_port: u16,
        /// TCP or UDP.
        protocol: Protocol,
    },
    /// To use more of the machine than is usual.
    Resources {
        /// Which of its resources.
        resource: ResourceKind,
        /// How much, in that resource's own unit.
        amount: u64,
    },
    /// To run as root inside its container.
    RootUser,
}

impl Grant {
    /// Names it within its plugin, in requests: see [`GrantEntry::key`]. It does not change while the manifest
    /// asks for the same. What of the host stands at two places in the container has one key, because it is
    /// one thing to give or to take back.
    pub fn key(&self) -> String {
        match self {
            Self::Publish { topic } => format!("publish:{}", topic.as_str()),
            Self::Subscribe { topic } => format!("subscribe:{}", topic.as_str()),
            Self::Permission { permission } => format!("permission:{permission}"),
            Self::Device { path, .. } => format!("device:{path}"),
            Self::HostFolder { path, .. } => format!("folder:{path}"),
            Self::Port { host_ip, host_port, protocol, .. } => {
                format!("port:{}/{protocol}", SocketAddr::new(*host_ip, *host_port))
            }
            Self::Resources { resource, .. } => format!("resources:{}", resource.as_str()),
            Self::RootUser => "root".to_owned(),
        }
    }

    /// As operators see it.
    pub fn entry(&self) -> GrantEntry {
        GrantEntry {
            key: self.key(),
            sentence: self.sentence(),
            risk: self.risk(),
            grant: serde_json::to_value(self).expect("a grant has string keys"),
        }
    }

    /// Whether its plugin cannot run as its manifest says without it. Without a topic or a permission a plugin
    /// is refused what it tries, a port that other machines must not reach leads from loopback, and without more
    /// of the machine it has what is usual.
    pub fn is_needed_to_run(&self) -> bool {
        match self {
            Self::Device { .. } | Self::HostFolder { .. } | Self::RootUser => true,
            Self::Publish { .. }
            | Self::Subscribe { .. }
            | Self::Permission { .. }
            | Self::Port { .. }
            | Self::Resources { .. } => false,
        }
    }

    /// What it means, in a sentence for an operator.
    pub fn sentence(&self) -> String {
        match self {
            Self::Publish { topic } if reaches_control(topic) => {
                format!("May send commands to other plugins, on {}.", quoted(topic.as_str()))
            }
            Self::Publish { topic } => {
                format!("May publish on {}, outside of its own topics.", quoted(topic.as_str()))
            }
            Self::Subscribe { topic } => {
                format!("May read {}, outside of its own topics.", quoted(topic.as_str()))
            }
            Self::Permission { permission } => permission_sentence(permission),
            Self::Device { path, access, .. } => {
                let verb = match access {
                    DeviceAccess::Read => "read from",
                    DeviceAccess::ReadWrite => "read from and write to",
                };
                format!("May {verb} the device {} of the host.", quoted(path))
            }
            Self::HostFolder { path, read_only, .. } => {
                let verb = if *read_only { "read" } else { "read and change" };
                format!("May {verb} {} of the host.", quoted(path))
            }
            Self::Port { host_ip, host_port, protocol, .. } => {
                let port = format!("port {host_port}/{protocol}");
                match host_ip.is_unspecified() {
                    true => {
                        format!("Can be reached from other machines on {port} of every address of the host.")
                    }
                    false => format!(
                        "Can be reached from other machines on {port} of the host's address {host_ip}."
                    ),
                }
            }
            Self::Resources { resource, amount } => format!(
                "May use {}, which is more than the usual {}.",
                resource.told(*amount),
                resource.told(resource.usual().into())
            ),
            Self::RootUser => "Runs as root inside its container.".to_owned(),
        }
    }

    /// How much harm it can do.
    pub fn risk(&self) -> Risk {
        match self {
            Self::Publish { topic } if reaches_control(topic) => Risk::High,
            Self::Publish { .. } => Risk::Medium,
            Self::Subscribe { topic } => subscribe_risk(topic),
            Self::Permission { permission } => match (&permission.resource, permission.verb) {
                (_, Verb::Control | Verb::Configure) => Risk::High,
                (Resource::User, Verb::Read) | (_, Verb::Write) => Risk::Medium,
                (_, Verb::Read) => Risk::Low,
            },
            Self::Device { path, container_path, access } => {
                let (path, container_path) = (path.clone(), container_path.clone());
                let device = Device { path, container_path, access: *access };
                if device.is_far_reaching() { Risk::High } else { Risk::Medium }
            }
            Self::HostFolder { path, read_only, .. } => {
                if *read_only && !is_sensitive(path) {
                    Risk::Medium
                } else {
                    Risk::High
                }
            }
            Self::Port { .. } | Self::Resources { .. } => Risk::Medium,
            Self::RootUser => Risk::High,
        }
    }

    /// Everything in `manifest` that needs approval, in a fixed order and each once. Root is among it when
    /// the manifest asks for it; whether the image does is known only after the pull.
    pub(crate) fn of(manifest: &Manifest) -> Vec<Self> {
        let namespace = Namespace::new(&manifest.id, manifest.alias());
        let foreign = |access| {
            let namespace = &namespace;
            move |topic: &&TopicFilter| namespace.judge(access, topic) == Verdict::Foreign
        };
        let topics = manifest.topics();
        let publish = topics.publish.iter().filter(foreign(Access::Publish));
        let subscribe = topics.subscribe.iter().filter(foreign(Access::Subscribe));
        let mut grants: Vec<Self> = publish.map(|topic| Self::Publish { topic: topic.clone() }).collect();
        grants.extend(subscribe.map(|topic| Self::Subscribe { topic: topic.clone() }));
        let permissions = manifest.permissions.iter().filter(|p| p.needs_approval());
        grants.extend(permissions.map(|permission| Self::Permission { permission: permission.clone() }));
        grants.extend(manifest.devices.iter().map(Self::device));
        grants.extend(manifest.docker.volumes.iter().filter_map(Self::folder));
        grants.extend(manifest.docker.ports.iter().filter_map(Self::port));
        grants.extend(ResourceKind::ALL.into_iter().filter_map(|kind| Self::more(&manifest.resources, kind)));
        grants.extend(manifest.docker.user.filter(|user| user.is_root()).map(|_| Self::RootUser));
        grants.sort_unstable();
        grants.dedup();
        grants
    }

    fn device(device: &Device) -> Self {
        let Device { path, container_path, access } = device.clone();
        Self::Device { path, container_path, access }
    }

    /// What a volume needs, when it is a folder of the host.
    fn folder(volume: &Volume) -> Option<Self> {
        match &volume.source {
            VolumeSource::HostFolder { path } => Some(Self::HostFolder {
                path: path.clone(),
                target: volume.target.clone(),
                read_only: volume.read_only,
            }),
            VolumeSource::OwnFolder { .. } | VolumeSource::Named { .. } => None,
        }
    }

    /// What an amount needs, when it is more than usual.
    fn more(resources: &Resources, resource: ResourceKind) -> Option<Self> {
        let amount = resources.of(resource).filter(|amount| *amount > resource.usual().into())?;
        Some(Self::Resources { resource, amount })
    }

    /// What a port needs, when other machines can reach it.
    fn port(port: &Port) -> Option<Self> {
        (!port.is_loopback()).then(|| Self::Port {
            host_ip: port.host_address(),
            host_port: port.host_port,
            container_port: port.container_port,
            protocol: port.protocol,
        })
    }
}

/// The digest that an operator approves: over the image, the manifest and the list of grants. The order of
/// the list has no meaning.
pub fn approval_digest(image_digest: &str, manifest_digest: &str, grants: &[Grant]) -> String {
    let mut grants = grants.to_vec();
    grants.sort_unstable();
    grants.dedup();
    digest_of(&serde_json::json!({
        "image": image_digest,
        "manifest": manifest_digest,
        "grants": grants,
    }))
}

fn permission_sentence(permission: &Permission) -> String {
    let what = match &permission.resource {
        Resource::System => "the framework".to_owned(),
        Resource::Plugin => "other plugins".to_owned(),
        Resource::User => "users".to_owned(),
        Resource::Telescope(id) => format!("the telescope {}", quoted(id)),
    };
    let can = match (&permission.resource, permission.verb) {
        (Resource::User, Verb::Read) => {
            "view users' data, who asked for what, and who is connected from where".to_owned()
        }
        (Resource::User, Verb::Write) => "change users' data".to_owned(),
        (Resource::Plugin, Verb::Control) => "start, stop and command other plugins".to_owned(),
        (_, Verb::Read) => format!("view the configuration and status of {what}"),
        (_, Verb::Write) => format!("change the configuration of {what}"),
        (_, Verb::Control) => format!("give commands to {what}"),
        (_, Verb::Configure) => format!("change the system settings of {what}"),
    };
    format!("May {can} ({permission}).")
}

pub(crate) fn reaches_control(topic: &TopicFilter) -> bool {
    own_filter(&plugin::all_control()).overlaps(topic)
}

fn subscribe_risk(topic: &TopicFilter) -> Risk {
    let states = own_filter(&coordinator::states());
    if states.covers(topic) {
        return Risk::Low;
    }
    let plugins = own_filter(&plugin::all()).overlaps(topic);
    let coordinators = own_filter(&coordinator::all()).overlaps(topic);
    // One plugin's data is what it publishes to be read; all plugins' at once, commands, and what
    // coordinators tell about who did what, say more than one plugin needs to know.
    let health = topic.as_str().ends_with("/health/+") || topic.as_str().ends_with("/health/#");
    match (plugins, coordinators) {
        (false, false) => Risk::Low,
        (true, false) if !topic.has_wildcard() && !reaches_control(topic) => Risk::Low,
        (false, true) if health => Risk::Low,
        _ => Risk::Medium,
    }
}

pub(crate) fn is_sensitive(path: &str) -> bool {
    // Reading these gives away the host's keys and passwords.
    let harmless = ["/etc/localtime", "/etc/timezone"];
    let folders = ["/etc", "/root", "/home", "/boot", "/var/log", "/var/backups", "/var/spool"];
    !harmless.contains(&path)
        && folders.iter().any(|folder| is_within(path, folder) || is_within(folder, path))
}

pub(crate) fn own_filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text).expect("the framework's own topics are filters")
}
