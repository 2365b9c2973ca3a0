//! The one place in which tokens change: keys, kept tokens, and what is published of them.
//!
//! Every change is made under one lock: first in the database, then on the topics. What a kill interrupts
//! between the two is published at the next start.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chassis::service::Parts;
use chassis::{Permit, Publisher, Request};
use envelope::payload::event::{Event, EventKind};
use envelope::payload::token::{Revoked, Token, TokenMessage};
use envelope::{PluginId, StartId, Timestamp, topic};
use serde_json::{Value, json};
use sqlx::{SqliteConnection, SqlitePool};
use token::{LEEWAY_SECONDS, SignError, Verifier};
use tokio::sync::{Mutex, MutexGuard, Notify};

use crate::clock::Clock;
use crate::keys::{KeyRing, KeysError};
use crate::revocations;
use crate::settings::Settings;
use crate::tokens::Issued;

/// Where a change comes from, for its event.
pub(crate) struct Origin<'a> {
    pub(crate) cause: String,
    pub(crate) correlation_id: &'a str,
    pub(crate) traceparent: Option<String>,
}

impl<'a> Origin<'a> {
    /// The origin of what a request brings about.
    pub(crate) fn of(permit: &Permit, request: &'a Request) -> Self {
        Self {
            cause: format!("{} asked to {}", permit.principal(), permit.operation()),
            correlation_id: &request.correlation_id,
            traceparent: request.traceparent.clone(),
        }
    }
}

/// Keys, kept tokens, and what is published of them.
pub(crate) struct Authority {
    pool: SqlitePool,
    publisher: Publisher,
    verifier: Verifier,
    clock: Arc<dyn Clock>,
    lifetime: Duration,
    state: Mutex<State>,
    changed: Notify,
}

/// What only the holder of the lock sees.
pub(crate) struct State {
    pub(crate) keys: KeyRing,
    /// Until then the clock is not trusted to say that a revocation is past: it may have been set a moment
    /// ago, and may be set back.
    unsure_until: Instant,
}

impl Authority {
    /// Opens the keys of this database, makes them at the first start. Nothing is published yet.
    pub(crate) async fn open(
        settings: &Settings,
        parts: &Parts,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, KeysError> {
        let Parts { store, publisher, verifier, .. } = parts;
        Self::new(settings, store.pool().clone(), publisher.clone(), verifier.clone(), clock).await
    }

    async fn new(
        settings: &Settings,
        pool: SqlitePool,
        publisher: Publisher,
        verifier: Verifier,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, KeysError> {
        let keys = KeyRing::open(&pool, settings, clock.now()).await?;
        let lifetime = settings.token_lifetime();
        let state = Mutex::new(State { keys, unsure_until: Instant::now() + doubt(lifetime) });
        Ok(Self { pool, publisher, verifier, clock, lifetime, state, changed: Notify::new() })
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    pub(crate) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The right to change something.
    pub(crate) async fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().await
    }

    pub(crate) async fn connection(&self) -> Result<sqlx::pool::PoolConnection<sqlx::Sqlite>, sqlx::Error> {
        self.pool.acquire().await
    }

    pub(crate) async fn begin(&self) -> Result<sqlx::Transaction<'static, sqlx::Sqlite>, sqlx::Error> {
        self.pool.begin_with("BEGIN IMMEDIATE").await
    }

    /// Says that a token or revocation has come that may be due before everything else.
    pub(crate) fn changed(&self) {
        self.changed.notify_one();
    }

    /// Waits for [`changed`](Self::changed).
    pub(crate) async fn has_changed(&self) {
        self.changed.notified().await;
    }

    /// Puts the public keys on their topic, and to use.
    pub(crate) fn publish_keys(&self, state: &State) {
        let keys = state.keys.jwks();
        for fault in self.verifier.set_keys(&keys) {
            tracing::error!(%fault, "one of our own keys cannot be used");
        }
        self.publisher.retain(topic::coordinator::jwks(), encode(&keys));
    }

    /// Puts what is revoked on its topic, and to use.
    pub(crate) fn publish_revoked(&self, revoked: &Revoked) {
        self.verifier.set_revoked(revoked);
        self.publisher.retain(topic::coordinator::revoked(), encode(revoked));
    }

    /// Puts a token on its plugin's topic until it expires.
    pub(crate) fn publish_token(&self, issued: &Issued, token: Token) -> TokenMessage {
        let message = TokenMessage {
            token,
            expires_at: Timestamp::from_seconds(issued.expires_at),
            kid: issued.kid.clone(),
            refresh_at: issued.refresh_at,
        };
        let left = message.expires_at.since(self.now());
        let topic = topic::coordinator::token(&issued.terms.plugin_id);
        self.publisher.retain_until(topic, encode(&message), Timestamp::now().after(left));
        message
    }

    /// Takes the token off a plugin's topic.
    pub(crate) fn clear_token(&self, plugin: &PluginId) {
        self.publisher.clear(topic::coordinator::token(plugin));
    }

    /// Tells that a plugin has a new token. The token itself is never told.
    pub(crate) fn tell_issued(&self, change: &'static str, issued: &Issued, origin: Origin<'_>) {
        let details = json!({
            "change": change,
            "start_id": issued.terms.start_id,
            "jti": issued.jti,
            "kid": issued.kid,
            "scope": issued.terms.scope,
            "expires_at": Timestamp::from_seconds(issued.expires_at),
            "refresh_at": issued.refresh_at,
        });
        let plugin = &issued.terms.plugin_id;
        self.tell(plugin, format!("The token of {plugin} was {change}."), details, origin);
    }

    /// Tells that the tokens of a start are refused from now on.
    pub(crate) fn tell_revoked(
        &self,
        change: &'static str,
        plugin: &PluginId,
        start: StartId,
        origin: Origin<'_>,
    ) {
        let details = json!({"change": change, "start_id": start});
        let message = format!("The tokens of {plugin}'s start {start} are refused from now on.");
        self.tell(plugin, message, details, origin);
    }

    fn tell(&self, plugin: &PluginId, message: String, details: Value, origin: Origin<'_>) {
        let event = Event {
            event: EventKind::Token,
            plugin_id: Some(plugin.clone()),
            operation_id: None,
            message,
            cause: origin.cause,
            details,
        };
        self.publisher.event(event, origin.correlation_id, origin.traceparent);
    }
}

impl State {
    /// The token that is kept as `issued`, signed; none when its key is gone.
    pub(crate) fn sign(&self, issued: &Issued) -> Result<Option<Token>, SignError> {
        self.keys.sign(&issued.kid, &issued.claims()).transpose()
    }

