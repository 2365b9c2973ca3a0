//! Encryption of what a coordinator keeps on disk: AES-256-GCM under the key in a file of its own.

use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

const KEY_BYTES: usize = 32;
/// More than 32 bytes need in any form; a larger file is not read at all.
const MOST_BYTES: u64 = 1024;

/// Why there is no key to encrypt with.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("cannot read the key file {}: {source}; check that it exists and is this user's to read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It holds no key.
    #[error(
        "the key file {} holds {bytes} bytes; it must hold 32 random bytes, raw or as base64. Make one with \
         `head -c 32 /dev/urandom`, or restore the one that was here",
        path.display()
    )]
    Form {
        /// The file.
        path: PathBuf,
        /// How many bytes it holds.
        bytes: u64,
    },
    /// The cryptographic library does not work.
    #[error("the cryptographic library refused AES-256-GCM")]
    Refused,
}

/// What was sealed does not open: another key file, or damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it was sealed with another key file, or is damaged")]
pub struct DoesNotOpen;

/// The cryptographic library or the machine's random source failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cryptographic library refused to encrypt; check the machine's random source")]
pub struct SealError;

/// Encrypts and decrypts with the key of one file. While keys are renewed, the one before is kept beside it, in
/// a file whose name ends in `.previous`: what was sealed with it opens still, and [`Seal::renew`] seals it anew.
#[derive(Debug)]
pub struct Seal {
    key: RandomizedNonceKey,
    previous: Option<RandomizedNonceKey>,
}

impl Seal {
    /// Reads the key file, and the one before if it is kept.
    ///
    /// # Errors
    /// One of the two cannot be read or holds no key.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let mut previous = path.as_os_str().to_owned();
        previous.push(".previous");
        let previous = Path::new(&previous);
        let previous = if previous.exists() { Some(read(previous)?) } else { None };
        Ok(Self { key: read(path)?, previous })
    }

    /// Encrypts `secret`. `name` says what it is; it is not kept, and opening needs the same.
    ///
    /// # Errors
    /// The machine's random source failed.
    pub fn seal(&self, name: &str, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        // With room for the tag, so that growing leaves no copy of the secret behind.
        let mut sealed = Vec::with_capacity(secret.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(secret);
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(name.as_bytes()), &mut sealed)
            .map_err(|_| SealError)?;
        Ok([nonce.as_ref().as_slice(), &sealed].concat())
    }

    /// Decrypts what [`seal`](Self::seal) made under the same `name`.
    ///
    /// # Errors
    /// It was sealed under another name or key, or is damaged.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, DoesNotOpen> {
        open(&self.key, name, sealed)
            .or_else(|error| self.previous.as_ref().map_or(Err(error), |key| open(key, name, sealed)))
    }

    /// What was sealed with the key before, sealed with the present one; `None` when it is already, or does not
    /// open at all.
    ///
    /// # Errors
    /// The machine's random source failed.
    pub fn renew(&self, name: &str, sealed: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        match &self.previous {
            Some(previous) if open(&self.key, name, sealed).is_err() => {
                open(previous, name, sealed).ok().map(|secret| self.seal(name, &secret)).transpose()
            }
            _ => Ok(None),
        }
    }
}

fn read(path: &Path) -> Result<RandomizedNonceKey, KeyFileError> {
    let read = |source| KeyFileError::Read { path: path.to_owned(), source };
    let bytes = std::fs::metadata(path).map_err(read)?.len();
    let form = |bytes| KeyFileError::Form { path: path.to_owned(), bytes };
    if bytes > MOST_BYTES {
        return Err(form(bytes));
    }
    let content = Zeroizing::new(std::fs::read(path).map_err(read)?);
    let key = key(&content).ok_or_else(|| form(content.len() as u64))?;
    RandomizedNonceKey::new(&AES_256_GCM, &key).map_err(|_| KeyFileError::Refused)
}

fn open(key: &RandomizedNonceKey, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, DoesNotOpen> {
    let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or(DoesNotOpen)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| DoesNotOpen)?;
    let mut secret = Zeroizing::new(sealed.to_vec());
    let length =
        key.open_in_place(nonce, Aad::from(name.as_bytes()), &mut secret).map_err(|_| DoesNotOpen)?.len();
    secret.truncate(length);
    Ok(secret)
}

/// The key in a key file's content: 32 bytes as they are, or as base64.
fn key(content: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if content.len() == KEY_BYTES {
        return Some(Zeroizing::new(content.to_vec()));
    }
    let decoded = Zeroizing::new(STANDARD.decode(content.trim_ascii()).ok()?);
    (decoded.len() == KEY_BYTES).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        std::fs::write(&path, content).expect("writes");
        (folder, path)
    }

    fn seal_with(byte: u8) -> Seal {
        let (_folder, path) = file(&[byte; 32]);
        Seal::read(&path).expect("a key")
    }

    #[test]
    fn what_the_key_before_sealed_opens_and_is_sealed_anew() {
        let sealed = seal_with(1).seal("name", b"secret").expect("seals");
        let (folder, path) = file(&[2; 32]);
        std::fs::write(folder.path().join("key.previous"), [1; 32]).expect("writes");
        let both = Seal::read(&path).expect("keys");
        assert_eq!(both.open("name", &sealed).expect("opens").as_slice(), b"secret");
        let renewed = both.renew("name", &sealed).expect("seals").expect("it was the key before");
        assert_eq!(seal_with(2).open("name", &renewed).expect("opens").as_slice(), b"secret");
        assert_eq!(both.renew("name", &renewed), Ok(None), "it is anew already");
        assert_eq!(both.renew("other", &sealed), Ok(None), "it does not open");
        assert_eq!(seal_with(2).renew("name", &sealed), Ok(None), "there is no key before");
    }

    #[test]
    fn a_key_file_is_raw_or_base64() {
        let (_a, raw) = file(&[7; 32]);
        let (_b, text) = file(format!("{}\n", STANDARD.encode([7; 32])).as_bytes());
        let sealed = Seal::read(&raw).expect("a key").seal("name", b"secret").expect("seals");
        let opened = Seal::read(&text).expect("the same key").open("name", &sealed).expect("opens");
        assert_eq!(opened.as_slice(), b"secret");
    }

    #[test]
    fn what_is_no_key_file_is_told_and_its_content_is_not() {
        let missing = Seal::read(Path::new("/nowhere/key")).expect_err("missing").to_string();
        assert!(missing.contains("/nowhere/key"), "{missing}");
        for content in [b"".as_slice(), b"hunter2", &[1; 31], &[1; 33], &[b'A'; 5000]] {
            let (_folder, path) = file(content);
            let error = Seal::read(&path).expect_err("no key").to_string();
            assert!(error.contains("must hold 32 random bytes") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn what_was_sealed_opens_only_whole_under_its_name_and_with_its_key() {
        let seal = seal_with(1);
        let sealed = seal.seal("name", b"secret").expect("seals");
        assert_ne!(sealed, seal.seal("name", b"secret").expect("seals"), "the nonce is new each time");
        assert!(!sealed.windows(6).any(|w| w == b"secret"));
        assert_eq!(seal.open("other", &sealed), Err(DoesNotOpen));
        assert_eq!(seal_with(2).open("name", &sealed), Err(DoesNotOpen));
        for length in 0..sealed.len() {
            assert_eq!(seal.open("name", &sealed[..length]), Err(DoesNotOpen), "{length}");
        }
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(seal.open("name", &changed), Err(DoesNotOpen), "{index}");
        }
    }
}
