//! Tokens, the keys that verify them, and what coordinators ask the security coordinator about them.
//!
//! Only the shape of the data lives here. Signing and verifying are the business of the `token`
//! crate: nothing of this file may be trusted before that crate has verified it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::id::{PluginId, StartId};
use crate::time::Timestamp;

/// Who issues tokens, as [`Claims::iss`] says it.
pub const ISSUER: &str = "bigskies/coordinator/security";

/// Whom tokens are meant for, as [`Claims::aud`] says it.
pub const AUDIENCE: &str = "bigskies";

/// Whom a plugin's token speaks for, as [`Claims::sub`] says it.
pub fn subject(plugin: &PluginId) -> String {
    format!("plugin:{plugin}")
}

/// A signed token in its compact form (RFC 7515 section 3.1): a secret, so it is never shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// Takes `text` as a token; nothing about it is checked.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The compact form, for the wire and for a verifier only.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token([redacted])")
    }
}

/// The claims of a plugin's access token (RFC 7519 section 4, RFC 9068 section 2.2).
///
/// Times are NumericDates: whole seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Claims {
    /// Who issued the token: always [`ISSUER`].
    pub iss: String,
    /// Whom the token speaks for: `plugin:{id}`, see [`subject`].
    pub sub: String,
    /// Whom the token is meant for: always [`AUDIENCE`], as a single string.
    pub aud: String,
    /// The OAuth client (RFC 9068): a plugin is its own client, so this is the plugin's id.
    pub client_id: String,
    /// The start of the plugin's container that the token belongs to.
    pub sid: StartId,
    /// This token's own id, unique for ever.
    pub jti: String,
    /// When the token was issued, in seconds since 1970.
    pub iat: i64,
    /// From when it is valid, in seconds since 1970.
    pub nbf: i64,
    /// From when it is no longer valid, in seconds since 1970.
    pub exp: i64,
    /// The permissions granted, separated by single spaces (RFC 6749 section 3.3).
    pub scope: String,
    /// Digest of the manifest whose grants `scope` was made from.
    pub manifest_digest: String,
}

/// What the security coordinator retains on a plugin's token topic until the token expires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenMessage {
    /// The token itself.
    pub token: Token,
    /// When the token stops being valid (RFC 3339).
    pub expires_at: Timestamp,
    /// The key that signed it.
    pub kid: String,
    /// When its successor is due on the same topic (RFC 3339).
    pub refresh_at: Timestamp,
}

/// The one kind of key that signs tokens (RFC 8037 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeyType {
    /// Octet key pair.
    #[serde(rename = "OKP")]
    OctetKeyPair,
}

/// The one curve of such a key (RFC 8037 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Curve {
    /// Edwards curve 25519 with its signature scheme (RFC 8032).
    Ed25519,
}

/// What a key may be used for (RFC 7517 section 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeyUse {
    /// Signatures.
    #[serde(rename = "sig")]
    Signature,
}

/// The one algorithm that a key may be used with (RFC 8725 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeyAlgorithm {
    /// Edwards-curve signatures (RFC 8037 section 3.1).
    EdDSA,
}

/// Where a key stands in the rotation.
///
/// A verifier accepts all three: the signer moves on before the last verifier has heard of it, and
/// no valid token may be refused during a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// Published ahead of its use.
    Next,
    /// Signs new tokens.
    Active,
    /// Signs nothing any more; its last tokens are still valid.
    Retiring,
    /// A state that this version does not know: such a key verifies nothing.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// A public key (RFC 7517 section 4, RFC 8037 section 2) with its place in the rotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Jwk {
    /// Kind of key.
    pub kty: KeyType,
    /// Its curve.
    pub crv: Curve,
    /// The public key: 32 bytes as base64url without padding.
    pub x: String,
    /// Its name: the RFC 7638 thumbprint (SHA-256, base64url) of the key itself.
    pub kid: String,
    /// What it may be used for.
    #[serde(rename = "use")]
    pub key_use: KeyUse,
    /// The one algorithm that it may be used with.
    pub alg: KeyAlgorithm,
    /// Its place in the rotation; an additional member, as RFC 7517 section 4 allows.
    pub state: KeyState,
}

/// The keys that verify tokens (RFC 7517 section 5), retained by the security coordinator.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Jwks {
    /// The keys in no particular order. Those of a kind that this version does not know are left
    /// out when a set is decoded, as RFC 7517 section 5 asks, so that a newer set still loads.
    #[serde(deserialize_with = "known_keys")]
    pub keys: Vec<Jwk>,
}

fn known_keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Jwk>, D::Error> {
    let keys = Vec::<serde_json::Value>::deserialize(deserializer)?;
    Ok(keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect())
}

/// A start of a plugin whose tokens are all refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevokedSid {
    /// The start, as in [`Claims::sid`].
    pub sid: StartId,
    /// When the last of its tokens has expired and the entry may be dropped, in seconds since 1970.
    pub until: i64,
}

