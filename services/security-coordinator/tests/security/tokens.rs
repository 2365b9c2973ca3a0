//! Tokens from the request to the plugin's topic, and what survives which failure.

use std::time::Duration;

use envelope::payload::event::EventKind;
use envelope::payload::token::{Claims, IntrospectResponse, TokenMessage};
use envelope::{ErrorCode, Operation, PluginId, StartId, Timestamp, topic};
use serde_json::json;
use testkit::{Version, eventually};
use token::{Expect, Refusal, Verifier};

use super::stage::{PATIENCE, Stage, revocations};

/// The broker counts a message's life in whole seconds.
const TICK: Duration = Duration::from_secs(1);

fn plugin(id: &str) -> PluginId {
    PluginId::parse(id).expect("an id")
}

fn verify(verifier: &Verifier, plugin: &PluginId, token: &TokenMessage) -> Result<Claims, Refusal> {
    verifier.verify(token.token.as_str(), Expect { plugin }, Timestamp::now().as_seconds())
}

#[tokio::test]
async fn an_issued_token_is_retained_on_the_plugins_topic_and_valid_for_everybody() {
    let stage = Stage::new(900).await;
    let running = stage.start();
    let (focuser, start) = (plugin("focuser"), StartId::new());
    let mut coordinator = stage.plugin_coordinator().await;
    let answered = coordinator.issue(&focuser, start).await.expect("issues");

    for version in [Version::V3, Version::V5] {
        let mut listener = stage.listener(version).await;
        let retained = listener.token(&focuser).await;
        assert_eq!(retained, answered);
        let verifier = listener.verifier().await;
        let claims = verify(&verifier, &focuser, &retained).expect("is valid");
        assert_eq!(claims.sid, start);
        assert_eq!(claims.scope, "system:read plugin:read");
        assert!(verify(&verifier, &plugin("dome"), &retained).is_err());
    }

    assert_eq!(coordinator.issue(&focuser, start).await.expect("issues"), answered);
    let moon = json!({"plugin_id": "dome", "start_id": start, "scope": ["moon:read"], "digest": "d"});
    let refused = coordinator.ask(Operation::Issue, moon).await.expect_err("refused");
    assert_eq!(refused.code, ErrorCode::BadRequest);

    let mut operator = stage.operator().await;
    for asked in [json!({"plugin_id": "focuser"}), json!({"token": answered.token})] {
        let answer = operator.ask(Operation::Introspect, asked).await.expect("answers");
        stage.assert_nothing_secret_in(&answer.to_string(), &[&answered]);
        let answer: IntrospectResponse = serde_json::from_value(answer).expect("decodes");
        assert!(answer.active);
        assert_eq!(answer.claims.map(|c| c.sid), Some(start));
    }
    assert!(running.stop().await.success());
    let log = stage.log();
    assert!(log.contains("focuser was issued"), "{log}");
    stage.assert_nothing_secret_in(&log, &[&answered]);
}

#[tokio::test]
async fn a_token_is_followed_by_the_next_at_two_thirds_of_its_life_and_ends_without_its_issuer() {
    let stage = Stage::new(10).await;
    let running = stage.start();
    let mut listener = stage.listener(Version::V5).await;
    let verifier = listener.verifier().await;
    let (focuser, start) = (plugin("focuser"), StartId::new());
    let first = stage.plugin_coordinator().await.issue(&focuser, start).await.expect("issues");
    assert_eq!(listener.token(&focuser).await, first);
    let (issued, _) = listener.event(EventKind::Token, "issued").await;

    let second = listener.token(&focuser).await;
    let now = Timestamp::now();
    assert!(now >= first.refresh_at && now < first.expires_at, "{now} {first:?}");
    let (old, new) = (verify(&verifier, &focuser, &first), verify(&verifier, &focuser, &second));
    let (old, new) = (old.expect("is still valid"), new.expect("is valid"));
    assert_eq!((old.sid, new.sid), (start, start));
    assert_ne!(old.jti, new.jti);

    let (refreshed, text) = listener.event(EventKind::Token, "refreshed").await;
    assert_eq!(refreshed.correlation_id, issued.correlation_id);
    assert_eq!(refreshed.payload.cause, "two thirds of its life are over");
    stage.assert_nothing_secret_in(&text, &[&first, &second]);

    // The topic does not keep a token that nobody follows up.
    running.kill9().await;
    let topic = topic::coordinator::token(&focuser);
    eventually(PATIENCE, async || match stage.retained(&topic).await {
        None => Ok(()),
        Some(_) => Err(format!("the token is there at {}", Timestamp::now())),
    })
    .await;
    assert!(Timestamp::now().after(TICK) >= second.expires_at, "{second:?}");

    // Whoever comes back to an expired token issues the next.
    let _running = stage.start();
    let third = listener.token(&focuser).await;
    let third = verify(&verifier, &focuser, &third).expect("is valid under the same keys");
    assert_eq!(third.sid, start);
}

