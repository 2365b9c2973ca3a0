//! Who is connected, as far as the broker's log told of it since we listen. Pure.
//!
//! What was not seen is unknown. In doubt a connection stays in the table: one that is listed and gone does
//! less harm than one that is there and hidden.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use envelope::Timestamp;
use envelope::payload::watch::{Session, SessionsResponse};

use super::client_id::{ClientId, shown};
use super::line::Line;

/// Most connections that are kept.
const MOST: usize = 10_000;
/// Most connections under ids that are cut in the log; of these the end is not seen.
const MOST_HIDDEN: usize = 200;
/// Most connections that have not said who they are.
const MOST_OPENED: usize = 1_000;
/// How long the two lines of a take-over may be apart; the broker writes them one after the other.
const PAIRED: Duration = Duration::from_secs(3);
/// How long the broker lets a connection be that does not say who it is, and some more.
const OPENED: Duration = Duration::from_secs(100);
/// How long a connection whose end is not seen counts.
const COUNTED: Duration = Duration::from_secs(10);
/// Most connections that a plugin may have at a time.
pub(crate) const MOST_OF_ONE: usize = 32;
/// Most connections in one answer, which must fit into one message.
const LISTED: usize = 1_000;

/// A connection as it was seen to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The login; none when it cannot be told for sure.
    pub(crate) login: Option<String>,
    /// From where, `host:port`.
    pub(crate) address: String,
    /// When.
    pub(crate) since: Timestamp,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Somebody was let in.
    Connected { client_id: ClientId, seen: Seen },
    /// A connection ended that was seen to begin.
    Ended { client_id: ClientId, seen: Seen },
    /// A client id was taken over: by whom and from whom, as far as both were seen.
    TakenOver { client_id: ClientId, loser: Option<Seen>, taker: Option<Seen> },
    /// Somebody was not let in. The address is without a port, which is not known for sure.
    Refused { client_id: Option<ClientId>, host: Option<String> },
    /// A plugin's login has more connections than [`MOST_OF_ONE`].
    Crowded { login: String, connections: usize },
    /// The broker drops messages for the client with this id.
    Dropping { client_id: String },
}

/// The connections.
#[derive(Debug, Default)]
pub(crate) struct Table {
    since: Option<Timestamp>,
    sessions: BTreeMap<ClientId, Seen>,
    hidden: VecDeque<(String, Seen)>,
    opened: VecDeque<(String, Instant)>,
    /// A taken-over client id whose taker is the next that is let in.
    taken: Option<Taken>,
}

#[derive(Debug)]
struct Taken {
    client_id: ClientId,
    loser: Option<Seen>,
    since: Instant,
}

impl Table {
    /// Begins anew: what was seen before says nothing any more. `since` when we listen from now on.
    pub(crate) fn reset(&mut self, since: Option<Timestamp>) {
        *self = Self { since, ..Self::default() };
    }

    /// We listen, and what was seen a moment before holds.
    pub(crate) fn listening(&mut self, since: Timestamp) {
        self.since = self.since.or(Some(since));
    }

    /// Takes what a line says.
    pub(crate) fn take(&mut self, line: Line, at: Timestamp, now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        let taken = self.taken.take();
        match line {
            Line::Opened { address } => {
                self.hidden.retain(|(_, seen)| seen.address != address);
                self.opened.retain(|(a, since)| *a != address && now.duration_since(*since) < OPENED);
                if self.opened.len() >= MOST_OPENED {
                    self.opened.pop_front();
                }
                self.opened.push_back((address, now));
            }
            Line::Connected { client_id, login, address } => {
                self.opened.retain(|(a, _)| *a != address);
                let client_id = ClientId::new(&client_id);
                let seen = Seen { login: login.map(|l| bounded(&l)), address, since: at };
                match taken {
                    Some(taken) if taken.client_id == client_id => {
                        changes.push(Change::TakenOver {
                            client_id: client_id.clone(),
                            loser: taken.loser,
                            taker: Some(seen.clone()),
                        });
                    }
                    other => changes.extend(other.map(unknown_taker)),
                }
                if let Some(before) = self.insert(client_id.clone(), seen.clone()) {
                    changes.push(Change::Ended { client_id: client_id.clone(), seen: before });
                }
                let crowded = seen.login.as_deref().and_then(|login| self.crowded(login, at));
                changes.push(Change::Connected { client_id, seen });
                changes.extend(crowded);
                return changes;
            }
            Line::Hidden { beginning, address } => {
                self.opened.retain(|(a, _)| *a != address);
                if self.hidden.len() >= MOST_HIDDEN {
                    self.hidden.pop_front();
                }
                let host = host_of(&address);
                let of_host = |seen: &&Seen| host_of(&seen.address) == host;
                let logins: BTreeSet<String> =
                    self.sessions.values().filter(of_host).filter_map(|seen| seen.login.clone()).collect();
                let seen = Seen { login: None, address, since: at };
                self.hidden.push_back((shown(&beginning), seen));
                changes.extend(logins.iter().filter_map(|login| self.crowded(login, at)));
            }
            Line::TakenOver { client_id, address } => {
                let client_id = ClientId::new(&client_id);
                let loser = self.remove(&client_id, address.as_deref());
                if let Some(seen) = &loser {
                    changes.push(Change::Ended { client_id: client_id.clone(), seen: seen.clone() });
                }
                self.taken = Some(Taken { client_id, loser, since: now });
            }
            Line::Ended { client_id: Some(client_id), address } => {
                let client_id = ClientId::new(&client_id);
                match self.remove(&client_id, address.as_deref()) {
                    Some(seen) => changes.push(Change::Ended { client_id, seen }),
                    None => self.never_said(address.as_deref()),
                }
            }
            Line::Ended { client_id: None, address } => self.never_said(address.as_deref()),
            Line::Refused { client_id, address } => {
                let client_id = client_id.map(|id| ClientId::new(&id));
                let session = address.as_deref().zip(client_id.clone());
                match session.and_then(|(address, id)| self.remove(&id, Some(address)).map(|seen| (id, seen)))
                {
                    Some((client_id, seen)) => changes.push(Change::Ended { client_id, seen }),
                    None => {
                        let host = match &address {
                            Some(address) => Some(host_of(address)),
                            None => self.only_host(),
                        };
                        self.never_said(address.as_deref());
                        changes.push(Change::Refused { client_id, host });
                    }
                }
            }
            Line::Dropping { client_id } => {
                // It can stand between the two lines of a take-over.
                self.taken = taken;
                return vec![Change::Dropping { client_id }];
            }
        }
        if let Some(taken) = taken {
            changes.insert(0, unknown_taker(taken));
        }
        changes
    }

