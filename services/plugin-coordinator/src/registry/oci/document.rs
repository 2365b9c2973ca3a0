//! The documents of a registry (OCI image specification, Docker image manifest version 2 schema 2), as
//! far as they are needed. All of them are a stranger's.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::engine::text;
use crate::registry::RegistryError;
use crate::registry::source::{Source, is_digest};

/// Media types that are asked for.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// Layers that an image may have; engines stop at 127.
const MOST_LAYERS: usize = 500;

/// Labels that an image may have, and bytes in all of them.
const MOST_LABELS: usize = 500;
const MOST_LABEL_BYTES: usize = 1 << 20;

/// A manifest, or a list of manifests for several platforms.
#[derive(Debug)]
pub(super) enum Document {
    Manifest(Manifest),
    List(List),
}

#[derive(Debug)]
pub(super) struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Debug)]
pub(super) struct List(Vec<Descriptor>);

#[derive(Debug, Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Debug, Default, Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

/// Both in one: which it is decides what is in it.
#[derive(Deserialize)]
struct Either {
    #[serde(rename = "schemaVersion")]
    schema_version: u32,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

/// How many layers an image has, and their bytes.
pub(super) struct Layers {
    pub(super) count: usize,
    pub(super) bytes: u64,
}

impl Document {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let either: Either = serde_json::from_slice(bytes).map_err(|_| "a manifest that cannot be read")?;
        if either.schema_version != 2 {
            return Err("a manifest of an old kind; push the image again with a current tool");
        }
        match (either.manifests, either.config, either.layers) {
            (Some(manifests), None, None) => Ok(Self::List(List(manifests))),
            (None, Some(config), Some(layers)) => Ok(Self::Manifest(Manifest { config, layers })),
            // Read as the one by us and as the other by the engine, it would be two images.
            (Some(_), _, _) => Err("a document that is a manifest and a list of manifests at once"),
            _ => Err("a manifest without configuration or layers"),
        }
    }
}

impl List {
    /// The digest of the manifest for this machine.
    pub(super) fn choose(&self, source: &Source, architecture: &str) -> Result<String, RegistryError> {
        let ours =
            |entry: &&Descriptor| entry.platform.as_ref().is_some_and(|platform| platform.is(architecture));
        if let Some(found) = self.0.iter().find(ours).filter(|found| is_digest(&found.digest)) {
            return Ok(found.digest.clone());
        }
        let offered: Vec<String> = self
            .0
            .iter()
            .filter_map(|entry| entry.platform.as_ref())
            // Attestations are listed as unknown.
            .filter(|platform| platform.os != "unknown")
            .map(Platform::name)
            .collect();
        Err(wrong_platform(source, architecture, &offered.join(", ")))
    }
}

impl Platform {
    fn is(&self, architecture: &str) -> bool {
        self.os == "linux" && self.architecture == architecture
    }

    fn name(&self) -> String {
        format!("{}/{}", self.os, self.architecture)
    }
}

fn wrong_platform(source: &Source, architecture: &str, offered: &str) -> RegistryError {
    let offered = if offered.is_empty() { "no platform" } else { offered };
    RegistryError::UnsupportedPlatform {
        image: source.written.clone(),
        wanted: format!("linux/{architecture}"),
        offered: text::line(offered, 200),
    }
}

impl Manifest {
    pub(super) fn configuration(&self) -> &str {
        &self.config.digest
    }

    pub(super) fn layers(&self, source: &Source, most_bytes: Option<u64>) -> Result<Layers, RegistryError> {
        let too_large = |what, limit| RegistryError::TooLarge { image: source.written.clone(), what, limit };
        if self.layers.len() > MOST_LAYERS {
            return Err(too_large("a number of layers", MOST_LAYERS as u64));
        }
        let bytes = self.layers.iter().fold(0u64, |sum, layer| sum.saturating_add(layer.size));
        match most_bytes {
            Some(most) if bytes > most => Err(too_large("layers", most)),
            _ => Ok(Layers { count: self.layers.len(), bytes }),
        }
    }
}

/// The configuration of an image.
#[derive(Debug, Deserialize)]
pub(super) struct Configuration {
    #[serde(flatten)]
    platform: Platform,
    config: Option<Inner>,
}

#[derive(Debug, Default, Deserialize)]
struct Inner {
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
    #[serde(rename = "User")]
    user: Option<String>,
}

impl Configuration {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Whether the image is for this machine. One that says nothing is left to the engine.
    pub(super) fn check(&self, source: &Source, architecture: &str) -> Result<(), RegistryError> {
        let Platform { os, architecture: its } = &self.platform;
        if (os.is_empty() && its.is_empty()) || self.platform.is(architecture) {
            return Ok(());
        }
        Err(wrong_platform(source, architecture, &self.platform.name()))
    }

    pub(super) fn user(&self) -> String {
        self.config.as_ref().and_then(|config| config.user.clone()).unwrap_or_default()
    }

