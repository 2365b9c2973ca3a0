//! For how long a key has been the active one: time that passed, because what the clock says can jump.

use std::time::{Duration, Instant};

use envelope::Timestamp;

/// Between two times at which the age is written down: a kill loses no more.
const COUNT: Duration = Duration::from_secs(600);
/// Most that is counted for one time in which the process did not run. A machine that is switched on for the
/// night gets its days; one whose clock is a year ahead at its start gets one.
const MOST_AWAY: Duration = Duration::from_secs(86_400);

/// An age that grows.
#[derive(Debug)]
pub(crate) struct Age {
    before: Duration,
    since: Instant,
    counted: Instant,
}

impl Default for Age {
    fn default() -> Self {
        Self::of(Duration::ZERO)
    }
}

impl Age {
    pub(crate) fn of(before: Duration) -> Self {
        let now = Instant::now();
        Self { before, since: now, counted: now }
    }

    /// The age of a key that was `before` old when that was written down, at `counted`.
    pub(crate) fn after_away(before: Duration, counted: Option<Timestamp>, now: Timestamp) -> Self {
        let away = counted.map_or(Duration::ZERO, |at| now.since(at).min(MOST_AWAY));
        Self::of(before.saturating_add(away))
    }

    pub(crate) fn now(&self) -> Duration {
        self.before.saturating_add(self.since.elapsed())
    }

    pub(crate) fn is_to_be_counted(&self) -> bool {
        self.counted.elapsed() >= COUNT
    }

    pub(crate) fn counted(&mut self) {
        self.counted = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_away_counts_up_to_a_day_and_never_backwards() {
        let day = Duration::from_secs(86_400);
        let at = Timestamp::from_seconds(1_700_000_000);
        for (now, want) in [
            (1_700_000_000, 0),
            (1_700_003_600, 3_600),
            (1_700_086_400, 86_400),
            (1_731_536_000, 86_400),
            (1_699_996_400, 0),
            (0, 0),
        ] {
            let age = Age::after_away(day, Some(at), Timestamp::from_seconds(now)).now();
            assert_eq!(age.as_secs(), 86_400 + want, "{now}");
        }
        assert_eq!(Age::after_away(day, None, at).now().as_secs(), 86_400);
    }
}
