//! Whatever a token says, and however it is signed: no panic, and nothing accepted that is wrong.

use envelope::id::StartId;
use envelope::payload::token::{Revoked, RevokedJti, RevokedSid};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{CLAIMS, Forge, KEY, KeyState, NOW, claims, plugin, verifier, verify_at};
use crate::verify::Expect;
use crate::{AUDIENCE, ISSUER, LEEWAY_SECONDS, MAX_LIFETIME_SECONDS, TYPE};

/// Any JSON, a few levels deep, with the numbers and names that matter among the rest.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop::sample::select(vec![ISSUER, AUDIENCE, TYPE, "plugin:focuser", "focuser"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map(".{0,4}", inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// One claim as it should be, or off by what matters: the right value first, and most often.
fn text(right: &'static str, wrong: &'static [&'static str]) -> impl Strategy<Value = String> {
    let wrong = prop::sample::select(wrong.to_vec());
    prop_oneof![9 => Just(right.to_owned()), 1 => wrong.prop_map(str::to_owned)]
}

/// Seconds around a moment, closest where the decision changes.
fn around(at: i64) -> impl Strategy<Value = i64> {
    let near = prop_oneof![Just(0), Just(LEEWAY_SECONDS), Just(-LEEWAY_SECONDS)];
    prop_oneof![
        6 => (near, -1..=1i64).prop_map(move |(offset, one)| at + offset + one),
        3 => (-2_000..2_000i64).prop_map(move |offset| at + offset),
        1 => prop::sample::select(vec![i64::MIN, -1, 0, i64::MAX, at + MAX_LIFETIME_SECONDS + 1]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    /// All claims at once, against the rules said a second time and in another way.
    #[test]
    fn a_signed_token_is_accepted_exactly_when_every_claim_is_right_and_nothing_of_it_is_revoked(
        iss in text(ISSUER, &["", "bigskies", "bigskies/coordinator/message"]),
        aud in text(AUDIENCE, &["", "BIGSKIES"]),
        sub in text("plugin:focuser", &["plugin:dome", "focuser", "plugin:../x", "operator:focuser"]),
        client in text("focuser", &["dome", ""]),
        jti in text("token-1", &["token-2", ""]),
        (iat, nbf, exp) in (around(NOW), around(NOW), around(NOW + 900)),
        now in prop_oneof![around(NOW), around(NOW + 900)],
        (sid_revoked, jti_revoked) in (prop::bool::weighted(0.1), prop::bool::weighted(0.1)),
    ) {
        let mut forge = Forge::new();
        for (name, value) in
            [("iss", &iss), ("aud", &aud), ("sub", &sub), ("client_id", &client), ("jti", &jti)]
        {
            forge = forge.claim(name, json!(value));
        }
        let token = forge.claim("iat", json!(iat)).claim("nbf", json!(nbf)).claim("exp", json!(exp)).sign();
        let verifier = verifier(KeyState::Retiring);
        let sid = if sid_revoked { claims().sid } else { StartId::new() };
        verifier.set_revoked(&Revoked {
            sids: vec![RevokedSid { sid, until: 0 }],
            jtis: jti_revoked.then(|| RevokedJti { jti: "token-1".to_owned(), until: 0 }).into_iter().collect(),
        });

        let wide = |seconds: i64| i128::from(seconds);
        let (leeway, life) = (wide(LEEWAY_SECONDS), wide(exp) - wide(iat));
        // At the ends of the scale sums stand still, which is not said twice.
        prop_assume!([iat, nbf, exp, now].iter().all(|t| t.checked_add(LEEWAY_SECONDS).is_some()));
        let right = iss == ISSUER
            && aud == AUDIENCE
            && sub == "plugin:focuser"
            && client == "focuser"
            && !jti.is_empty()
            && (1..=wide(MAX_LIFETIME_SECONDS)).contains(&life)
            && wide(iat).max(wide(nbf)) - leeway <= wide(now)
            && wide(now) < wide(exp) + leeway
            && !sid_revoked
            && !(jti_revoked && jti == "token-1");
        let got = verifier.verify(&token, Expect { plugin: &plugin() }, now);
        prop_assert_eq!(got.is_ok(), right, "{:?} at {}", got, now);
    }
}

proptest! {
    #[test]
    fn claims_with_a_valid_signature_never_panic_and_are_accepted_only_when_right(
        name in prop::sample::select(CLAIMS.to_vec()),
        value in any_json(),
        now in prop_oneof![Just(NOW), any::<i64>()],
    ) {
        let token = Forge::new().claim(name, value).sign();
        if let Ok(got) = verify_at(&token, now) {
            prop_assert_eq!(&got.iss, ISSUER);
            prop_assert_eq!(&got.aud, AUDIENCE);
            prop_assert_eq!(&got.sub, "plugin:focuser");
            prop_assert_eq!(&got.client_id, "focuser");
            prop_assert!(got.exp > got.iat && got.exp - got.iat <= MAX_LIFETIME_SECONDS);
            prop_assert!(got.iat - LEEWAY_SECONDS <= now && now < got.exp + LEEWAY_SECONDS);
        }
    }

    #[test]
    fn a_header_with_a_valid_signature_never_panics(
        name in prop::sample::select(vec!["alg", "typ", "kid", "crit", "jwk", "b64", "zip", "x5t"]),
        value in any_json(),
    ) {
        let _ = verify_at(&Forge::new().header(name, value).sign(), NOW);
    }

    #[test]
    fn a_token_with_one_byte_changed_is_never_accepted(at in any::<prop::sample::Index>(), to in 0x21u8..0x7f) {
        let mut bytes = Forge::new().sign().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        let token = String::from_utf8(bytes).expect("ASCII");
        prop_assert!(verify_at(&token, NOW).is_err());
    }

    #[test]
    fn random_text_never_panics_and_is_never_accepted(token in ".{0,200}|[A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{0,86}") {
        prop_assert!(verify_at(&token, NOW).is_err());
    }

    #[test]
    fn random_parts_with_a_valid_signature_never_panic(header in ".{0,60}", claims in ".{0,60}") {
        prop_assert!(verify_at(&KEY.forge(&header, &claims), NOW).is_err());
    }
}
