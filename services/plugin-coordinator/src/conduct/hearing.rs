//! Which plugins have listened to their control topics since their process was started, and when to look again.
//!
//! A plugin is *deaf* when it once listened, is connected, and nobody listens on any of its control topics. That it
//! is connected is shown by the event of its connection, or by a health message of it; one that only has not come
//! back yet is looked at later.
//!
//! Reads no clock: the caller says what time it is.

use std::collections::BTreeMap;
use std::time::Duration;

use envelope::{PluginId, StartId, Timestamp};
use tokio::time::Instant;

/// One run of a plugin's process.
pub(super) type Life = (StartId, Option<Timestamp>);

/// All plugins that run.
#[derive(Debug)]
pub(super) struct Hearing {
    grace: Duration,
    plugins: BTreeMap<PluginId, Listener>,
}

#[derive(Debug)]
struct Listener {
    life: Life,
    names: Vec<PluginId>,
    listened: bool,
    due: Option<Due>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Due {
    at: Instant,
    /// Since when a health message must have come to show that it is connected; none when that is known.
    alive_since: Option<Instant>,
}

/// A plugin to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) id: PluginId,
    pub(super) life: Life,
    /// Its id and its alias: it listens below any of them.
    pub(super) names: Vec<PluginId>,
    /// Whether it has listened in this life.
    pub(super) listened: bool,
    /// Since when a health message must have come, if one must.
    pub(super) alive_since: Option<Instant>,
}

impl Hearing {
    pub(super) fn new(grace: Duration) -> Self {
        Self { grace, plugins: BTreeMap::new() }
    }

    /// It runs and is ready; `listened` when it is known to have listened in this life. True when that is news.
    pub(super) fn runs(
        &mut self,
        id: &PluginId,
        life: Life,
        listened: bool,
        names: impl FnOnce() -> Vec<PluginId>,
        now: Instant,
    ) -> bool {
        if self.plugins.get(id).is_some_and(|listener| listener.life == life) {
            return false;
        }
        // One that listened before we looked may have lost its connection since.
        let due = Some(Due { at: now + self.grace, alive_since: listened.then_some(now) });
        self.plugins.insert(id.clone(), Listener { life, names: names(), listened, due });
        true
    }

    /// It does not run.
    pub(super) fn ends(&mut self, id: &PluginId) {
        self.plugins.remove(id);
    }

    /// It has connected to the broker. True when it is one that runs.
    pub(super) fn connected(&mut self, id: &PluginId, now: Instant) -> bool {
        let at = now + self.grace;
        let Some(listener) = self.plugins.get_mut(id) else { return false };
        listener.due = Some(Due { at, alive_since: None });
        true
    }

    /// A connection of it ended: it may have no other.
    pub(super) fn disconnected(&mut self, id: &PluginId, now: Instant) {
        if let Some(due) = self.plugins.get_mut(id).and_then(|listener| listener.due.as_mut()) {
            due.alive_since = Some(now);
        }
    }

    /// Our own connection to the broker came up or broke. All plugins may have lost theirs.
    pub(super) fn link(&mut self, up: bool, now: Instant) {
        let due = up.then(|| Due { at: now + self.grace, alive_since: Some(now) });
        for listener in self.plugins.values_mut() {
            listener.due = due;
        }
    }

    /// When the next one is to be looked at.
    pub(super) fn next(&self) -> Option<Instant> {
        self.plugins.values().filter_map(|listener| listener.due.map(|due| due.at)).min()
    }

