//! Rotation of the keys by schedule, and knowing since when the next key is published.
//!
//! The schedule counts time that passed, see [`crate::keys`]: a clock that is set, in whatever direction,
//! rotates nothing.

use std::time::{Duration, Instant};

use chassis::service::Shutdown;
use envelope::Timestamp;
use uuid::Uuid;

use crate::authority::{Authority, Origin, RotateError, State};
use crate::refresh::PassError;

/// Between two tries when a rotation is due that is not possible yet.
const AGAIN: Duration = Duration::from_secs(60);
/// Between two looks whether the broker has the key set.
const LOOK: Duration = Duration::from_secs(1);

/// Rotates the keys when the active one has signed for long enough. Returns after how long to look again.
pub(crate) async fn when_due(authority: &Authority, state: &mut State) -> Result<Duration, PassError> {
    let (age, lifetime) = (state.keys.age(), authority.key_lifetime());
    if age < lifetime {
        return Ok(lifetime - age);
    }
    let correlation_id = Uuid::now_v7().to_string();
    let cause = format!("the key before had signed for {} s, its lifetime", age.as_secs());
    let origin = Origin { cause, correlation_id: &correlation_id, traceparent: None };
    match authority.rotate(state, None, origin).await {
        Ok(_) => Ok(lifetime),
        Err(RotateError::NotYet(not_yet)) => {
            tracing::info!(reason = %not_yet, "a rotation is due and has to wait");
            Ok(not_yet.retry_after().map_or(AGAIN, Duration::from_secs).min(AGAIN))
        }
        Err(RotateError::Store(error)) => Err(error.into()),
        Err(RotateError::Keys(error)) => Err(error.into()),
    }
}

/// Tells that keys verify nothing any more.
pub(crate) fn tell_dropped(authority: &Authority, kids: &[String]) {
    let correlation_id = Uuid::now_v7().to_string();
    let cause = "the last token that they signed has expired".to_owned();
    authority.tell_dropped(kids, Origin { cause, correlation_id: &correlation_id, traceparent: None });
}

/// Notes for each next key since when the broker has had it, until `shutdown`.
pub(crate) async fn announce(authority: &Authority, shutdown: Shutdown) {
    loop {
        let next = {
            let state = authority.lock().await;
            state.keys.is_unannounced().then(|| state.keys.next().to_owned())
        };
        let Some(next) = next else {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = authority.keys_have_changed() => continue,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            published = authority.is_published(LOOK) => if published {
                let at = Instant::now();
                authority.lock().await.keys.announced(&next, at);
                tracing::debug!(kid = next, at = %Timestamp::now(), "the next key is published");
                authority.changed();
            }
        }
    }
}
