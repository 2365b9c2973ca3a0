//! Whatever a token says, and however it is signed: no panic, and nothing accepted that is wrong.

use proptest::prelude::*;
use serde_json::Value;

use super::{CLAIMS, Forge, KEY, NOW, verify_at};
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
