//! What can be configured of the security coordinator, below `security` in the configuration.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use chassis::{Fault, Section};
use serde::{Deserialize, Serialize};

use seal::Seal;

/// Life of a token, in seconds. The broker counts a message's life in whole seconds, so that the shortest
/// leave little time for the next one: less than a minute is for tests. The longest is what verifiers accept.
const TOKEN_LIFETIME: RangeInclusive<u64> = 3..=token::MAX_LIFETIME_SECONDS.unsigned_abs();
/// Time for which a key signs, in seconds: up to a year; less than a day is for tests.
const KEY_LIFETIME: RangeInclusive<u64> = 5..=31_536_000;
/// Time for which a key is published before it signs, in seconds: up to a day; less than a minute is for tests.
const KEY_NOTICE: RangeInclusive<u64> = 1..=86_400;

/// The security coordinator's own settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The file that the signing keys are encrypted with: 32 random bytes, raw or as base64.
    pub key_file: PathBuf,
    /// How long a token is valid, in seconds: 3 to 86,400.
    pub token_lifetime_seconds: u64,
    /// For how long a key signs before the next one takes its place, in seconds: 5 to 31,536,000, and not
    /// less than `key_notice_seconds`. Only time in which the coordinator runs counts, and up to a day of
    /// each time that it was away.
    pub key_lifetime_seconds: u64,
    /// How long the next key must have been published before it may sign, in seconds: 1 to 86,400. Twice
    /// the time after which every verifier has a retained message.
    pub key_notice_seconds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            key_file: "/secrets/key".into(),
            token_lifetime_seconds: 900,
            key_lifetime_seconds: 30 * 86_400,
            key_notice_seconds: 120,
        }
    }
}

impl Settings {
    pub(crate) fn token_lifetime(&self) -> Duration {
        Duration::from_secs(self.token_lifetime_seconds)
    }

    pub(crate) fn key_lifetime(&self) -> Duration {
        Duration::from_secs(self.key_lifetime_seconds)
    }

    pub(crate) fn key_notice(&self) -> Duration {
        Duration::from_secs(self.key_notice_seconds)
    }
}

impl Section for Settings {
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if let Err(error) = Seal::read(&self.key_file) {
            faults.push(Fault::new("key_file", error.to_string()));
        }
        let mut check = |key: &str, seconds: u64, allowed: RangeInclusive<u64>, what: &str| {
            if !allowed.contains(&seconds) {
                let (least, most) = allowed.into_inner();
                faults.push(Fault::new(key, format!("is {seconds}; {what} {least} to {most} seconds")));
            }
        };
        check("token_lifetime_seconds", self.token_lifetime_seconds, TOKEN_LIFETIME, "a token lives for");
        check("key_lifetime_seconds", self.key_lifetime_seconds, KEY_LIFETIME, "a key signs for");
        check("key_notice_seconds", self.key_notice_seconds, KEY_NOTICE, "a key is published for");
        if self.key_lifetime_seconds < self.key_notice_seconds {
            let reason = format!(
                "is {}, less than key_notice_seconds ({}): the next key could never follow in time",
                self.key_lifetime_seconds, self.key_notice_seconds
            );
            faults.push(Fault::new("key_lifetime_seconds", reason));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_named_with_its_key() {
        let settings = Settings {
            key_file: "/nowhere/key".into(),
            token_lifetime_seconds: 2,
            key_lifetime_seconds: 31_536_001,
            key_notice_seconds: 0,
        };
        let keys: Vec<String> = settings.faults().into_iter().map(|f| f.key).collect();
        let want = ["key_file", "token_lifetime_seconds", "key_lifetime_seconds", "key_notice_seconds"];
        assert_eq!(keys, want);
    }

    #[test]
    fn the_bounds_are_taken_and_nothing_beyond_them() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), [7; 32]).expect("writes");
        for (token, key, notice, fine) in [
            (900, 2_592_000, 120, true),
            (3, 5, 1, true),
            (86_400, 31_536_000, 86_400, true),
            (2, 5, 1, false),
            (86_401, 2_592_000, 120, false),
            (900, 4, 1, false),
            (900, 2_592_000, 86_401, false),
            (900, 60, 61, false),
        ] {
            let settings = Settings {
                key_file: file.path().to_owned(),
                token_lifetime_seconds: token,
                key_lifetime_seconds: key,
                key_notice_seconds: notice,
            };
            assert_eq!(settings.faults().is_empty(), fine, "{settings:?}: {:?}", settings.faults());
        }
    }
}
