//! `status`: the coordinators and the plugins at a glance, from what they retain at the broker. It asks
//! nobody, so it works when nobody answers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bus::Incoming;
use envelope::payload::state::{Phase, PluginState};
use envelope::{Coordinator, PluginId, Timestamp, topic};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Context;
use super::plugin::states_table;
use crate::failure::Failure;
use crate::health::{self, Observed, Standing};
use crate::login::Login;
use crate::render::{Ink, Table, clean, health_status, ink};
use crate::session::Session;

/// The shortest silence after which everything that is retained has arrived.
const SILENCE: Duration = Duration::from_millis(150);
/// A busy system is never silent: after this the picture is good enough.
const LONGEST: Duration = Duration::from_secs(5);

/// Everything that was seen.
#[derive(Debug, Default)]
struct Picture {
    coordinators: BTreeMap<Coordinator, Observed>,
    /// As they came: a state of a later version is kept for programs.
    plugins: BTreeMap<PluginId, Value>,
}

pub(super) async fn run(context: &Context) -> Result<(), Failure> {
    let mut session = context.open().await?;
    let picture = look(&mut session).await;
    let login = session.login.clone();
    session.close().await;
    let picture = picture?;
    if context.screen.json {
        return context.screen.data(&picture.to_json(&login));
    }
    context.screen.say(&picture.render(&login, Timestamp::now(), context.screen.width()))
}

async fn look(session: &mut Session) -> Result<Picture, Failure> {
    let asked = Instant::now();
    let states = topic::coordinator::states();
    let mut filters: Vec<String> = Coordinator::ALL.map(topic::coordinator::health_all).into();
    filters.push(states.clone());
    if session.try_subscribe(&filters).await?.is_err() {
        // A login that may not see single processes still sees the coordinators as a whole.
        let mut filters: Vec<String> = Coordinator::ALL.map(topic::coordinator::health).into();
        filters.push(states);
        session.subscribe(&filters).await?;
    }
    // The broker does not say when it has sent all that it retained. It sends that at once, so a
    // silence of several round trips says so.
    let silence = SILENCE.max(asked.elapsed() * 4);
    let mut picture = Picture::default();
    while asked.elapsed() < LONGEST {
        let Ok(incoming) = timeout(silence, session.next()).await else { break };
        if let Incoming::Message(delivery) = incoming? {
            picture.take(&delivery.topic, &delivery.payload);
        }
    }
    Ok(picture)
}

impl Picture {
    fn take(&mut self, topic: &str, payload: &[u8]) {
        if let Some(coordinator) = Coordinator::ALL.into_iter().find(|c| health::is_health(*c, topic)) {
            self.coordinators.entry(coordinator).or_default().take(coordinator, topic, payload);
        } else if let Some(id) = topic::coordinator::state_id(topic) {
            match serde_json::from_slice(payload).map(open) {
                Ok(state) => self.plugins.insert(id, state),
                Err(_) => self.plugins.remove(&id),
            };
        }
    }

    fn observed(&self) -> impl Iterator<Item = (Coordinator, Observed)> {
        Coordinator::ALL.into_iter().map(|c| (c, self.coordinators.get(&c).cloned().unwrap_or_default()))
    }

    fn to_json(&self, login: &Login) -> Value {
        let coordinators: Vec<Value> = self
            .observed()
            .map(|(coordinator, observed)| {
                json!({
                    "coordinator": coordinator,
                    "status": observed.standing().as_str().replace(' ', "_"),
                    "message": observed.message(),
                    "waiting_for": observed.waiting_for(),
                    "details": observed.details(),
                })
            })
            .collect();
        json!({
            "broker": { "host": login.host, "port": login.port, "username": login.username },
            "coordinators": coordinators,
            "plugins": self.plugins.values().collect::<Vec<_>>(),
        })
    }

    fn render(&self, login: &Login, now: Timestamp, width: Option<usize>) -> String {
        let mut coordinators = Table::new(&["COORDINATOR", "HEALTH", "MESSAGE"]);
        for (coordinator, observed) in self.observed() {
            coordinators.row([coordinator.to_string(), standing(&observed), sentence(&observed)]);
        }
        let states: Vec<PluginState> =
            self.plugins.values().filter_map(|state| serde_json::from_value(state.clone()).ok()).collect();
        let plugins = if self.plugins.is_empty() {
            "No plugin is installed: bigskies plugin install --help".to_owned()
        } else {
            states_table(&states, now, width)
        };
        let mut text = format!(
            "{}\n\n{}\n\n{plugins}",
            ink(Ink::Faint, &format!("broker {}:{} as {}", clean(&login.host), login.port, login.username)),
            coordinators.render(width),
        );
        if states.len() < self.plugins.len() {
            let unread = self.plugins.len() - states.len();
            text.push_str(&format!(
                "\n{unread} more of another version than this program: --json shows them"
            ));
        }
        if let Some(summary) = summary(&states) {
            text.push_str(&format!("\n\n{}", ink(Ink::Faint, &summary)));
        }
        text
    }
}

/// What is retained, out of its envelope if it is in one.
fn open(mut message: Value) -> Value {
    if message.get("plugin_id").is_none()
        && let Some(payload) = message.get_mut("payload")
    {
        return payload.take();
    }
    message
}

fn standing(observed: &Observed) -> String {
    match observed.standing() {
        Standing::Says(status) => health_status(status),
        standing @ (Standing::Down | Standing::Unseen) => ink(Ink::Bad, standing.as_str()),
    }
}

fn sentence(observed: &Observed) -> String {
    if observed.standing() == Standing::Unseen {
        return "it has not been here since the broker was set up: docker compose ps".to_owned();
    }
    let mut sentence = clean(&observed.message());
    let waiting: Vec<String> = observed.waiting_for().iter().map(|name| clean(name)).collect();
    if !waiting.is_empty() && waiting.iter().any(|name| !sentence.contains(name.as_str())) {
        let separator = if sentence.is_empty() { "" } else { "; " };
        sentence.push_str(&format!("{separator}waiting for {}", waiting.join(", ")));
    }
    sentence
}

fn summary(states: &[PluginState]) -> Option<String> {
    let count = |phase: Phase| states.iter().filter(|state| state.phase == phase).count();
    let parts: Vec<String> =
        [Phase::Running, Phase::Starting, Phase::Stopping, Phase::Removing, Phase::Failed, Phase::Stopped]
            .into_iter()
            .map(|phase| (count(phase), phase))
            .filter(|(count, _)| *count > 0)
            .map(|(count, phase)| format!("{count} {}", phase.as_str()))
            .collect();
    (states.len() > 1).then(|| format!("{} plugins: {}", states.len(), parts.join(", ")))
}

#[cfg(test)]
mod tests;
