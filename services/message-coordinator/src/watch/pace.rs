//! So many of a kind are told at once; of the rest only how many there were, and the last.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Paces what is told about each of many keys.
#[derive(Debug)]
pub(crate) struct Pace<K, T> {
    window: Duration,
    allowance: u32,
    most: usize,
    open: BTreeMap<K, Window<T>>,
    /// What could not be counted by key, because there were too many keys.
    others: u64,
}

#[derive(Debug)]
struct Window<T> {
    ends: Instant,
    told: u32,
    rest: Option<(T, u64)>,
}

/// What is left to tell at the end of a window.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rest<T> {
    /// The last of them; none of what was not counted by key.
    pub(crate) last: Option<T>,
    /// How many they were.
    pub(crate) count: u64,
}

impl<K: Ord + Clone, T> Pace<K, T> {
    /// Tells `allowance` at once in each `window`, of at most `most` keys at a time.
    pub(crate) fn new(window: Duration, allowance: u32, most: usize) -> Self {
        Self { window, allowance, most, open: BTreeMap::new(), others: 0 }
    }

    /// Gives `item` back when it is to be told now.
    pub(crate) fn take(&mut self, key: K, item: T, now: Instant) -> Option<T> {
        if self.open.len() >= self.most && !self.open.contains_key(&key) {
            self.others += 1;
            return None;
        }
        let fresh = Window { ends: now + self.window, told: 0, rest: None };
        let window = self.open.entry(key).or_insert(fresh);
        if window.told < self.allowance {
            window.told += 1;
            return Some(item);
        }
        let count = window.rest.take().map_or(0, |(_, count)| count);
        window.rest = Some((item, count + 1));
        None
    }

    /// What is to be told of windows that have ended.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Rest<T>> {
        let ended: Vec<K> = self.open.iter().filter(|(_, w)| w.ends <= now).map(|(k, _)| k.clone()).collect();
        let mut due = Vec::new();
        for key in ended {
            let Some(window) = self.open.remove(&key) else { continue };
            if let Some((last, count)) = window.rest {
                due.push(Rest { last: Some(last), count });
                let again = Window { ends: now + self.window, told: self.allowance, rest: None };
                self.open.insert(key, again);
            }
        }
        if self.others > 0 && self.open.len() < self.most {
            due.push(Rest { last: None, count: std::mem::take(&mut self.others) });
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    #[test]
    fn the_first_is_told_at_once_and_the_rest_as_a_number() {
        let (mut pace, now) = (Pace::new(WINDOW, 1, 10), Instant::now());
        assert_eq!(pace.take("a", 1, now), Some(1));
        assert_eq!(pace.take("a", 2, now), None);
        assert_eq!(pace.take("a", 3, now), None);
        assert_eq!(pace.take("b", 4, now), Some(4));
        assert_eq!(pace.due(now), []);
        assert_eq!(pace.due(now + WINDOW), [Rest { last: Some(3), count: 2 }]);
        assert_eq!(pace.take("a", 5, now + WINDOW), None, "while it goes on");
        assert_eq!(pace.due(now + WINDOW * 2), [Rest { last: Some(5), count: 1 }]);
        assert_eq!(pace.due(now + WINDOW * 3), []);
        assert_eq!(pace.take("a", 6, now + WINDOW * 3), Some(6));
    }

    #[test]
    fn more_keys_than_are_kept_are_counted_together() {
        let (mut pace, now) = (Pace::new(WINDOW, 1, 2), Instant::now());
        for key in 0..5 {
            pace.take(key, key, now);
        }
        assert_eq!(pace.due(now + WINDOW), [Rest { last: None, count: 3 }]);
    }
}
