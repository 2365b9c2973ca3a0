//! Room for steps that make the engine, the disk or the network work.
//!
//! Only so many plugins take such a step at once. One whose step lasts gives its place back after a while and goes
//! on without: what hangs can never use up the places.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::settings::Settings;

/// All places.
#[derive(Clone)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    longest: Duration,
}

/// One place, until it is dropped.
pub(crate) struct Place {
    _permit: Option<OwnedSemaphorePermit>,
    longest: Duration,
}

impl Places {
    /// As many as are configured.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            free: Arc::new(Semaphore::new(settings.concurrent_steps as usize)),
            longest: Duration::from_secs(settings.step_place_seconds.into()),
        }
    }

    /// A place, after all who asked before.
    pub(crate) async fn one(self) -> Place {
        // It is never closed, so there is always a permit.
        Place { _permit: self.free.acquire_owned().await.ok(), longest: self.longest }
    }
}

impl Place {
    /// Does `work` in this place, and what is left of it after a while without.
    pub(crate) async fn hold<T>(self, work: impl Future<Output = T>) -> T {
        let longest = self.longest;
        let mut work = std::pin::pin!(work);
        if let Ok(done) = tokio::time::timeout(longest, &mut work).await {
            return done;
        }
        drop(self);
        work.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_hangs_gives_its_place_back_and_goes_on() {
        let settings = Settings { concurrent_steps: 1, step_place_seconds: 10, ..Settings::default() };
        let places = Places::new(&settings);
        let began = tokio::time::Instant::now();
        let long = places.clone().one().await;
        let long = tokio::spawn(long.hold(async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            "done"
        }));
        let other = places.one().await;
        assert_eq!(began.elapsed(), Duration::from_secs(10));
        assert_eq!(other.hold(async { 1 }).await, 1);
        assert_eq!(long.await.expect("no panic"), "done");
    }
}
