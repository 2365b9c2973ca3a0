//! The token that the security coordinator issues to this plugin, verified before it is believed.

use std::collections::HashMap;

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;

const ISSUER: &str = "bigskies/coordinator/security";
const AUDIENCE: &str = "bigskies";
const TYPE: &str = "at+jwt";
const LEEWAY_SECONDS: u64 = 30;
/// Anything longer is not a token of ours and is not even decoded.
const LONGEST: usize = 8 * 1024;

/// The token as it stands: the last one received, judged with the last keys received.
pub struct Watch {
    plugin: String,
    keys: HashMap<String, DecodingKey>,
    token: Option<String>,
    verdict: Verdict,
}

/// What the token is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is none.
    Missing,
    /// There is one, and no keys yet to verify it with.
    Waiting,
    /// It is good until then.
    Valid {
        /// When it expires, in seconds since 1970.
        until: i64,
        /// The permissions that it carries.
        scope: String,
    },
    /// It is not good, and why.
    Refused(String),
}

/// The message on the token topic; only what is used here.
#[derive(Deserialize)]
struct TokenMessage {
    token: String,
}

/// The message on the keys topic (RFC 7517).
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

/// A key that may verify a token (RFC 8037).
#[derive(Deserialize)]
struct Key {
    kty: String,
    crv: String,
    x: String,
    kid: String,
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    exp: i64,
    iat: i64,
    #[serde(default)]
    scope: String,
}

impl Watch {
    /// For the plugin `id`, before anything has been received.
    pub fn new(id: &str) -> Self {
        Self { plugin: id.to_owned(), keys: HashMap::new(), token: None, verdict: Verdict::Missing }
    }

    /// Takes what the token topic carries now; nothing, when the plugin's token was taken away.
    pub fn on_token(&mut self, payload: &[u8], now: Timestamp) -> &Verdict {
        self.token = None;
        self.verdict = Verdict::Missing;
        if !payload.is_empty() {
            match serde_json::from_slice::<TokenMessage>(payload) {
                Ok(message) => self.token = Some(message.token),
                Err(_) => self.verdict = Verdict::Refused("the message is not a token message".to_owned()),
            }
        }
        self.judge(now)
    }

    /// Takes what the keys topic carries now. Keys of a kind that is not known here are left out.
    pub fn on_keys(&mut self, payload: &[u8], now: Timestamp) -> &Verdict {
        let set = serde_json::from_slice::<KeySet>(payload).map_or_else(|_| Vec::new(), |set| set.keys);
        self.keys = set
            .into_iter()
            .filter_map(|key| serde_json::from_value::<Key>(key).ok())
            .filter(|key| key.kty == "OKP" && key.crv == "Ed25519" && key.alg == "EdDSA")
            .filter_map(|key| Some((key.kid, DecodingKey::from_ed_components(&key.x).ok()?)))
            .collect();
        self.judge(now)
    }

    /// The verdict at `now`: a good token turns bad by waiting.
    pub fn verdict(&self, now: Timestamp) -> Verdict {
        match &self.verdict {
            Verdict::Valid { until, .. } if *until <= now.as_second() => {
                Verdict::Refused(format!("expired at {}, and no other has come", time(*until)))
            }
            other => other.clone(),
        }
    }

    fn judge(&mut self, now: Timestamp) -> &Verdict {
        if let Some(token) = &self.token {
            self.verdict = match self.verify(token, now) {
                _ if self.keys.is_empty() => Verdict::Waiting,
                Ok(claims) => Verdict::Valid { until: claims.exp, scope: claims.scope },
                Err(reason) => Verdict::Refused(reason),
            };
        }
        &self.verdict
    }

    fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, String> {
        if token.len() > LONGEST {
            return Err(format!("it has {} bytes, {LONGEST} are allowed", token.len()));
        }
        let header = decode_header(token).map_err(|error| format!("its header is unreadable: {error}"))?;
        if header.typ.as_deref() != Some(TYPE) {
            return Err(format!("its type is not {TYPE}"));
        }
        if header.crit.is_some() {
            return Err("it demands extensions".to_owned());
        }
        let key = header
            .kid
            .and_then(|kid| self.keys.get(&kid))
            .ok_or_else(|| "its key is not among those published".to_owned())?;
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_issuer(&[ISSUER]);
        rules.set_audience(&[AUDIENCE]);
        rules.sub = Some(format!("plugin:{}", self.plugin));
        rules.set_required_spec_claims(&["iss", "aud", "sub", "exp", "nbf"]);
        rules.validate_nbf = true;
        rules.leeway = LEEWAY_SECONDS;
        let claims = decode::<Claims>(token, key, &rules).map_err(|error| error.to_string())?.claims;
        if claims.iat > now.as_second().saturating_add_unsigned(LEEWAY_SECONDS) {
            return Err("it was issued in the future; check the clocks".to_owned());
        }
        Ok(claims)
    }
}

impl Verdict {
    /// For health and log, without the token.
    pub fn describe(&self) -> String {
        match self {
            Self::Missing => "none received".to_owned(),
            Self::Waiting => "received, waiting for the keys to verify it with".to_owned(),
            Self::Valid { until, .. } => format!("valid until {}", time(*until)),
            Self::Refused(reason) => format!("refused: {reason}"),
        }
    }
}

fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests;
