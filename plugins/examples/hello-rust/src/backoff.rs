//! How long to wait before the next attempt to connect.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// Doubles from half a second to half a minute. Up to a fifth is taken off at random, so that
/// plugins that lost the same broker do not all return in the same instant.
pub fn delay(failures: u32) -> Duration {
    let full = FIRST.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST);
    // The standard library's only source of randomness; good enough for spreading.
    let spread = (RandomState::new().hash_one(failures) % 200) as u32;
    full * (1000 - spread) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_limit_and_never_vanishes() {
        for (failures, full) in [(0, 500), (1, 1000), (5, 16_000), (6, 30_000), (u32::MAX, 30_000)] {
            let delay = delay(failures).as_millis();
            assert!((full * 8 / 10..=full).contains(&delay), "{failures}: {delay}");
        }
    }
}
