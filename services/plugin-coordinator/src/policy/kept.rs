//! What a container's label keeps of its plugin: enough for a registry that has lost everything to take the container
//! over without touching it. A label cannot be changed once the container is made, by the plugin least of all.
//!
//! The configuration is not in it, which can hold secrets: that is read back from the file that the plugin was given.

use envelope::{Generation, InstallUid, PluginId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::admission;
use crate::record::{Record, Release};

/// The label of a plugin's container that says what it was made from.
pub const RELEASE_LABEL: &str = "org.bigskies.release";

/// The longest label that is read: a manifest of the largest size, written another way, and as much again.
const MAX_BYTES: usize = 4 * manifest::MAX_BYTES;

/// What a container was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The installation.
    pub uid: InstallUid,
    /// The version of what the plugin should be.
    pub generation: Generation,
    /// When the plugin was installed.
    pub installed_at: Timestamp,
    /// Image, manifest and grants.
    pub release: Release,
}

/// Why a label says nothing.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// It is longer than any that is made here.
    #[error("it has more than {MAX_BYTES} bytes")]
    TooLong,
    /// It is not what is written here.
    #[error("it cannot be decoded")]
    Undecodable(#[source] serde_json::Error),
    /// The manifest in it would not be let in.
    #[error("{0}")]
    Manifest(String),
}

impl Kept {
    /// What the container of this record's start is made from.
    pub fn of(record: &Record) -> Self {
        let made_for = record.start.as_ref().and_then(|start| start.generation);
        Self {
            uid: record.uid,
            generation: made_for.unwrap_or(record.generation),
            installed_at: record.installed_at,
            release: Release { config: None, ..record.release.clone() },
        }
    }

    /// As it stands in the label.
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("records have string keys")
    }

    /// Reads the label of a container of plugin `id`. Its manifest is checked as one that is installed.
    ///
    /// # Errors
    /// It says nothing that can be used.
    pub fn read(label: &str, id: &PluginId) -> Result<Self, KeptError> {
        if label.len() > MAX_BYTES {
            return Err(KeptError::TooLong);
        }
        let mut kept: Self = serde_json::from_str(label).map_err(KeptError::Undecodable)?;
        kept.release.config = None;
        let text = serde_json::to_vec(&kept.release.manifest).expect("a JSON value encodes");
        admission::read(&text, id, kept.release.manifest_source)
            .map_err(|refused| KeptError::Manifest(refused.message))?;
        Ok(kept)
    }
}
