//! Image registries: what an image says of itself, read before any layer is pulled.
//!
//! Owns references, logins and the bounds on what a registry may answer. Pulling is the engine's.

mod error;
pub mod fake;
mod login;
mod oci;
mod source;

use std::collections::BTreeMap;

use async_trait::async_trait;

pub use error::RegistryError;
pub use login::Logins;
pub use oci::{OciRegistry, RegistrySettings};

use crate::engine::{ImageRef, RegistryLogin};

/// An image that was found in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The image by digest, its repository as the operator wrote it: what the engine pulls.
    pub reference: ImageRef,
    /// `sha256:…` of the manifest (of the list, where the image is for several platforms).
    pub digest: String,
    /// The image's labels.
    pub labels: BTreeMap<String, String>,
    /// Compressed size of all layers in bytes.
    pub total_bytes: u64,
    /// The image's user as written in it; empty is root.
    pub user: String,
    /// How many layers it has.
    pub layers: usize,
}

/// Where images come from.
#[async_trait]
pub trait Registry: Send + Sync + 'static {
    /// Finds out what `source` (`host/repository:tag`, or with a digest) is now, without a layer.
    async fn resolve(&self, source: &str) -> Result<Resolved, RegistryError>;

    /// The login for a registry's `host` or `host:port`, as the engine needs it for the pull.
    async fn login_for(&self, host: &str) -> Result<Option<RegistryLogin>, RegistryError>;
}
