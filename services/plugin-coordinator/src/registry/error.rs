//! Why an image could not be found out about, for people.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

/// Why a registry gave no usable answer. A registry's own words are bounded and have no control
/// characters.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The text is not the reference of an image.
    #[error("{source_text:?} is not an image: {reason}; write it as host/repository:tag")]
    InvalidReference {
        /// What was given.
        source_text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Nothing answers there.
    #[error("the registry {host} cannot be reached; check its name and the network")]
    Unreachable {
        /// The registry.
        host: String,
        /// What the connection said.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// It took too long.
    #[error("the registry {host} did not answer within {} s", after.as_secs())]
    Timeout {
        /// The registry.
        host: String,
        /// How long was waited.
        after: Duration,
    },
    /// The registry has no such image.
    #[error("there is no image {image}; check its name and tag")]
    NotFound {
        /// The image.
        image: String,
    },
    /// The registry wants a login, and none is configured. Some say so of images that do not exist, too.
    #[error(
        "the registry {host} wants a login for this image, or does not have it; check the image's name, or add a login for {host} to the docker config.json"
    )]
    LoginRequired {
        /// The registry.
        host: String,
    },
    /// The configured login does not open it.
    #[error(
        "the registry {host} refuses the login of the docker config.json; check user, password and what they may read"
    )]
    LoginRefused {
        /// The registry.
        host: String,
    },
    /// The file of logins cannot be used.
    #[error("the logins in {} cannot be used: {reason}", path.display())]
    LoginFile {
        /// The docker `config.json`.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// The registry said no.
    #[error("the registry {host} refused (status {status}): {message}")]
    Refused {
        /// The registry.
        host: String,
        /// HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// The answer is not what a registry answers.
    #[error("the registry {host} sent {what}")]
    Broken {
        /// The registry.
        host: String,
        /// What was wrong with the answer.
        what: String,
    },
    /// The image is for other machines.
    #[error("the image {image} is for {offered}, this machine needs {wanted}")]
    UnsupportedPlatform {
        /// The image.
        image: String,
        /// `os/architecture` of this machine.
        wanted: String,
        /// What the image is for.
        offered: String,
    },
    /// Something of the image is larger than allowed.
    #[error("the image {image} has {what} of more than {limit}")]
    TooLarge {
        /// The image.
        image: String,
        /// What is too large.
        what: &'static str,
        /// The most that is allowed: bytes, or a number of things.
        limit: u64,
    },
    /// The client could not be made.
    #[error(
        "no connection to a registry can be made; check that the certificates of authorities are installed"
    )]
    NoClient {
        /// What the client said.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
}

impl RegistryError {
    /// Whether the same call can succeed later without anything being changed here.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } => true,
            Self::Refused { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}
