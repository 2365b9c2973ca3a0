//! The signing keys: made once, kept encrypted, and each with its place in the rotation.
//!
//! There is always one `active` key, which signs, and one `next` key, which verifiers know long before it
//! signs anything. A rotation moves both on; the key that signed until then is `retiring`, and verifies until
//! the last of its tokens has expired. A key that is there and cannot be read is never replaced: that would
//! make every token worthless because of a wrong mount.
//!
//! What is here decides by time that has passed, not by the clock, wherever it can: a clock that jumps a year
//! must neither rotate keys nor drop one.

mod age;
mod error;
mod kept;

use std::time::{Duration, Instant};

use envelope::Timestamp;
use envelope::payload::token::{Claims, Jwks, KeyState, Rotated, Token};
use seal::Seal;
use sqlx::{SqliteConnection, SqlitePool};
use token::{LEEWAY_SECONDS, MAX_LIFETIME_SECONDS, SignError, SigningKey};

use crate::settings::Settings;
use age::Age;
pub(crate) use error::{KeysError, NotYet};

/// Most keys that verify and do not sign any more. A key set of so many is far below what any client takes.
pub(crate) const MAX_RETIRING: usize = 16;

/// The keys, of which one signs.
#[derive(Debug)]
pub(crate) struct KeyRing {
    seal: Seal,
    active: SigningKey,
    age: Age,
    /// The request that made the active key the active one.
    activated_by: Option<String>,
    next: SigningKey,
    /// Since when the broker has it; none while that is not known.
    announced: Option<Instant>,
    /// The oldest first.
    retiring: Vec<Retiring>,
}

#[derive(Debug)]
struct Retiring {
    key: SigningKey,
    /// When its last token has expired, in seconds since 1970.
    until: i64,
    /// Since when it is known to sign nothing.
    since: Instant,
}

/// A rotation that stands in the database, and is not in use yet.
#[derive(Debug)]
pub(crate) struct Turn {
    made: SigningKey,
    until: i64,
    dropped: Option<usize>,
    by: Option<String>,
}

impl KeyRing {
    /// The keys of this database; what is missing is made.
    pub(crate) async fn open(
        pool: &SqlitePool,
        settings: &Settings,
        now: Timestamp,
    ) -> Result<Self, KeysError> {
        let seal = Seal::read(&settings.key_file)?;
        let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
        let (mut active, mut next, mut retiring) = (None, None, Vec::new());
        for row in kept::all(&mut tx).await? {
            let state = row.state()?;
            let key = row.unseal(&seal, &settings.key_file)?;
            row.renew(&mut tx, &seal).await?;
            match state {
                KeyState::Active => active = Some((key, row.age(now), row.activated_by)),
                KeyState::Next => next = Some(key),
                KeyState::Retiring | KeyState::Unknown => {
                    let until = row.until.unwrap_or_else(|| now.as_seconds() + MAX_LIFETIME_SECONDS);
                    retiring.push(Retiring { key, until, since: Instant::now() });
                }
            }
        }
        let (active, age, activated_by) = match active {
            Some(active) => active,
            None => (kept::make(&mut tx, &seal, KeyState::Active, now).await?, Age::default(), None),
        };
        let next = match next {
            Some(next) => next,
            None => kept::make(&mut tx, &seal, KeyState::Next, now).await?,
        };
        tx.commit().await?;
        Ok(Self { seal, active, age, activated_by, next, announced: None, retiring })
    }

    /// The name of the key that signs new tokens.
    pub(crate) fn active(&self) -> &str {
        self.active.kid()
    }

    /// The name of the key that will sign after it.
    pub(crate) fn next(&self) -> &str {
        self.next.kid()
    }

    /// For how long the active key has been that.
    pub(crate) fn age(&self) -> Duration {
        self.age.now()
    }

    /// How many keys only verify.
    pub(crate) fn retiring(&self) -> usize {
        self.retiring.len()
    }

    /// Signs with the key named `kid`; none when the ring does not hold it any more. The same claims and key
    /// give the same token (RFC 8032 section 5.1.6).
    pub(crate) fn sign(&self, kid: &str, claims: &Claims) -> Option<Result<Token, SignError>> {
        let retiring = self.retiring.iter().map(|r| &r.key);
        let mut keys = [&self.active, &self.next].into_iter().chain(retiring);
        Some(keys.find(|key| key.kid() == kid)?.sign(claims))
    }

    /// The public halves.
    pub(crate) fn jwks(&self) -> Jwks {
        let mut keys = vec![self.active.public_jwk(KeyState::Active), self.next.public_jwk(KeyState::Next)];
        keys.extend(self.retiring.iter().map(|r| r.key.public_jwk(KeyState::Retiring)));
        Jwks { keys }
    }

    /// The names, each with its place.
    pub(crate) fn names(&self) -> Rotated {
        Rotated {
            active: self.active.kid().to_owned(),
            next: self.next.kid().to_owned(),
            retiring: self.retiring.iter().map(|r| r.key.kid().to_owned()).collect(),
        }
    }

