//! Many refreshes and several rotations, with plugins that verify every token they get for as long as it is
//! the one they have.
//!
//! `BIGSKIES_SOAK_REFRESHES` asks for more refreshes than the least.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use envelope::payload::token::{Jwks, KeyState, Revoked, TokenMessage};
use envelope::{Operation, PluginId, StartId, Timestamp, topic};
use serde_json::json;
use testkit::Version;
use token::{Expect, Verifier};

use super::stage::{Asker, PLUGINS, Stage};

const LEAST_REFRESHES: usize = 20;
const LEAST_ROTATIONS: usize = 3;
const NOTICE: u64 = 2;
/// How late the slowest plugin hears of keys: less than the notice that a key is given.
const LATE: Duration = Duration::from_millis(1_500);
const LOOK: Duration = Duration::from_millis(20);

/// What one plugin saw.
#[derive(Debug, Default)]
struct Seen {
    refreshes: usize,
    rotations: usize,
    verifications: usize,
    /// Between the arrival of a token and the end of the one before, at the closest.
    closest: Option<Duration>,
    kids: Vec<String>,
}

struct Plugin {
    id: PluginId,
    asker: Asker,
    /// How late it takes note of keys.
    late: Duration,
    verifier: Verifier,
    keys: VecDeque<(Instant, Jwks)>,
    active: Option<String>,
    current: Option<TokenMessage>,
    seen: Seen,
}

impl Plugin {
    /// Lives until it has seen enough.
    async fn live(mut self, refreshes: usize) -> Seen {
        while self.seen.refreshes < refreshes || self.seen.rotations < LEAST_ROTATIONS {
            if let Some(message) = self.asker.next(LOOK).await {
                self.take(&message.topic, &message.payload);
            }
            while self.keys.front().is_some_and(|(at, _)| *at <= Instant::now()) {
                if let Some((_, keys)) = self.keys.pop_front() {
                    assert_eq!(self.verifier.set_keys(&keys), []);
                }
            }
            self.verify();
        }
        self.seen
    }

    fn take(&mut self, topic: &str, payload: &[u8]) {
        if topic == topic::coordinator::jwks() {
            let keys: Jwks = serde_json::from_slice(payload).expect("a key set");
            let active = keys.keys.iter().find(|k| k.state == KeyState::Active).map(|k| k.kid.clone());
            if self.active.is_none() {
                self.verifier.set_keys(&keys);
            } else if self.active != active {
                self.seen.rotations += 1;
            }
            self.active = active;
            self.keys.push_back((Instant::now() + self.late, keys));
        } else if topic == topic::coordinator::revoked() {
            let list: Revoked = serde_json::from_slice(payload).expect("a list");
            self.verifier.set_revoked(&list);
        } else if topic == topic::coordinator::token(&self.id) {
            let next: TokenMessage = serde_json::from_slice(payload).expect("a token");
            self.follow(next);
        }
    }

    /// Another token has come.
    fn follow(&mut self, next: TokenMessage) {
        if self.current.as_ref() == Some(&next) {
            return;
        }
        let now = Timestamp::now();
        if let Some(before) = &self.current {
            assert!(now < before.expires_at, "{}: {now} is after {}", self.id, before.expires_at);
            let left = before.expires_at.since(now);
            self.seen.closest = Some(self.seen.closest.map_or(left, |closest| closest.min(left)));
            self.seen.refreshes += 1;
        }
        if self.seen.kids.last() != Some(&next.kid) {
            self.seen.kids.push(next.kid.clone());
        }
        self.current = Some(next);
        self.verify();
    }

    fn verify(&mut self) {
        let Some(current) = &self.current else { return };
        let now = Timestamp::now();
        assert!(now < current.expires_at, "{}: nothing followed the token until {now}", self.id);
        let verdict =
            self.verifier.verify(current.token.as_str(), Expect { plugin: &self.id }, now.as_seconds());
        if let Err(refusal) = verdict {
            panic!("{} refused at {now} after {:?}: {refusal}", self.id, self.seen);
        }
        self.seen.verifications += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_is_refused_and_none_is_missing_through_refreshes_and_rotations() {
    let refreshes = std::env::var("BIGSKIES_SOAK_REFRESHES").ok();
    let refreshes = refreshes.map_or(LEAST_REFRESHES, |text| text.parse().expect("a number"));
    let mut stage = Stage::new(4).await;
    (stage.key_lifetime, stage.key_notice) = (10, NOTICE);
    let _running = stage.start();
    let mut coordinator = stage.plugin_coordinator().await;
    let begun = Instant::now();
    let mut plugins = Vec::new();
    for (n, id) in PLUGINS.into_iter().enumerate() {
        let id = PluginId::parse(id).expect("an id");
        coordinator.issue(&id, StartId::new()).await.expect("issues");
        let version = if n == 0 { Version::V3 } else { Version::V5 };
        let plugin = Plugin {
            asker: stage.plugin(&id, version).await,
            id,
            late: if n == 2 { LATE } else { Duration::ZERO },
            verifier: Verifier::new(),
            keys: VecDeque::new(),
            active: None,
            current: None,
            seen: Seen::default(),
        };
        plugins.push(tokio::spawn(plugin.live(refreshes)));
    }
    // Two rotations more than the schedule's, each as soon as it is possible: the second's key has been
    // published for no longer than the notice.
    let mut operator = stage.operator().await;
    for _ in 0..2 {
        while let Err(error) = operator.ask(Operation::Rotate, json!({})).await {
            let after = error.details["retry_after_seconds"].as_u64();
            tokio::time::sleep(Duration::from_secs(after.unwrap_or(1))).await;
        }
    }
    for plugin in plugins {
        let seen = plugin.await.expect("no token was refused or missing");
        assert!(seen.kids.len() > LEAST_ROTATIONS, "every key signed in its turn: {seen:?}");
        eprintln!(
            "soak: {} refreshes, {} rotations, {} verifications, the next token {:?} before the end at the \
             closest",
            seen.refreshes,
            seen.rotations,
            seen.verifications,
            seen.closest.unwrap_or_default()
        );
    }
    eprintln!("soak: {:?}", begun.elapsed());
}
