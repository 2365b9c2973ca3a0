//! What the world is told of it, paced, and what is done about a taken client id.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chassis::health::Condition;
use chassis::{HealthBoard, Parts, Publisher};
use envelope::payload::event::{Event, EventKind};
use envelope::{PluginId, StartId};
use serde_json::{Value, json};

use super::client_id::{ClientId, shown};
use super::pace::{Pace, Rest};
use super::table::{Change, MOST_OF_ONE, Seen};
use crate::keeper::{Keeper, PassError};
use crate::proof::is_canary;
use crate::report::Cause;

const CAUSE: &str = "a line in the broker's log";
/// The part of the coordinator's health that tells of logins that were taken away.
const PART: &str = "client ids";
/// Failed logins of one host are told once in this time.
const LOGINS: Duration = Duration::from_secs(60);
/// A plugin's connections are told singly, up to a number in this time.
const SESSIONS: (Duration, u32) = (Duration::from_secs(10), 20);
/// Take-overs of one client id are told once in this time.
const TAKEOVERS: Duration = Duration::from_secs(60);
/// Most hosts, plugins or client ids that are told apart at a time.
const MOST: usize = 500;

/// An event in the making.
#[derive(Debug, Clone)]
struct Telling {
    kind: EventKind,
    plugin_id: Option<PluginId>,
    message: String,
    details: Value,
}

/// Tells what the log shows.
pub(super) struct Teller {
    publisher: Publisher,
    health: HealthBoard,
    logins: Pace<Option<String>, Telling>,
    sessions: Pace<PluginId, Telling>,
    takeovers: Pace<ClientId, Telling>,
    /// Plugins whose login was taken away, the start it was of, and what for.
    condemned: BTreeMap<PluginId, (StartId, String)>,
}

impl Teller {
    pub(super) fn new(parts: &Parts) -> Self {
        Self {
            publisher: parts.publisher.clone(),
            health: parts.health.clone(),
            logins: Pace::new(LOGINS, 1, MOST),
            sessions: Pace::new(SESSIONS.0, SESSIONS.1, MOST),
            takeovers: Pace::new(TAKEOVERS, 1, MOST),
            condemned: BTreeMap::new(),
        }
    }

    pub(super) async fn tell(&mut self, change: Change, keeper: &Keeper) {
        match change {
            Change::Connected { client_id, seen } => {
                self.session(&client_id, &seen, "connected");
                self.borrowed(&client_id, &seen, keeper);
            }
            Change::Ended { client_id, seen } => self.session(&client_id, &seen, "ended"),
            Change::Refused { client_id, host } => self.refused(client_id.as_ref(), host),
            Change::TakenOver { client_id, loser, taker } => {
                self.taken(client_id, loser, taker, keeper).await;
            }
            Change::Crowded { login, connections } => self.crowded(&login, connections, keeper).await,
            Change::Dropping { .. } => {}
        }
    }

    /// Tells what was held back, and looks whether what was taken away is there again.
    pub(super) async fn tick(&mut self, keeper: &Keeper) {
        let now = Instant::now();
        let logins = self.logins.due(now);
        let sessions = self.sessions.due(now);
        let takeovers = self.takeovers.due(now);
        for rest in logins {
            self.publish_rest(EventKind::Login, "More logins failed at the broker", rest);
        }
        for rest in sessions {
            self.publish_rest(EventKind::Session, "More connections of plugins began or ended", rest);
        }
        for rest in takeovers {
            self.publish_rest(EventKind::Takeover, "More client ids were taken over", rest);
        }
        let before = self.condemned.len();
        self.condemned.retain(|id, (start, _)| {
            keeper.is_installed(id) && keeper.start_of(id).is_none_or(|s| s == *start)
        });
        if self.condemned.len() != before {
            self.judge();
        }
    }

