//! Plugins' health as they report it, and how long ago.
//!
//! The topic decides whose health a message is. Silence is counted only while we are listening.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use envelope::payload::health::{Health, HealthStatus};
use envelope::payload::state::PluginHealth;
use envelope::{Envelope, PluginId};
use tokio::time::Instant;

use crate::engine::text;
use crate::settings::MOST_HEALTH_MESSAGES;

/// Intervals of silence after which health is stale.
const STALE_INTERVALS: u32 = 3;
const MAX_MESSAGE_BYTES: usize = 400;

/// What plugins report.
#[derive(Clone, Default)]
pub(crate) struct HealthReports {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    topics: HashMap<String, PluginId>,
    plugins: HashMap<PluginId, Reported>,
    /// Since when we listen; `None` while we do not.
    listening: Option<Instant>,
}

struct Reported {
    names: Vec<PluginId>,
    interval: Duration,
    last: Option<Report>,
    /// Whether one since its process was started said that it works: whatever it says next, it got ready.
    ready: bool,
    /// Whether its last messages said `unhealthy`, the oldest first.
    recent: VecDeque<bool>,
    /// Why the last message that was no report of it was refused.
    refused: Option<String>,
    /// Since when a report is expected.
    expected_since: Instant,
}

#[derive(Clone)]
struct Report {
    at: Instant,
    status: HealthStatus,
    message: String,
}

/// What became of a message on a health topic.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is the health of this plugin; whether that is news to its worker.
    Report(PluginId, bool),
    /// It is not a health message of the plugin whose topic it came on.
    Refused(PluginId, String),
    /// It is on no plugin's health topic.
    Foreign,
}

/// A plugin's health now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HealthNow {
    pub(crate) health: PluginHealth,
    pub(crate) message: Option<String>,
    /// When it will be stale if nothing comes.
    pub(crate) stale_in: Option<Duration>,
}

impl HealthReports {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Expects the health of a plugin on `topics`, where it may report under any of its `names`. Answers
    /// those of the topics that are new.
    pub(crate) fn expect(
        &self,
        id: &PluginId,
        names: Vec<PluginId>,
        topics: BTreeSet<String>,
        interval: Duration,
    ) -> Vec<String> {
        let mut inner = self.lock();
        inner.topics.retain(|topic, owner| owner != id || topics.contains(topic));
        let new: Vec<String> =
            topics.into_iter().filter(|topic| inner.topics.get(topic) != Some(id)).collect();
        for topic in &new {
            inner.topics.insert(topic.clone(), id.clone());
        }
        let known = inner.plugins.remove(id);
        inner.plugins.insert(
            id.clone(),
            Reported {
                names,
                interval,
                expected_since: known.as_ref().map_or_else(Instant::now, |k| k.expected_since),
                refused: known.as_ref().and_then(|k| k.refused.clone()),
                ready: known.as_ref().is_some_and(|k| k.ready),
                recent: known.as_ref().map(|k| k.recent.clone()).unwrap_or_default(),
                last: known.and_then(|k| k.last),
            },
        );
        new
    }

    /// Expects nothing of a plugin any more.
    pub(crate) fn forget(&self, id: &PluginId) {
        let mut inner = self.lock();
        inner.topics.retain(|_, owner| owner != id);
        inner.plugins.remove(id);
    }

    /// Its process is about to be started: what it reported before counts no more.
    pub(crate) fn starts(&self, id: &PluginId) {
        if let Some(reported) = self.lock().plugins.get_mut(id) {
            reported.last = None;
            reported.ready = false;
            reported.recent.clear();
            reported.refused = None;
            reported.expected_since = Instant::now();
        }
    }

    /// It is ready in this life of its process: only what it says from now on is held against it.
    pub(crate) fn begins(&self, id: &PluginId) {
        if let Some(reported) = self.lock().plugins.get_mut(id) {
            reported.recent.clear();
        }
    }

    /// Why a plugin that runs and is ready needs a new process, if it does; goes on after its name. `bounds` are in
    /// how many of how many of its last messages it said `unhealthy` then. While we do not listen nothing is known.
    pub(crate) fn ill(&self, id: &PluginId, bounds: (usize, usize)) -> Option<String> {
        if self.now(id, None).health == PluginHealth::Stale {
            return Some(format!("has not reported its health for {STALE_INTERVALS} intervals"));
        }
        let inner = self.lock();
        inner.listening?;
        let reported = inner.plugins.get(id)?;
        let (most, of) = bounds;
        let unhealthy = reported.recent.iter().rev().take(of).filter(|unhealthy| **unhealthy).count();
        let last = reported.last.as_ref().filter(|last| last.status == HealthStatus::Unhealthy)?;
        let said = match last.message.as_str() {
            "" => String::new(),
            message => format!(": {message}"),
        };
        (unhealthy >= most).then(|| format!("was unhealthy in {most} of its last {of} health messages{said}"))
    }

