//! The smaller blocks of a manifest.

use std::collections::BTreeSet;

use envelope::topic::plugin;
use envelope::{Coordinator, PluginId};
use schemars::JsonSchema;
use semver::Version;
use serde::Serialize;

use super::topics::unusable;
use crate::fault::{Findings, quoted};
use crate::filter::{TopicFilter, TopicName};
use crate::read::Node;

/// Health messages come this often when a manifest does not say, in seconds.
const DEFAULT_INTERVAL: u32 = 30;

/// What a plugin provides and requires.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(default)]
pub struct Capabilities {
    /// It drives or simulates devices.
    pub provides_devices: bool,
    /// It has elements for user interfaces.
    pub provides_ui: bool,
    /// It needs a database.
    pub requires_database: bool,
    /// It needs a way to the internet. Without this it has none.
    pub requires_internet: bool,
}

impl Capabilities {
    pub(super) fn read(node: &Node<'_>, found: &mut Findings) -> Self {
        let Some(mut object) = node.object(found) else {
            return Self::default();
        };
        let mut flag = |key| object.get(key).and_then(|n| n.flag(found)).unwrap_or_default();
        let capabilities = Self {
            provides_devices: flag("provides_devices"),
            provides_ui: flag("provides_ui"),
            requires_database: flag("requires_database"),
            requires_internet: flag("requires_internet"),
        };
        object.warn_unknown(found);
        capabilities
    }
}

/// A plugin's topics. What every plugin has anyway (its health, its control topics, its token) need not be
/// declared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(default)]
pub struct Mqtt {
    /// Filters that it subscribes to.
    #[schemars(length(max = 256))]
    pub topics_subscribe: Vec<TopicFilter>,
    /// Topics that it publishes on; wildcards are possible.
    #[schemars(length(max = 256))]
    pub topics_publish: Vec<TopicFilter>,
    /// Its MQTT client id, when that is neither its id nor its alias.
    #[schemars(length(min = 1, max = 128), extend("pattern" = "^[A-Za-z0-9._:/@-]+$"))]
    pub client_id: Option<String>,
}

/// How a plugin reports health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HealthCheck {
    /// Where: a topic below `bigskies/plugin/`. Its third level is the plugin's id, or the plugin's alias.
    /// `bigskies/plugin/{id}/health` when absent.
    #[schemars(default = "absent", schema_with = "crate::schema::health_topic")]
    pub topic: TopicName,
    /// How often, in seconds.
    #[schemars(range(min = 1, max = 3600), default = "default_interval")]
    pub interval_seconds: u32,
    /// The third level of the topic.
    #[serde(skip)]
    pub(super) owner: Option<PluginId>,
}

fn default_interval() -> u32 {
    DEFAULT_INTERVAL
}

/// For the schema: what holds without a topic depends on the id.
fn absent() -> Option<()> {
    None
}

/// For the schema: without the block it is as if it were empty.
pub(super) fn no_block() -> serde_json::Map<String, serde_json::Value> {
    serde_json::Map::new()
}

impl HealthCheck {
    /// What holds for the plugin `id` when its manifest does not say.
    pub(super) fn of(id: &PluginId) -> Self {
        let topic = TopicName::parse(&plugin::health(id)).expect("an id can stand in a topic");
        Self { topic, interval_seconds: DEFAULT_INTERVAL, owner: Some(id.clone()) }
    }

    pub(super) fn read(node: &Node<'_>, id: &PluginId, found: &mut Findings) -> Self {
        let mut health = Self::of(id);
        let Some(mut object) = node.object(found) else {
            return health;
        };
        if let Some(node) = object.get("topic")
            && let Some((topic, owner)) = health_topic(&node, id, found)
        {
            (health.topic, health.owner) = (topic, Some(owner));
        }
        let interval = object.get("interval_seconds").and_then(|n| n.whole(found, 1..=3600));
        if let Some(seconds) = interval.and_then(|seconds| u32::try_from(seconds).ok()) {
            health.interval_seconds = seconds;
        }
        object.warn_unknown(found);
        health
    }
}

fn health_topic(node: &Node<'_>, id: &PluginId, found: &mut Findings) -> Option<(TopicName, PluginId)> {
    let text = node.text(found)?;
    let fix = format!("write {}", quoted(&plugin::health(id)));
    let topic = match TopicName::parse(text) {
        Ok(topic) => topic,
        Err(error) => {
            found.fault(&node.at, format!("{} {error}", quoted(text)), fix);
            return None;
        }
    };
    if let Some((reason, fix)) = unusable(text) {
        found.fault(&node.at, format!("{} {reason}", quoted(text)), fix);
        return None;
    }
    let Some(owner) = plugin::owner(text).filter(|_| topic.levels().nth(3).is_some()) else {
        let reason = format!("{} is not a topic below that of a plugin", quoted(text));
        found.fault(&node.at, reason, fix);
        return None;
    };
    let owner = match PluginId::parse(owner) {
        Ok(owner) => owner,
        Err(error) => {
            let reason = format!("{} has a third level that cannot be an alias: it {error}", quoted(text));
            found.fault(&node.at, reason, fix);
            return None;
        }
    };
    let reserved = [plugin::control(&owner), plugin::requests(&owner), plugin::responses(&owner)];
    let inside = |text: &String| TopicFilter::parse(text).is_ok_and(|filter| filter.matches(&topic));
    if reserved.iter().any(inside) {
        let reason = format!("{} is a place for control messages, requests or responses", quoted(text));
        found.fault(&node.at, reason, fix);
        return None;
    }
    Some((topic, owner))
}