    pub(super) fn labels(self, source: &Source) -> Result<BTreeMap<String, String>, RegistryError> {
        let too_large = |what, limit: usize| RegistryError::TooLarge {
            image: source.written.clone(),
            what,
            limit: limit as u64,
        };
        let labels = self.config.unwrap_or_default().labels.unwrap_or_default();
        if labels.len() > MOST_LABELS {
            return Err(too_large("a number of labels", MOST_LABELS));
        }
        let bytes: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > MOST_LABEL_BYTES {
            return Err(too_large("labels", MOST_LABEL_BYTES));
        }
        Ok(labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source::parse("a/b").expect("a source")
    }

    fn digest(n: u8) -> String {
        format!("sha256:{n:064x}")
    }

    #[test]
    fn a_manifest_for_several_platforms_gives_the_one_for_this_machine() {
        let entry = |n, os: &str, architecture: &str| {
            format!(
                r#"{{"digest": "{}", "size": 1, "platform": {{"os": "{os}", "architecture": "{architecture}"}}}}"#,
                digest(n)
            )
        };
        let list = [entry(1, "unknown", "unknown"), entry(2, "windows", "amd64"), entry(3, "linux", "amd64")]
            .join(",");
        let list = format!(r#"{{"schemaVersion": 2, "manifests": [{list}]}}"#);
        let Ok(Document::List(list)) = Document::parse(list.as_bytes()) else { unreachable!("it is a list") };
        assert_eq!(list.choose(&source(), "amd64").expect("there is one"), digest(3));
        let error = list.choose(&source(), "arm64").expect_err("there is none").to_string();
        assert!(error.contains("windows/amd64, linux/amd64") && error.contains("linux/arm64"), "{error}");
    }

    #[test]
    fn a_document_that_is_two_things_or_nothing_is_refused() {
        for document in [
            r#"{"schemaVersion": 2, "manifests": [], "config": {"digest": "x"}, "layers": []}"#,
            r#"{"schemaVersion": 2, "manifests": [], "layers": []}"#,
            r#"{"schemaVersion": 2, "config": {"digest": "x"}}"#,
            r#"{"schemaVersion": 2}"#,
            r#"{"schemaVersion": 1, "config": {"digest": "x"}, "layers": []}"#,
            r#"{"schemaVersion": 2, "config": {"digest": "x"}, "layers": [{"digest": "x", "size": -1}]}"#,
            "[]",
            "",
            "nonsense",
        ] {
            assert!(Document::parse(document.as_bytes()).is_err(), "{document}");
        }
    }

    #[test]
    fn layers_are_added_up_and_bounded() {
        let layer = format!(r#"{{"digest": "{}", "size": 10}}"#, digest(1));
        let manifest = |n: usize| {
            let layers = vec![layer.clone(); n].join(",");
            let text = format!(
                r#"{{"schemaVersion": 2, "config": {{"digest": "{}"}}, "layers": [{layers}]}}"#,
                digest(2)
            );
            match Document::parse(text.as_bytes()) {
                Ok(Document::Manifest(manifest)) => manifest,
                other => unreachable!("{other:?}"),
            }
        };
        let layers = manifest(3).layers(&source(), Some(30)).expect("just enough");
        assert_eq!((layers.count, layers.bytes), (3, 30));
        assert!(manifest(3).layers(&source(), Some(29)).is_err());
        assert!(manifest(501).layers(&source(), None).is_err());
    }

    #[test]
    fn a_configuration_shows_labels_and_user() {
        let text = br#"{"architecture": "amd64", "os": "linux", "config": {"Labels": {"a": "b"}, "User": "1000", "Cmd": null}}"#;
        let configuration = Configuration::parse(text).expect("a configuration");
        assert!(configuration.check(&source(), "amd64").is_ok());
        assert!(configuration.check(&source(), "arm64").is_err());
        assert_eq!(configuration.user(), "1000");
        assert_eq!(configuration.labels(&source()).expect("labels").get("a").map(String::as_str), Some("b"));
        for empty in [&b"{}"[..], br#"{"config": null}"#, br#"{"config": {"Labels": null, "User": null}}"#] {
            let configuration = Configuration::parse(empty).expect("a configuration");
            assert!(configuration.check(&source(), "amd64").is_ok());
            assert!(configuration.labels(&source()).expect("labels").is_empty());
        }
        assert!(Configuration::parse(b"[]").is_none());
    }

    #[test]
    fn labels_are_bounded() {
        let with = |labels: BTreeMap<String, String>| Configuration {
            platform: Platform::default(),
            config: Some(Inner { labels: Some(labels), user: None }),
        };
        let many: BTreeMap<_, _> = (0..501).map(|n| (n.to_string(), String::new())).collect();
        assert!(with(many).labels(&source()).is_err());
        let long = BTreeMap::from([("a".to_owned(), "x".repeat(1 << 20))]);
        assert!(with(long).labels(&source()).is_err());
    }
}
