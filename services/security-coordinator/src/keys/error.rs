//! Why there is no key to sign with, or no other one yet.

use std::path::PathBuf;
use std::time::Duration;

use seal::{DoesNotOpen, KeyFileError, SealError};
use token::KeyError;

use super::MAX_RETIRING;

/// Why there are no keys to sign with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    #[error("the signing keys cannot be read from the database, or written to it")]
    Store(#[from] sqlx::Error),
    #[error(
        "the signing key {kid} cannot be decrypted with the key file {}; put the key file back that belongs \
         to this database. Only when it is lost for good: move the database away to have new keys made, and \
         restart the plugins, whose tokens end with the old keys",
        key_file.display()
    )]
    Sealed { kid: String, key_file: PathBuf, source: DoesNotOpen },
    #[error("the signing key {kid} is kept under the name of another one; restore the database from a copy")]
    Name { kid: String },
    #[error("the signing key {kid} is in the unknown state {state:?}; was it written by a later version?")]
    State { kid: String, state: String },
    #[error("a new signing key cannot be made")]
    Make(#[from] KeyError),
    #[error("a new signing key cannot be encrypted")]
    Seal(#[from] SealError),
}

/// Why the next key may not sign yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotYet {
    #[error(
        "The next key {next} is not known to be published: the broker has not confirmed the key set. Ask \
         again when the broker is there."
    )]
    Unannounced { next: String },
    #[error(
        "The next key {next} must be published for {} s before it signs, so that no verifier refuses its \
         tokens. Ask again in {} s.",
        notice.as_secs(), seconds(*left)
    )]
    TooEarly { next: String, left: Duration, notice: Duration },
    #[error(
        "{count} keys still verify tokens that they signed, and {MAX_RETIRING} are the most that are \
         published. Ask again when the oldest is dropped."
    )]
    TooMany { count: usize },
}

impl NotYet {
    /// After how many seconds to ask again, where that is known.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooEarly { left, .. } => Some(seconds(*left)),
            Self::Unannounced { .. } | Self::TooMany { .. } => None,
        }
    }
}

/// Whole seconds, not less than the duration.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
