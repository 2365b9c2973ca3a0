//! The one verifier. It holds what the security coordinator publishes, keys and revocations, and
//! decides from that, the token and the time alone.
//!
//! It refuses as long as it lacks either: a verifier that has heard no revocations would accept
//! the token of a plugin that was stopped.

mod claims;
mod header;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use envelope::id::{PluginId, StartId};
use envelope::payload::token::{Claims, Jwk, Jwks, KeyState, Revoked};
use jsonwebtoken::{Algorithm, DecodingKey};

use crate::refusal::excerpt;
use crate::strict::{self, Fault};
use crate::{MAX_BYTES, Part, Refusal, thumbprint};

/// Who, as its topic proves, sent a token.
#[derive(Debug, Clone, Copy)]
pub struct Expect<'a> {
    /// The plugin that the token must speak for.
    pub plugin: &'a PluginId,
}

/// Why a key of a set is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// `x` is not an Ed25519 public key.
    #[error("key {kid:?} is left out: `x` is not 32 bytes as canonical base64url")]
    Encoding {
        /// The key.
        kid: String,
    },
    /// The name is not that of the key.
    #[error("key {kid:?} is left out: its RFC 7638 thumbprint is {thumbprint:?}")]
    Thumbprint {
        /// The name that it has.
        kid: String,
        /// The name that it should have.
        thumbprint: String,
    },
    /// It stands in the set twice.
    #[error("key {kid:?} stands in the set twice; the second is left out")]
    Repeated {
        /// The key.
        kid: String,
    },
}

/// Verifies tokens. Clones share what they know; all methods may be called from any thread.
#[derive(Clone, Default)]
pub struct Verifier {
    known: Arc<RwLock<Arc<Known>>>,
}

#[derive(Clone, Default)]
struct Known {
    keys: Option<HashMap<String, Key>>,
    revoked: Option<Arc<Revocations>>,
}

#[derive(Clone)]
struct Key {
    public: DecodingKey,
    state: KeyState,
}

#[derive(Default)]
struct Revocations {
    sids: HashSet<StartId>,
    jtis: HashSet<String>,
}

impl Verifier {
    /// A verifier that knows nothing yet and refuses everything as [`Refusal::NotReady`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether `set` has none of the keys known so far, when any are: then no token that was worth something is any
    /// longer.
    pub fn is_replaced_by(&self, set: &Jwks) -> bool {
        let known = self.known();
        let Some(keys) = known.keys.as_ref().filter(|keys| !keys.is_empty()) else { return false };
        !set.keys.iter().any(|jwk| keys.contains_key(&jwk.kid))
    }

    /// Takes `set` in place of the keys known so far. Returns why keys were left out, if any were.
    pub fn set_keys(&self, set: &Jwks) -> Vec<KeyFault> {
        let mut keys = HashMap::new();
        let mut faults = Vec::new();
        for jwk in &set.keys {
            match public_key(jwk) {
                Err(fault) => faults.push(fault),
                Ok(_) if keys.contains_key(&jwk.kid) => {
                    faults.push(KeyFault::Repeated { kid: jwk.kid.clone() });
                }
                Ok(public) => {
                    keys.insert(jwk.kid.clone(), Key { public, state: jwk.state });
                }
            }
        }
        self.update(|known| known.keys = Some(keys));
        faults
    }

    /// Takes `list` in place of the revocations known so far; an empty list is a list.
    pub fn set_revoked(&self, list: &Revoked) {
        let revoked = Arc::new(Revocations {
            sids: list.sids.iter().map(|entry| entry.sid).collect(),
            jtis: list.jtis.iter().map(|entry| entry.jti.clone()).collect(),
        });
        self.update(|known| known.revoked = Some(revoked));
    }

    /// Revocations may have been missed: every token is refused as [`Refusal::NotReady`] until they are told again.
    pub fn doubt_revocations(&self) {
        self.update(|known| known.revoked = None);
    }

    /// Whether keys and revocations have both arrived.
    pub fn is_ready(&self) -> bool {
        let known = self.known();
        known.keys.is_some() && known.revoked.is_some()
    }

