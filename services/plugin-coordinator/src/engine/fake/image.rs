//! Images of the fake, and how a container made from one behaves.

use std::collections::BTreeMap;

use crate::engine::RegistryLogin;
use crate::engine::view::Image;

/// An image, and how its process behaves.
#[derive(Debug, Clone)]
pub struct FakeImage {
    /// `repository@sha256:…`, or any other reference.
    pub reference: String,
    /// What [`crate::engine::Engine::image`] shows.
    pub image: Image,
    /// Regular files in it, by path.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Paths in it that are something else, and what.
    pub oddities: BTreeMap<String, &'static str>,
    /// The login that its registry asks for.
    pub login: Option<RegistryLogin>,
    /// Layers that a pull counts, of 1 MiB each.
    pub layers: u32,
    /// What the process writes at its start.
    pub output: String,
    /// The process ends at once with this code.
    pub exits: Option<i64>,
    /// The exit code after a stop signal; `None` ignores the signal and is killed.
    pub stops_with: Option<i64>,
    /// The command cannot be run; the exit code that says so.
    pub bad_command: Option<i64>,
}

impl FakeImage {
    /// An image whose process runs until it is told to stop, then exits with 0.
    pub fn new(reference: impl Into<String>) -> Self {
        let reference = reference.into();
        Self {
            image: Image {
                id: format!("sha256:{:064x}", fold(&reference)),
                repo_digests: vec![reference.clone()],
                labels: BTreeMap::new(),
                user: String::new(),
                env: Vec::new(),
                exposed_ports: Vec::new(),
                has_healthcheck: false,
                size: 1 << 20,
            },
            reference,
            files: BTreeMap::new(),
            oddities: BTreeMap::new(),
            login: None,
            layers: 1,
            output: String::new(),
            exits: None,
            stops_with: Some(0),
            bad_command: None,
        }
    }

    /// With a file in it.
    #[must_use]
    pub fn with_file(mut self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.to_owned(), bytes.into());
        self
    }

    /// With a label.
    #[must_use]
    pub fn with_label(mut self, name: &str, value: &str) -> Self {
        self.image.labels.insert(name.to_owned(), value.to_owned());
        self
    }
}

/// FNV-1a: another id for another reference, the same in every run.
fn fold(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
