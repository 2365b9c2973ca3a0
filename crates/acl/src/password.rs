//! Passwords of broker logins: how they are made, and how the broker's file keeps them.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::{pbkdf2, rand};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::dynsec::HashedPassword;

/// Bytes of chance in a password.
const BYTES: usize = 32;

/// Bytes of salt; the broker takes exactly these.
const SALT_BYTES: usize = 12;

/// Bytes of the hash; the broker takes exactly these.
const HASH_BYTES: usize = 64;

/// Rounds of PBKDF2. The broker hashes on its only thread, and 256 bits of chance need no slow hash.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(101).expect("101 is not 0");

/// Most rounds that are tried on a hash that is not from here.
const MOST_ITERATIONS: NonZeroU32 = NonZeroU32::new(1_000_000).expect("a million is not 0");

/// The operating system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes; try again, nothing was changed")]
pub struct NoRandomness;

/// A password of a broker login. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// A new one: 32 random bytes in base64url (RFC 4648 section 5) without padding, so that nothing has
    /// to escape it; client libraries take it from a URL and do not percent-decode.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn random() -> Result<Self, NoRandomness> {
        let mut bytes = [0; BYTES];
        rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Takes `text` as a password that was made before.
    pub fn known(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The password itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password([redacted])")
    }
}

/// The password as the broker's file keeps it: PBKDF2 with HMAC-SHA-512 (RFC 8018 section 5.2) and a new salt.
///
/// # Errors
/// When the operating system gives no random bytes.
pub fn hash(password: &str) -> Result<HashedPassword, NoRandomness> {
    let mut salt = [0; SALT_BYTES];
    rand::fill(&mut salt).map_err(|_| NoRandomness)?;
    Ok(hash_with(password, salt))
}

/// Whether `hashed` is of `password`: so that a file is not written again for nothing.
pub fn is_of(hashed: &HashedPassword, password: &str) -> bool {
    let (Some(rounds), Ok(salt), Ok(hash)) = (
        NonZeroU32::new(hashed.iterations).filter(|rounds| *rounds <= MOST_ITERATIONS),
        STANDARD.decode(&hashed.salt),
        STANDARD.decode(&hashed.password),
    ) else {
        return false;
    };
    pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA512, rounds, &salt, password.as_bytes(), &hash).is_ok()
}

fn hash_with(password: &str, salt: [u8; SALT_BYTES]) -> HashedPassword {
    let mut hash = [0; HASH_BYTES];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA512, ITERATIONS, &salt, password.as_bytes(), &mut hash);
    HashedPassword {
        password: STANDARD.encode(hash),
        salt: STANDARD.encode(salt),
        iterations: ITERATIONS.get(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_long_differ_and_need_no_escaping() {
        let (a, b) = (Password::random().expect("random"), Password::random().expect("random"));
        assert_ne!(a, b);
        assert_eq!(a.as_str().len(), 43);
        assert!(a.as_str().chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)));
        assert!(!format!("{a:?}").contains(a.as_str()));
    }

    #[test]
    fn a_hash_has_the_lengths_that_the_broker_insists_on() {
        let hashed = hash("secret").expect("random");
        assert_eq!(STANDARD.decode(&hashed.salt).expect("base64").len(), SALT_BYTES);
        assert_eq!(STANDARD.decode(&hashed.password).expect("base64").len(), HASH_BYTES);
        assert_eq!(hashed.iterations, 101);
    }

    #[test]
    fn a_hash_is_of_its_password_and_of_no_other() {
        let hashed = hash("secret").expect("random");
        assert!(is_of(&hashed, "secret"));
        assert!(!is_of(&hashed, "Secret"));
        let broken = HashedPassword { password: "%".into(), salt: "%".into(), iterations: 0 };
        assert!(!is_of(&broken, "secret"));
    }
}
