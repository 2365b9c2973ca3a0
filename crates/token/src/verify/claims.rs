//! What a token's claims must say. They are read only after the signature was found right.

use envelope::id::{PluginId, StartId};
use envelope::payload::token::{AUDIENCE, Claims, ISSUER, subject};
use serde_json::{Map, Value};

use crate::refusal::excerpt;
use crate::{LEEWAY_SECONDS, MAX_LIFETIME_SECONDS, Refusal};

/// Reads the claims; each must be there and of its type, others are ignored (RFC 7519 section 4).
pub(super) fn read(members: &Map<String, Value>) -> Result<Claims, Refusal> {
    Ok(Claims {
        iss: text(members, "iss")?,
        sub: text(members, "sub")?,
        aud: audience(members)?,
        client_id: text(members, "client_id")?,
        sid: start(members)?,
        jti: identifier(members, "jti")?,
        iat: seconds(members, "iat")?,
        nbf: seconds(members, "nbf")?,
        exp: seconds(members, "exp")?,
        scope: text(members, "scope")?,
        manifest_digest: text(members, "manifest_digest")?,
    })
}

/// Checks who issued the token, for whom, and whom it speaks for.
pub(super) fn check_identity(claims: &Claims, plugin: Option<&PluginId>) -> Result<(), Refusal> {
    if claims.iss != ISSUER {
        return Err(Refusal::Issuer { found: excerpt(&claims.iss) });
    }
    if claims.aud != AUDIENCE {
        return Err(Refusal::Audience);
    }
    let named = claims.sub.strip_prefix("plugin:").and_then(|id| PluginId::parse(id).ok());
    let expected = plugin.or(named.as_ref());
    match (expected, &named) {
        (Some(want), Some(found)) if want == found => {}
        (want, _) => {
            let want = want.map_or_else(|| "plugin:{id}".to_owned(), subject);
            return Err(Refusal::Subject { found: excerpt(&claims.sub), want });
        }
    }
    match named {
        Some(id) if id.as_str() != claims.client_id => {
            Err(Refusal::Client { found: excerpt(&claims.client_id), want: id.to_string() })
        }
        _ => Ok(()),
    }
}

/// Checks the times. Sums saturate: a claim may be any number.
pub(super) fn check_time(claims: &Claims, now: i64) -> Result<(), Refusal> {
    let life = claims.exp.saturating_sub(claims.iat);
    if !(1..=MAX_LIFETIME_SECONDS).contains(&life) {
        return Err(Refusal::Lifetime { seconds: life });
    }
    let latest = now.saturating_add(LEEWAY_SECONDS);
    if claims.iat > latest {
        return Err(Refusal::IssuedAhead { ahead: claims.iat.saturating_sub(now) });
    }
    if claims.nbf > latest {
        return Err(Refusal::NotYetValid { ahead: claims.nbf.saturating_sub(now) });
    }
    if claims.exp.saturating_add(LEEWAY_SECONDS) <= now {
        return Err(Refusal::Expired { ago: now.saturating_sub(claims.exp) });
    }
    Ok(())
}

/// RFC 7519 allows a list too. Ours is one string, and a token that is good elsewhere as well is
/// not ours.
fn audience(members: &Map<String, Value>) -> Result<String, Refusal> {
    match members.get("aud") {
        None => Err(Refusal::MissingClaim { name: "aud" }),
        Some(Value::String(one)) => Ok(one.clone()),
        Some(_) => Err(Refusal::Audience),
    }
}

fn text(members: &Map<String, Value>, name: &'static str) -> Result<String, Refusal> {
    match members.get(name) {
        None => Err(Refusal::MissingClaim { name }),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(Refusal::ClaimForm { name, want: "a string" }),
    }
}

fn start(members: &Map<String, Value>) -> Result<StartId, Refusal> {
    text(members, "sid")?
        .parse()
        .map_err(|_| Refusal::ClaimForm { name: "sid", want: "the id of a start (a UUID)" })
}

/// An empty name could never be revoked.
fn identifier(members: &Map<String, Value>, name: &'static str) -> Result<String, Refusal> {
    match text(members, name)? {
        empty if empty.is_empty() => Err(Refusal::ClaimForm { name, want: "a string with something in it" }),
        text => Ok(text),
    }
}

fn seconds(members: &Map<String, Value>, name: &'static str) -> Result<i64, Refusal> {
    match members.get(name) {
        None => Err(Refusal::MissingClaim { name }),
        Some(value) => value.as_i64().ok_or(Refusal::ClaimForm { name, want: "whole seconds since 1970" }),
    }
}
