//! The signing keys: made once, kept encrypted, and each with its place in the rotation.
//!
//! There is always one `active` key, which signs, and one `next` key, which verifiers know long before it
//! signs anything. A key that is there and cannot be read is never replaced: that would make every token
//! worthless because of a wrong mount.

use std::path::PathBuf;

use envelope::Timestamp;
use envelope::payload::token::{Claims, Jwks, KeyState, Token};
use sqlx::{SqliteConnection, SqlitePool};
use token::{KeyError, SignError, SigningKey};

use crate::settings::Settings;
use seal::{DoesNotOpen, KeyFileError, Seal, SealError};

/// Why there are no keys to sign with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    #[error("the signing keys cannot be read from the database, or written to it")]
    Store(#[from] sqlx::Error),
    #[error(
        "the signing key {kid} cannot be decrypted with the key file {}; put the key file back that belongs \
         to this database. Only when it is lost for good: move the database away to have new keys made, and \
         restart the plugins, whose tokens end with the old keys",
        key_file.display()
    )]
    Sealed { kid: String, key_file: PathBuf, source: DoesNotOpen },
    #[error("the signing key {kid} is kept under the name of another one; restore the database from a copy")]
    Name { kid: String },
    #[error("the signing key {kid} is in the unknown state {state:?}; was it written by a later version?")]
    State { kid: String, state: String },
    #[error("a new signing key cannot be made")]
    Make(#[from] KeyError),
    #[error("a new signing key cannot be encrypted")]
    Seal(#[from] SealError),
}

/// The keys, of which one signs.
#[derive(Debug)]
pub(crate) struct KeyRing {
    active: SigningKey,
    /// Those that sign nothing now.
    others: Vec<(SigningKey, KeyState)>,
}

#[derive(sqlx::FromRow)]
struct Row {
    kid: String,
    state: String,
    sealed: Vec<u8>,
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
        let rows: Vec<Row> = sqlx::query_as("SELECT kid, state, sealed FROM keys ORDER BY created_at, kid")
            .fetch_all(&mut *tx)
            .await?;
        let (mut active, mut others) = (None, Vec::new());
        for row in rows {
            let state = parse(&row)?;
            let key = unseal(&seal, &row, settings)?;
            match state {
                KeyState::Active => active = Some(key),
                other => others.push((key, other)),
            }
        }
        let active = match active {
            Some(key) => key,
            None => make(&mut tx, &seal, KeyState::Active, now).await?,
        };
        if !others.iter().any(|(_, state)| *state == KeyState::Next) {
            others.push((make(&mut tx, &seal, KeyState::Next, now).await?, KeyState::Next));
        }
        tx.commit().await?;
        Ok(Self { active, others })
    }

    /// The name of the key that signs new tokens.
    pub(crate) fn active(&self) -> &str {
        self.active.kid()
    }

    /// Signs with the key named `kid`; none when the ring does not hold it any more. The same claims and key
    /// give the same token (RFC 8032 section 5.1.6).
    pub(crate) fn sign(&self, kid: &str, claims: &Claims) -> Option<Result<Token, SignError>> {
        let mut keys = std::iter::once(&self.active).chain(self.others.iter().map(|(key, _)| key));
        Some(keys.find(|key| key.kid() == kid)?.sign(claims))
    }

    /// The public halves.
    pub(crate) fn jwks(&self) -> Jwks {
        let mut keys = vec![self.active.public_jwk(KeyState::Active)];
        keys.extend(self.others.iter().map(|(key, state)| key.public_jwk(*state)));
        Jwks { keys }
    }
}

fn parse(row: &Row) -> Result<KeyState, KeysError> {
    [KeyState::Next, KeyState::Active, KeyState::Retiring]
        .into_iter()
        .find(|state| name(*state) == row.state)
        .ok_or_else(|| KeysError::State { kid: row.kid.clone(), state: row.state.clone() })
}

fn name(state: KeyState) -> &'static str {
    match state {
        KeyState::Next => "next",
        KeyState::Active => "active",
        KeyState::Retiring => "retiring",
        KeyState::Unknown => "unknown",
    }
}

fn unseal(seal: &Seal, row: &Row, settings: &Settings) -> Result<SigningKey, KeysError> {
    let kid = row.kid.clone();
    let bytes = seal.open(&row.kid, &row.sealed).map_err(|source| KeysError::Sealed {
        kid: kid.clone(),
        key_file: settings.key_file.clone(),
        source,
    })?;
    let key = SigningKey::from_pkcs8(&bytes)?;
    if key.kid() == row.kid { Ok(key) } else { Err(KeysError::Name { kid }) }
}

async fn make(
    connection: &mut SqliteConnection,
    seal: &Seal,
    state: KeyState,
    now: Timestamp,
) -> Result<SigningKey, KeysError> {
    let key = SigningKey::generate()?;
    let sealed = seal.seal(key.kid(), key.as_pkcs8())?;
    sqlx::query("INSERT INTO keys (kid, state, sealed, created_at) VALUES (?, ?, ?, ?)")
        .bind(key.kid())
        .bind(name(state))
        .bind(sealed)
        .bind(now.as_millis())
        .execute(connection)
        .await?;
    tracing::info!(kid = key.kid(), state = name(state), "a signing key was made");
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::testing;

    #[tokio::test]
    async fn keys_are_made_once_and_kept() {
        let folder = testing::folder();
        let store = testing::store(&folder).await;
        let settings = testing::settings(&folder);
        let now = Timestamp::from_seconds(1_000);
        let first = KeyRing::open(store.pool(), &settings, now).await.expect("makes keys");
        let again = KeyRing::open(store.pool(), &settings, now).await.expect("reads keys");
        assert_eq!(first.jwks(), again.jwks());
        let states: Vec<KeyState> = first.jwks().keys.into_iter().map(|k| k.state).collect();
        assert_eq!(states, [KeyState::Active, KeyState::Next]);
    }

    #[tokio::test]
    async fn keys_under_another_key_file_are_an_error_and_stay_as_they_are() {
        let folder = testing::folder();
        let store = testing::store(&folder).await;
        let settings = testing::settings(&folder);
        let now = Timestamp::from_seconds(1_000);
        let before = KeyRing::open(store.pool(), &settings, now).await.expect("makes keys").jwks();
        std::fs::write(&settings.key_file, [9; 32]).expect("writes");
        let error = KeyRing::open(store.pool(), &settings, now).await.expect_err("does not fit");
        assert!(error.to_string().contains("put the key file back"), "{error}");
        std::fs::write(&settings.key_file, testing::KEY_FILE).expect("writes");
        let after = KeyRing::open(store.pool(), &settings, now).await.expect("reads keys").jwks();
        assert_eq!(before, after);
    }

    #[tokio::test]
    async fn no_private_key_is_in_the_database_in_the_clear() {
        let folder = testing::folder();
        let store = testing::store(&folder).await;
        let ring = KeyRing::open(store.pool(), &testing::settings(&folder), Timestamp::now()).await;
        let private = ring.expect("makes keys").active.as_pkcs8().to_vec();
        // What is inside the PKCS#8 frame, RFC 8410 section 7: 16 bytes, then the key of 32.
        let secret = &private[16..48];
        let rows: Vec<(Vec<u8>,)> =
            sqlx::query_as("SELECT sealed FROM keys").fetch_all(store.pool()).await.expect("reads");
        assert_eq!(rows.len(), 2);
        assert!(rows.iter().all(|(sealed,)| !sealed.windows(32).any(|w| w == secret)));
    }
}