    fn session(&mut self, client_id: &ClientId, seen: &Seen, state: &str) {
        let Some(id) = plugin_of(seen).filter(|id| !is_canary(id)) else { return };
        let what = if state == "connected" { "connected" } else { "is no longer connected" };
        let message =
            format!("The plugin {id} {what}, with the client id {client_id:?}.", client_id = text(client_id));
        let telling = Telling {
            kind: EventKind::Session,
            plugin_id: Some(id.clone()),
            message,
            details: json!({"state": state, "client_id": text(client_id), "address": seen.address}),
        };
        if let Some(telling) = self.sessions.take(id, telling, Instant::now()) {
            self.publish(telling, None);
        }
    }

    /// Tells of somebody who uses a client id that is a plugin's, and took it from nobody.
    fn borrowed(&mut self, client_id: &ClientId, seen: &Seen, keeper: &Keeper) {
        let owner = client_id.whole().and_then(|whole| keeper.owner_of(whole));
        let Some(owner) = owner.filter(|owner| plugin_of(seen).as_ref() != Some(owner)) else { return };
        let who = who(Some(seen));
        let telling = Telling {
            kind: EventKind::Takeover,
            plugin_id: Some(owner.clone()),
            message: format!(
                "{who} connected with the client id {:?}, which is the plugin {owner}'s. When both use it, each \
                 disconnects the other: give one of them another client id.",
                text(client_id)
            ),
            details: json!({
                "client_id": text(client_id), "owner": owner, "taker": login(Some(seen)), "loser": null,
                "address": seen.address, "disabled": false,
            }),
        };
        if let Some(telling) = self.takeovers.take(client_id.clone(), telling, Instant::now()) {
            self.publish(telling, None);
        }
    }

    fn refused(&mut self, client_id: Option<&ClientId>, host: Option<String>) {
        let from = host.as_deref().unwrap_or("an unknown address");
        let with = match client_id {
            Some(id) => format!("with the client id {:?}", text(id)),
            None => "with an unknown client id".to_owned(),
        };
        let telling = Telling {
            kind: EventKind::Login,
            plugin_id: None,
            message: format!(
                "The broker did not let somebody in from {from}, {with}: an unknown or disabled login, or a wrong \
                 password."
            ),
            details: json!({"address": host, "client_id": client_id.map(text)}),
        };
        if let Some(telling) = self.logins.take(host, telling, Instant::now()) {
            self.publish(telling, None);
        }
    }

    async fn taken(
        &mut self,
        client_id: ClientId,
        loser: Option<Seen>,
        taker: Option<Seen>,
        keeper: &Keeper,
    ) {
        let owner = client_id.whole().and_then(|whole| keeper.owner_of(whole));
        let (lost_by, taken_by) = (loser.as_ref().and_then(plugin_of), taker.as_ref().and_then(plugin_of));
        let mut message = format!(
            "The client id {:?} of {} was taken over by {}.",
            text(&client_id),
            who(loser.as_ref()),
            who(taker.as_ref())
        );
        let mut disabled = false;
        let cause = Cause::new(CAUSE);
        // Proven: both were seen, and the loser is the one whose it is.
        if let (Some(owner), Some(thief)) = (&owner, &taken_by)
            && lost_by.as_ref() == Some(owner)
            && thief != owner
            && !is_canary(thief)
            && let Some(start) = keeper.start_of(thief)
        {
            let what = format!(
                "The plugin {thief} took the client id {:?} from the plugin {owner}, whose it is. Its login was taken \
                 away until its next start: update it to another client id, or stop it and start it.",
                text(&client_id)
            );
            disabled = self.condemn(thief, start, &what, keeper, &cause).await;
            if disabled {
                message = what;
            }
        } else if login(taker.as_ref()).is_some() && login(taker.as_ref()) == login(loser.as_ref()) {
            message.push_str(" It is the same login: it connected again before the broker missed it.");
        }
        let telling = Telling {
            kind: EventKind::Takeover,
            plugin_id: owner.clone().or_else(|| lost_by.clone()),
            message,
            details: json!({
                "client_id": text(&client_id), "owner": owner, "disabled": disabled,
                "loser": login(loser.as_ref()), "taker": login(taker.as_ref()),
                "address": taker.as_ref().map(|seen| &seen.address),
            }),
        };
        if disabled {
            self.publish(telling, Some(&cause));
        } else if let Some(telling) = self.takeovers.take(client_id, telling, Instant::now()) {
            self.publish(telling, Some(&cause));
        }
    }

