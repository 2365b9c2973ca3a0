//! Values that are made once and then stay: passwords, keys, the installation's id.

use std::path::Path;

use acl::password::{NoRandomness, Password};
use aws_lc_rs::rand;

use crate::file::{self, FileError, Owner};

/// Bytes of a key file.
const KEY_BYTES: usize = 32;

/// A secret that could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Its file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The operating system gave no random bytes.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// The password in a file; a file that holds none is given a new one.
pub fn ensure_password(path: &Path, owner: Owner) -> Result<String, SecretError> {
    let present = file::read(path)?.and_then(|content| String::from_utf8(content).ok());
    let password = match present.map(|text| text.trim_end().to_owned()) {
        Some(password) if is_password(&password) => password,
        _ => Password::random()?.as_str().to_owned(),
    };
    file::ensure_file(path, password.as_bytes(), Some(owner), 0o400)?;
    Ok(password)
}

/// Sees to a file of 32 random bytes.
///
/// A file of another length is left alone: what was encrypted with it would be lost, so its reader says so.
pub fn ensure_key(path: &Path, owner: Owner) -> Result<(), SecretError> {
    let key = match file::read(path)? {
        Some(key) => key,
        None => {
            let mut key = vec![0; KEY_BYTES];
            rand::fill(&mut key).map_err(|_| NoRandomness)?;
            key
        }
    };
    file::ensure_file(path, &key, Some(owner), 0o400)?;
    Ok(())
}

/// Sees to a file with the id of this installation, a random UUID that marks all containers as ours.
pub fn ensure_installation(path: &Path, owner: Owner) -> Result<(), SecretError> {
    let present = file::read(path)?.and_then(|content| String::from_utf8(content).ok());
    let id = match present.and_then(|text| uuid::Uuid::try_parse(text.trim_end()).ok()) {
        Some(id) => id,
        None => uuid::Uuid::new_v4(),
    };
    file::ensure_file(path, id.to_string().as_bytes(), Some(owner), 0o400)?;
    Ok(())
}

/// Long enough not to be guessed, and of letters that nothing has to escape.
pub fn is_password(text: &str) -> bool {
    (22..=256).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder() -> (tempfile::TempDir, Owner) {
        let folder = tempfile::tempdir().expect("a folder");
        let metadata = fs::metadata(folder.path()).expect("metadata");
        (folder, Owner::of(&metadata))
    }

    #[test]
    fn a_password_is_made_once() {
        let (folder, owner) = folder();
        let path = folder.path().join("password");
        let first = ensure_password(&path, owner).expect("first");
        assert_eq!(first.len(), 43);
        assert_eq!(first, ensure_password(&path, owner).expect("second"));
    }

    #[test]
    fn a_password_file_that_was_cut_gets_a_new_password() {
        let (folder, owner) = folder();
        let path = folder.path().join("password");
        for broken in [
            "",
            "short",
            "with a space in the middle of it",
            "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}",
        ] {
            fs::write(&path, broken).expect("write");
            assert!(is_password(&ensure_password(&path, owner).expect("ensure")), "{broken:?}");
        }
    }

    #[test]
    fn a_key_is_never_replaced() {
        let (folder, owner) = folder();
        let path = folder.path().join("key");
        ensure_key(&path, owner).expect("first");
        let key = fs::read(&path).expect("read");
        assert_eq!(key.len(), KEY_BYTES);
        ensure_key(&path, owner).expect("second");
        assert_eq!(key, fs::read(&path).expect("read"));
    }

    #[test]
    fn an_installation_keeps_its_id() {
        let (folder, owner) = folder();
        let path = folder.path().join("installation");
        ensure_installation(&path, owner).expect("first");
        let id = fs::read(&path).expect("read");
        ensure_installation(&path, owner).expect("second");
        assert_eq!(id, fs::read(&path).expect("read"));
    }
}
