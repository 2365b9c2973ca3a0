//! The header.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use envelope::payload::token::KeyState;
use serde_json::json;

use super::{Forge, KEY, check};

#[test]
fn only_the_one_algorithm_is_accepted() {
    check(&Forge::new().header("alg", json!("EdDSA")).sign(), "accepted");
    for alg in [
        json!("none"),
        json!("HS256"),
        json!("ES256"),
        json!("eddsa"),
        json!("Ed25519"),
        json!(["EdDSA"]),
        json!(null),
    ] {
        check(&Forge::new().header("alg", alg).sign(), "algorithm");
    }
    check(&Forge::new().without_header("alg").sign(), "algorithm");
}

#[test]
fn the_public_key_is_no_secret_for_an_hmac() {
    let jwk = KEY.public_jwk(KeyState::Active);
    let (header, claims) = Forge::new().header("alg", json!("HS256")).texts();
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    for secret in [URL_SAFE_NO_PAD.decode(&jwk.x).expect("its form"), jwk.x.into_bytes()] {
        let secret = jsonwebtoken::EncodingKey::from_secret(&secret);
        let mac = jsonwebtoken::crypto::sign(message.as_bytes(), &secret, jsonwebtoken::Algorithm::HS256)
            .expect("any secret will do");
        check(&format!("{message}.{mac}"), "algorithm");
    }
}

#[test]
fn only_access_tokens_are_accepted() {
    check(&Forge::new().header("typ", json!("at+jwt")).sign(), "accepted");
    for typ in [json!("JWT"), json!("at+JWT"), json!("application/at+jwt"), json!(1)] {
        check(&Forge::new().header("typ", typ).sign(), "type");
    }
    check(&Forge::new().without_header("typ").sign(), "type");
}

#[test]
fn a_header_that_demands_extensions_is_refused() {
    check(&Forge::new().header("b64", json!(true)).sign(), "accepted");
    for crit in [json!(["b64"]), json!([]), json!(null)] {
        check(&Forge::new().header("crit", crit).sign(), "critical");
    }
}

#[test]
fn a_header_that_brings_a_key_is_refused() {
    check(&Forge::new().header("cty", json!("x")).sign(), "accepted");
    let own = serde_json::to_value(KEY.public_jwk(KeyState::Active)).expect("plain data");
    check(&Forge::new().header("jwk", own).sign(), "embedded_key");
    for member in ["jku", "x5u", "x5c", "x5t", "x5t#S256"] {
        check(&Forge::new().header(member, json!("https://example.org/")).sign(), "embedded_key");
    }
}

#[test]
fn a_key_must_be_named_and_known() {
    check(&Forge::new().header("kid", json!(KEY.kid())).sign(), "accepted");
    check(&Forge::new().without_header("kid").sign(), "kid_missing");
    check(&Forge::new().header("kid", json!(7)).sign(), "kid_missing");
    check(&Forge::new().header("kid", json!("")).sign(), "unknown_key");
    check(&Forge::new().header("kid", json!("../../key")).sign(), "unknown_key");
}
