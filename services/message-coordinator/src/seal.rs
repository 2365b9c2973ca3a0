//! Encryption of the passwords that are kept: AES-256-GCM under the key file.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

const KEY_BYTES: usize = 32;

/// Why there is no key to encrypt with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    #[error("cannot read the key file {}: {source}; check that it exists and is this user's to read", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error(
        "the key file {} does not hold exactly 32 bytes; restore the one that was here, or make one with \
         `head -c 32 /dev/urandom`: running plugins then need a restart to be restored at a broker that lost them",
        path.display()
    )]
    Form { path: PathBuf },
}

/// The cryptographic library or the machine's random source failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the password cannot be encrypted; check the machine's random source")]
pub(crate) struct SealError;

/// What was sealed does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the kept password was encrypted with another key file, or is damaged")]
pub(crate) struct DoesNotOpen;

/// Encrypts and decrypts with the key of one file.
#[derive(Debug)]
pub(crate) struct Seal {
    key: RandomizedNonceKey,
}

impl Seal {
    /// Reads the key file.
    pub(crate) fn read(path: &Path) -> Result<Self, KeyFileError> {
        let mut content = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(KEY_BYTES as u64 + 1).read_to_end(&mut content))
            .map_err(|source| KeyFileError::Read { path: path.to_owned(), source })?;
        let form = || KeyFileError::Form { path: path.to_owned() };
        if content.len() != KEY_BYTES {
            return Err(form());
        }
        let key = RandomizedNonceKey::new(&AES_256_GCM, &content).map_err(|_| form())?;
        Ok(Self { key })
    }

    /// Encrypts `secret`. Opening it needs the same `name`, which is not kept in it.
    pub(crate) fn seal(&self, name: &str, secret: &str) -> Result<Vec<u8>, SealError> {
        let mut sealed = secret.as_bytes().to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(name.as_bytes()), &mut sealed)
            .map_err(|_| SealError)?;
        Ok([nonce.as_ref().as_slice(), &sealed].concat())
    }

    /// Decrypts what was sealed under the same `name`.
    pub(crate) fn open(&self, name: &str, sealed: &[u8]) -> Result<String, DoesNotOpen> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or(DoesNotOpen)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| DoesNotOpen)?;
        let mut secret = sealed.to_vec();
        let opened = self
            .key
            .open_in_place(nonce, Aad::from(name.as_bytes()), &mut secret)
            .map_err(|_| DoesNotOpen)?;
        String::from_utf8(opened.to_vec()).map_err(|_| DoesNotOpen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(byte: u8) -> Seal {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        std::fs::write(&path, [byte; 32]).expect("writes");
        Seal::read(&path).expect("a key")
    }

    #[test]
    fn a_sealed_password_opens_under_its_name_and_key_only() {
        let sealed = seal(1).seal("a", "secret").expect("seals");
        assert_eq!(seal(1).open("a", &sealed).as_deref(), Ok("secret"));
        assert_eq!(seal(1).open("b", &sealed), Err(DoesNotOpen));
        assert_eq!(seal(2).open("a", &sealed), Err(DoesNotOpen));
        assert_eq!(seal(1).open("a", &sealed[..5]), Err(DoesNotOpen));
        let mut changed = sealed.clone();
        changed[15] ^= 1;
        assert_eq!(seal(1).open("a", &changed), Err(DoesNotOpen));
        assert_ne!(sealed, seal(1).seal("a", "secret").expect("seals"));
    }

    #[test]
    fn a_key_file_of_another_length_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        assert!(matches!(Seal::read(&path), Err(KeyFileError::Read { .. })));
        for length in [0, 31, 33, 4096] {
            std::fs::write(&path, vec![0; length]).expect("writes");
            assert!(matches!(Seal::read(&path), Err(KeyFileError::Form { .. })), "{length}");
        }
    }
}
