//! What can be configured of the message coordinator.

use std::path::PathBuf;
use std::time::Duration;

use chassis::{Fault, Section};
use serde::{Deserialize, Serialize};

/// The section `message` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The file with the key (32 bytes) that passwords of plugins are encrypted with.
    pub key_file: PathBuf,
    /// Seconds between two comparisons of the broker with what it should be, 1 to 86,400.
    pub compare_interval_seconds: u64,
    /// Seconds between two proofs that the broker keeps plugins to their own topics, 10 to 604,800. A proof is
    /// made after each connection to the broker too, and on request.
    pub proof_interval_seconds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { key_file: "/secrets/key".into(), compare_interval_seconds: 300, proof_interval_seconds: 3_600 }
    }
}

impl Settings {
    /// The time between two comparisons.
    pub fn compare_interval(&self) -> Duration {
        Duration::from_secs(self.compare_interval_seconds)
    }

    /// The time between two proofs.
    pub fn proof_interval(&self) -> Duration {
        Duration::from_secs(self.proof_interval_seconds)
    }
}

impl Section for Settings {
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if let Err(error) = seal::Seal::read(&self.key_file) {
            faults.push(Fault::new("key_file", error.to_string()));
        }
        if !(1..=86_400).contains(&self.compare_interval_seconds) {
            let found = self.compare_interval_seconds;
            let reason = format!("is {found}; take 1 to 86400 seconds");
            faults.push(Fault::new("compare_interval_seconds", reason));
        }
        if !(10..=604_800).contains(&self.proof_interval_seconds) {
            let found = self.proof_interval_seconds;
            let reason = format!("is {found}; take 10 to 604800 seconds");
            faults.push(Fault::new("proof_interval_seconds", reason));
        }
        faults
    }
}
