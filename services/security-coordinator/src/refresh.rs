//! The background work: every token is followed by the next one before it expires, and revocations are
//! dropped when they are past.
//!
//! One pass does it all, whatever woke it: a token that is due, a new one, a clock that was set, the start
//! of the process.

use std::time::Duration;

use chassis::service::Shutdown;
use chassis::{HealthBoard, health::Condition};
use envelope::Timestamp;
use token::SignError;

use crate::authority::{Authority, Origin, State};
use crate::clock::Watch;
use crate::revocations;
use crate::tokens::{self, Due, Issued};

/// Between two looks at the clock: sleeping does not notice that it was set.
const LOOK: Duration = Duration::from_secs(1);
/// Between two passes: whoever is due within it shares one.
const PACE: Duration = Duration::from_millis(500);
const MOST_PAUSE: Duration = Duration::from_secs(30);

/// Why a pass did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassError {
    #[error("the kept tokens cannot be read or written")]
    Store(#[from] sqlx::Error),
    #[error("tokens cannot be refreshed")]
    Sign(#[from] SignError),
}

/// Publishes everything that is kept: keys, revocations, tokens that are valid as they were. What is not
/// valid any more is issued again.
pub(crate) async fn restore(authority: &Authority) -> Result<(), PassError> {
    let state = authority.lock().await;
    let mut connection = authority.connection().await?;
    authority.publish_keys(&state);
    authority.publish_revoked(&revocations::list(&mut connection).await?);
    for plugin in revocations::plugins_without_token(&mut connection).await? {
        authority.clear_token(&plugin);
    }
    let now = authority.now();
    let mut renewed = Vec::new();
    for issued in tokens::all(&mut connection).await? {
        match (issued.due(now), state.sign(&issued)?) {
            (None, Some(token)) => {
                authority.publish_token(&issued, token);
            }
            (Some(due), _) => renewed.push((issued, due)),
            (None, None) => renewed.push((issued, Due::KeyGone)),
        }
    }
    drop(connection);
    renew(authority, &state, renewed, now).await
}

/// Does everything that is due, and returns when there will be more.
pub(crate) async fn pass(authority: &Authority) -> Result<Option<Timestamp>, PassError> {
    let state = authority.lock().await;
    let now = authority.now();
    let mut connection = authority.connection().await?;
    let due = tokens::due(&mut connection, now).await?;
    let due = due.into_iter().filter_map(|issued| Some((issued.due(now)?, issued)));
    let due: Vec<_> = due.map(|(due, issued)| (issued, due)).collect();
    drop(connection);
    renew(authority, &state, due, now).await?;

    let mut connection = authority.connection().await?;
    if state.drop_past(&mut connection, now).await? {
        authority.publish_revoked(&revocations::list(&mut connection).await?);
    }
    let past = revocations::next_past(&mut connection).await?;
    let past = past.map(|at| at.max(now.after(state.doubt_left())));
    let next = tokens::next_due(&mut connection).await?;
    Ok([past, next].into_iter().flatten().min())
}

async fn renew(
    authority: &Authority,
    state: &State,
    due: Vec<(Issued, Due)>,
    now: Timestamp,
) -> Result<(), PassError> {
    if due.is_empty() {
        return Ok(());
    }
    let mut renewed = Vec::with_capacity(due.len());
    let mut tx = authority.begin().await?;
    for (issued, due) in due {
        let next = issued.next(state.keys.active(), now, authority.lifetime());
        let token = state.sign_new(&next)?;
        tokens::put(&mut tx, &next).await?;
        renewed.push((next, token, due));
    }
    tx.commit().await?;
    for (next, token, due) in renewed {
        authority.publish_token(&next, token);
        let correlation_id = next.correlation_id.clone();
        let origin = Origin { cause: due.to_string(), correlation_id: &correlation_id, traceparent: None };
        authority.tell_issued("refreshed", &next, origin);
    }
    Ok(())
}

/// Makes passes until `shutdown`.
pub(crate) async fn run(authority: &Authority, health: &HealthBoard, shutdown: Shutdown) {
    let mut watch = Watch::new(authority.clock());
    let mut pause = LOOK;
    loop {
        let next = match pass(authority).await {
            Ok(next) => {
                health.set("tokens", Condition::Good);
                pause = LOOK;
                next
            }
            Err(error) => {
                let error = telemetry::chain(&error);
                health.set("tokens", Condition::Unhealthy(error));
                pause = (pause * 2).min(MOST_PAUSE);
                Some(authority.now().after(pause))
            }
        };
        figures(authority, health).await;
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(PACE) => {}
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = authority.has_changed() => {}
            () = wait(authority, &mut watch, next) => {}
        }
    }
}