    /// Whether request `id` made the active key the active one.
    pub(crate) fn was_activated_by(&self, id: &str) -> bool {
        self.activated_by.as_deref() == Some(id)
    }

    /// Notes that the broker has had the key set in which `next` is the next key, since `at`.
    pub(crate) fn announced(&mut self, next: &str, at: Instant) {
        if self.next.kid() == next && self.announced.is_none() {
            self.announced = Some(at);
        }
    }

    /// Whether it is not known yet that the broker has the next key.
    pub(crate) fn is_unannounced(&self) -> bool {
        self.announced.is_none()
    }

    /// Whether the next key may sign: it was published for `notice`, and there is room for one more that
    /// only verifies. `lifetime` is that of tokens.
    pub(crate) fn may_turn(&self, notice: Duration, lifetime: Duration) -> Result<(), NotYet> {
        let next = || self.next.kid().to_owned();
        let announced = self.announced.ok_or_else(|| NotYet::Unannounced { next: next() })?;
        let left = notice.saturating_sub(announced.elapsed());
        if !left.is_zero() {
            return Err(NotYet::TooEarly { next: next(), left, notice });
        }
        if self.retiring.len() >= MAX_RETIRING && self.spare(lifetime).is_none() {
            return Err(NotYet::TooMany { count: self.retiring.len() });
        }
        Ok(())
    }

    /// The place of the oldest retiring key whose tokens have all expired by the time that passed, whatever
    /// the clock says of them.
    fn spare(&self, lifetime: Duration) -> Option<usize> {
        let long = lifetime + 2 * Duration::from_secs(LEEWAY_SECONDS.unsigned_abs());
        self.retiring.iter().position(|r| r.since.elapsed() > long)
    }

    /// Records a rotation: next becomes active, active becomes retiring until `until`, a new next is made.
    /// Nothing changes here before [`turned`](Self::turned).
    pub(crate) async fn turn(
        &self,
        connection: &mut SqliteConnection,
        now: Timestamp,
        until: i64,
        lifetime: Duration,
        by: Option<&str>,
    ) -> Result<Turn, KeysError> {
        let dropped = (self.retiring.len() >= MAX_RETIRING).then(|| self.spare(lifetime)).flatten();
        if let Some(old) = dropped.and_then(|at| self.retiring.get(at)) {
            kept::remove(connection, old.key.kid()).await?;
        }
        kept::retire(connection, self.active.kid(), until).await?;
        kept::activate(connection, self.next.kid(), now, by).await?;
        let made = kept::make(connection, &self.seal, KeyState::Next, now).await?;
        Ok(Turn { made, until, dropped, by: by.map(str::to_owned) })
    }

    /// Takes a rotation into use that is in the database for good.
    pub(crate) fn turned(&mut self, turn: Turn) {
        if let Some(at) = turn.dropped {
            self.retiring.remove(at);
        }
        let active = std::mem::replace(&mut self.next, turn.made);
        let key = std::mem::replace(&mut self.active, active);
        self.retiring.push(Retiring { key, until: turn.until, since: Instant::now() });
        self.age = Age::default();
        self.activated_by = turn.by;
        self.announced = None;
    }

    /// When the first retiring key is past, in seconds since 1970.
    pub(crate) fn next_past(&self) -> Option<i64> {
        self.retiring.iter().map(|r| r.until).min()
    }

    /// Drops the retiring keys whose tokens have all expired at `now`. Returns their names.
    pub(crate) async fn drop_past(
        &mut self,
        connection: &mut SqliteConnection,
        now: Timestamp,
    ) -> Result<Vec<String>, sqlx::Error> {
        let mut dropped = Vec::new();
        while let Some(at) = self.retiring.iter().position(|r| r.until < now.as_seconds()) {
            let kid = self.retiring[at].key.kid();
            kept::remove(connection, kid).await?;
            dropped.push(kid.to_owned());
            self.retiring.remove(at);
        }
        Ok(dropped)
    }

    /// Writes the active key's age down, when that was long ago.
    pub(crate) async fn count_age(
        &mut self,
        connection: &mut SqliteConnection,
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        if self.age.is_to_be_counted() {
            kept::count_age(connection, self.active.kid(), self.age.now(), now).await?;
            self.age.counted();
        }
        Ok(())
    }
}

#[cfg(test)]
impl KeyRing {
    /// As if the active key had been that for `age`.
    pub(crate) fn pretend_age(&mut self, age: Duration) {
        self.age = Age::of(age);
    }

    /// As if the broker had had the next key for `passed`.
    pub(crate) fn pretend_announced(&mut self, passed: Duration) {
        self.announced = Instant::now().checked_sub(passed);
    }

    pub(crate) fn private_bytes(&self) -> Vec<Vec<u8>> {
        [&self.active, &self.next].map(|key| key.as_pkcs8().to_vec()).to_vec()
    }
}

#[cfg(test)]
mod tests;
