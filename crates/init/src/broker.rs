//! The broker's entry point: sees to identities that the broker can start with, then becomes the broker.
//!
//! The dynamic security plugin starts with no user at all, and says nothing, when its file is missing or
//! cannot be read; every login would then be refused for good.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::file::{self, FileError};
use crate::identities::{Fault, Identities};

/// Why the broker could not be started.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The seed is of no use, so there is nothing to fall back to.
    #[error("the seed of the broker's identities, {}, cannot be used: run `init` again", path.display())]
    Seed {
        /// The seed's place.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Fault,
    },
    /// The broker's program did not start.
    #[error("could not start {}", program.display())]
    Start {
        /// The broker's program.
        program: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

/// Sees to the identities and reports, for the log, what had to be done.
pub fn ensure_identities(path: &Path, seed_path: &Path) -> Result<Vec<String>, BrokerError> {
    let seed = Identities::parse(file::read(seed_path)?.as_deref())
        .map_err(|source| BrokerError::Seed { path: seed_path.to_owned(), source })?;
    let applied_path = file::beside(path, ".applied");
    let applied = file::read(&applied_path)?.and_then(|content| Identities::parse(Some(&content)).ok());

    let mut report = Vec::new();
    let present = load(path, &mut report)?;
    let identities = match &present {
        Some(identities) => {
            let mut identities = identities.clone();
            let changed = identities.carry_over(&seed, applied.as_ref());
            if !changed.is_empty() {
                report.push(format!("identities: carried over from the seed: {}", changed.join(", ")));
            }
            identities
        }
        None => seed.clone(),
    };
    if present.as_ref() != Some(&identities) {
        file::ensure_file(path, &identities.encode(), None, 0o600)?;
    }
    // Only after the identities: interrupted here, the next start carries the same over once more.
    file::ensure_file(&applied_path, &seed.encode(), None, 0o600)?;
    Ok(report)
}

/// The identities that are there and can be used: the file's or, when the broker was ended while it
/// was saving, those of the `.new` that it had not put into place yet.
fn load(path: &Path, report: &mut Vec<String>) -> Result<Option<Identities>, BrokerError> {
    let new = file::beside(path, ".new");
    let content = file::read(path)?;
    let found = match Identities::parse(content.as_deref()) {
        Ok(identities) => Some(identities),
        Err(fault) => {
            let saved = Identities::parse(file::read(&new)?.as_deref()).ok();
            let instead = if saved.is_some() { "the save that was interrupted" } else { "the seed" };
            report
                .push(format!("identities: {} cannot be used ({fault}); put back {instead}", path.display()));
            if content.is_some() {
                file::rename(path, &file::beside(path, ".broken"))?;
            }
            if saved.is_some() {
                file::rename(&new, path)?;
            }
            saved
        }
    };
    match fs::remove_file(&new) {
        Ok(()) => report.push(format!("identities: removed {}, left by an interrupted save", new.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(FileError::at("remove", &new)(error).into()),
    }
    Ok(found)
}

/// Writes a configuration that is two others one after the other: the broker takes only one.
pub fn join_config(one: &Path, other: &Path, whole: &Path) -> Result<(), BrokerError> {
    let mut content = Vec::new();
    for part in [one, other] {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "there is no such file");
        content.extend(file::read(part)?.ok_or_else(missing).map_err(FileError::at("read", part))?);
        content.push(b'\n');
    }
    file::ensure_file(whole, &content, None, 0o600)?;
    Ok(())
}

/// Becomes the broker; returns only when that failed.
pub fn become_broker(program: &Path, config: &Path) -> Result<Infallible, BrokerError> {
    let source = Command::new(program).arg("-c").arg(config).exec();
    Err(BrokerError::Start { program: program.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SEED: &str =
        r#"{"defaultACLAccess": {}, "clients": [{"username": "coordinator.message"}], "roles": []}"#;

    struct Place {
        folder: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            let place = Self { folder: tempfile::tempdir().expect("a folder") };
            place.write("seed.json", SEED);
            place
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn write(&self, name: &str, content: &str) {
            fs::write(self.path(name), content).expect("write");
        }

        fn ensure(&self) -> Vec<String> {
            ensure_identities(&self.path("identities.json"), &self.path("seed.json")).expect("identities")
        }

        fn identities(&self) -> Value {
            let content = fs::read(self.path("identities.json")).expect("read");
            serde_json::from_slice(&content).expect("JSON")
        }
    }

    fn seed() -> Value {
        serde_json::from_str(SEED).expect("JSON")
    }

    fn with_plugin() -> Value {
        let mut value = seed();
        value["clients"].as_array_mut().expect("a list").push(json!({"username": "plugin.weather"}));
        value
    }

    #[test]
    fn missing_empty_and_cut_identities_are_replaced_by_the_seed() {
        for content in [None, Some(""), Some(r#"{"clients": [{"userna"#)] {
            let place = Place::new();
            content.into_iter().for_each(|content| place.write("identities.json", content));
            assert!(place.ensure()[0].contains("put back the seed"), "{content:?}");
            assert_eq!(place.identities(), seed(), "{content:?}");
            assert_eq!(place.path("identities.json.broken").exists(), content.is_some());
        }
    }

    #[test]
    fn identities_that_can_be_used_are_left_byte_for_byte() {
        let place = Place::new();
        place.ensure();
        let content = serde_json::to_string(&with_plugin()).expect("JSON");
        place.write("identities.json", &content);
        assert!(place.ensure().is_empty());
        assert_eq!(fs::read_to_string(place.path("identities.json")).expect("read"), content);
    }

    #[test]
    fn an_interrupted_save_is_used_when_it_is_whole_and_the_file_is_not() {
        let place = Place::new();
        place.write("identities.json", "");
        place.write("identities.json.new", &with_plugin().to_string());
        place.ensure();
        assert_eq!(place.identities(), with_plugin());
        assert!(!place.path("identities.json.new").exists());
    }

    #[test]
    fn an_interrupted_save_is_dropped_when_the_file_can_be_used() {
        let place = Place::new();
        place.ensure();
        place.write("identities.json.new", "{\"cli");
        assert!(place.ensure()[0].contains("removed"));
        assert_eq!(place.identities(), seed());
        assert!(!place.path("identities.json.new").exists());
    }

    #[test]
    fn without_a_seed_the_error_says_what_to_run() {
        let place = Place::new();
        place.write("seed.json", "{");
        let error =
            ensure_identities(&place.path("identities.json"), &place.path("seed.json")).expect_err("no seed");
        assert!(error.to_string().contains("run `init` again"), "{error}");
    }
}
