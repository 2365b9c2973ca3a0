//! How long each plugin that runs has been well, and which of those that are not is to be restarted next.
//!
//! Restarts take turns: after an outage of ours, or of the broker, many plugins can look ill at once, and most of
//! them only need a moment. Whoever has waited longest is first.
//!
//! Reads no clock: the caller says what time it is.

use std::collections::HashMap;
use std::time::Duration;

use envelope::PluginId;
use tokio::time::Instant;

use super::hearing::Life;

/// All plugins that run.
#[derive(Debug)]
pub(super) struct Pulse {
    /// The time between two restarts, whosever they are.
    pace: Duration,
    last: Option<Instant>,
    plugins: HashMap<PluginId, Beat>,
}

#[derive(Debug)]
struct Beat {
    life: Life,
    well_since: Option<Instant>,
    /// Since when it waits for its restart.
    ill_since: Option<Instant>,
}

/// How a plugin is, as far as its process is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feeling {
    /// It reports that it works, if not quite.
    Well,
    /// Not well, or not known, and nothing to be done about it.
    Unwell,
    /// It needs a new process.
    Ill,
}

impl Pulse {
    pub(super) fn new(pace: Duration) -> Self {
        Self { pace, last: None, plugins: HashMap::new() }
    }

    /// It runs and is ready. True when this life of its process was not known.
    pub(super) fn runs(&mut self, id: &PluginId, life: Life) -> bool {
        if self.plugins.get(id).is_some_and(|beat| beat.life == life) {
            return false;
        }
        self.plugins.insert(id.clone(), Beat { life, well_since: None, ill_since: None });
        true
    }

    /// It does not run.
    pub(super) fn ends(&mut self, id: &PluginId) {
        self.plugins.remove(id);
    }

    /// How one that runs is now. True when it waits for a restart, and did not before.
    pub(super) fn feels(&mut self, id: &PluginId, feeling: Feeling, now: Instant) -> bool {
        let Some(beat) = self.plugins.get_mut(id) else { return false };
        match feeling {
            Feeling::Well => {
                beat.well_since.get_or_insert(now);
                beat.ill_since = None;
                false
            }
            Feeling::Unwell => {
                (beat.well_since, beat.ill_since) = (None, None);
                false
            }
            Feeling::Ill => {
                beat.well_since = None;
                beat.ill_since.replace(beat.ill_since.unwrap_or(now)).is_none()
            }
        }
    }

    /// For how long it has been well; none when it is not.
    pub(super) fn well_for(&self, id: &PluginId, now: Instant) -> Option<Duration> {
        Some(now.saturating_duration_since(self.plugins.get(id)?.well_since?))
    }

    /// Whether a restart may begin now.
    pub(super) fn may(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| now >= last + self.pace)
    }

    /// When the next one that waits has its turn; none when nobody waits.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let waits = self.plugins.values().any(|beat| beat.ill_since.is_some());
        waits.then(|| self.last.map_or(now, |last| (last + self.pace).max(now)))
    }

    /// Whose turn it is. It waits no more, whatever becomes of it; if it is still ill later it waits anew.
    pub(super) fn turn(&mut self, now: Instant) -> Option<(PluginId, Life)> {
        if !self.may(now) {
            return None;
        }
        let waiting = self.plugins.iter_mut().filter(|(_, beat)| beat.ill_since.is_some());
        let (id, beat) = waiting.min_by(|(a, x), (b, y)| (x.ill_since, a).cmp(&(y.ill_since, b)))?;
        beat.ill_since = None;
        Some((id.clone(), beat.life))
    }

    /// A restart begins.
    pub(super) fn restarts(&mut self, now: Instant) {
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use envelope::{StartId, Timestamp};

    use super::*;

    const PACE: Duration = Duration::from_secs(5);

    fn id(text: &str) -> PluginId {
        PluginId::parse(text).expect("an id")
    }

    fn life(seconds: i64) -> Life {
        (StartId::new(), Some(Timestamp::from_seconds(seconds)))
    }

    #[test]
    fn restarts_take_turns_and_who_has_waited_longest_is_first() {
        let now = Instant::now();
        let mut pulse = Pulse::new(PACE);
        for (name, waits) in [("one", 2), ("two", 1), ("three", 3)] {
            assert!(pulse.runs(&id(name), life(1)));
            assert!(pulse.feels(&id(name), Feeling::Ill, now + Duration::from_secs(waits)));
            assert!(!pulse.feels(&id(name), Feeling::Ill, now + Duration::from_secs(9)), "it waits already");
        }
        let mut now = now + Duration::from_secs(10);
        for name in ["two", "one", "three"] {
            assert_eq!(pulse.turn(now).map(|(id, _)| id), Some(id(name)));
            pulse.restarts(now);
            assert_eq!(pulse.turn(now), None, "not all at once");
            now += PACE;
        }
        assert_eq!((pulse.turn(now), pulse.next(now)), (None, None));
    }

    #[test]
    fn one_that_got_well_while_it_waited_has_no_turn() {
        let now = Instant::now();
        let mut pulse = Pulse::new(PACE);
        pulse.runs(&id("one"), life(1));
        pulse.feels(&id("one"), Feeling::Ill, now);
        assert_eq!(pulse.next(now), Some(now));
        pulse.feels(&id("one"), Feeling::Well, now);
        assert_eq!((pulse.turn(now), pulse.next(now)), (None, None));
    }

    #[test]
    fn time_counts_while_it_is_well_and_begins_anew_after_it_was_not() {
        let now = Instant::now();
        let minute = Duration::from_secs(60);
        let mut pulse = Pulse::new(PACE);
        assert!(!pulse.feels(&id("one"), Feeling::Ill, now), "it does not run");
        let first = life(1);
        assert!(pulse.runs(&id("one"), first));
        assert!(!pulse.runs(&id("one"), first));
        assert_eq!(pulse.well_for(&id("one"), now), None);
        pulse.feels(&id("one"), Feeling::Well, now);
        pulse.feels(&id("one"), Feeling::Well, now + minute);
        assert_eq!(pulse.well_for(&id("one"), now + minute), Some(minute));
        pulse.feels(&id("one"), Feeling::Unwell, now + minute);
        assert_eq!(pulse.well_for(&id("one"), now + minute), None);
        pulse.feels(&id("one"), Feeling::Well, now + minute);
        assert!(pulse.runs(&id("one"), life(2)), "another life");
        assert_eq!(pulse.well_for(&id("one"), now + minute), None);
    }
}
