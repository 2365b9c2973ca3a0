//! Waiting for a condition in place of sleeping.

use std::fmt::Display;
use std::panic::Location;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// Pause between two looks.
const INTERVAL: Duration = Duration::from_millis(10);

/// Looks until `check` succeeds, and returns what it found.
///
/// # Panics
///
/// When the deadline passes: with the place of the call and the last state that `check` told.
#[track_caller]
pub fn eventually<T, E, F, Fut>(deadline: Duration, mut check: F) -> impl Future<Output = T>
where
    E: Display,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let place = Location::caller();
    async move {
        let end = Instant::now() + deadline;
        let mut last = "nothing seen yet".to_owned();
        loop {
            match timeout_at(end, check()).await {
                Ok(Ok(found)) => return found,
                Ok(Err(state)) => last = state.to_string(),
                Err(_elapsed) => {}
            }
            assert!(Instant::now() < end, "{place}: not within {deadline:?}; last state: {last}");
            sleep(INTERVAL).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_returns_what_was_found() {
        let mut looks = 0;
        let found = eventually(Duration::from_secs(5), || {
            looks += 1;
            std::future::ready(if looks < 3 { Err("not yet") } else { Ok(looks) })
        })
        .await;
        assert_eq!(found, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "last state: still red")]
    async fn it_tells_the_last_state_when_it_gives_up() {
        eventually(Duration::from_millis(30), || async { Err::<(), _>("still red") }).await;
    }
}
