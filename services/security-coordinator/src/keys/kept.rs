//! The table of keys.

use std::path::Path;
use std::time::Duration;

use envelope::Timestamp;
use envelope::payload::token::KeyState;
use seal::Seal;
use sqlx::SqliteConnection;
use token::SigningKey;

use super::age::Age;
use super::error::KeysError;

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    pub(super) kid: String,
    state: String,
    sealed: Vec<u8>,
    age_seconds: i64,
    counted_at: Option<i64>,
    pub(super) until: Option<i64>,
    pub(super) activated_by: Option<String>,
}

impl Row {
    pub(super) fn state(&self) -> Result<KeyState, KeysError> {
        [KeyState::Next, KeyState::Active, KeyState::Retiring]
            .into_iter()
            .find(|state| name(*state) == self.state)
            .ok_or_else(|| KeysError::State { kid: self.kid.clone(), state: self.state.clone() })
    }

    pub(super) fn unseal(&self, seal: &Seal, key_file: &Path) -> Result<SigningKey, KeysError> {
        let kid = self.kid.clone();
        let bytes = seal.open(&self.kid, &self.sealed).map_err(|source| KeysError::Sealed {
            kid: kid.clone(),
            key_file: key_file.to_owned(),
            source,
        })?;
        let key = SigningKey::from_pkcs8(&bytes)?;
        if key.kid() == self.kid { Ok(key) } else { Err(KeysError::Name { kid }) }
    }

    /// Seals the key anew, when it is still sealed with the key file before.
    pub(super) async fn renew(
        &self,
        connection: &mut SqliteConnection,
        seal: &Seal,
    ) -> Result<(), KeysError> {
        if let Some(sealed) = seal.renew(&self.kid, &self.sealed)? {
            sqlx::query("UPDATE keys SET sealed = ? WHERE kid = ?")
                .bind(sealed)
                .bind(&self.kid)
                .execute(connection)
                .await?;
            tracing::info!(kid = self.kid, "a signing key was encrypted anew");
        }
        Ok(())
    }

    pub(super) fn age(&self, now: Timestamp) -> Age {
        let before = Duration::from_secs(u64::try_from(self.age_seconds).unwrap_or_default());
        Age::after_away(before, self.counted_at.map(Timestamp::from_millis), now)
    }
}

fn name(state: KeyState) -> &'static str {
    match state {
        KeyState::Next => "next",
        KeyState::Active => "active",
        KeyState::Retiring => "retiring",
        KeyState::Unknown => "unknown",
    }
}

/// All keys, the oldest first.
pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as(
        "SELECT kid, state, sealed, age_seconds, counted_at, until, activated_by FROM keys \
         ORDER BY until, created_at, kid",
    )
    .fetch_all(connection)
    .await
}

/// Makes a key and keeps it.
pub(super) async fn make(
    connection: &mut SqliteConnection,
    seal: &Seal,
    state: KeyState,
    now: Timestamp,
) -> Result<SigningKey, KeysError> {
    let key = SigningKey::generate()?;
    let sealed = seal.seal(key.kid(), key.as_pkcs8())?;
    sqlx::query("INSERT INTO keys (kid, state, sealed, created_at, counted_at) VALUES (?, ?, ?, ?, ?)")
        .bind(key.kid())
        .bind(name(state))
        .bind(sealed)
        .bind(now.as_millis())
        .bind(now.as_millis())
        .execute(connection)
        .await?;
    tracing::info!(kid = key.kid(), state = name(state), "a signing key was made");
    Ok(key)
}

/// Makes the active key one that only verifies, until `until`.
pub(super) async fn retire(
    connection: &mut SqliteConnection,
    kid: &str,
    until: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE keys SET state = 'retiring', until = ? WHERE kid = ?")
        .bind(until)
        .bind(kid)
        .execute(connection)
        .await?;
    Ok(())
}

/// Makes the next key the active one.
pub(super) async fn activate(
    connection: &mut SqliteConnection,
    kid: &str,
    now: Timestamp,
    by: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE keys SET state = 'active', age_seconds = 0, counted_at = ?, activated_by = ? WHERE kid = ?",
    )
    .bind(now.as_millis())
    .bind(by)
    .bind(kid)
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes down how old the active key is.
pub(super) async fn count_age(
    connection: &mut SqliteConnection,
    kid: &str,
    age: Duration,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE keys SET age_seconds = ?, counted_at = ? WHERE kid = ?")
        .bind(i64::try_from(age.as_secs()).unwrap_or(i64::MAX))
        .bind(now.as_millis())
        .bind(kid)
        .execute(connection)
        .await?;
    Ok(())
}

/// Forgets a key for good.
pub(super) async fn remove(connection: &mut SqliteConnection, kid: &str) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM keys WHERE kid = ?").bind(kid).execute(connection).await?;
    tracing::info!(kid, "a signing key was dropped: the last token that it signed has expired");
    Ok(())
}
