//! The form of a token: size, parts, encoding, JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{Forge, KEY, check};
use crate::MAX_BYTES;

#[test]
fn a_token_of_8_kib_is_read_and_a_byte_more_is_not() {
    let sized = |target: usize| {
        let bare = Forge::new().claim("pad", json!("")).sign().len();
        let mut pad = (target - bare) / 4 * 3;
        loop {
            let token = Forge::new().claim("pad", json!("x".repeat(pad))).sign();
            if token.len() >= target {
                return token;
            }
            pad += 1;
        }
    };
    let fits = sized(MAX_BYTES - 1);
    assert!(fits.len() <= MAX_BYTES, "{}", fits.len());
    check(&fits, "accepted");
    let over = sized(MAX_BYTES + 1);
    assert!(over.len() < MAX_BYTES + 4, "{}", over.len());
    check(&over, "too_large");
}

#[test]
fn anything_but_three_parts_is_refused() {
    let good = Forge::new().sign();
    check(&good, "accepted");
    for text in ["", "a", "a.b", &format!("{good}."), &format!(".{good}"), &format!("{good}.e30.e30")] {
        check(text, "not_three_parts");
    }
}

#[test]
fn only_canonical_base64url_is_read() {
    let good = Forge::new().sign();
    check(&good, "accepted");
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    // 64 bytes end in a character that carries four unused bits: set one of them.
    let last = signature.chars().last().expect("a signature");
    let twin = ((last as u8) + 1) as char;
    let changed = format!("{message}.{}{twin}", &signature[..signature.len() - 1]);
    check(&changed, "encoding");
    check(&format!("{good}=="), "encoding");
    check(&format!("{good}\n"), "encoding");
    check(&format!(" {good}"), "encoding");
    let (header, claims) = Forge::new().claim("pad", json!("??>>~~")).texts();
    let standard = format!("{}.{}", STANDARD.encode(header), STANDARD.encode(claims));
    check(&format!("{standard}.{signature}"), "encoding");
}

#[test]
fn header_and_claims_must_be_objects() {
    let (header, claims) = Forge::new().texts();
    check(&KEY.forge(&header, &claims), "accepted");
    for text in ["", "[]", "7", "null", "{", "{}x"] {
        check(&KEY.forge(text, &claims), "malformed");
        check(&KEY.forge(&header, text), "malformed");
    }
}

#[test]
fn a_member_that_stands_twice_is_refused_wherever_it_stands() {
    let (header, claims) = Forge::new().texts();
    let twice = |text: &str, member: &str| format!("{{{member},{}", &text[1..]);
    check(&KEY.forge(&twice(&header, r#""x":1"#), &twice(&claims, r#""x":1"#)), "accepted");
    check(&KEY.forge(&twice(&header, r#""alg":"none""#), &claims), "duplicate_member");
    check(&KEY.forge(&header, &twice(&claims, r#""sub":"plugin:mount""#)), "duplicate_member");
    check(&KEY.forge(&header, &twice(&claims, r#""x":{"y":1,"y":2}"#)), "duplicate_member");
}
