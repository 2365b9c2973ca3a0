//! How long to wait before the next connection attempt.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The shortest pause between two attempts.
pub(crate) const SHORTEST: Duration = Duration::from_millis(250);
/// The longest pause between two attempts, and the length of a connection that counts as healthy.
pub(crate) const LONGEST: Duration = Duration::from_secs(10);

/// Doubling pauses with jitter, from [`SHORTEST`] to [`LONGEST`].
///
/// A connection must last [`LONGEST`] before the pauses start from the beginning: two clients that
/// take one client id from each other all connect successfully, and must not spin.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// Says how long the last connection lasted; `None` when the attempt failed.
    pub(crate) fn connection_ended(&mut self, lasted: Option<Duration>) {
        if lasted.is_some_and(|lasted| lasted >= LONGEST) {
            self.attempts = 0;
        }
    }

    /// The next pause: the doubled one, up to a quarter shorter or longer, so that the services of
    /// a restarted broker do not all come at once.
    pub(crate) fn next_pause(&mut self) -> Duration {
        let base = SHORTEST.saturating_mul(2_u32.saturating_pow(self.attempts)).min(LONGEST);
        self.attempts = self.attempts.saturating_add(1);
        let quarters = f64::from(random() % 1000) / 2000.0 + 0.75;
        base.mul_f64(quarters).clamp(SHORTEST, LONGEST)
    }
}

/// A number that differs between processes and calls: the standard library seeds its hashers from
/// the system, which is all that jitter needs.
fn random() -> u16 {
    let [a, b, ..] = RandomState::new().hash_one(0_u8).to_le_bytes();
    u16::from_le_bytes([a, b])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_between_the_bounds() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..40).map(|_| backoff.next_pause()).collect();
        assert!(pauses.iter().all(|p| (SHORTEST..=LONGEST).contains(p)));
        assert!(pauses[3] > pauses[0] * 3, "{pauses:?}");
        assert!(pauses[39] >= LONGEST.mul_f64(0.75), "{pauses:?}");
    }

    #[test]
    fn only_a_connection_that_lasted_starts_the_pauses_anew() {
        let mut backoff = Backoff::default();
        for _ in 0..10 {
            backoff.next_pause();
        }
        backoff.connection_ended(Some(Duration::from_secs(1)));
        assert!(backoff.next_pause() > Duration::from_secs(5));
        backoff.connection_ended(Some(LONGEST));
        assert!(backoff.next_pause() < Duration::from_millis(400));
    }
}
