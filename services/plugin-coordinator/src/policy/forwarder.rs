//! The container of ours that carries the published ports of a plugin without a way out.
//!
//! It has fewer rights than any plugin: nothing to write to, no volume, no login, nobody as its user. It is
//! published in the plugin's place, and reaches the plugin by a name that stands for one start.

use std::collections::BTreeMap;

use envelope::StartId;
use manifest::Manifest;

use super::container::{LOG_FILES, ports};
use super::{Policy, Role};
use crate::engine::{Attachment, ContainerSpec, Limits, PortBinding, Protocol};
use crate::record::Record;

/// Nobody, as most systems number it.
const USER: &str = "65534:65534";
/// Ports that it listens on begin here: whoever is nobody cannot have those below 1024 everywhere.
const FIRST_PORT: u16 = 10_000;
/// What its bounds on connections need at their worst, twice.
const MEMORY_BYTES: u64 = 128 << 20;
const PIDS: u32 = 32;
const NOFILE: u32 = 4096;
const LOG_BYTES: u64 = 1 << 20;

impl Policy {
    /// The image of forwarders.
    pub fn forwarder_image(&self) -> &str {
        &self.settings.forwarder_image
    }

    /// The forwarder of one start; `None` when nothing is forwarded.
    pub fn forwarder(&self, record: &Record, manifest: &Manifest, start: StartId) -> Option<ContainerSpec> {
        if !self.forwards(manifest) {
            return None;
        }
        let mut command = vec!["--to".to_owned(), Self::name_of_start(start)];
        let mut published = Vec::new();
        // Several addresses of the host can lead to one port.
        let mut listens: BTreeMap<(Protocol, u16), u16> = BTreeMap::new();
        for port in ports(manifest) {
            let next = FIRST_PORT.saturating_add(u16::try_from(listens.len()).unwrap_or(u16::MAX));
            let listen = *listens.entry((port.protocol, port.container_port)).or_insert_with(|| {
                command.push(format!("--{}", port.protocol));
                command.push(format!("{next}:{}", port.container_port));
                next
            });
            published.push(PortBinding { container_port: listen, ..port });
        }
        let attach = |network: String| Attachment { network, aliases: Vec::new() };
        Some(ContainerSpec {
            name: self.forwarder_name(&record.id),
            image: self.forwarder_image().to_owned(),
            command: Some(command),
            labels: self.container_labels(&record.id, start, Role::Forwarder),
            ports: published,
            networks: vec![attach(self.outside().name), attach(self.inside().name)],
            resolver: Self::resolver(manifest),
            user: Some(USER.into()),
            limits: Limits {
                memory_bytes: Some(MEMORY_BYTES),
                nano_cpus: Some(1_000_000_000),
                pids: Some(PIDS),
                nofile: Some(NOFILE),
            },
            read_only: true,
            log_max_bytes: LOG_BYTES,
            log_max_files: LOG_FILES,
            ..ContainerSpec::default()
        })
    }
}
