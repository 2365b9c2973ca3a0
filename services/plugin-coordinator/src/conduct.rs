//! What the framework does about plugins that misbehave: one that floods the bus or the disk is stopped until
//! somebody asks for a start, one that is deaf is restarted.
//!
//! What is seen is remembered in memory only; what is decided is recorded, and done by the plugin's worker.

mod disk;
mod hearing;
mod orders;
mod pulse;
mod rate;
mod reports;
mod watch;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use envelope::payload::event::{Event, EventKind};
use envelope::payload::state::Phase;
use envelope::{Coordinator, Envelope, PluginId, StartId, topic};
use manifest::Manifest;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::record::{Record, StartProgress};
use crate::settings::Settings;
use hearing::Hearing;
#[cfg(test)]
pub(crate) use orders::{Restart, restart};
pub(crate) use pulse::Feeling;
use pulse::Pulse;
use rate::{Rates, Verdict};
use reports::Reports;
#[cfg(test)]
pub(crate) use watch::measure_once;

/// What is remembered of how plugins behave.
#[derive(Clone)]
pub(crate) struct Conduct {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    /// Something is to be decided, or the next look at a plugin may be another.
    wake: Notify,
}

struct State {
    rates: Rates,
    reports: Reports,
    hearing: Hearing,
    pulse: Pulse,
    /// Starts whose process was seen running since nobody looked for the last time.
    watched: HashMap<PluginId, StartId>,
    /// Starts whose tokens an operator took away.
    revoked: HashMap<PluginId, StartId>,
    /// Plugins that are to be stopped, and why.
    condemned: BTreeMap<PluginId, String>,
}

/// Whether a message of a plugin is taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is.
    In,
    /// It is dropped; with what is to be told of it, if anything is.
    Over(Option<String>),
}

