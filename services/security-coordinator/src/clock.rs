//! The clock that tokens are issued by, and noticing that it was set.

use std::time::{Duration, Instant};

use envelope::Timestamp;

/// Tells the time of day. It can be wrong, and can be set at any moment in either direction.
pub trait Clock: Send + Sync + 'static {
    /// The time of day, now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A difference that slewing never makes between two looks.
const STEP: Duration = Duration::from_secs(2);

/// Compares the time of day with the time that has passed. A machine that slept looks the same as a clock
/// that was set forward, and asks for the same.
#[derive(Debug)]
pub(crate) struct Watch {
    wall: Timestamp,
    passed: Instant,
}

impl Watch {
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        Self { wall: clock.now(), passed: Instant::now() }
    }

    /// Whether the clock was set since the last look.
    pub(crate) fn stepped(&mut self, clock: &dyn Clock) -> bool {
        let now = Self::new(clock);
        let expected = self.wall.after(now.passed.saturating_duration_since(self.passed));
        let off = now.wall.since(expected).max(expected.since(now.wall));
        *self = now;
        off > STEP
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    /// A clock that stands still until it is set.
    #[derive(Debug)]
    pub(crate) struct SetClock(AtomicI64);

    impl SetClock {
        pub(crate) fn at(seconds: i64) -> Self {
            Self(AtomicI64::new(seconds))
        }

        pub(crate) fn set(&self, seconds: i64) {
            self.0.store(seconds, Ordering::SeqCst);
        }

        pub(crate) fn advance(&self, seconds: i64) {
            self.0.fetch_add(seconds, Ordering::SeqCst);
        }
    }

    impl Clock for SetClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_seconds(self.0.load(Ordering::SeqCst))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::SetClock;
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_noticed_in_both_directions_and_only_once() {
        let clock = SetClock::at(1_000_000);
        let mut watch = Watch::new(&clock);
        assert!(!watch.stepped(&clock));
        for step in [3600, -3600, 31_536_000, -1_000_000] {
            clock.advance(step);
            assert!(watch.stepped(&clock), "{step}");
            assert!(!watch.stepped(&clock), "{step}");
        }
    }
}