/// Waits until `next`, or until the clock was set.
async fn wait(authority: &Authority, watch: &mut Watch, next: Option<Timestamp>) {
    loop {
        if watch.stepped(authority.clock()) {
            tracing::warn!("the clock was set, or the machine slept: all tokens are looked at");
            authority.lock().await.clock_stepped(authority.lifetime());
            return;
        }
        let left = next.map_or(Duration::MAX, |at| at.since(authority.now()));
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LOOK)).await;
    }
}

async fn figures(authority: &Authority, health: &HealthBoard) {
    if let Ok(mut connection) = authority.connection().await
        && let Ok(count) = tokens::count(&mut connection).await
    {
        health.figure("tokens", count);
    }
}

#[cfg(test)]
mod tests {
    use envelope::payload::token::IssueRequest;
    use envelope::{PluginId, StartId};

    use super::*;
    use crate::authority::testing::{self, Office, START};
    use crate::handler::issue::issue;
    use crate::handler::revoke::revoke;

    async fn started(office: &Office, id: &str) -> Issued {
        let asked = IssueRequest {
            plugin_id: PluginId::parse(id).expect("an id"),
            start_id: StartId::new(),
            scope: vec!["plugin:read".to_owned()],
            digest: "sha256:0".to_owned(),
        };
        let plugin = asked.plugin_id.clone();
        issue(&office.authority, asked, testing::origin()).await.expect("issues");
        current(office, &plugin).await
    }

    async fn current(office: &Office, plugin: &PluginId) -> Issued {
        let mut connection = office.authority.connection().await.expect("connects");
        tokens::of_plugin(&mut connection, plugin).await.expect("reads").expect("has a token")
    }

    /// Whether the token is accepted now.
    async fn accepted(office: &Office, issued: &Issued) -> bool {
        let token = office.authority.lock().await.sign(issued).expect("signs").expect("has the key");
        let now = office.authority.now().as_seconds();
        office.authority.verifier().introspect(token.as_str(), now).is_ok()
    }

