//! A second verifier, in which one check can be left out: a token that only this check refuses is then taken.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use envelope::Timestamp;
use envelope::payload::token::{AUDIENCE, ISSUER, KeyState};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use token::{LEEWAY_SECONDS, MAX_BYTES, MAX_LIFETIME_SECONDS, TYPE};

use super::forge::Forger;

/// What is checked, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    Size,
    Duplicate,
    Algorithm,
    Type,
    Critical,
    EmbeddedKey,
    KnownKey,
    Signature,
    Issuer,
    Audience,
    Subject,
    Client,
    Lifetime,
    IssuedAhead,
    NotBefore,
    Expired,
}

/// The first check that the attacker's token fails, of all but `without`.
pub fn verify(token: &str, forger: &Forger, without: Option<Check>) -> Result<(), Check> {
    let parts: Vec<&str> = token.split('.').collect();
    let text =
        |n: usize| String::from_utf8(URL_SAFE_NO_PAD.decode(parts[n]).expect("base64url")).expect("text");
    let (header_text, claims_text) = (text(0), text(1));
    let header: Value = serde_json::from_str(&header_text).expect("JSON");
    let claims: Value = serde_json::from_str(&claims_text).expect("JSON");
    let now = Timestamp::now().as_seconds();
    let time = |name: &str| claims[name].as_i64().unwrap_or_default();
    let embedded =
        ["jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256"].iter().any(|name| header.get(name).is_some());
    let signed = || is_signed(&parts, &header, forger, without);
    let list = claims["aud"].as_array().is_some_and(|all| all.iter().any(|one| one == AUDIENCE));
    let other_audience = claims["aud"] != AUDIENCE && !(without == Some(Check::Audience) && list);
    let fails: [(Check, bool); 16] = [
        (Check::Size, token.len() > MAX_BYTES),
        (Check::Duplicate, claims_text.matches("\"sub\":").count() > 1),
        (Check::Algorithm, header["alg"] != "EdDSA"),
        (Check::Type, header["typ"] != TYPE),
        (Check::Critical, header.get("crit").is_some()),
        (Check::EmbeddedKey, embedded),
        (Check::KnownKey, header["kid"] != forger.key.kid()),
        (Check::Signature, !signed()),
        (Check::Issuer, claims["iss"] != ISSUER),
        (Check::Audience, other_audience),
        (Check::Subject, claims["sub"] != "plugin:arena-attacker"),
        (Check::Client, claims["client_id"] != "arena-attacker"),
        (Check::Lifetime, time("exp") - time("iat") > MAX_LIFETIME_SECONDS),
        (Check::IssuedAhead, time("iat") > now + LEEWAY_SECONDS),
        (Check::NotBefore, time("nbf") > now + LEEWAY_SECONDS),
        (Check::Expired, time("exp") + LEEWAY_SECONDS <= now),
    ];
    match fails.into_iter().find(|(check, fails)| *fails && Some(*check) != without) {
        Some((check, _)) => Err(check),
        None => Ok(()),
    }
}

/// Whether the signature is good; a verifier that believes the header takes algorithm or key from there.
fn is_signed(parts: &[&str], header: &Value, forger: &Forger, without: Option<Check>) -> bool {
    let message = format!("{}.{}", parts[0], parts[1]);
    let x = forger.key.public_jwk(KeyState::Active).x;
    let good = |key: &DecodingKey, algorithm| {
        jsonwebtoken::crypto::verify(parts[2], message.as_bytes(), key, algorithm).unwrap_or(false)
    };
    let public = |x: &str| DecodingKey::from_ed_der(&URL_SAFE_NO_PAD.decode(x).expect("base64url"));
    match (without, header["alg"].as_str(), header["jwk"]["x"].as_str()) {
        (Some(Check::Algorithm), Some("none"), _) => true,
        (Some(Check::Algorithm), Some("HS256"), _) => {
            good(&DecodingKey::from_secret(x.as_bytes()), Algorithm::HS256)
        }
        (Some(Check::EmbeddedKey), _, Some(own)) => good(&public(own), Algorithm::EdDSA),
        _ => good(&public(&x), Algorithm::EdDSA),
    }
}