    /// Whether it has reported since.
    pub(crate) fn has_reported(&self, id: &PluginId) -> bool {
        self.lock().plugins.get(id).is_some_and(|reported| reported.ready)
    }

    /// Whether a health message of it has come since then.
    pub(crate) fn has_come_since(&self, id: &PluginId, since: Instant) -> bool {
        self.lock().plugins.get(id).is_some_and(|r| r.last.as_ref().is_some_and(|last| last.at >= since))
    }

    /// Whose health topic this is.
    pub(crate) fn owner(&self, topic: &str) -> Option<PluginId> {
        self.lock().topics.get(topic).cloned()
    }

    /// Why the last message on its health topics was refused, if one was since its process was started.
    pub(crate) fn last_refused(&self, id: &PluginId) -> Option<String> {
        self.lock().plugins.get(id)?.refused.clone()
    }

    /// For how long we have listened without a break; none while we do not.
    pub(crate) fn listened_for(&self) -> Option<Duration> {
        self.lock().listening.map(|since| since.elapsed())
    }

    /// We began to listen, or stopped.
    pub(crate) fn listening(&self, up: bool) {
        self.lock().listening = up.then(Instant::now);
    }

    /// Takes a message.
    pub(crate) fn take(&self, topic: &str, payload: &[u8]) -> Taken {
        let mut inner = self.lock();
        let Some(id) = inner.topics.get(topic).cloned() else { return Taken::Foreign };
        let Some(reported) = inner.plugins.get_mut(&id) else { return Taken::Foreign };
        let message: Envelope<Health> = match serde_json::from_slice(payload) {
            Ok(message) => message,
            Err(e) => {
                let why = format!("is not a health message as the SDK document gives it: {e}");
                reported.refused = Some(why.clone());
                return Taken::Refused(id, why);
            }
        };
        let named = message.source.strip_prefix("plugin:");
        if !named.is_some_and(|n| reported.names.iter().any(|own| own.as_str() == n)) {
            let source: String = message.source.chars().take(80).collect();
            let why = format!("names {source:?} as its source, which is not the plugin of its topic");
            reported.refused = Some(why.clone());
            return Taken::Refused(id, why);
        }
        let report = Report {
            at: Instant::now(),
            status: message.payload.status,
            message: text::line(&message.payload.message, MAX_MESSAGE_BYTES),
        };
        let unhealthy = report.status == HealthStatus::Unhealthy;
        reported.recent.push_back(unhealthy);
        let full = reported.recent.len() > MOST_HEALTH_MESSAGES as usize;
        let dropped = if full { reported.recent.pop_front() } else { None };
        // One more of them may be one too many.
        let worse = unhealthy && dropped != Some(true);
        let interval = reported.interval;
        reported.ready |= !unhealthy;
        let before = reported.last.replace(report.clone());
        let news = worse
            || before.is_none_or(|b| {
                b.status != report.status
                    || b.message != report.message
                    || b.at.elapsed() > interval * STALE_INTERVALS
            });
        Taken::Report(id, news)
    }

