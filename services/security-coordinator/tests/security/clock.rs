//! A clock that is set while plugins run: what is refused then, and how soon everything is well again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use envelope::{Operation, PluginId, StartId, topic};
use security_coordinator::Clock;
use serde_json::json;
use testkit::Version;
use token::Expect;

use super::stage::{OffsetClock, Stage, revocations};

const YEAR: i64 = 365 * 86_400;
/// How long a plugin may be without a valid token after the clock was set.
const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn after_a_step_of_the_clock_the_old_token_is_refused_a_new_one_comes_and_no_key_changes() {
    let stage = Stage::new(900).await;
    let clock = Arc::new(OffsetClock::default());
    let _running = stage.start_inside(clock.clone());
    let mut listener = stage.listener(Version::V5).await;
    let mut keys = stage.listener(Version::V5).await;
    let before = keys.keys().await;
    let verifier = listener.verifier().await;
    let mut coordinator = stage.plugin_coordinator().await;
    let [focuser, dome] = ["focuser", "dome"].map(|id| PluginId::parse(id).expect("an id"));
    let (start, over) = (StartId::new(), StartId::new());
    let mut current = coordinator.issue(&focuser, start).await.expect("issues");
    listener.token(&focuser).await;
    let stopped = coordinator.issue(&dome, over).await.expect("issues");
    coordinator.revoke(&dome, over).await.expect("revokes");
    let revoked = listener.next(&topic::coordinator::revoked(), |_| true).await;
    verifier.set_revoked(&revocations(&revoked));

    let code = |plugin, token: &str| {
        let verdict = verifier.verify(token, Expect { plugin }, clock.now().as_seconds());
        verdict.map_or_else(|refusal| refusal.code(), |_| "accepted")
    };
    let real = clock.now().as_seconds();
    let mut slowest = Duration::ZERO;
    for (at, want) in [
        (0, "issued_ahead"),
        (real, "expired"),
        (real + YEAR, "expired"),
        (real, "issued_ahead"),
        (real - 3_600, "issued_ahead"),
        (real, "expired"),
    ] {
        clock.set(at);
        let set = Instant::now();
        assert_eq!(code(&focuser, current.token.as_str()), want, "{at}");
        current = listener.token(&focuser).await;
        assert_eq!(code(&focuser, current.token.as_str()), "accepted", "{at}");
        slowest = slowest.max(set.elapsed());
        assert_ne!(code(&dome, stopped.token.as_str()), "accepted", "{at}");
    }
    assert!(slowest < SOON, "{slowest:?}");
    eprintln!("clock: six steps, a valid token within {slowest:?} of each");

    // The schedule counts time that passed: a year of the clock's alone rotates nothing.
    let after = stage.retained(&topic::coordinator::jwks()).await.expect("keys");
    assert_eq!(after.payload, serde_json::to_vec(&before).expect("encodes"));
    let asked = json!({"plugin_id": "focuser"});
    let told = stage.operator().await.ask(Operation::Introspect, asked).await;
    assert_eq!(told.expect("answers")["active"], true);
}