/// A single token that is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevokedJti {
    /// The token, as in [`Claims::jti`].
    pub jti: String,
    /// When that token has expired and the entry may be dropped, in seconds since 1970.
    pub until: i64,
}

/// What is revoked, retained by the security coordinator; published also when nothing is.
///
/// `until` is for its publisher. A verifier refuses whatever is listed, so that a clock that
/// jumped ahead cannot bring a revoked token back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revoked {
    /// Revoked starts.
    pub sids: Vec<RevokedSid>,
    /// Revoked tokens.
    pub jtis: Vec<RevokedJti>,
}

/// Asks for the token of one start of a plugin. Asked again for the same `start_id`, the answer
/// is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IssueRequest {
    /// The plugin that is being started.
    pub plugin_id: PluginId,
    /// This start of it; becomes [`Claims::sid`].
    pub start_id: StartId,
    /// The permissions granted, one `resource:verb` each.
    pub scope: Vec<String>,
    /// Digest of the manifest that the permissions were granted to; becomes
    /// [`Claims::manifest_digest`].
    pub digest: String,
}

/// Answers an [`IssueRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IssueResponse {
    /// The token, as it is retained on the plugin's token topic.
    pub token: TokenMessage,
}

/// Asks that every token of one start of a plugin be refused from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevokeRequest {
    /// The plugin that is being stopped.
    pub plugin_id: PluginId,
    /// The start that ends.
    pub start_id: StartId,
}

/// The answer to `revoke` between coordinators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionRevoked {
    /// The start whose tokens are refused from now on.
    pub start_id: StartId,
}

/// `rotate`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RotateRequest {}

/// The answer to `rotate`: the signing keys after it, by their thumbprints (RFC 7638).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rotated {
    /// The key that signs from now on.
    pub active: String,
    /// The key that will sign after the next rotation.
    pub next: String,
    /// Keys that still verify what they signed.
    pub retiring: Vec<String>,
}

/// `revoke`, asked by an operator: exactly one of the two is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevokeTokenRequest {
    /// The plugin whose tokens are all made invalid. It gets a new one only when it is started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin_id: Option<PluginId>,
    /// The one token that is made invalid: its `jti`. Its plugin gets another at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
}

/// The answer to `revoke`, asked by an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokensRevoked {
    /// The plugin whose tokens they were.
    pub plugin_id: PluginId,
    /// The start whose tokens are all refused, when that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<StartId>,
    /// The token that is refused, when one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
}

/// `token`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenRequest {}

/// The answer to `token`. The token itself is on the plugin's token topic, and in no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenRefreshed {
    /// When it expires.
    pub expires_at: Timestamp,
    /// When the next one comes by itself.
    pub refresh_at: Timestamp,
    /// The key that signed it.
    pub kid: String,
}

/// Asks what a token is worth (RFC 7662): the one given, or the one that a plugin has now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IntrospectRequest {
    /// The plugin whose current token is meant, or that the given token must belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin_id: Option<PluginId>,
    /// The token that is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
}

/// Answers an [`IntrospectRequest`]. The token itself is never part of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IntrospectResponse {
    /// Whether the token would be accepted now.
    pub active: bool,
    /// Its claims, when it is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<Claims>,
    /// Why it would be refused, when it is not active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","use":"sig","alg":"EdDSA","state":"active"}"#;

    #[test]
    fn keys_of_an_unknown_kind_are_left_out_and_the_others_load() {
        let text = format!(r#"{{"keys":[{{"kty":"RSA","n":"AQAB","e":"AQAB"}},7,{KEY}]}}"#);
        let set: Jwks = serde_json::from_str(&text).expect("the set is a set");
        assert_eq!(set.keys.len(), 1);
        assert_eq!(set.keys[0].state, KeyState::Active);
    }

    #[test]
    fn a_key_in_an_unknown_state_loads_as_one_that_verifies_nothing() {
        let text = KEY.replace("active", "suspended");
        let key: Jwk = serde_json::from_str(&text).expect("the state may be unknown");
        assert_eq!(key.state, KeyState::Unknown);
    }

    #[test]
    fn a_token_is_never_shown() {
        let message = TokenMessage {
            token: Token::new("secret.secret.secret"),
            expires_at: Timestamp::from_seconds(0),
            kid: "k".to_owned(),
            refresh_at: Timestamp::from_seconds(0),
        };
        let shown = format!("{:?} {:?}", IssueResponse { token: message.clone() }, message.token);
        assert!(!shown.contains("secret"), "{shown}");
        let wire = serde_json::to_value(&message).expect("plain data");
        assert_eq!(wire["token"], "secret.secret.secret");
        assert_eq!(wire["expires_at"], "1970-01-01T00:00:00.000Z");
    }
}