    /// A plugin that connects without end leaves no connection for others. The plugin coordinator stops it.
    async fn crowded(&mut self, login: &str, connections: usize, keeper: &Keeper) {
        let Some(id) = login.strip_prefix("plugin.").and_then(|id| PluginId::parse(id).ok()) else { return };
        let Some(start) = keeper.start_of(&id) else { return };
        if is_canary(&id) || self.condemned.get(&id).is_some_and(|(condemned, _)| *condemned == start) {
            return;
        }
        let what = format!(
            "The plugin {id} has {connections} connections to the broker, more than the {MOST_OF_ONE} that a plugin may \
             have. Its login was taken away until its next start."
        );
        let cause = Cause::new(CAUSE);
        let disabled = self.condemn(&id, start, &what, keeper, &cause).await;
        let telling = Telling {
            kind: EventKind::Flood,
            plugin_id: Some(id),
            message: what,
            details: json!({"connections": connections, "most": MOST_OF_ONE, "disabled": disabled}),
        };
        self.publish(telling, Some(&cause));
    }

    /// Takes the login of a start away. Answers whether that is done, or written down and therefore owed.
    async fn condemn(
        &mut self,
        id: &PluginId,
        start: StartId,
        what: &str,
        keeper: &Keeper,
        cause: &Cause,
    ) -> bool {
        if let Err(error) = keeper.take_away(id, start, cause).await {
            tracing::warn!(error = telemetry::chain(&error), "a login is not known to be taken away yet");
            // What is written down is done by the next pass.
            if matches!(error, PassError::Store(_)) {
                return false;
            }
        }
        self.condemned.insert(id.clone(), (start, what.to_owned()));
        self.judge();
        true
    }

    fn judge(&self) {
        let texts: Vec<&str> = self.condemned.values().take(5).map(|(_, what)| what.as_str()).collect();
        let condition = if texts.is_empty() { Condition::Good } else { Condition::Degraded(texts.join(" ")) };
        self.health.set(PART, condition);
    }

    fn publish_rest(&self, kind: EventKind, more: &str, rest: Rest<Telling>) {
        let count = rest.count;
        let telling = match rest.last {
            Some(mut last) => {
                if count > 1 {
                    last.message
                        .push_str(&format!(" The last of {count} of this kind since this was last told."));
                }
                if let Value::Object(details) = &mut last.details {
                    details.insert("count".into(), json!(count));
                }
                last
            }
            None => Telling {
                kind,
                plugin_id: None,
                message: format!("{more}: {count}, too many to tell apart."),
                details: json!({"count": count}),
            },
        };
        self.publish(telling, None);
    }

    fn publish(&self, telling: Telling, cause: Option<&Cause>) {
        let fresh = Cause::new(CAUSE);
        let cause = cause.unwrap_or(&fresh);
        let event = Event {
            event: telling.kind,
            plugin_id: telling.plugin_id,
            operation_id: None,
            message: telling.message,
            cause: cause.text.clone(),
            details: telling.details,
        };
        self.publisher.event(event, &cause.correlation_id, None);
    }
}

/// The plugin whose login it is.
fn plugin_of(seen: &Seen) -> Option<PluginId> {
    PluginId::parse(seen.login.as_deref()?.strip_prefix("plugin.")?).ok()
}

fn login(seen: Option<&Seen>) -> Option<String> {
    seen?.login.as_deref().map(shown)
}

fn who(seen: Option<&Seen>) -> String {
    match login(seen) {
        Some(login) => format!("the login {login}"),
        None => "an unknown login".to_owned(),
    }
}

fn text(client_id: &ClientId) -> String {
    client_id.to_string()
}
