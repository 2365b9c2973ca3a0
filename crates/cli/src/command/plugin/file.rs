//! Files that go into requests.

use std::fs;
use std::path::Path;

use envelope::message::MAX_MESSAGE_BYTES;
use serde_json::Value;

use crate::failure::Failure;

/// Reads a JSON file that goes into a request; `what` it is stands in the error.
pub(super) fn read(what: &str, path: &Path) -> Result<Value, Failure> {
    let cannot = |why: String| Failure::Usage(format!("could not read {what} {}: {why}", path.display()));
    let bytes = fs::read(path).map_err(|error| cannot(error.to_string()))?;
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(cannot(format!("it has {} bytes, a request at most {MAX_MESSAGE_BYTES}", bytes.len())));
    }
    serde_json::from_slice(&bytes).map_err(|error| cannot(format!("it is not JSON: {error}")))
}

/// Reads a plugin's configuration.
pub(super) fn read_config(path: &Path) -> Result<Value, Failure> {
    let config = read("the configuration", path)?;
    if config.is_null() {
        // In a request it means that there is none.
        return Err(Failure::Usage(format!(
            "{} holds null, which is no configuration: `bigskies plugin config ID --clear` takes one away",
            path.display()
        )));
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_never_taken_away_by_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.json");
        fs::write(&path, " null ").expect("a file");
        let failure = read_config(&path).expect_err("no configuration");
        assert!(failure.to_string().contains("--clear"), "{failure}");
        fs::write(&path, "{}").expect("a file");
        assert!(read_config(&path).is_ok());
    }

    #[test]
    fn a_file_that_is_no_json_is_told_with_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("plugin.json");
        for content in ["{", "", "\u{1b}"] {
            fs::write(&path, content).expect("a file");
            let failure = read("the manifest", &path).expect_err("no JSON");
            assert!(failure.to_string().contains("plugin.json: it is not JSON"), "{failure}");
        }
        assert!(read("the manifest", &folder.path().join("none")).is_err());
    }
}