    /// A plugin's health now, while its process runs. `lowered` is set when something else says that it is
    /// not quite well.
    pub(crate) fn now(&self, id: &PluginId, lowered: Option<&str>) -> HealthNow {
        let inner = self.lock();
        let unknown = HealthNow { health: PluginHealth::Unknown, message: None, stale_in: None };
        let (Some(reported), Some(listening)) = (inner.plugins.get(id), inner.listening) else {
            return unknown;
        };
        let since = reported.last.as_ref().map_or(reported.expected_since, |r| r.at).max(listening);
        let (silent, allowed) = (since.elapsed(), reported.interval * STALE_INTERVALS);
        if silent > allowed {
            // Without a number of seconds, which would be news at each look.
            let message = Some(format!("has not reported for {STALE_INTERVALS} intervals"));
            return HealthNow { health: PluginHealth::Stale, message, stale_in: None };
        }
        let stale_in = Some(allowed.saturating_sub(silent) + Duration::from_millis(10));
        let Some(last) = &reported.last else { return HealthNow { stale_in, ..unknown } };
        let (health, message) = match (last.status, lowered) {
            (HealthStatus::Healthy, Some(why)) => (PluginHealth::Degraded, why.to_owned()),
            (HealthStatus::Healthy, None) => (PluginHealth::Healthy, last.message.clone()),
            (HealthStatus::Degraded, _) => (PluginHealth::Degraded, last.message.clone()),
            (HealthStatus::Unhealthy, _) => (PluginHealth::Unhealthy, last.message.clone()),
        };
        HealthNow { health, message: Some(message).filter(|m| !m.is_empty()), stale_in }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use envelope::MessageType;

    const TOPIC: &str = "bigskies/plugin/myplugin/health";

    fn id(text: &str) -> PluginId {
        PluginId::parse(text).expect("an id")
    }

    fn message(source: &str, status: HealthStatus) -> Vec<u8> {
        let health =
            Health { component: "x".into(), status, message: "m".into(), details: Default::default() };
        Envelope::new(MessageType::Status, source, health).encode()
    }

    fn reports() -> HealthReports {
        let reports = HealthReports::default();
        let names = vec![id("guid"), id("myplugin")];
        let topics = BTreeSet::from([TOPIC.to_owned(), "bigskies/plugin/guid/health".to_owned()]);
        reports.expect(&id("guid"), names, topics, Duration::from_secs(30));
        reports.listening(true);
        reports
    }

    #[tokio::test(start_paused = true)]
    async fn the_topic_decides_and_a_source_that_names_another_is_refused() {
        let reports = reports();
        let ok = message("plugin:guid", HealthStatus::Healthy);
        assert_eq!(reports.take(TOPIC, &ok), Taken::Report(id("guid"), true));
        assert_eq!(reports.take(TOPIC, &ok), Taken::Report(id("guid"), false));
        assert_eq!(reports.take("bigskies/plugin/guid/health", &ok), Taken::Report(id("guid"), false));
        let forged = message("plugin:other", HealthStatus::Healthy);
        assert!(matches!(reports.take(TOPIC, &forged), Taken::Refused(..)));
        assert!(matches!(reports.take(TOPIC, b"{}"), Taken::Refused(..)));
        assert_eq!(reports.take("bigskies/plugin/other/health", &ok), Taken::Foreign);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_told_on_is_a_line_that_no_terminal_acts_on() {
        let reports = reports();
        let message = format!("\u{1b}[2J\u{9b}2J\u{202e}dark\nroom {}", "x".repeat(1000));
        let (component, status) = ("x".into(), HealthStatus::Degraded);
        let health = Health { component, status, message, details: Default::default() };
        let said = Envelope::new(MessageType::Status, "plugin:guid", health).encode();
        reports.take(TOPIC, &said);
        let told = reports.now(&id("guid"), None).message.expect("it said something");
        assert!(told.contains("dark room x") && told.ends_with('…'), "{told:?}");
        assert!(told.len() <= MAX_MESSAGE_BYTES + '…'.len_utf8(), "{told:?}");
        assert!(!told.chars().any(|c| c.is_control() || c == '\u{202e}'), "{told:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn three_silent_intervals_are_stale_and_silence_counts_only_while_we_listen() {
        let reports = reports();
        let ok = message("plugin:guid", HealthStatus::Healthy);
        reports.take(TOPIC, &ok);
        tokio::time::advance(Duration::from_secs(89)).await;
        assert_eq!(reports.now(&id("guid"), None).health, PluginHealth::Healthy);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(reports.now(&id("guid"), None).health, PluginHealth::Stale);
        reports.listening(false);
        assert_eq!(reports.now(&id("guid"), None).health, PluginHealth::Unknown);
        reports.listening(true);
        assert_eq!(reports.now(&id("guid"), None).health, PluginHealth::Healthy);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_reported_before_a_start_is_not_readiness() {
        let reports = reports();
        reports.take(TOPIC, &message("plugin:guid", HealthStatus::Healthy));
        reports.starts(&id("guid"));
        assert!(!reports.has_reported(&id("guid")));
        reports.take(TOPIC, b"hello");
        assert!(reports.last_refused(&id("guid")).is_some_and(|why| why.contains("is not a health message")));
        reports.starts(&id("guid"));
        assert_eq!(reports.last_refused(&id("guid")), None);
        reports.take(TOPIC, &message("plugin:guid", HealthStatus::Unhealthy));
        assert!(!reports.has_reported(&id("guid")));
        reports.take(TOPIC, &message("plugin:guid", HealthStatus::Degraded));
        assert!(reports.has_reported(&id("guid")));
        // It was ready, although it said something else before anybody looked.
        reports.take(TOPIC, &message("plugin:guid", HealthStatus::Unhealthy));
        assert!(reports.has_reported(&id("guid")));
    }
}