    #[tokio::test]
    async fn a_token_is_refreshed_when_it_is_due_and_not_before() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let first = started(&office, "focuser").await;
        let next = pass(&office.authority).await.expect("passes");
        assert_eq!(next, Some(first.refresh_at));
        assert_eq!(current(&office, &first.terms.plugin_id).await, first);
        office.clock.advance(631);
        assert!(pass(&office.authority).await.expect("passes") > next);
        let second = current(&office, &first.terms.plugin_id).await;
        assert_eq!((second.issued_at, &second.terms), (START + 631, &first.terms));
        assert_ne!(second.jti, first.jti);
        assert!(accepted(&office, &first).await && accepted(&office, &second).await);
    }

    #[tokio::test]
    async fn whatever_the_clock_does_every_started_plugin_has_a_valid_token_after_one_pass() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let plugin = started(&office, "focuser").await.terms.plugin_id;
        for at in [0, START + 31_536_000, START + 31_532_400, START, START - 10, 3_000_000_000] {
            office.clock.set(at);
            pass(&office.authority).await.expect("passes");
            let issued = current(&office, &plugin).await;
            assert!(accepted(&office, &issued).await, "{at}: {issued:?}");
            assert_eq!(issued.due(office.authority.now()), None, "{at}");
        }
    }

    #[tokio::test]
    async fn a_start_that_is_over_gets_no_token_any_more() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let first = started(&office, "focuser").await;
        let Issued { terms, .. } = first.clone();
        revoke(&office.authority, &terms.plugin_id, terms.start_id, testing::origin())
            .await
            .expect("revokes");
        assert!(!accepted(&office, &first).await);
        office.clock.advance(5_000);
        pass(&office.authority).await.expect("passes");
        let mut connection = office.authority.connection().await.expect("connects");
        assert_eq!(tokens::count(&mut connection).await.expect("counts"), 0);
    }

    #[tokio::test]
    async fn a_revocation_is_dropped_when_it_is_past_and_the_clock_is_trusted() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let first = started(&office, "focuser").await;
        let terms = first.terms.clone();
        revoke(&office.authority, &terms.plugin_id, terms.start_id, testing::origin())
            .await
            .expect("revokes");
        let listed = async || {
            let mut connection = office.authority.connection().await.expect("connects");
            revocations::list(&mut connection).await.expect("reads").sids.len()
        };
        // A clock that jumps ahead and back does not bring the token back.
        office.clock.advance(31_536_000);
        pass(&office.authority).await.expect("passes");
        assert_eq!(listed().await, 1);
        office.clock.set(START);
        assert!(!accepted(&office, &first).await);
        office.clock.advance(900 + 2 * token::LEEWAY_SECONDS);
        office.authority.lock().await.trust_the_clock();
        pass(&office.authority).await.expect("passes");
        assert_eq!(listed().await, 1, "not past yet");
        office.clock.advance(1);
        pass(&office.authority).await.expect("passes");
        assert_eq!(listed().await, 0);
    }

    #[tokio::test]
    async fn after_a_restart_valid_tokens_are_the_same_and_expired_ones_are_issued_again() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let first = started(&office, "focuser").await;
        let token = office.authority.lock().await.sign(&first).expect("signs");
        let after = testing::office(&folder).await;
        assert_eq!(current(&after, &first.terms.plugin_id).await, first);
        assert_eq!(after.authority.lock().await.sign(&first).expect("signs"), token);
        after.clock.advance(2_000);
        restore(&after.authority).await.expect("publishes");
        let renewed = current(&after, &first.terms.plugin_id).await;
        assert_eq!((renewed.issued_at, renewed.terms), (START + 2_000, first.terms));
    }

    #[tokio::test]
    async fn a_token_whose_key_is_gone_is_issued_again() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let first = started(&office, "focuser").await;
        let mut tx = office.authority.begin().await.expect("begins");
        sqlx::query("DELETE FROM keys").execute(&mut *tx).await.expect("deletes");
        tx.commit().await.expect("commits");
        let after = testing::office(&folder).await;
        let renewed = current(&after, &first.terms.plugin_id).await;
        assert_ne!(renewed.kid, first.kid);
        assert!(accepted(&after, &renewed).await);
    }

    #[tokio::test]
    async fn a_damaged_row_does_not_hold_up_the_others() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        let (good, bad) = (started(&office, "focuser").await, started(&office, "dome").await);
        let mut tx = office.authority.begin().await.expect("begins");
        sqlx::query("UPDATE tokens SET start_id = 'x' WHERE start_id = ?")
            .bind(bad.terms.start_id.to_string())
            .execute(&mut *tx)
            .await
            .expect("updates");
        tx.commit().await.expect("commits");
        office.clock.advance(700);
        pass(&office.authority).await.expect("passes");
        assert_eq!(current(&office, &good.terms.plugin_id).await.issued_at, START + 700);
        let again = started(&office, "dome").await;
        assert!(accepted(&office, &again).await);
    }

    #[tokio::test]
    async fn a_clock_that_is_set_ends_the_wait_and_is_not_trusted_for_a_while() {
        let folder = testing::folder();
        let office = testing::office(&folder).await;
        office.authority.lock().await.trust_the_clock();
        let mut watch = Watch::new(office.authority.clock());
        let waiting = wait(&office.authority, &mut watch, None);
        let set = async { office.clock.advance(-3600) };
        tokio::join!(waiting, set);
        assert!(office.authority.lock().await.doubt_left() > Duration::from_secs(900));
    }
}
