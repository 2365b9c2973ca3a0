//! How often each plugin may send: a token bucket for each. Looked at before a message is parsed, so that what
//! comes over it costs little.
//!
//! Reads no clock: the caller says what time it is.

use std::collections::HashMap;
use std::time::Duration;

use chassis::rate::{Flood, TokenBucket};
use envelope::PluginId;
use tokio::time::Instant;

/// A flood is an event at most this often.
const TOLD: Duration = Duration::from_secs(60);

/// The buckets of all plugins. There is none but for plugins that are installed.
#[derive(Debug)]
pub(super) struct Rates {
    per_second: u32,
    burst: u32,
    buckets: HashMap<PluginId, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: TokenBucket,
    flood: Flood,
    /// Messages that came since the flood began, dropped or not.
    messages: u64,
    /// Messages that were dropped and told of in no event.
    untold: u64,
    told: Option<Instant>,
}

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is taken.
    In,
    /// It is dropped.
    Over {
        /// For an event: messages that were dropped since the last one.
        tell: Option<u64>,
        /// It has lasted too long, with so many messages a second.
        lasting: Option<u64>,
    },
}

impl Rates {
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second, burst, buckets: HashMap::new() }
    }

    /// A message of `id` has come.
    pub(super) fn knock(&mut self, id: &PluginId, now: Instant) -> Verdict {
        let bucket = self.buckets.entry(id.clone()).or_insert_with(|| Bucket {
            tokens: TokenBucket::full(self.per_second, self.burst, now),
            flood: Flood::default(),
            messages: 0,
            untold: 0,
            told: None,
        });
        bucket.messages = bucket.messages.saturating_add(1);
        if bucket.tokens.holds_one(now) {
            bucket.tokens.take_one();
            return Verdict::In;
        }
        bucket.drop_one(now)
    }

    /// A plugin is gone.
    pub(super) fn forget(&mut self, id: &PluginId) {
        self.buckets.remove(id);
    }
}

impl Bucket {
    fn drop_one(&mut self, now: Instant) -> Verdict {
        self.untold = self.untold.saturating_add(1);
        if self.flood.over(now) {
            self.messages = 1;
        }
        let lasting = self.flood.is_lasting(now).then(|| self.rate());
        let due = self.told.is_none_or(|at| now.saturating_duration_since(at) >= TOLD);
        let tell = due.then(|| std::mem::take(&mut self.untold));
        if due {
            self.told = Some(now);
        }
        Verdict::Over { tell, lasting }
    }

    /// Messages a second in the flood.
    fn rate(&self) -> u64 {
        self.messages / self.flood.lasts().as_secs().max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> PluginId {
        PluginId::parse(text).expect("an id")
    }

    /// Sends at a rate for some time; how many were taken, how often it was told, and each time that it lasted.
    fn send(
        rates: &mut Rates,
        id: &PluginId,
        from: Instant,
        rate: u32,
        seconds: u32,
    ) -> (u32, u32, Vec<u64>) {
        let (mut taken, mut told, mut lasted) = (0, 0, Vec::new());
        for n in 0..rate * seconds {
            match rates.knock(id, from + Duration::from_secs(1) * n / rate) {
                Verdict::In => taken += 1,
                Verdict::Over { tell, lasting } => {
                    told += u32::from(tell.is_some());
                    lasted.extend(lasting);
                }
            }
        }
        (taken, told, lasted)
    }

    #[test]
    fn a_plugin_within_its_bound_is_never_dropped() {
        let mut rates = Rates::new(20, 200);
        let (taken, told, lasted) = send(&mut rates, &id("one"), Instant::now(), 20, 600);
        assert_eq!((taken, told, lasted.len()), (12_000, 0, 0));
    }

    #[test]
    fn what_comes_over_the_bound_is_dropped_told_once_a_minute_and_ends_after_ten_seconds() {
        let mut rates = Rates::new(20, 200);
        let now = Instant::now();
        let (taken, told, lasted) = send(&mut rates, &id("one"), now, 100, 15);
        // The burst lasts for 2.5 s, so the flood began then.
        assert!((490..=510).contains(&taken), "{taken}");
        assert_eq!((told, lasted.as_slice()), (1, [100].as_slice()));
        // Another is not touched.
        assert_eq!(rates.knock(&id("two"), now), Verdict::In);
    }

    #[test]
    fn a_burst_is_dropped_and_stops_nobody() {
        let mut rates = Rates::new(20, 200);
        let mut now = Instant::now();
        for _ in 0..10 {
            let (taken, _, lasted) = send(&mut rates, &id("one"), now, 1000, 1);
            assert!(taken >= 200);
            assert!(lasted.is_empty());
            now += Duration::from_secs(15);
        }
    }

    #[test]
    fn a_flood_that_goes_on_is_said_again() {
        let mut rates = Rates::new(20, 200);
        let (_, told, lasted) = send(&mut rates, &id("one"), Instant::now(), 100, 65);
        assert_eq!(told, 2);
        assert_eq!(lasted.len(), 6);
    }
}