    /// Those that are to be looked at now, once.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Look> {
        let mut looks = Vec::new();
        for (id, listener) in &mut self.plugins {
            let Some(due) = listener.due.take_if(|due| due.at <= now) else { continue };
            looks.push(Look {
                id: id.clone(),
                life: listener.life,
                names: listener.names.clone(),
                listened: listener.listened,
                alive_since: due.alive_since,
            });
        }
        looks
    }

    /// It could not be looked at: later, unless it is to be looked at anyway, or runs no more.
    pub(super) fn later(&mut self, look: &Look, now: Instant) {
        let at = now + self.grace;
        if let Some(listener) = self.plugins.get_mut(&look.id).filter(|listener| listener.life == look.life) {
            listener.due.get_or_insert(Due { at, alive_since: look.alive_since });
        }
    }

    /// Somebody listens.
    pub(super) fn listens(&mut self, look: &Look) {
        if let Some(listener) = self.plugins.get_mut(&look.id).filter(|listener| listener.life == look.life) {
            listener.listened = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    fn id() -> PluginId {
        PluginId::parse("focuser").expect("an id")
    }

    fn running(now: Instant) -> (Hearing, Life) {
        let mut hearing = Hearing::new(GRACE);
        let life = (StartId::new(), Some(Timestamp::from_seconds(1)));
        assert!(hearing.runs(&id(), life, false, || vec![id()], now));
        (hearing, life)
    }

    #[test]
    fn a_plugin_is_looked_at_once_after_it_got_ready_and_again_in_another_life() {
        let now = Instant::now();
        let (mut hearing, life) = running(now);
        assert!(!hearing.runs(&id(), life, false, || vec![id()], now), "no news");
        assert!(hearing.due(now + GRACE / 2).is_empty());
        assert_eq!(hearing.next(), Some(now + GRACE));
        let looks = hearing.due(now + GRACE);
        assert_eq!(looks.len(), 1);
        assert!(!looks[0].listened && looks[0].alive_since.is_none());
        assert!(hearing.due(now + GRACE * 2).is_empty());
        assert_eq!(hearing.next(), None);
        hearing.listens(&looks[0]);
        let again = (life.0, Some(Timestamp::from_seconds(2)));
        assert!(hearing.runs(&id(), again, false, || vec![id()], now));
        hearing.listens(&looks[0]);
        assert!(
            !hearing.due(now + GRACE)[0].listened,
            "what was heard in another life is not known of this one"
        );
    }

    #[test]
    fn a_connection_is_a_reason_to_look_and_its_end_wants_proof_that_there_is_another() {
        let now = Instant::now();
        let (mut hearing, _) = running(now);
        let first = hearing.due(now + GRACE);
        hearing.listens(&first[0]);
        assert!(hearing.connected(&id(), now + GRACE));
        assert!(!hearing.connected(&PluginId::parse("other").expect("an id"), now));
        let look = hearing.due(now + GRACE * 2).remove(0);
        assert!(look.listened && look.alive_since.is_none());
        hearing.connected(&id(), now + GRACE * 2);
        hearing.disconnected(&id(), now + GRACE * 2);
        assert_eq!(hearing.due(now + GRACE * 3)[0].alive_since, Some(now + GRACE * 2));
    }

    #[test]
    fn one_that_is_known_to_have_listened_is_looked_at_once_it_has_reported() {
        let now = Instant::now();
        let mut hearing = Hearing::new(GRACE);
        let life = (StartId::new(), Some(Timestamp::from_seconds(1)));
        assert!(hearing.runs(&id(), life, true, || vec![id()], now));
        let look = hearing.due(now + GRACE).remove(0);
        assert!(look.listened);
        assert_eq!(look.alive_since, Some(now));
    }

    #[test]
    fn after_our_own_reconnect_all_are_looked_at_that_have_reported_since() {
        let now = Instant::now();
        let (mut hearing, _) = running(now);
        hearing.link(false, now);
        assert_eq!(hearing.next(), None);
        hearing.link(true, now);
        let look = hearing.due(now + GRACE).remove(0);
        assert_eq!(look.alive_since, Some(now));
        hearing.later(&look, now + GRACE);
        assert_eq!(hearing.due(now + GRACE * 2), std::slice::from_ref(&look));
        hearing.ends(&id());
        hearing.later(&look, now);
        assert_eq!(hearing.next(), None);
    }
}
