//! Every refusal, each beside the token that differs in the one thing and is accepted.

mod claims;
mod form;
mod header;
mod keys;
mod properties;

use std::sync::LazyLock;

use envelope::id::PluginId;
use envelope::payload::token::{Claims, Jwks, KeyState, Revoked, subject};
use serde_json::{Map, Value, json};

use super::{Expect, Verifier};
use crate::{AUDIENCE, ISSUER, Refusal, SigningKey, TYPE};

const CLAIMS: [&str; 11] =
    ["iss", "sub", "aud", "client_id", "sid", "jti", "iat", "nbf", "exp", "scope", "manifest_digest"];

const NOW: i64 = 1_800_000_000;

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate().expect("random source"));

fn plugin() -> PluginId {
    PluginId::parse("focuser").expect("an id")
}

fn claims() -> Claims {
    Claims {
        iss: ISSUER.to_owned(),
        sub: subject(&plugin()),
        aud: AUDIENCE.to_owned(),
        client_id: "focuser".to_owned(),
        sid: "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("a UUID"),
        jti: "token-1".to_owned(),
        iat: NOW,
        nbf: NOW,
        exp: NOW + 900,
        scope: "system:read".to_owned(),
        manifest_digest: "sha256:00".to_owned(),
    }
}

/// A token in the making: whatever a test makes of it is then signed with the right key.
struct Forge {
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Forge {
    fn new() -> Self {
        let Value::Object(header) = json!({"alg": "EdDSA", "typ": TYPE, "kid": KEY.kid()}) else {
            unreachable!("an object was written")
        };
        let Ok(Value::Object(claims)) = serde_json::to_value(claims()) else {
            unreachable!("claims are an object")
        };
        Self { header, claims }
    }

    fn header(mut self, name: &str, value: Value) -> Self {
        self.header.insert(name.to_owned(), value);
        self
    }

    fn claim(mut self, name: &str, value: Value) -> Self {
        self.claims.insert(name.to_owned(), value);
        self
    }

    fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    fn without_claim(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    fn texts(&self) -> (String, String) {
        let text = |object| serde_json::to_string(object).expect("plain data");
        (text(&self.header), text(&self.claims))
    }

    fn sign(&self) -> String {
        let (header, claims) = self.texts();
        KEY.forge(&header, &claims)
    }
}

fn verifier(state: KeyState) -> Verifier {
    let verifier = Verifier::new();
    assert_eq!(verifier.set_keys(&Jwks { keys: vec![KEY.public_jwk(state)] }), []);
    verifier.set_revoked(&Revoked::default());
    verifier
}

fn verify_at(token: &str, now: i64) -> Result<Claims, Refusal> {
    verifier(KeyState::Active).verify(token, Expect { plugin: &plugin() }, now)
}

/// The stable code of the refusal, or `"accepted"`.
#[track_caller]
fn check(token: &str, want: &str) {
    let got = verify_at(token, NOW).map_or_else(|refusal| refusal.code(), |_| "accepted");
    assert_eq!(got, want, "{token}");
}
