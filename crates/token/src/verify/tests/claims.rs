//! The claims.

use envelope::payload::token::KeyState;
use serde_json::json;

use super::{CLAIMS, Forge, KEY, NOW, check, claims, verifier, verify_at};
use crate::{AUDIENCE, ISSUER, LEEWAY_SECONDS, MAX_LIFETIME_SECONDS};

#[test]
fn a_token_says_what_was_signed() {
    let token = KEY.sign(&claims()).expect("signs");
    assert_eq!(verify_at(token.as_str(), NOW), Ok(claims()));
}

#[test]
fn every_claim_must_be_there_and_of_its_type() {
    check(&Forge::new().claim("more", json!([1])).sign(), "accepted");
    for name in CLAIMS {
        check(&Forge::new().without_claim(name).sign(), "claim_missing");
        let want = if name == "aud" { "audience" } else { "claim_form" };
        for value in [json!(null), json!({}), json!(1.5), json!([AUDIENCE]), json!(u64::MAX)] {
            check(&Forge::new().claim(name, value).sign(), want);
        }
    }
    check(&Forge::new().claim("jti", json!("")).sign(), "claim_form");
    check(&Forge::new().claim("sid", json!("start-1")).sign(), "claim_form");
}

#[test]
fn only_the_security_coordinator_issues() {
    check(&Forge::new().claim("iss", json!(ISSUER)).sign(), "accepted");
    for iss in ["", "bigskies", "bigskies/coordinator/security/", "bigskies/coordinator/message"] {
        check(&Forge::new().claim("iss", json!(iss)).sign(), "issuer");
    }
}

#[test]
fn the_audience_is_this_framework_alone() {
    check(&Forge::new().claim("aud", json!("bigskies")).sign(), "accepted");
    for aud in [json!(""), json!("BIGSKIES"), json!(["bigskies"]), json!(["bigskies", "other"]), json!([])] {
        check(&Forge::new().claim("aud", aud).sign(), "audience");
    }
}

#[test]
fn a_token_speaks_for_the_plugin_that_sent_it_only() {
    check(&Forge::new().claim("sub", json!("plugin:focuser")).sign(), "accepted");
    for sub in ["plugin:mount", "plugin:Focuser", "focuser", "plugin:", "operator:focuser", "plugin:focuser "]
    {
        check(&Forge::new().claim("sub", json!(sub)).sign(), "subject");
    }
    check(&Forge::new().claim("client_id", json!("mount")).sign(), "client");
}

#[test]
fn introspection_takes_any_plugin_and_nothing_that_is_none() {
    let verifier = verifier(KeyState::Active);
    let code = |forge: Forge| verifier.introspect(&forge.sign(), NOW).map_err(|refusal| refusal.code());
    assert!(code(Forge::new()).is_ok());
    let mount = Forge::new().claim("sub", json!("plugin:mount")).claim("client_id", json!("mount"));
    assert!(code(mount).is_ok());
    assert_eq!(code(Forge::new().claim("sub", json!("plugin:../x"))), Err("subject"));
    assert_eq!(code(Forge::new().claim("sub", json!("plugin:mount"))), Err("client"));
}

#[test]
fn times_are_checked_with_the_leeway_and_not_a_second_more() {
    let token = Forge::new().sign();
    let code = |now| verify_at(&token, now).map_or_else(|refusal| refusal.code(), |_| "accepted");
    let (iat, exp) = (claims().iat, claims().exp);
    assert_eq!(code(exp + LEEWAY_SECONDS - 1), "accepted");
    assert_eq!(code(exp + LEEWAY_SECONDS), "expired");
    assert_eq!(code(iat - LEEWAY_SECONDS), "accepted");
    assert_eq!(code(iat - LEEWAY_SECONDS - 1), "issued_ahead");
    let later = |seconds| Forge::new().claim("nbf", json!(NOW + seconds)).sign();
    check(&later(LEEWAY_SECONDS), "accepted");
    check(&later(LEEWAY_SECONDS + 1), "not_yet_valid");
}

#[test]
fn a_life_of_more_than_a_day_or_less_than_a_second_is_refused() {
    let living = |seconds| Forge::new().claim("exp", json!(NOW + seconds)).sign();
    check(&living(MAX_LIFETIME_SECONDS), "accepted");
    check(&living(MAX_LIFETIME_SECONDS + 1), "lifetime");
    check(&living(1), "accepted");
    check(&living(0), "lifetime");
}

#[test]
fn times_at_the_ends_of_the_scale_are_compared_and_not_overflowed() {
    let last = Forge::new()
        .claim("iat", json!(i64::MAX - 900))
        .claim("nbf", json!(i64::MIN))
        .claim("exp", json!(i64::MAX));
    assert!(verify_at(&last.sign(), i64::MAX - 900).is_ok());
    let endless = last.claim("iat", json!(i64::MIN)).sign();
    for now in [i64::MIN, 0, i64::MAX] {
        let refused = verify_at(&endless, now).map_err(|refusal| refusal.code());
        assert_eq!(refused, Err("lifetime"), "{now}");
        assert!(verify_at(&Forge::new().sign(), now).is_err(), "{now}");
    }
}
