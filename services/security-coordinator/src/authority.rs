//! The one place in which tokens change: keys, kept tokens, and what is published of them.
//!
//! Every change is made under one lock: first in the database, then on the topics. What a kill interrupts
//! between the two is published at the next start.

mod tell;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chassis::service::Parts;
use chassis::{Permit, Publisher, Request};
use envelope::payload::token::{Revoked, Rotated, Token, TokenMessage};
use envelope::{PluginId, Timestamp, topic};
use sqlx::{SqliteConnection, SqlitePool};
use token::{LEEWAY_SECONDS, SignError, Verifier};
use tokio::sync::{Mutex, MutexGuard, Notify};

use crate::clock::Clock;
use crate::keys::{KeyRing, KeysError, NotYet};
use crate::settings::Settings;
use crate::tokens::{self, Issued};
use crate::{private, revocations};

/// A plugin that asks gets a new token at most once in so long.
const SIGNED_LATELY: Duration = Duration::from_secs(10);

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
    key_lifetime: Duration,
    /// How long a key is published before it signs.
    key_notice: Duration,
    state: Mutex<State>,
    changed: Notify,
    keys_changed: Notify,
}

/// Why keys were not rotated.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RotateError {
    #[error(transparent)]
    NotYet(#[from] NotYet),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error("the keys cannot be written to the database")]
    Store(#[from] sqlx::Error),
}

/// What only the holder of the lock sees.
pub(crate) struct State {
    pub(crate) keys: KeyRing,
    /// Until then the clock is not trusted to say that a revocation is past: it may have been set a moment
    /// ago, and may be set back.
    unsure_until: Instant,
    /// When a plugin last got a token of its own accord or another's, as long as that was a moment ago.
    signed: HashMap<PluginId, Instant>,
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
        private::check_key_file(&settings.key_file);
        let keys = KeyRing::open(&pool, settings, clock.now()).await?;
        let lifetime = settings.token_lifetime();
        let unsure_until = Instant::now() + doubt(lifetime);
        Ok(Self {
            pool,
            publisher,
            verifier,
            clock,
            lifetime,
            key_lifetime: settings.key_lifetime(),
            key_notice: settings.key_notice(),
            state: Mutex::new(State { keys, unsure_until, signed: HashMap::new() }),
            changed: Notify::new(),
            keys_changed: Notify::new(),
        })
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

    pub(crate) fn key_lifetime(&self) -> Duration {
        self.key_lifetime
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

    /// Waits until there is a next key that the broker may not have yet.
    pub(crate) async fn keys_have_changed(&self) {
        self.keys_changed.notified().await;
    }

    /// Waits until the broker has the keys and the revocations that were published before, for `deadline` at most.
    /// Returns whether it has.
    pub(crate) async fn is_published(&self, deadline: Duration) -> bool {
        self.publisher.flushed(&[topic::coordinator::jwks(), topic::coordinator::revoked()], deadline).await
    }

    /// Moves the keys on: next becomes active, active becomes retiring, a new next is made. `by` is the
    /// request that asks for it, if one does.
    ///
    /// # Errors
    /// The next key may not sign yet, or the database failed; nothing has changed.
    pub(crate) async fn rotate(
        &self,
        state: &mut State,
        by: Option<&str>,
        origin: Origin<'_>,
    ) -> Result<Rotated, RotateError> {
        state.keys.may_turn(self.key_notice, self.lifetime)?;
        let now = self.now();
        let mut tx = self.begin().await?;
        // The clock may have been set since tokens were issued: never less than a whole lifetime from now.
        let latest = tokens::latest_expiry(&mut tx).await?.unwrap_or(i64::MIN);
        let until = latest.max(now.after(self.lifetime).as_seconds()).saturating_add(2 * LEEWAY_SECONDS);
        let turn = state.keys.turn(&mut tx, now, until, self.lifetime, by).await?;
        tx.commit().await?;
        state.keys.turned(turn);
        self.publish_keys(state);
        let names = state.keys.names();
        self.tell_rotated(&names, origin);
        self.keys_changed.notify_one();
        self.changed();
        Ok(names)
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

    /// Gives a token that was just signed and is kept to its plugin, and tells of it.
    pub(crate) fn hand_out(
        &self,
        state: &mut State,
        change: &'static str,
        issued: &Issued,
        token: Token,
        origin: Origin<'_>,
    ) -> TokenMessage {
        state.note_signed(&issued.terms.plugin_id);
        let message = self.publish_token(issued, token);
        self.tell_issued(change, issued, origin);
        message
    }

    /// Takes the token off a plugin's topic.
    pub(crate) fn clear_token(&self, plugin: &PluginId) {
        self.publisher.clear(topic::coordinator::token(plugin));
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

    /// Notes that `plugin` has got a new token just now.
    fn note_signed(&mut self, plugin: &PluginId) {
        self.signed.retain(|_, at| at.elapsed() < SIGNED_LATELY);
        self.signed.insert(plugin.clone(), Instant::now());
    }

    /// Whether `plugin` got its token a moment ago, so that another would be no fresher.
    pub(crate) fn has_signed_lately(&self, plugin: &PluginId) -> bool {
        self.signed.get(plugin).is_some_and(|at| at.elapsed() < SIGNED_LATELY)
    }

    /// Notes that the clock was set.
    pub(crate) fn clock_stepped(&mut self, lifetime: Duration) {
        self.unsure_until = Instant::now() + doubt(lifetime);
    }

    /// How long until the clock is trusted to say that a revocation is past.
    pub(crate) fn doubt_left(&self) -> Duration {
        self.unsure_until.saturating_duration_since(Instant::now())
    }

    /// Drops revocations, ids of tokens and keys that are past, if the clock can be trusted.
    pub(crate) async fn drop_past(
        &mut self,
        connection: &mut SqliteConnection,
        now: Timestamp,
    ) -> Result<Past, sqlx::Error> {
        if self.doubt_left() > Duration::ZERO {
            return Ok(Past::default());
        }
        tokens::forget_past(connection, now.as_seconds().saturating_sub(LEEWAY_SECONDS)).await?;
        let revocations = revocations::drop_past(connection, now).await? > 0;
        Ok(Past { revocations, keys: self.keys.drop_past(connection, now).await? })
    }
}

/// What was dropped because it is past.
#[derive(Debug, Default)]
pub(crate) struct Past {
    /// Whether the list of what is revoked became shorter.
    pub(crate) revocations: bool,
    /// The names of keys that verify nothing any more.
    pub(crate) keys: Vec<String>,
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
pub(crate) mod testing;
