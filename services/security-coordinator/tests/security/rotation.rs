//! Rotation of the keys by request and by schedule.

use envelope::payload::event::EventKind;
use envelope::payload::health::Health;
use envelope::payload::token::{Jwks, KeyState, Rotated, TokenMessage};
use envelope::{Coordinator, Envelope, ErrorBody, ErrorCode, Operation, PluginId, StartId, Timestamp, topic};
use serde_json::json;
use testkit::{Message, Version, eventually};
use token::{Expect, Verifier};

use super::stage::{Asker, PATIENCE, Stage};

fn focuser() -> PluginId {
    PluginId::parse("focuser").expect("an id")
}

fn accepts(verifier: &Verifier, token: &TokenMessage) -> bool {
    let now = Timestamp::now().as_seconds();
    verifier.verify(token.token.as_str(), Expect { plugin: &focuser() }, now).is_ok()
}

async fn rotate(operator: &mut Asker) -> Result<Rotated, ErrorBody> {
    let answer = operator.ask(Operation::Rotate, json!({})).await?;
    Ok(serde_json::from_value(answer).expect("an answer to rotate"))
}

fn named(keys: &Jwks) -> Rotated {
    let of = |state| keys.keys.iter().filter(move |k| k.state == state).map(|k| k.kid.clone());
    let one = |state| of(state).next().expect("there is one");
    Rotated {
        active: one(KeyState::Active),
        next: one(KeyState::Next),
        retiring: of(KeyState::Retiring).collect(),
    }
}

#[tokio::test]
async fn a_rotation_by_request_refuses_no_valid_token_at_whoever_hears_of_it_late() {
    let mut stage = Stage::new(900).await;
    stage.key_notice = 4;
    let running = stage.start();
    let mut listener = stage.listener(Version::V5).await;
    let before = named(&listener.keys().await);
    // This verifier hears of nothing that happens from now on.
    let late = stage.listener(Version::V5).await.verifier().await;
    let mut coordinator = stage.plugin_coordinator().await;
    let mut operator = stage.operator().await;
    let old = coordinator.issue(&focuser(), StartId::new()).await.expect("issues");
    assert_eq!(old.kid, before.active);

    let early = rotate(&mut operator).await.expect_err("nobody can know the next key yet");
    assert_eq!(early.code, ErrorCode::TooManyRequests);
    assert!(early.message.contains("Ask again"), "{}", early.message);
    let answer = eventually(PATIENCE, async || {
        rotate(&mut stage.operator().await).await.map_err(|error| error.message)
    })
    .await;
    let keys = listener.keys().await;
    assert_eq!(named(&keys), answer);
    assert_eq!(answer.active, before.next);
    assert_eq!(answer.retiring, [before.active]);
    let (event, text) = listener.event(EventKind::Key, "rotated").await;
    assert_eq!(event.payload.cause, "operator:operator asked to rotate");
    assert_eq!(event.payload.details["active"], answer.active);
    assert!(event.correlation_id.is_some());
    stage.assert_nothing_secret_in(&text, &[&old]);

    let dome = PluginId::parse("dome").expect("an id");
    let new = coordinator.issue(&dome, StartId::new()).await.expect("issues");
    assert_eq!(new.kid, answer.active);
    let fresh = Verifier::new();
    assert_eq!(fresh.set_keys(&keys), []);
    fresh.set_revoked(&Default::default());
    for verifier in [&late, &fresh] {
        assert!(accepts(verifier, &old));
        let now = Timestamp::now().as_seconds();
        verifier.verify(new.token.as_str(), Expect { plugin: &dome }, now).expect("is valid");
    }
    // Not again at once, and a restart forgets nothing.
    assert!(rotate(&mut operator).await.is_err());
    running.kill9().await;
    let _running = stage.start();
    let health = topic::coordinator::health(Coordinator::Security);
    let told = |m: &Message| m.text().contains("\"running\":true") && m.text().contains("active_key_age");
    let health = stage.listener(Version::V5).await.next(&health, told).await;
    let health: Envelope<Health> = serde_json::from_slice(&health.payload).expect("health");
    assert_eq!(health.payload.details["active_key"], answer.active);
    assert!(health.payload.details["active_key_age_seconds"].as_u64().is_some_and(|age| age < 600));
    assert_eq!(health.payload.details["retiring_keys"], 1);
    let keys = stage.retained(&topic::coordinator::jwks()).await.expect("keys");
    let keys: Jwks = serde_json::from_slice(&keys.payload).expect("a key set");
    assert_eq!(named(&keys), answer);
}

#[tokio::test]
async fn a_request_to_rotate_needs_an_account() {
    let stage = Stage::new(900).await;
    let _running = stage.start();
    let mut plugin = stage.plugin(&focuser(), Version::V5).await;
    for operation in [Operation::Rotate, Operation::RevokeToken] {
        let refused = plugin.ask(operation, json!({"plugin_id": "dome"})).await.expect_err("refused");
        assert_eq!(refused.code, ErrorCode::Forbidden);
        assert!(refused.message.contains("operator"), "{}", refused.message);
    }
}
