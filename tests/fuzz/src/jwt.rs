//! Tokens: any text, and tokens that are signed with the right key whatever header and claims say.
//!
//! What is accepted is judged again here from the text that was signed, without the verifier's help.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use envelope::PluginId;
use envelope::payload::token::{Jwks, KeyState, Revoked};
use jsonwebtoken::{Algorithm, EncodingKey};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use serde_json::{Value, json};
use token::{
    AUDIENCE, Expect, ISSUER, LEEWAY_SECONDS, MAX_BYTES, MAX_LIFETIME_SECONDS, SigningKey, TYPE, Verifier,
};

use crate::json;

const NOW: i64 = 1_800_000_000;
const STOPPED: &str = "01890a5d-ac96-774b-bcce-000000000000";
const WORDS: &[&str] = &[
    "alg",
    "typ",
    "kid",
    "crit",
    "jwk",
    "jku",
    "x5c",
    "x5t#S256",
    "b64",
    "zip",
    "cty",
    "EdDSA",
    "none",
    "HS256",
    "ES256",
    "eddsa",
    TYPE,
    "JWT",
    "AT+JWT",
    "iss",
    "sub",
    "aud",
    "client_id",
    "sid",
    "jti",
    "iat",
    "nbf",
    "exp",
    "scope",
    "manifest_digest",
    ISSUER,
    AUDIENCE,
    "plugin:focuser",
    "plugin:",
    "focuser",
    "other",
    "system:read",
    STOPPED,
    "taken-back",
    "",
];

/// The keys that the fuzzer signs with: one that is active, one whose state nobody knows, one of a stranger.
struct Keys {
    all: [SigningKey; 3],
    signing: [EncodingKey; 3],
    verifier: Verifier,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    // The same keys in every run, so that a corpus stays worth something: RFC 8410 section 7 with fixed seeds.
    let key = |n: u8| {
        let head = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        SigningKey::from_pkcs8(&[&head[..], &[n; 32]].concat()).expect("a key")
    };
    let all = [key(1), key(2), key(3)];
    let verifier = Verifier::new();
    let set = Jwks { keys: vec![all[0].public_jwk(KeyState::Active), all[1].public_jwk(KeyState::Unknown)] };
    assert_eq!(verifier.set_keys(&set), []);
    let revoked = json!({
        "sids": [{"sid": STOPPED, "until": i64::MAX}],
        "jtis": [{"jti": "taken-back", "until": i64::MAX}],
    });
    let revoked: Revoked = serde_json::from_value(revoked).expect("a list of revocations");
    verifier.set_revoked(&revoked);
    let signing = [0, 1, 2].map(|n: usize| EncodingKey::from_ed_der(all[n].as_pkcs8()));
    Keys { all, signing, verifier }
});

static FOCUSER: LazyLock<PluginId> = LazyLock::new(|| PluginId::parse("focuser").expect("an id"));

/// Raw when the first byte is low, else signed.
pub fn check(bytes: &[u8]) {
    match bytes.split_first() {
        Some((0..=63, rest)) => {
            let text = String::from_utf8_lossy(rest);
            assert!(verify(&text, NOW).is_err(), "{text}");
            let _ = KEYS.verifier.introspect(&text, NOW);
        }
        Some((_, rest)) => {
            let _ = signed(&mut Unstructured::new(rest));
        }
        None => {}
    }
}

fn verify(token: &str, now: i64) -> std::result::Result<envelope::payload::token::Claims, token::Refusal> {
    KEYS.verifier.verify(token, Expect { plugin: &FOCUSER }, now)
}

fn signed(u: &mut Unstructured<'_>) -> Result<()> {
    let (signer, named) = (u.int_in_range(0..=3)?.min(3) % 3, u.int_in_range(0..=3)? % 3);
    let header = json!({"alg": "EdDSA", "typ": TYPE, "kid": KEYS.all[named].kid()});
    let claims = json!({
        "iss": ISSUER, "sub": "plugin:focuser", "aud": AUDIENCE, "client_id": "focuser",
        "sid": "01890a5d-ac96-774b-bcce-b302099a8057", "jti": "token-1",
        "iat": NOW, "nbf": NOW, "exp": NOW + 900, "scope": "system:read", "manifest_digest": "sha256:00",
    });
    let (header, twice) = json::written(&json::mutated(header, u, WORDS)?, u)?;
    let (claims, again) = json::written(&json::mutated(claims, u, WORDS)?, u)?;
    let now = match u.int_in_range(0..=3)? {
        0 => u.arbitrary()?,
        1 => NOW + i64::from(u.arbitrary::<i16>()?),
        _ => NOW,
    };
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode(&claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &KEYS.signing[signer], Algorithm::EdDSA)
        .expect("an Ed25519 key signs any bytes");
    let whole = format!("{message}.{signature}");
    let token = tampered(&whole, u)?;
    let Ok(found) = verify(&token, now) else { return Ok(()) };

    assert_eq!(token, whole, "a changed token is accepted");
    assert!(!twice && !again, "a member that stands twice is accepted");
    assert!(signer == 0 && named == 0 && token.len() <= MAX_BYTES);
    let header: Value = serde_json::from_slice(&header).expect("it was accepted");
    assert_eq!((&header["alg"], &header["typ"]), (&json!("EdDSA"), &json!(TYPE)));
    assert_eq!(header["kid"], KEYS.all[0].kid());
    for member in ["crit", "jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256"] {
        assert!(header.get(member).is_none(), "{header}");
    }
    assert_ne!(found.sid.to_string(), STOPPED);
    check_claims(&serde_json::from_slice(&claims).expect("it was accepted"), now);
    assert!(KEYS.verifier.introspect(&token, now).is_ok_and(|seen| seen == found));
    Ok(())
}

/// The token, or what a thief could make of it without the key.
fn tampered(whole: &str, u: &mut Unstructured<'_>) -> Result<String> {
    Ok(match u.int_in_range(0..=7)? {
        0 => {
            let mut bytes = whole.as_bytes().to_vec();
            let place = u.int_in_range(0..=bytes.len() - 1)?;
            bytes[place] = u.int_in_range(0x20..=0x7e)?;
            String::from_utf8(bytes).expect("ASCII")
        }
        1 => {
            let parts: Vec<&str> = whole.split('.').collect();
            [parts[u.int_in_range(0..=2)?], parts[u.int_in_range(0..=2)?], parts[u.int_in_range(0..=2)?]]
                .join(".")
        }
        2 => format!("{whole}{}", u.arbitrary::<char>()?),
        3 => whole[..u.int_in_range(0..=whole.len())?].to_owned(),
        _ => whole.to_owned(),
    })
}

fn check_claims(claims: &Value, now: i64) {
    assert_eq!(claims["iss"], ISSUER);
    assert_eq!(claims["aud"], AUDIENCE);
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("plugin:focuser"), &json!("focuser")));
    assert_ne!(claims["jti"], "taken-back");
    assert_ne!(claims["jti"], "");
    let time = |name: &str| i128::from(claims[name].as_i64().expect("whole seconds"));
    let (issued, not_before, end) = (time("iat"), time("nbf"), time("exp"));
    let (now, leeway) = (i128::from(now), i128::from(LEEWAY_SECONDS));
    assert!(end > issued && end - issued <= i128::from(MAX_LIFETIME_SECONDS), "{claims}");
    assert!(issued - leeway <= now && not_before - leeway <= now && now < end + leeway, "{claims}");
}
