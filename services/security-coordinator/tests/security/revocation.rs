//! Revocation by operators, and how soon it counts everywhere.

use std::time::{Duration, Instant};

use envelope::payload::event::EventKind;
use envelope::payload::token::TokensRevoked;
use envelope::{ErrorCode, Operation, PluginId, StartId, Timestamp, topic};
use serde_json::{Value, json};
use testkit::{Version, eventually};
use token::{Expect, Verifier};
use tokio::time::sleep;

use super::stage::{Asker, PATIENCE, Stage, second_coordinator};

/// How soon a revocation counts at every coordinator.
const PROMISED: Duration = Duration::from_secs(1);
const ROUNDS: usize = 20;

fn focuser() -> PluginId {
    PluginId::parse("focuser").expect("an id")
}

fn accepts(verifier: &Verifier, token: &str) -> bool {
    verifier.verify(token, Expect { plugin: &focuser() }, Timestamp::now().as_seconds()).is_ok()
}

/// Asks, and returns how long it took from then until `verifier` refuses the token.
async fn revoke(operator: &mut Asker, asked: &Value, verifier: &Verifier, token: &str) -> Duration {
    let begun = Instant::now();
    let refused = async {
        while accepts(verifier, token) {
            assert!(begun.elapsed() < PATIENCE, "it is still accepted");
            sleep(Duration::from_millis(1)).await;
        }
        begun.elapsed()
    };
    let (answer, took) = tokio::join!(operator.ask(Operation::RevokeToken, asked), refused);
    answer.expect("revokes");
    took
}

#[tokio::test]
async fn a_revocation_counts_at_another_coordinator_within_a_second() {
    let stage = Stage::new(900).await;
    let _running = stage.start();
    let (_other, verifier) = second_coordinator(&stage).await;
    let mut coordinator = stage.plugin_coordinator().await;
    let mut operator = stage.operator().await;
    for what in ["plugin", "token"] {
        let mut took = Vec::new();
        for _ in 0..ROUNDS {
            let issued = coordinator.issue(&focuser(), StartId::new()).await.expect("issues");
            let token = issued.token.as_str();
            eventually(PATIENCE, async || {
                verifier
                    .verify(token, Expect { plugin: &focuser() }, Timestamp::now().as_seconds())
                    .map_err(|refusal| refusal.to_string())
            })
            .await;
            let claims = verifier.introspect(token, Timestamp::now().as_seconds()).expect("is valid");
            let asked = match what {
                "plugin" => json!({"plugin_id": "focuser"}),
                _ => json!({"jti": claims.jti}),
            };
            took.push(revoke(&mut operator, &asked, &verifier, token).await);
        }
        took.sort_unstable();
        let (median, most) = (took[ROUNDS / 2], took[ROUNDS - 1]);
        eprintln!("revocation of a {what}, from the request to the refusal: median {median:?}, max {most:?}");
        assert!(most < PROMISED, "{took:?}");
    }
}

#[tokio::test]
async fn a_revoked_plugin_stays_without_a_token_until_it_is_started_again() {
    let stage = Stage::new(900).await;
    let running = stage.start();
    let mut listener = stage.listener(Version::V5).await;
    let mut coordinator = stage.plugin_coordinator().await;
    let mut operator = stage.operator().await;
    let start = StartId::new();
    coordinator.issue(&focuser(), start).await.expect("issues");
    let answer = operator.ask(Operation::RevokeToken, json!({"plugin_id": "focuser"})).await;
    let answer: TokensRevoked = serde_json::from_value(answer.expect("revokes")).expect("decodes");
    assert_eq!((answer.plugin_id, answer.sid), (focuser(), Some(start)));
    listener.next(&topic::coordinator::token(&focuser()), |m| m.payload.is_empty()).await;
    let (event, _) = listener.event(EventKind::Token, "revoked").await;
    assert_eq!(event.payload.cause, "operator:operator asked to revoke");
    assert!(event.correlation_id.is_some());

    // The plugin coordinator asks for the running start now and then, also after a restart of ours.
    running.kill9().await;
    let _running = stage.start();
    let refused = coordinator.issue(&focuser(), start).await.expect_err("is revoked");
    assert_eq!(refused.code, ErrorCode::InvalidPhase);
    assert_eq!(refused.details, json!({"reason": "revoked"}));
    let mut plugin = stage.plugin(&focuser(), Version::V5).await;
    let refused = plugin.ask(Operation::Token, json!({})).await.expect_err("is revoked");
    assert!(refused.message.contains("revoked by operator:operator"), "{}", refused.message);
    assert_eq!(stage.retained(&topic::coordinator::token(&focuser())).await, None);

    let next = coordinator.issue(&focuser(), StartId::new()).await.expect("starts again");
    assert_eq!(listener.token(&focuser()).await, next);
}

#[tokio::test]
async fn a_revoked_token_is_followed_by_another_on_the_plugins_topic_at_once() {
    let stage = Stage::new(900).await;
    let _running = stage.start();
    let mut listener = stage.listener(Version::V5).await;
    let verifier = listener.verifier().await;
    let issued = stage.plugin_coordinator().await.issue(&focuser(), StartId::new()).await.expect("issues");
    let claims = verifier.introspect(issued.token.as_str(), Timestamp::now().as_seconds()).expect("is valid");
    let mut operator = stage.operator().await;
    let asked = json!({"jti": claims.jti});
    let answer = operator.ask(Operation::RevokeToken, &asked).await.expect("revokes");
    assert_eq!(answer, json!({"plugin_id": "focuser", "jti": claims.jti}));
    assert_eq!(listener.token(&focuser()).await, issued);
    let revoked = listener.next(&topic::coordinator::revoked(), |_| true).await;
    verifier.set_revoked(&super::stage::revocations(&revoked));
    let next = listener.token(&focuser()).await;
    assert!(!accepts(&verifier, issued.token.as_str()));
    assert!(accepts(&verifier, next.token.as_str()));
    let unknown = operator.ask(Operation::RevokeToken, json!({"jti": "x"})).await.expect_err("unknown");
    assert_eq!(unknown.code, ErrorCode::BadRequest);
}