    /// A new token: what is to be kept of it is `issued`, under the active key.
    pub(crate) fn sign_new(&self, issued: &Issued) -> Result<Token, SignError> {
        let token = self.sign(issued)?;
        Ok(token.expect("a new token names the active key, which the ring holds"))
    }

    /// Notes that the clock was set.
    pub(crate) fn clock_stepped(&mut self, lifetime: Duration) {
        self.unsure_until = Instant::now() + doubt(lifetime);
    }

    /// How long until the clock is trusted to say that a revocation is past.
    pub(crate) fn doubt_left(&self) -> Duration {
        self.unsure_until.saturating_duration_since(Instant::now())
    }

    /// Drops revocations that are past, if the clock can be trusted. Returns whether there were any.
    pub(crate) async fn drop_past(
        &self,
        connection: &mut SqliteConnection,
        now: Timestamp,
    ) -> Result<bool, sqlx::Error> {
        if self.doubt_left() > Duration::ZERO {
            return Ok(false);
        }
        Ok(revocations::drop_past(connection, now).await? > 0)
    }
}

/// A clock that was just set, or that we have just met, can be wrong. After as long as a token lives none is
/// valid any more that was revoked before, whatever the clock says.
fn doubt(lifetime: Duration) -> Duration {
    lifetime + 2 * Duration::from_secs(LEEWAY_SECONDS.unsigned_abs())
}

fn encode(payload: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(payload).expect("the payload types have string keys and no failing parts")
}

#[cfg(test)]
pub(crate) mod testing {
    use envelope::Coordinator;
    use store::Store;

    use super::*;
    use crate::clock::testing::SetClock;

    pub(crate) const KEY_FILE: [u8; 32] = [7; 32];
    /// When the tests' clock begins.
    pub(crate) const START: i64 = 1_700_000_000;

    pub(crate) fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("key"), KEY_FILE).expect("writes");
        folder
    }

    pub(crate) fn settings(folder: &tempfile::TempDir) -> Settings {
        Settings { key_file: folder.path().join("key"), token_lifetime_seconds: 900 }
    }

    pub(crate) async fn store(folder: &tempfile::TempDir) -> Store {
        let path = folder.path().join("security.db");
        Store::open(&path, &crate::service::MIGRATIONS).await.expect("opens")
    }

    /// An authority over the database in `folder`, with a clock of its own.
    pub(crate) struct Office {
        pub(crate) authority: Authority,
        pub(crate) clock: Arc<SetClock>,
    }

    pub(crate) async fn office(folder: &tempfile::TempDir) -> Office {
        let clock = Arc::new(SetClock::at(START));
        let authority = Authority::new(
            &settings(folder),
            store(folder).await.pool().clone(),
            Publisher::new(Coordinator::Security),
            Verifier::new(),
            clock.clone(),
        )
        .await
        .expect("opens");
        crate::refresh::restore(&authority).await.expect("publishes");
        Office { authority, clock }
    }

    pub(crate) fn origin() -> Origin<'static> {
        Origin { cause: "a test".to_owned(), correlation_id: "c", traceparent: None }
    }

    impl State {
        pub(crate) fn trust_the_clock(&mut self) {
            self.unsure_until = Instant::now();
        }
    }
}