#[tokio::test]
async fn a_restart_keeps_keys_tokens_and_revocations_whatever_the_broker_lost() {
    let mut stage = Stage::new(900).await;
    let (focuser, dome) = (plugin("focuser"), plugin("dome"));
    let (stays, ends) = (StartId::new(), StartId::new());
    let running = stage.start();
    let mut coordinator = stage.plugin_coordinator().await;
    let token = coordinator.issue(&focuser, stays).await.expect("issues");
    coordinator.issue(&dome, ends).await.expect("issues");
    coordinator.revoke(&dome, ends).await.expect("revokes");
    let keys = stage.retained(&topic::coordinator::jwks()).await.expect("keys");

    running.kill9().await;
    stage.broker.restart_with_fresh_data().await;
    let running = stage.start();
    for _ in 0..2 {
        let mut listener = stage.listener(Version::V5).await;
        let again = listener.next(&topic::coordinator::jwks(), |_| true).await;
        assert_eq!(again.payload, keys.payload);
        let revoked = listener.next(&topic::coordinator::revoked(), |_| true).await;
        assert_eq!(revocations(&revoked).sids.first().map(|r| r.sid), Some(ends));
        let mut listener = stage.listener(Version::V5).await;
        assert_eq!(listener.token(&focuser).await, token);
        assert_eq!(stage.retained(&topic::coordinator::token(&dome)).await, None);
        // The second time the coordinator stays, and only the broker loses everything.
        stage.broker.restart_with_fresh_data().await;
    }
    assert!(running.stop().await.success());
}

#[tokio::test]
async fn a_stop_clears_the_topic_and_lists_the_start() {
    let stage = Stage::new(900).await;
    let _running = stage.start();
    let mut listener = stage.listener(Version::V5).await;
    let verifier = listener.verifier().await;
    let (focuser, start) = (plugin("focuser"), StartId::new());
    let mut coordinator = stage.plugin_coordinator().await;
    let token = coordinator.issue(&focuser, start).await.expect("issues");
    verify(&verifier, &focuser, &token).expect("is valid");

    for _ in 0..2 {
        coordinator.revoke(&focuser, start).await.expect("done already is done");
    }
    let revoked = listener.next(&topic::coordinator::revoked(), |_| true).await;
    verifier.set_revoked(&revocations(&revoked));
    assert_eq!(verify(&verifier, &focuser, &token), Err(Refusal::RevokedSid { sid: start }));
    let topic = topic::coordinator::token(&focuser);
    listener.next(&topic, |m| m.payload.is_empty()).await;
    assert_eq!(stage.retained(&topic).await, None);
    let (cleared, _) = listener.event(EventKind::Token, "cleared").await;
    assert_eq!(cleared.payload.cause, "coordinator:plugin asked to revoke");
    let late = coordinator.issue(&focuser, start).await.expect_err("is over");
    assert_eq!(late.code, ErrorCode::InvalidPhase);
}

#[tokio::test]
async fn a_second_start_takes_over_and_the_first_ones_end_does_not_touch_it() {
    let stage = Stage::new(900).await;
    let _running = stage.start();
    let (focuser, one, two) = (plugin("focuser"), StartId::new(), StartId::new());
    let mut coordinator = stage.plugin_coordinator().await;
    let first = coordinator.issue(&focuser, one).await.expect("issues");
    let second = coordinator.issue(&focuser, two).await.expect("issues");
    coordinator.revoke(&focuser, one).await.expect("is over already");

    let mut listener = stage.listener(Version::V5).await;
    assert_eq!(listener.token(&focuser).await, second);
    let verifier = listener.verifier().await;
    assert_eq!(verify(&verifier, &focuser, &first), Err(Refusal::RevokedSid { sid: one }));
    verify(&verifier, &focuser, &second).expect("is valid");
}

#[tokio::test]
async fn a_token_whose_start_ended_in_a_crash_is_taken_off_its_topic_at_the_next_start() {
    let stage = Stage::new(900).await;
    let running = stage.start();
    let (focuser, start) = (plugin("focuser"), StartId::new());
    stage.plugin_coordinator().await.issue(&focuser, start).await.expect("issues");
    let topic = topic::coordinator::token(&focuser);
    assert!(stage.retained(&topic).await.is_some());
    running.kill9().await;

    // What a kill leaves behind that comes after the revocation was kept and before it was published.
    let path = stage.folder.path().join("security.db");
    let pool = sqlx::SqlitePool::connect(&path.display().to_string()).await.expect("opens");
    sqlx::query("INSERT INTO revoked_starts (start_id, plugin_id, until) SELECT start_id, plugin_id, latest_expiry FROM tokens")
        .execute(&pool)
        .await
        .expect("inserts");
    sqlx::query("DELETE FROM tokens").execute(&pool).await.expect("deletes");
    pool.close().await;

    let mut listener = stage.listener(Version::V5).await;
    let _running = stage.start();
    listener.next(&topic, |m| m.payload.is_empty()).await;
    assert_eq!(stage.retained(&topic).await, None);
}
