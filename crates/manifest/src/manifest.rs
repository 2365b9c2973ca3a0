//! The manifest itself: what a plugin is, and what it asks for.

mod blocks;
mod read;
mod topics;

use std::collections::BTreeMap;
use std::time::Duration;

use envelope::PluginId;
use schemars::JsonSchema;
use semver::Version;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::config_schema;
use crate::device::Device;
use crate::docker::Docker;
use crate::document;
use crate::fault::{Faults, Findings, Warning};
use crate::filter::TopicName;
use crate::grant::Grant;
use crate::names;
use crate::namespace::Namespace;
use crate::permission::Permission;
use crate::resources::Resources;

pub use blocks::{Capabilities, Dependencies, HealthCheck, Mqtt, UiElement};
pub use topics::Topics;

/// A plugin's manifest without faults.
///
/// It is made by [`crate::parse`] alone. On the wire and in a store it is the document that its author wrote,
/// unknown keys included; loading it checks it again, except for the framework's version.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(
    title = "Plugin manifest (plugin.json)",
    description = "What a plugin is, and what it asks for. Keys that are not described here have no meaning and are warned of."
)]
#[non_exhaustive]
pub struct Manifest {
    /// The plugin's identity.
    pub id: PluginId,
    /// The plugin's name, for people.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// The plugin's version.
    #[schemars(schema_with = "crate::schema::version")]
    pub version: Version,
    /// What the plugin does.
    #[schemars(length(max = 4096))]
    pub description: Option<String>,
    /// Who wrote it.
    #[schemars(length(min = 1, max = 256))]
    pub author: Option<String>,
    /// Its license, best as an SPDX expression.
    #[schemars(length(min = 1, max = 256))]
    pub license: Option<String>,
    /// Where to read more.
    #[schemars(length(min = 1, max = 2048))]
    pub homepage: Option<String>,
    /// What the plugin provides and requires.
    #[schemars(default)]
    pub capabilities: Capabilities,
    /// Its topics.
    #[schemars(default)]
    pub mqtt: Mqtt,
    /// Its image and container.
    #[schemars(default)]
    pub docker: Docker,
    /// What it shows in user interfaces.
    #[schemars(default, length(max = 64))]
    pub ui_elements: Vec<UiElement>,
    /// How it reports health.
    #[schemars(default = "blocks::no_block")]
    pub health_check: HealthCheck,
    /// What it needs to be there.
    #[schemars(default)]
    pub dependencies: Dependencies,
    /// What it may ask the coordinators for. `read` is granted, except of users; more needs approval.
    #[schemars(default, length(max = 64))]
    pub permissions: Vec<Permission>,
    /// How much of the machine it may use.
    #[schemars(default)]
    pub resources: Resources,
    /// What hardware it needs, each of which needs approval.
    #[schemars(default, length(max = 64))]
    pub devices: Vec<Device>,
    /// How long it may take to get ready, in seconds. When absent 60, or 2 × `interval_seconds` + 30 if
    /// that is more.
    #[schemars(range(min = 1, max = 3600))]
    pub start_timeout_seconds: Option<u32>,
    /// How long it may take to stop, in seconds; 30 when absent.
    #[schemars(range(min = 1, max = 600))]
    pub stop_timeout_seconds: Option<u32>,
    /// The JSON Schema of its configuration. References lead to other places of the same schema, patterns have
    /// neither look-around nor back-references, and `format` is a remark.
    pub config_schema: Option<Map<String, Value>>,
    /// The document, as it was read.
    #[schemars(skip)]
    document: Value,
}

/// A manifest without faults, and what is odd in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The manifest.
    pub manifest: Manifest,
    /// What is odd, and yet does not prevent anything.
    pub warnings: Vec<Warning>,
}

impl Manifest {
    /// How long a plugin may take to stop when its manifest does not say.
    pub const STOP_TIMEOUT: Duration = Duration::from_secs(30);
    /// How long a plugin may at least take to start when its manifest does not say.
    pub const START_TIMEOUT: Duration = Duration::from_secs(60);

    /// The second name of the plugin: the third level of its health topic, when that is not its id.
    pub fn alias(&self) -> Option<&PluginId> {
        self.health_check.owner.as_ref().filter(|owner| **owner != self.id)
    }