    /// The taker of a client id that nothing more is heard of.
    pub(crate) fn overdue(&mut self, now: Instant) -> Option<Change> {
        self.taken.take_if(|taken| now.duration_since(taken.since) >= PAIRED).map(unknown_taker)
    }

    /// The connections, for an operator.
    pub(crate) fn list(&self) -> SessionsResponse {
        let session = |client_id: String, seen: &Seen| Session {
            client_id,
            login: seen.login.as_deref().map(shown),
            address: Some(seen.address.clone()),
            since: Some(seen.since),
        };
        let hidden = self.hidden.iter().map(|(beginning, seen)| session(beginning.clone(), seen));
        let sessions: Vec<Session> =
            hidden.chain(self.sessions.iter().map(|(id, seen)| session(id.to_string(), seen))).collect();
        let all = sessions.len();
        let mut sessions: Vec<Session> = sessions.into_iter().take(LISTED).collect();
        sessions.sort_by(|one, other| one.client_id.cmp(&other.client_id));
        let left_out = u32::try_from(all - sessions.len()).unwrap_or(u32::MAX);
        SessionsResponse { listening_since: self.since, sessions, left_out }
    }

    fn insert(&mut self, client_id: ClientId, seen: Seen) -> Option<Seen> {
        if self.sessions.len() >= MOST && !self.sessions.contains_key(&client_id) {
            self.make_room();
        }
        self.sessions.insert(client_id, seen)
    }

    /// Whether a plugin's login has too many connections. Those under ids that are cut in the log, which hides their
    /// login, count for a moment for those that are connected from the same host: their end is not seen.
    fn crowded(&self, login: &str, at: Timestamp) -> Option<Change> {
        if !login.starts_with("plugin.") {
            return None;
        }
        let own: Vec<&Seen> =
            self.sessions.values().filter(|seen| seen.login.as_deref() == Some(login)).collect();
        let hosts: BTreeSet<String> = own.iter().map(|seen| host_of(&seen.address)).collect();
        let hidden = self.hidden.iter().map(|(_, seen)| seen);
        let hidden =
            hidden.filter(|seen| at.since(seen.since) < COUNTED && hosts.contains(&host_of(&seen.address)));
        let connections = own.len() + hidden.count();
        (connections > MOST_OF_ONE).then(|| Change::Crowded { login: login.to_owned(), connections })
    }

    /// Forgets the oldest connection of the login that has most of them, so that nobody can push others out.
    fn make_room(&mut self) {
        let mut counts: HashMap<&Option<String>, usize> = HashMap::new();
        for seen in self.sessions.values() {
            *counts.entry(&seen.login).or_default() += 1;
        }
        let busiest = counts.into_iter().max_by_key(|(_, count)| *count).map(|(login, _)| login.clone());
        let oldest = self
            .sessions
            .iter()
            .filter(|(_, seen)| Some(&seen.login) == busiest.as_ref())
            .min_by_key(|(_, seen)| seen.since)
            .map(|(id, _)| id.clone());
        if let Some(id) = oldest {
            self.sessions.remove(&id);
        }
    }

    /// The connection under this id; where an address is told, only if it is that.
    fn remove(&mut self, client_id: &ClientId, address: Option<&str>) -> Option<Seen> {
        let seen = self.sessions.get(client_id)?;
        if address.is_some_and(|address| address != seen.address) {
            return None;
        }
        self.sessions.remove(client_id)
    }

    /// A connection has ended that had not been let in.
    fn never_said(&mut self, address: Option<&str>) {
        match address {
            Some(address) => self.opened.retain(|(a, _)| a != address),
            // Which one is known only when they are all from one host.
            None if self.only_host().is_some() => drop(self.opened.pop_front()),
            None => {}
        }
    }

    /// The host that every connection is from which has not said who it is.
    fn only_host(&self) -> Option<String> {
        let mut hosts = self.opened.iter().map(|(address, _)| host_of(address));
        let first = hosts.next()?;
        hosts.all(|host| host == first).then_some(first)
    }
}

fn unknown_taker(taken: Taken) -> Change {
    Change::TakenOver { client_id: taken.client_id, loser: taken.loser, taker: None }
}

/// An address without its port.
fn host_of(address: &str) -> String {
    address.rsplit_once(':').map_or(address, |(host, _)| host).to_owned()
}

/// A login: the framework's own are at most 75 bytes.
fn bounded(login: &str) -> String {
    login.chars().take(128).collect()
}

#[cfg(test)]
mod tests;