impl Conduct {
    /// Nothing has been seen yet.
    pub(crate) fn new(settings: &Settings) -> Self {
        let state = State {
            rates: Rates::new(settings.messages_per_second, settings.messages_burst),
            reports: Reports::default(),
            hearing: Hearing::new(Duration::from_secs(settings.deaf_grace_seconds.into())),
            pulse: Pulse::new(Duration::from_secs(settings.watchdog_pace_seconds.into())),
            watched: HashMap::new(),
            revoked: HashMap::new(),
            condemned: BTreeMap::new(),
        };
        Self { inner: Arc::new(Inner { state: Mutex::new(state), wake: Notify::new() }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message of `id` has come on `topic`, and was not looked into.
    pub(crate) fn knock(&self, id: &PluginId, topic: &str) -> Admission {
        let mut state = self.state();
        let Verdict::Over { tell, lasting } = state.rates.knock(id, Instant::now()) else {
            return Admission::In;
        };
        if let Some(rate) = lasting {
            self.condemn(&mut state, id, format!("flood: {rate} messages a second on {topic}"));
        }
        Admission::Over(tell.map(|dropped| {
            format!(
                "{id} sends more messages than are taken of it: {dropped} were dropped, the last on {topic}. \
                 One that goes on is stopped."
            )
        }))
    }

    /// It has asked this coordinator more often than is allowed, without a pause.
    pub(crate) fn asks_too_often(&self, id: &PluginId) {
        let mut state = self.state();
        self.condemn(
            &mut state,
            id,
            "flood: more requests to the plugin coordinator than are taken".to_owned(),
        );
    }

    /// What another coordinator tells on a topic of [`topics`]: floods and connections of plugins.
    pub(crate) fn hears(&self, topic: &str, payload: &[u8]) {
        let event = match serde_json::from_slice::<Envelope<Event>>(payload) {
            Ok(message) => message.payload,
            Err(error) => return tracing::warn!(topic, %error, "cannot be decoded"),
        };
        let Some(id) = event.plugin_id else { return };
        let mut state = self.state();
        let now = Instant::now();
        let connected = event.details["state"] == "connected";
        match event.event {
            EventKind::Flood if event.details["connections"].is_u64() => {
                let why = format!("flood: {} connections to the broker", event.details["connections"]);
                self.condemn(&mut state, &id, why);
            }
            EventKind::Flood if state.reports.take(&id, now) => {
                let why = "flood: more requests to other coordinators than are taken, again and again";
                self.condemn(&mut state, &id, why.to_owned());
            }
            EventKind::Session if connected && state.hearing.connected(&id, now) => {
                self.inner.wake.notify_one();
            }
            EventKind::Session if !connected => state.hearing.disconnected(&id, now),
            _ => {}
        }
    }

    fn condemn(&self, state: &mut State, id: &PluginId, why: String) {
        state.condemned.entry(id.clone()).or_insert(why);
        self.inner.wake.notify_one();
    }

    /// Our own connection to the broker came up or broke.
    pub(crate) fn link_changed(&self, up: bool) {
        self.state().hearing.link(up, Instant::now());
        self.inner.wake.notify_one();
    }

    /// How a plugin is now, as its worker sees it. True when it is ready in a life of its process that was not known:
    /// what it reported before counts no more.
    pub(crate) fn sees(&self, record: &Record, manifest: &Manifest, process_runs: bool) -> bool {
        let ready = record.start.as_ref().filter(|start| {
            process_runs && start.progress == StartProgress::Ready && record.standing.phase == Phase::Running
        });
        let mut state = self.state();
        if let (true, Some(start)) = (process_runs, &record.start) {
            state.watched.insert(record.id.clone(), start.id);
        }
        let Some(start) = ready else {
            state.hearing.ends(&record.id);
            state.pulse.ends(&record.id);
            return false;
        };
        let names = || manifest.names().cloned().collect();
        let life = (start.id, start.started_at);
        let listened = start.listened.is_some() && start.listened == start.started_at;
        if state.hearing.runs(&record.id, life, listened, names, Instant::now()) {
            self.inner.wake.notify_one();
        }
        state.pulse.runs(&record.id, life)
    }

    /// The process of a start was started just now.
    pub(crate) fn starts(&self, id: &PluginId, start: StartId) {
        self.state().watched.insert(id.clone(), start);
    }

    /// The engine's events were interrupted: what ends until the next look ends unseen, and perhaps with the engine.
    pub(crate) fn looks_away(&self) {
        self.state().watched.clear();
    }

    /// Whether an end of this start's process is its own: false when nobody has looked since the engine, or this
    /// coordinator, was away.
    pub(crate) fn is_watched(&self, record: &Record) -> bool {
        let start = record.start.as_ref().map(|start| start.id);
        start.is_some() && self.state().watched.get(&record.id).copied() == start
    }

    /// How a plugin feels that [`Self::sees`] was told of.
    pub(crate) fn feels(&self, id: &PluginId, feeling: Feeling) {
        if self.state().pulse.feels(id, feeling, Instant::now()) {
            self.inner.wake.notify_one();
        }
    }

    /// For how long it has been well; none when it is not, or not known to be.
    pub(crate) fn well_for(&self, id: &PluginId) -> Option<Duration> {
        self.state().pulse.well_for(id, Instant::now())
    }

    /// Whether the tokens of a start were taken away by an operator.
    pub(crate) fn tokens_revoked(&self, id: &PluginId, start: StartId, revoked: bool) {
        let mut state = self.state();
        match revoked {
            true => state.revoked.insert(id.clone(), start),
            false => state.revoked.remove(id),
        };
    }

    /// Why the health of a plugin that runs is lowered, if it is.
    pub(crate) fn lowers(&self, record: &Record) -> Option<String> {
        if let Some(why) = &record.restart {
            return Some(format!("it {why}"));
        }
        let start = record.start.as_ref()?.id;
        let revoked = self.state().revoked.get(&record.id) == Some(&start);
        revoked.then(|| "its tokens were revoked".to_owned())
    }

    /// A plugin is gone.
    pub(crate) fn forget(&self, id: &PluginId) {
        let mut state = self.state();
        state.rates.forget(id);
        state.reports.forget(id);
        state.hearing.ends(id);
        state.pulse.ends(id);
        state.watched.remove(id);
        state.revoked.remove(id);
        state.condemned.remove(id);
    }
}

/// The topics of other coordinators that tell of the conduct of plugins. Coordinators alone write there.
pub(crate) fn topics() -> Vec<String> {
    vec![
        topic::coordinator::event(Coordinator::Message, EventKind::Flood.as_str()),
        topic::coordinator::event(Coordinator::Security, EventKind::Flood.as_str()),
        topic::coordinator::event(Coordinator::Message, EventKind::Session.as_str()),
    ]
}