/// What a plugin needs to be there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(default)]
pub struct Dependencies {
    /// Coordinators that must be there before the plugin starts. Those that do not exist are never waited for.
    #[schemars(with = "Vec<String>", length(max = 64))]
    pub coordinators: BTreeSet<Coordinator>,
    /// The lowest version of the framework that the plugin works with.
    #[schemars(default, schema_with = "crate::schema::optional_version")]
    pub min_framework_version: Option<Version>,
}

impl Dependencies {
    pub(super) fn read(node: &Node<'_>, framework: Option<&Version>, found: &mut Findings) -> Self {
        let Some(mut object) = node.object(found) else {
            return Self::default();
        };
        let coordinators = object.get("coordinators").map(|n| coordinators(&n, found));
        let minimum = object.get("min_framework_version").and_then(|node| {
            let minimum = version(&node, found)?;
            if framework.is_some_and(|f| f.cmp_precedence(&minimum).is_lt()) {
                let framework = framework.map(Version::to_string).unwrap_or_default();
                let reason = format!("needs framework {minimum}, and this is {framework}");
                found.fault(
                    &node.at,
                    reason,
                    "update the framework, or install an older version of the plugin",
                );
            }
            Some(minimum)
        });
        object.warn_unknown(found);
        Self { coordinators: coordinators.unwrap_or_default(), min_framework_version: minimum }
    }
}

fn coordinators(node: &Node<'_>, found: &mut Findings) -> BTreeSet<Coordinator> {
    let mut coordinators = BTreeSet::new();
    for item in node.list(found, 64) {
        let Some(text) = item.text(found) else {
            continue;
        };
        match text.parse() {
            Ok(coordinator) => drop(coordinators.insert(coordinator)),
            Err(_) => {
                let reason = format!("there is no coordinator {}; it is not waited for", quoted(text));
                found.warn(&item.at, reason);
            }
        }
    }
    coordinators
}

/// A version as semver.org 2.0.0 says.
pub(super) fn version(node: &Node<'_>, found: &mut Findings) -> Option<Version> {
    let text = node.text(found)?;
    let version = Version::parse(text).ok().filter(|_| text.len() <= 128);
    if version.is_none() {
        let reason = format!("{} is not a semantic version", quoted(text));
        found.fault(&node.at, reason, "write three numbers, such as \"1.0.0\" or \"1.0.0-beta.2\"");
    }
    version
}

/// A part of a user interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UiElement {
    /// Its id, unique in the manifest.
    #[schemars(length(min = 1, max = 128))]
    pub id: String,
    /// What it is, such as "panel".
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 64))]
    pub kind: Option<String>,
    /// Its title.
    #[schemars(length(min = 1, max = 128))]
    pub title: Option<String>,
    /// What it is for.
    #[schemars(length(max = 4096))]
    pub description: Option<String>,
    /// The name of an icon.
    #[schemars(length(min = 1, max = 256))]
    pub icon: Option<String>,
    /// Where it is: a path below the framework's own address, or an address of the web.
    #[schemars(length(min = 1, max = 2048), extend("pattern" = "^(?:/(?!/)|https?://)"))]
    pub url: Option<String>,
}

impl UiElement {
    pub(super) fn read_all(node: &Node<'_>, found: &mut Findings) -> Vec<Self> {
        let mut elements: Vec<Self> = Vec::new();
        for item in node.list(found, 64) {
            let Some(element) = Self::read(&item, found) else {
                continue;
            };
            if elements.iter().any(|other| other.id == element.id) {
                let reason = format!("has the id {} of an element before it", quoted(&element.id));
                found.fault(&item.at.key("id"), reason, "give each element an id of its own");
            } else {
                elements.push(element);
            }
        }
        elements
    }

    fn read(node: &Node<'_>, found: &mut Findings) -> Option<Self> {
        let mut object = node.object(found)?;
        let id = object.need("id", "an id that is unique among the elements", found);
        let id = id.and_then(|n| n.line(found, 128)).map(str::to_owned);
        let mut line = |key, max| object.get(key).and_then(|n| n.line(found, max)).map(str::to_owned);
        let (kind, title, icon) = (line("type", 64), line("title", 128), line("icon", 256));
        let description = object.get("description").and_then(|n| n.prose(found, 4096));
        let url = object.get("url").and_then(|node| {
            let text = node.line(found, 2048)?;
            if (text.starts_with('/') && !text.starts_with("//")) || is_web(text) {
                return Some(text.to_owned());
            }
            let reason = format!("{} is neither a path nor an address of the web", quoted(text));
            found.fault(&node.at, reason, "begin it with \"/\" or \"https://\"");
            None
        });
        object.warn_unknown(found);
        Some(Self { id: id?, kind, title, description: description.map(str::to_owned), icon, url })
    }
}

pub(super) fn is_web(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}
