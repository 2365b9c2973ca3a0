//! The Ed25519 keys that sign tokens. A private key leaves this module only as PKCS#8 bytes, for
//! the file that the security coordinator keeps it in.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use envelope::payload::token::{Claims, Curve, Jwk, KeyAlgorithm, KeyState, KeyType, KeyUse, Token};
use jsonwebtoken::{Algorithm, EncodingKey, Header};

use crate::TYPE;

/// Why there is no signing key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The machine's random source or the cryptographic library failed.
    #[error(
        "could not make an Ed25519 key: the cryptographic library refused; check the machine's random source"
    )]
    Generate,
    /// The bytes are not a PKCS#8 document of an Ed25519 key.
    #[error(
        "could not load a signing key: the {bytes} bytes are not an Ed25519 key in PKCS#8 form ({reason}); restore the file from a backup or remove it to have a new key made"
    )]
    Decode {
        /// How many bytes were given.
        bytes: usize,
        /// What the cryptographic library says.
        reason: String,
    },
}

/// Why a token could not be signed.
#[derive(Debug, thiserror::Error)]
#[error("could not sign a token for {sub:?} with key {kid}")]
pub struct SignError {
    /// Whom the token was for.
    pub sub: String,
    /// The key.
    pub kid: String,
    #[source]
    source: jsonwebtoken::errors::Error,
}

/// A private Ed25519 key. Its bytes are wiped when it is dropped and never shown.
pub struct SigningKey {
    private: EncodingKey,
    x: String,
    kid: String,
}

impl SigningKey {
    /// Makes a new key from the machine's random source.
    pub fn generate() -> Result<Self, KeyError> {
        let document =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::Generate)?;
        Self::from_pkcs8(document.as_ref())
    }

    /// Loads the key from its PKCS#8 form (RFC 5958, RFC 8410).
    pub fn from_pkcs8(bytes: &[u8]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8(bytes)
            .map_err(|reason| KeyError::Decode { bytes: bytes.len(), reason: reason.to_string() })?;
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let kid = thumbprint(&x);
        Ok(Self { private: EncodingKey::from_ed_der(bytes), x, kid })
    }

    /// The key in its PKCS#8 form, as [`SigningKey::from_pkcs8`] takes it. A secret: it belongs in
    /// a file that only the service can read.
    pub fn as_pkcs8(&self) -> &[u8] {
        self.private.as_bytes()
    }

    /// The key's name: its RFC 7638 thumbprint.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half, as it is published with its place in the rotation.
    pub fn public_jwk(&self, state: KeyState) -> Jwk {
        Jwk {
            kty: KeyType::OctetKeyPair,
            crv: Curve::Ed25519,
            x: self.x.clone(),
            kid: self.kid.clone(),
            key_use: KeyUse::Signature,
            alg: KeyAlgorithm::EdDSA,
            state,
        }
    }

    /// Signs `claims` as they are; what they say is the caller's decision.
    pub fn sign(&self, claims: &Claims) -> Result<Token, SignError> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.private).map(Token::new).map_err(|source| SignError {
            sub: claims.sub.clone(),
            kid: self.kid.clone(),
            source,
        })
    }

    /// Signs any two JSON texts, so that a test can forge what [`SigningKey::sign`] would never say.
    #[cfg(test)]
    pub(crate) fn forge(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.private, Algorithm::EdDSA)
            .expect("an Ed25519 key signs any bytes");
        format!("{message}.{signature}")
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// The RFC 7638 thumbprint (SHA-256, base64url) of the Ed25519 public key whose JWK member is `x`.
pub fn thumbprint(x: &str) -> String {
    // RFC 8037 section 2: the required members of an OKP key, in lexical order, without spaces.
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_that_of_rfc_8037() {
        let got = thumbprint("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(got, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_key_survives_its_own_bytes() {
        let key = SigningKey::generate().expect("random source");
        let again = SigningKey::from_pkcs8(key.as_pkcs8()).expect("its own form");
        assert_eq!(again.public_jwk(KeyState::Active), key.public_jwk(KeyState::Active));
    }

    #[test]
    fn two_keys_are_never_the_same() {
        let [a, b] = [(); 2].map(|()| SigningKey::generate().expect("random source"));
        assert_ne!(a.kid(), b.kid());
    }

    #[test]
    fn bytes_that_are_no_key_are_refused_with_advice() {
        let error = SigningKey::from_pkcs8(b"not a key").expect_err("no key");
        assert!(error.to_string().contains("9 bytes"), "{error}");
        assert!(SigningKey::from_pkcs8(b"").is_err());
    }

    #[test]
    fn a_key_shows_its_name_and_nothing_else() {
        let key = SigningKey::generate().expect("random source");
        assert_eq!(format!("{key:?}"), format!("SigningKey {{ kid: {:?}, .. }}", key.kid()));
    }
}
