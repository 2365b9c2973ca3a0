use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;

/// The private key of RFC 8037, appendix A, in PKCS#8 form: known to the world, for tests only.
const PRIVATE: [u8; 48] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20, 0x9d,
    0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49,
    0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];
const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

fn now() -> Timestamp {
    Timestamp::now()
}

fn keys() -> Vec<u8> {
    json!({"keys": [
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "k0"},
        {"kty": "OKP", "crv": "Ed25519", "x": PUBLIC, "kid": "k1", "use": "sig", "alg": "EdDSA", "state": "active"},
    ]})
    .to_string()
    .into_bytes()
}

fn claims() -> Value {
    let now = now().as_second();
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "plugin:hello-rust", "client_id": "hello-rust",
        "sid": "s", "jti": "j", "iat": now, "nbf": now, "exp": now + 900, "scope": "system:read",
    })
}

/// The message with a token of these claims, its header changed by `change`.
fn message(claims: &Value, change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let mut header = Header::new(Algorithm::EdDSA);
    header.typ = Some(TYPE.to_owned());
    header.kid = Some("k1".to_owned());
    change(&mut header);
    let token = encode(&header, claims, &EncodingKey::from_ed_der(&PRIVATE)).expect("signs");
    json!({"token": token, "kid": "k1"}).to_string().into_bytes()
}

fn verdict(message: &[u8]) -> Verdict {
    let mut watch = Watch::new("hello-rust");
    watch.on_keys(&keys(), now());
    watch.on_token(message, now()).clone()
}

#[test]
fn a_good_token_is_valid_until_it_expires() {
    let claims = claims();
    let until = claims["exp"].as_i64().expect("a number");
    let mut watch = Watch::new("hello-rust");
    watch.on_keys(&keys(), now());
    watch.on_token(&message(&claims, |_| ()), now());
    assert_eq!(watch.verdict(now()), Verdict::Valid { until, scope: "system:read".to_owned() });
    let later = Timestamp::from_second(until).expect("in range");
    assert!(watch.verdict(later).describe().starts_with("refused: expired at"));
}

#[test]
fn the_token_may_come_before_the_keys() {
    let mut watch = Watch::new("hello-rust");
    let early = watch.on_token(&message(&claims(), |_| ()), now());
    assert_eq!(*early, Verdict::Waiting);
    assert!(matches!(watch.on_keys(&keys(), now()), Verdict::Valid { .. }));
}

#[test]
fn a_token_that_is_taken_away_is_missing_and_keys_do_not_bring_it_back() {
    let mut watch = Watch::new("hello-rust");
    watch.on_keys(&keys(), now());
    watch.on_token(&message(&claims(), |_| ()), now());
    assert_eq!(*watch.on_token(b"", now()), Verdict::Missing);
    assert_eq!(*watch.on_keys(&keys(), now()), Verdict::Missing);
}

#[test]
fn claims_that_are_not_for_this_plugin_are_refused() {
    let past = now().as_second() - 1000;
    for (name, value) in [
        ("iss", json!("somebody")),
        ("aud", json!("elsewhere")),
        ("sub", json!("plugin:other")),
        ("exp", json!(past)),
        ("nbf", json!(past + 2000)),
        ("iat", json!(past + 2000)),
    ] {
        let mut claims = claims();
        claims[name] = value;
        assert!(matches!(verdict(&message(&claims, |_| ())), Verdict::Refused(_)), "{name}");
        claims.as_object_mut().expect("an object").remove(name);
        assert!(matches!(verdict(&message(&claims, |_| ())), Verdict::Refused(_)), "no {name}");
    }
}

#[test]
fn headers_that_ask_for_anything_else_are_refused() {
    let refused = |change: fn(&mut Header)| {
        assert!(matches!(verdict(&message(&claims(), change)), Verdict::Refused(_)));
    };
    refused(|header| header.typ = Some("JWT".to_owned()));
    refused(|header| header.typ = None);
    refused(|header| header.kid = Some("k0".to_owned()));
    refused(|header| header.kid = None);
    refused(|header| header.crit = Some(vec!["x".to_owned()]));
}

#[test]
fn nothing_that_comes_instead_of_a_message_does_harm() {
    for payload in [&b"{}"[..], b"[", b"\xff", br#"{"token": 7}"#, br#"{"token": "a.b.c"}"#] {
        assert!(matches!(verdict(payload), Verdict::Refused(_)), "{payload:?}");
    }
    let long = json!({"token": "x".repeat(LONGEST + 1)}).to_string();
    assert!(verdict(long.as_bytes()).describe().contains("8192 are allowed"));
    let mut watch = Watch::new("hello-rust");
    for payload in [&b""[..], b"[]", b"{\"keys\": 7}"] {
        assert_eq!(*watch.on_keys(payload, now()), Verdict::Missing);
    }
}

#[test]
fn a_verdict_never_shows_the_token() {
    let message = message(&claims(), |header| header.typ = None);
    let text = String::from_utf8(message.clone()).expect("JSON");
    let signature = text.rsplit('.').next().expect("a token").trim_end_matches('}');
    assert!(!verdict(&message).describe().contains(&signature[..20]));
}
