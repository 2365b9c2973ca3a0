//! Keys, signatures and revocations: what the verifier knows.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use envelope::payload::token::{Jwk, Jwks, KeyState, Revoked, RevokedJti, RevokedSid};
use serde_json::json;

use super::{Forge, KEY, NOW, check, claims, plugin, verifier};
use crate::verify::{Expect, KeyFault, Verifier};
use crate::{Refusal, SigningKey, thumbprint};

#[test]
fn a_verifier_refuses_until_keys_and_revocations_have_both_arrived() {
    let token = KEY.sign(&claims()).expect("signs");
    let verifier = Verifier::new();
    let verify = || verifier.verify(token.as_str(), Expect { plugin: &plugin() }, NOW);
    assert_eq!(verify(), Err(Refusal::NotReady { what: "keys" }));
    verifier.set_keys(&Jwks { keys: vec![KEY.public_jwk(KeyState::Active)] });
    assert_eq!(verify(), Err(Refusal::NotReady { what: "revocations" }));
    assert!(!verifier.is_ready());
    verifier.set_revoked(&Revoked::default());
    assert_eq!(verify(), Ok(claims()));
    assert!(verifier.is_ready());
    verifier.doubt_revocations();
    assert_eq!(verify(), Err(Refusal::NotReady { what: "revocations" }));
    verifier.set_revoked(&Revoked::default());
    assert_eq!(verify(), Ok(claims()));
}

#[test]
fn next_active_and_retiring_keys_verify_and_others_do_not() {
    let token = Forge::new().sign();
    for state in [KeyState::Next, KeyState::Active, KeyState::Retiring] {
        assert!(verifier(state).verify(&token, Expect { plugin: &plugin() }, NOW).is_ok(), "{state:?}");
    }
    let refused = verifier(KeyState::Unknown).verify(&token, Expect { plugin: &plugin() }, NOW);
    assert_eq!(refused.map_err(|refusal| refusal.code()), Err("key_state"));
}

#[test]
fn a_signature_of_another_key_is_wrong() {
    let (header, claims) = Forge::new().texts();
    check(&KEY.forge(&header, &claims), "accepted");
    let other = SigningKey::generate().expect("random source");
    check(&other.forge(&header, &claims), "signature");
}

#[test]
fn a_signature_of_other_claims_is_wrong() {
    let good = Forge::new().sign();
    let [header, claims, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        unreachable!("three parts")
    };
    let (_, more) = Forge::new().claim("scope", json!("system:configure")).texts();
    check(&format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(more)), "signature");
    for wrong in ["", "AAAA", &signature[..84]] {
        check(&format!("{header}.{claims}.{wrong}"), "signature");
    }
}

#[test]
fn a_revoked_start_or_token_is_refused_whatever_the_list_says_of_its_end() {
    let token = Forge::new().sign();
    let code = |list: &Revoked| {
        let verifier = verifier(KeyState::Active);
        verifier.set_revoked(list);
        verifier
            .verify(&token, Expect { plugin: &plugin() }, NOW)
            .map_or_else(|refusal| refusal.code(), |_| "accepted")
    };
    let sid = |sid| Revoked { sids: vec![RevokedSid { sid, until: 0 }], jtis: vec![] };
    let jti = |jti: &str| Revoked { sids: vec![], jtis: vec![RevokedJti { jti: jti.to_owned(), until: 0 }] };
    assert_eq!(code(&sid(envelope::id::StartId::new())), "accepted");
    assert_eq!(code(&sid(claims().sid)), "revoked_sid");
    assert_eq!(code(&jti("token-2")), "accepted");
    assert_eq!(code(&jti("token-1")), "revoked_jti");
}

#[test]
fn a_new_key_set_replaces_the_old_one_in_every_clone() {
    let verifier = verifier(KeyState::Active);
    let clone = verifier.clone();
    let token = Forge::new().sign();
    let verify = |verifier: &Verifier| verifier.verify(&token, Expect { plugin: &plugin() }, NOW).is_ok();
    assert!(verify(&clone));
    verifier.set_keys(&Jwks::default());
    assert!(!verify(&clone));
}

#[test]
fn keys_are_replaced_when_none_of_those_that_were_known_is_left() {
    let known = KEY.public_jwk(KeyState::Active);
    let other = SigningKey::generate().expect("random source").public_jwk(KeyState::Active);
    let set = |keys: &[&Jwk]| Jwks { keys: keys.iter().copied().cloned().collect() };
    assert!(!Verifier::new().is_replaced_by(&set(&[&other])), "nothing was known");
    let verifier = verifier(KeyState::Active);
    assert!(!verifier.is_replaced_by(&set(&[&other, &known])), "a rotation keeps what is in use");
    assert!(verifier.is_replaced_by(&set(&[&other])));
    assert!(verifier.is_replaced_by(&set(&[])));
    verifier.set_keys(&set(&[]));
    assert!(!verifier.is_replaced_by(&set(&[&other])), "none were known");
}

#[test]
fn keys_that_are_not_what_they_say_are_left_out() {
    let good = KEY.public_jwk(KeyState::Active);
    let mut renamed = SigningKey::generate().expect("random source").public_jwk(KeyState::Active);
    renamed.kid = "mine".to_owned();
    let mut short = good.clone();
    short.x = URL_SAFE_NO_PAD.encode([7; 31]);
    short.kid = thumbprint(&short.x);
    let faults = Verifier::new().set_keys(&Jwks { keys: vec![renamed, short, good.clone(), good] });
    assert!(
        matches!(
            faults[..],
            [KeyFault::Thumbprint { .. }, KeyFault::Encoding { .. }, KeyFault::Repeated { .. }]
        ),
        "{faults:?}"
    );
}

#[test]
fn a_verifier_shows_no_more_than_the_names_of_its_keys() {
    assert_eq!(
        format!("{:?}", verifier(KeyState::Active)),
        format!("Verifier {{ kids: Some([{:?}]), .. }}", KEY.kid())
    );
}
