//! What is written down: answers, checks, violations, samples.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use envelope::PluginId;

use super::gauge::Sample;

/// For so long after something was away others may still fail because of it: a start that it interrupted is tried
/// again after a pause, and has its own deadline.
const AFTERMATH: Duration = Duration::from_secs(60);

/// Something that must be true and is not.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    /// What must be true.
    pub(super) what: &'static str,
    pub(super) expected: String,
    pub(super) seen: String,
}

/// A fault with when it was seen.
#[derive(Debug, Clone)]
pub(super) struct Violation {
    pub(super) at: Duration,
    pub(super) fault: Fault,
}

/// Everything that is written down, and since when.
pub(super) struct Book {
    begin: Instant,
    pages: Mutex<Pages>,
}

#[derive(Default)]
pub(super) struct Pages {
    /// How often each thing was looked at.
    pub(super) checks: BTreeMap<&'static str, u64>,
    pub(super) violations: Vec<Violation>,
    /// Operations by what they are and how they were answered.
    pub(super) answers: BTreeMap<(&'static str, String), u64>,
    /// How long successes of each operation took.
    pub(super) latencies: BTreeMap<&'static str, Vec<Duration>>,
    /// What was done to the framework, each with how long all coordinators took to be healthy again.
    pub(super) mischief: BTreeMap<String, Vec<Option<Duration>>>,
    pub(super) samples: Vec<Sample>,
    /// Quiet times, with how long each took until everything was as wanted.
    pub(super) calms: Vec<Duration>,
    /// Troubles that last, and when those that are over ended; of one plugin, or of all.
    lasting: Vec<Option<PluginId>>,
    ended: BTreeMap<Option<PluginId>, Instant>,
}

impl Fault {
    pub(super) fn new(what: &'static str, expected: impl fmt::Display, seen: impl fmt::Display) -> Self {
        Self { what, expected: expected.to_string(), seen: seen.to_string() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { what, expected, seen } = &self.fault;
        write!(f, "{} s: {what}: expected {expected}; seen {seen}", self.at.as_secs())
    }
}

impl Book {
    pub(super) fn new() -> Self {
        Self { begin: Instant::now(), pages: Mutex::default() }
    }

    pub(super) fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Something was looked at and is well.
    pub(super) fn held(&self, what: &'static str) {
        *self.pages().checks.entry(what).or_default() += 1;
    }

    /// Something was looked at and is not well.
    pub(super) fn violated(&self, fault: Fault) {
        self.held(fault.what);
        let violation = Violation { at: self.now(), fault };
        eprintln!("VIOLATION after {violation}");
        self.pages().violations.push(violation);
    }

    /// Something was looked at.
    pub(super) fn check(&self, what: &'static str, holds: bool, fault: impl FnOnce() -> (String, String)) {
        if holds {
            return self.held(what);
        }
        let (expected, seen) = fault();
        self.violated(Fault { what, expected, seen });
    }

    /// Something is done to one plugin, or to all.
    pub(super) fn trouble(&self, whom: Option<PluginId>) {
        self.pages().lasting.push(whom);
    }

    /// It is over.
    pub(super) fn over(&self, whom: &Option<PluginId>) {
        let mut pages = self.pages();
        if let Some(place) = pages.lasting.iter().position(|lasting| lasting == whom) {
            pages.lasting.swap_remove(place);
        }
        pages.ended.insert(whom.clone(), Instant::now());
    }

    /// Whether this plugin was in trouble, or in what comes of it, at any time since then.
    pub(super) fn was_in_trouble(&self, id: &PluginId, since: Instant) -> bool {
        let pages = self.pages();
        [None, Some(id.clone())].iter().any(|whom| {
            pages.lasting.contains(whom)
                || pages.ended.get(whom).is_some_and(|ended| *ended + AFTERMATH > since)
        })
    }
}
