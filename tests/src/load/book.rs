//! What is known of each plugin of the crowd: what it said, what the broker took of that, and what the plugin
//! coordinator told of it.
//!
//! Each health message has a number in it that changes once in a while. The retained state of the plugin must come to
//! show each of these numbers, and that before the next one is said.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use envelope::PluginId;
use serde_json::Value;
use tokio::time::Instant;

/// How long a message may be on its way.
const TRAVEL: Duration = Duration::from_millis(300);
/// How long it may take until what was seen of a silence is told.
const LAG: Duration = Duration::from_secs(5);

/// All plugins of the crowd.
#[derive(Debug, Default)]
pub struct Book(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    pages: BTreeMap<PluginId, Page>,
    totals: Totals,
    measured: bool,
    /// For how long a plugin may be silent.
    silence: Duration,
}

/// One plugin.
#[derive(Debug, Default)]
struct Page {
    /// The number that was said last and is not told yet.
    mark: Option<(u64, Instant)>,
    taken_at: Option<Instant>,
    /// When it was last silent for longer than it may be.
    late_at: Option<Instant>,
    told: Option<(String, String)>,
    /// When it was last told to be stale: it may be restarted for that at once.
    stale_at: Option<Instant>,
}

/// What all of them came to while it was measured.
#[derive(Debug, Default, Clone)]
pub struct Totals {
    /// Messages that were to be sent.
    pub sent: u64,
    /// Messages that the broker took, for somebody who listens.
    pub taken: u64,
    /// What else became of messages.
    pub untaken: BTreeMap<String, u64>,
    /// Connections that ended.
    pub disconnected: u64,
    /// The longest time between two messages of one plugin that the broker took.
    pub longest_gap: Duration,
    /// How long each number took to be told.
    pub delays: Vec<Duration>,
    /// Numbers that were not told before the next one.
    pub untold: u64,
    /// Plugins that were told to be other than running and healthy, and what.
    pub odd: Vec<String>,
    /// The same of plugins that had been silent for longer than they may be, because this process was late.
    pub late: u64,
    /// Events about plugins of the crowd, by kind.
    pub events: BTreeMap<String, u64>,
}

/// How many are how.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Plugins of which a state was told.
    pub told: usize,
    /// Those that run.
    pub running: usize,
    /// Those that run and are healthy.
    pub healthy: usize,
}

impl Book {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on it counts.
    pub fn begin(&self, interval: u32) {
        let mut state = self.state();
        // A message is on its way for a while before the broker answers to it.
        state.silence = Duration::from_secs(3 * u64::from(interval)).saturating_sub(TRAVEL);
        (state.totals, state.measured) = (Totals::default(), true);
        for page in state.pages.values_mut() {
            (page.mark, page.taken_at, page.late_at) = (None, None, None);
        }
    }

    /// From now on it counts no more.
    pub fn end(&self) -> Totals {
        let mut state = self.state();
        state.measured = false;
        state.totals.clone()
    }

    /// A message is sent now, with a number that is new.
    pub fn sends(&self, id: &PluginId, mark: Option<u64>) {
        let mut state = self.state();
        let State { pages, totals, measured, .. } = &mut *state;
        if !*measured {
            return;
        }
        totals.sent += 1;
        if let Some(mark) = mark {
            let before = pages.entry(id.clone()).or_default().mark.replace((mark, Instant::now()));
            totals.untold += u64::from(before.is_some());
        }
    }

    /// The broker has answered to a message: what, unless it took it.
    pub fn answered(&self, id: &PluginId, odd: Option<String>) {
        let mut state = self.state();
        let State { pages, totals, measured, silence } = &mut *state;
        if !*measured {
            return;
        }
        if let Some(odd) = odd {
            *totals.untaken.entry(odd).or_default() += 1;
            return;
        }
        totals.taken += 1;
        let now = Instant::now();
        let page = pages.entry(id.clone()).or_default();
        if let Some(before) = page.taken_at.replace(now) {
            totals.longest_gap = totals.longest_gap.max(now - before);
            if now - before > *silence {
                page.late_at = Some(now);
            }
        }
    }

    /// A connection ended.
    pub fn disconnected(&self) {
        self.state().totals.disconnected += 1;
    }

    /// The plugin coordinator has told a state.
    pub fn told(&self, id: &PluginId, told: &Value) {
        let mut state = self.state();
        let State { pages, totals, measured, silence } = &mut *state;
        let page = pages.entry(id.clone()).or_default();
        let word = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
        let (phase, health) = (word("phase"), word("health"));
        let is_late = page.taken_at.is_some_and(|at| at.elapsed() > *silence)
            || page.late_at.is_some_and(|at| at.elapsed() < LAG);
        if *measured && (phase != "running" || health != "healthy") && is_late {
            totals.late += 1;
        } else if *measured && (phase != "running" || health != "healthy") {
            totals.odd.push(format!("{id} is {phase} and {health}: {}", told["health_message"]));
        }
        if health == "stale" {
            page.stale_at = Some(Instant::now());
        }
        page.told = Some((phase, health));
        let number =
            told["health_message"].as_str().and_then(|said| said.strip_prefix(SAID)?.parse::<u64>().ok());
        if let Some((_, since)) = page.mark.take_if(|(mark, _)| Some(*mark) == number)
            && *measured
        {
            totals.delays.push(since.elapsed());
        }
    }

    /// There was an event about a plugin of the crowd.
    pub fn happened(&self, kind: &str) {
        let mut state = self.state();
        if state.measured {
            *state.totals.events.entry(kind.to_owned()).or_default() += 1;
        }
    }

    /// Forgets what was told.
    pub fn forget_told(&self) {
        for page in self.state().pages.values_mut() {
            page.told = None;
        }
    }

    /// When one was last told to be stale.
    pub fn stale_at(&self, id: &PluginId) -> Option<Instant> {
        self.state().pages.get(id)?.stale_at
    }

    /// How many are how.
    pub fn count(&self) -> Count {
        let state = self.state();
        let told: Vec<&(String, String)> =
            state.pages.values().filter_map(|page| page.told.as_ref()).collect();
        let running = told.iter().filter(|(phase, _)| phase == "running");
        Count {
            told: told.len(),
            running: running.clone().count(),
            healthy: running.filter(|(_, health)| health == "healthy").count(),
        }
    }
}

/// What the message of a plugin's health begins with; its number follows.
pub const SAID: &str = "number ";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(health: &str, number: u64) -> Value {
        json!({"phase": "running", "health": health, "health_message": format!("{SAID}{number}")})
    }

    #[tokio::test]
    async fn a_number_that_is_not_told_before_the_next_is_lost() {
        let (book, id) = (Book::default(), PluginId::parse("one").expect("an id"));
        book.begin(1);
        book.sends(&id, Some(1));
        book.told(&id, &told("healthy", 1));
        book.sends(&id, Some(2));
        book.told(&id, &told("healthy", 1));
        book.sends(&id, Some(3));
        let totals = book.end();
        assert_eq!((totals.untold, totals.delays.len(), totals.odd.len()), (1, 1, 0));
    }

    #[tokio::test]
    async fn whoever_is_not_healthy_while_it_counts_is_odd() {
        let (book, id) = (Book::default(), PluginId::parse("one").expect("an id"));
        book.told(&id, &told("stale", 0));
        book.begin(1);
        book.told(&id, &told("stale", 0));
        book.answered(&id, Some("nobody listens".to_owned()));
        let totals = book.end();
        assert_eq!((totals.odd.len(), totals.untaken.len(), totals.taken), (1, 1, 0));
    }
}