    /// Decides whether `token`, sent by `want.plugin`, is worth anything at `now` (seconds since
    /// 1970), and returns what it says.
    pub fn verify(&self, token: &str, want: Expect<'_>, now: i64) -> Result<Claims, Refusal> {
        self.decide(token, Some(want.plugin), now)
    }

    /// As [`Verifier::verify`], for a token of whatever plugin: tells what a token is worth without
    /// permitting anybody anything.
    pub fn introspect(&self, token: &str, now: i64) -> Result<Claims, Refusal> {
        self.decide(token, None, now)
    }

    fn decide(&self, token: &str, plugin: Option<&PluginId>, now: i64) -> Result<Claims, Refusal> {
        let known = self.known();
        let keys = known.keys.as_ref().ok_or(Refusal::NotReady { what: "keys" })?;
        let revoked = known.revoked.as_ref().ok_or(Refusal::NotReady { what: "revocations" })?;

        if token.len() > MAX_BYTES {
            return Err(Refusal::TooLarge { bytes: token.len() });
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Refusal::NotThreeParts)?;
        let (header, claims) = message.split_once('.').ok_or(Refusal::NotThreeParts)?;
        if claims.contains('.') {
            return Err(Refusal::NotThreeParts);
        }
        let header = decode(header, Part::Header)?;
        let claims = decode(claims, Part::Claims)?;
        decode(signature, Part::Signature)?;

        let kid = header::kid(&object(&header, Part::Header)?)?;
        let key = keys.get(&kid).ok_or_else(|| Refusal::UnknownKey { kid: excerpt(&kid) })?;
        match key.state {
            KeyState::Next | KeyState::Active | KeyState::Retiring => {}
            KeyState::Unknown => return Err(Refusal::KeyState { kid }),
        }
        // A key is only ever used with the one algorithm, whatever the header says (RFC 8725, 3.1).
        match jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.public, Algorithm::EdDSA) {
            Ok(true) => {}
            Ok(false) | Err(_) => return Err(Refusal::Signature),
        }

        let claims = claims::read(&object(&claims, Part::Claims)?)?;
        claims::check_identity(&claims, plugin)?;
        claims::check_time(&claims, now)?;
        if revoked.sids.contains(&claims.sid) {
            return Err(Refusal::RevokedSid { sid: claims.sid });
        }
        if revoked.jtis.contains(&claims.jti) {
            return Err(Refusal::RevokedJti { jti: excerpt(&claims.jti) });
        }
        Ok(claims)
    }

    // A poisoned lock is taken all the same: what it guards is replaced as a whole, never half.
    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn update(&self, change: impl FnOnce(&mut Known)) {
        let mut guard = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let mut known = Known::clone(&guard);
        change(&mut known);
        *guard = Arc::new(known);
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.known();
        let kids: Option<Vec<_>> = known.keys.as_ref().map(|keys| keys.keys().collect());
        f.debug_struct("Verifier").field("kids", &kids).finish_non_exhaustive()
    }
}

fn public_key(jwk: &Jwk) -> Result<DecodingKey, KeyFault> {
    let fault = || KeyFault::Encoding { kid: excerpt(&jwk.kid) };
    let bytes = URL_SAFE_NO_PAD.decode(&jwk.x).map_err(|_| fault())?;
    if bytes.len() != 32 {
        return Err(fault());
    }
    let thumbprint = thumbprint(&jwk.x);
    if thumbprint != jwk.kid {
        return Err(KeyFault::Thumbprint { kid: excerpt(&jwk.kid), thumbprint });
    }
    Ok(DecodingKey::from_ed_der(&bytes))
}

fn decode(text: &str, part: Part) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Refusal::Encoding { part })
}

fn object(bytes: &[u8], part: Part) -> Result<serde_json::Map<String, serde_json::Value>, Refusal> {
    strict::object(bytes).map_err(|fault| match fault {
        Fault::Malformed => Refusal::Malformed { part },
        Fault::Duplicate(name) => Refusal::Duplicate { part, name: excerpt(&name) },
    })
}

#[cfg(test)]
mod tests;
