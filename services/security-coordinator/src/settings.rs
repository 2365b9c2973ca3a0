//! What can be configured of the security coordinator, below `security` in the configuration.

use std::path::PathBuf;
use std::time::Duration;

use chassis::{Fault, Section};
use serde::{Deserialize, Serialize};

use seal::Seal;

/// Shortest life of a token, in seconds: the clocks of a broker and of its clients may be a second off.
const SHORTEST: u64 = 10;
/// Longest life of a token, in seconds: as long as verifiers accept.
const LONGEST: u64 = token::MAX_LIFETIME_SECONDS.unsigned_abs();

/// The security coordinator's own settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The file that the signing keys are encrypted with: 32 random bytes, raw or as base64.
    pub key_file: PathBuf,
    /// How long a token is valid, in seconds: 10 to 86,400.
    pub token_lifetime_seconds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { key_file: "/secrets/key".into(), token_lifetime_seconds: 900 }
    }
}

impl Settings {
    pub(crate) fn token_lifetime(&self) -> Duration {
        Duration::from_secs(self.token_lifetime_seconds)
    }
}

impl Section for Settings {
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if let Err(error) = Seal::read(&self.key_file) {
            faults.push(Fault::new("key_file", error.to_string()));
        }
        let seconds = self.token_lifetime_seconds;
        if !(SHORTEST..=LONGEST).contains(&seconds) {
            let reason = format!("is {seconds}; a token lives for {SHORTEST} to {LONGEST} seconds");
            faults.push(Fault::new("token_lifetime_seconds", reason));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_named_with_its_key() {
        let settings = Settings { key_file: "/nowhere/key".into(), token_lifetime_seconds: 9 };
        let keys: Vec<String> = settings.faults().into_iter().map(|f| f.key).collect();
        assert_eq!(keys, ["key_file", "token_lifetime_seconds"]);
    }

    #[test]
    fn a_token_lives_for_ten_seconds_to_one_day() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), [7; 32]).expect("writes");
        for (seconds, fine) in [(9, false), (10, true), (900, true), (86_400, true), (86_401, false)] {
            let settings = Settings { key_file: file.path().to_owned(), token_lifetime_seconds: seconds };
            assert_eq!(settings.faults().is_empty(), fine, "{seconds}");
        }
    }
}
