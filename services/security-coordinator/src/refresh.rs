//! The background work: every token is followed by the next one before it expires, and revocations are
//! dropped when they are past. Keys are rotated on the way when they are old enough.
//!
//! One pass does it all, whatever woke it: a token that is due, a new one, a clock that was set, the start
//! of the process.

use std::time::Duration;

use chassis::service::Shutdown;
use chassis::{HealthBoard, health::Condition};
use envelope::Timestamp;
use token::SignError;

use crate::authority::{Authority, Origin, Past, State};
use crate::clock::Watch;
use crate::keys::KeysError;
use crate::tokens::{self, Due, Issued};
use crate::{revocations, rotation};

/// Between two looks at the clock: sleeping does not notice that it was set.
const LOOK: Duration = Duration::from_secs(1);
/// Between two passes at most: whoever is due within it shares one.
const PACE: Duration = Duration::from_millis(500);
/// Longest between two passes: the age of the key is told, and written down now and then.
const LONGEST: Duration = Duration::from_secs(60);
const MOST_PAUSE: Duration = Duration::from_secs(30);

/// Why a pass did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassError {
    #[error("the kept tokens cannot be read or written")]
    Store(#[from] sqlx::Error),
    #[error("tokens cannot be refreshed")]
    Sign(#[from] SignError),
    #[error("the keys cannot be rotated")]
    Keys(#[from] KeysError),
}

/// Publishes everything that is kept: keys, revocations, tokens that are valid as they were. What is not
/// valid any more is issued again.
pub(crate) async fn restore(authority: &Authority) -> Result<(), PassError> {
    let mut state = authority.lock().await;
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
    renew(authority, &mut state, renewed, now).await
}

/// Does everything that is due, and returns when there will be more.
pub(crate) async fn pass(authority: &Authority) -> Result<Option<Timestamp>, PassError> {
    let mut state = authority.lock().await;
    let now = authority.now();
    // Before tokens are signed, so that those that are due get the new key. Should it fail, they still get
    // the old one.
    let rotation = rotation::when_due(authority, &mut state).await;
    let mut connection = authority.connection().await?;
    let due = tokens::due(&mut connection, now).await?;
    let due = due.into_iter().filter_map(|issued| Some((issued.due(now)?, issued)));
    let due: Vec<_> = due.map(|(due, issued)| (issued, due)).collect();
    drop(connection);
    renew(authority, &mut state, due, now).await?;

    let mut connection = authority.connection().await?;
    state.keys.count_age(&mut connection, now).await?;
    let Past { revocations: shorter, keys } = state.drop_past(&mut connection, now).await?;
    if shorter {
        authority.publish_revoked(&revocations::list(&mut connection).await?);
    }
    if !keys.is_empty() {
        authority.publish_keys(&state);
        rotation::tell_dropped(authority, &keys);
    }
    let key_past = state.keys.next_past().map(|at| Timestamp::from_seconds(at.saturating_add(1)));
    let past = [revocations::next_past(&mut connection).await?, key_past];
    // Nothing is dropped before the clock is trusted.
    let past = past.map(|at| at.map(|at| at.max(now.after(state.doubt_left()))));
    let next = tokens::next_due(&mut connection).await?;
    Ok(past.into_iter().chain([next, Some(now.after(rotation?))]).flatten().min())
}

async fn renew(
    authority: &Authority,
    state: &mut State,
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
        let correlation_id = next.correlation_id.clone();
        let origin = Origin { cause: due.to_string(), correlation_id: &correlation_id, traceparent: None };
        authority.hand_out(state, "refreshed", &next, token, origin);
    }
    Ok(())
}

/// Makes passes until `shutdown`.
pub(crate) async fn run(authority: &Authority, health: &HealthBoard, shutdown: Shutdown) {
    let mut watch = Watch::new(authority.clock());
    let mut pause = LOOK;
    // Tokens that live for a few seconds have no half of one to spare.
    let pace = PACE.min(authority.lifetime() / 20);
    loop {
        // Whatever woke us: nothing is dropped by a time that is not to be trusted.
        notice(authority, &mut watch).await;
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
            () = tokio::time::sleep(pace) => {}
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = authority.has_changed() => {}
            () = wait(authority, &mut watch, next) => {}
            () = tokio::time::sleep(LONGEST) => {}
        }
    }
}

/// Takes note of it when the clock was set. Returns whether it was.
async fn notice(authority: &Authority, watch: &mut Watch) -> bool {
    let stepped = watch.stepped(authority.clock());
    if stepped {
        tracing::warn!("the clock was set, or the machine slept: all tokens are looked at");
        authority.lock().await.clock_stepped(authority.lifetime());
    }
    stepped
}

/// Waits until `next`, or until the clock was set.
async fn wait(authority: &Authority, watch: &mut Watch, next: Option<Timestamp>) {
    loop {
        if notice(authority, watch).await {
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
    let state = authority.lock().await;
    health.figure("active_key", state.keys.active());
    health.figure("active_key_age_seconds", state.keys.age().as_secs());
    health.figure("retiring_keys", state.keys.retiring());
    drop(state);
    if let Ok(mut connection) = authority.connection().await
        && let Ok(count) = tokens::count(&mut connection).await
    {
        health.figure("tokens", count);
    }
}

#[cfg(test)]
mod tests;