    /// The plugin's id, and its alias.
    pub fn names(&self) -> impl Iterator<Item = &PluginId> {
        std::iter::once(&self.id).chain(self.alias())
    }

    /// The plugin's place among the topics.
    pub fn namespace(&self) -> Namespace {
        Namespace::new(&self.id, self.alias())
    }

    /// The plugin's names on `bigskies-network`: id and alias in lower case, each once.
    pub fn dns_names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for name in self.names().map(names::dns_name) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The MQTT client ids that are the plugin's own: its id, its alias, the one that it declares.
    pub fn client_ids(&self) -> Vec<String> {
        let declared = self.mqtt.client_id.iter().cloned();
        let mut ids: Vec<String> = Vec::new();
        for id in self.names().map(PluginId::to_string).chain(declared) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids
    }

    /// The topics that it declares, each once.
    pub fn topics(&self) -> Topics {
        Topics { publish: self.mqtt.topics_publish.clone(), subscribe: self.mqtt.topics_subscribe.clone() }
    }

    /// Where the plugin reports health.
    pub fn health_topic(&self) -> &TopicName {
        &self.health_check.topic
    }

    /// How often the plugin reports health.
    pub fn health_interval(&self) -> Duration {
        Duration::from_secs(self.health_check.interval_seconds.into())
    }

    /// How long the plugin may take to get ready. The SDK's sample sends its first health message only after
    /// one interval.
    pub fn start_timeout(&self) -> Duration {
        match self.start_timeout_seconds {
            Some(seconds) => Duration::from_secs(seconds.into()),
            None => Self::START_TIMEOUT.max(2 * self.health_interval() + Duration::from_secs(30)),
        }
    }

    /// How long the plugin may take to stop.
    pub fn stop_timeout(&self) -> Duration {
        self.stop_timeout_seconds.map_or(Self::STOP_TIMEOUT, |s| Duration::from_secs(s.into()))
    }

    /// The environment that the manifest sets, without what the framework sets itself.
    pub fn environment(&self) -> BTreeMap<&str, &str> {
        let variables = self.docker.environment.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        variables.filter(|(name, _)| !crate::docker::OWN_VARIABLES.contains(name)).collect()
    }

    /// What goes beyond the plugin's own namespace, for an operator to approve; in a fixed order.
    pub fn grants(&self) -> Vec<Grant> {
        Grant::of(self)
    }

    /// The document as its author wrote it.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// The document in canonical form: no white space, the keys of every object sorted.
    pub fn canonical(&self) -> String {
        document::canonical(&self.document)
    }

    /// `sha256:` and 64 hexadecimal digits, over [`Self::canonical`]. Two documents that differ in order and
    /// white space only have the same.
    pub fn digest(&self) -> String {
        document::digest_of(&self.document)
    }
}

/// Reads the manifest in `bytes`, for a framework of version `framework`.
///
/// # Errors
/// All faults at once, at most [`crate::MAX_LISTED`] of them listed. A document that is no JSON has one.
pub fn parse(bytes: &[u8], framework: &Version) -> Result<Parsed, Faults> {
    let mut found = Findings::default();
    match document::decode(bytes, &mut found) {
        Some(document) => {
            // Here alone: it takes time, and what is read again was read before.
            config_schema::check_compiles(&document, &mut found);
            read(document, Some(framework), found)
        }
        None => Err(found.faults()),
    }
}

/// Reads a manifest that was part of a larger document. Whether a key occurred twice is no longer to be seen.
///
/// # Errors
/// As [`parse`].
pub fn parse_value(document: Value, framework: &Version) -> Result<Parsed, Faults> {
    let mut found = Findings::default();
    match document::bounded(&document, &mut found) {
        true => read(document, Some(framework), found),
        false => Err(found.faults()),
    }
}

fn read(document: Value, framework: Option<&Version>, mut found: Findings) -> Result<Parsed, Faults> {
    match read::manifest(document, framework, &mut found) {
        Some(manifest) => Ok(Parsed { manifest, warnings: found.finish()? }),
        None => Err(found.faults()),
    }
}

impl Serialize for Manifest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.document.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Manifest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = Value::deserialize(deserializer)?;
        let parsed = read(document, None, Findings::default());
        parsed.map(|parsed| parsed.manifest).map_err(serde::de::Error::custom)
    }
}
