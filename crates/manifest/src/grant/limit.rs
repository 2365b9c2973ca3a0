//! What is left of a manifest when its plugin has some of its grants only.

use std::collections::BTreeSet;

use super::Grant;
use crate::docker::Port;
use crate::filter::TopicFilter;
use crate::manifest::Manifest;
use crate::namespace::{Access, Verdict};
use crate::resources::ResourceKind;

impl Manifest {
    /// The manifest of a plugin that has no other grants than these. Topics, permissions, devices and folders
    /// that were not granted are left out, and so is how much of the machine it may use; a port that other
    /// machines must not reach is published on loopback, or not at all where loopback has it already. That a
    /// plugin runs as root is not to be seen here. Its document and digest are what they were.
    #[must_use]
    pub fn limited_to(mut self, granted: &[Grant]) -> Self {
        let granted: BTreeSet<&Grant> = granted.iter().collect();
        let has = |grant: &Grant| granted.contains(grant);
        let namespace = self.namespace();
        let own = |access, topic: &TopicFilter| namespace.judge(access, topic) == Verdict::Free;
        self.mqtt
            .topics_publish
            .retain(|t| own(Access::Publish, t) || has(&Grant::Publish { topic: t.clone() }));
        self.mqtt
            .topics_subscribe
            .retain(|t| own(Access::Subscribe, t) || has(&Grant::Subscribe { topic: t.clone() }));
        self.permissions.retain(|p| !p.needs_approval() || has(&Grant::Permission { permission: p.clone() }));
        self.devices.retain(|device| has(&Grant::device(device)));
        self.docker.volumes.retain(|volume| Grant::folder(volume).is_none_or(|grant| has(&grant)));

        for kind in ResourceKind::ALL {
            if Grant::more(&self.resources, kind).is_some_and(|grant| !has(&grant)) {
                self.resources.clear(kind);
            }
        }

        let ports = std::mem::take(&mut self.docker.ports).into_iter();
        let (mut ports, closed): (Vec<Port>, Vec<Port>) =
            ports.partition(|port| Grant::port(port).is_none_or(|grant| has(&grant)));
        for port in closed.into_iter().map(|port| Port { host_ip: None, ..port }) {
            if !ports.iter().any(|other| other.conflicts_with(&port)) {
                ports.push(port);
            }
        }
        self.docker.ports = ports;
        self
    }
}
