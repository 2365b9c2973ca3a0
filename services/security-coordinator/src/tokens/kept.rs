//! The tables of kept tokens: what each start has now, and the ids of all that can still be valid.

use envelope::{PluginId, StartId, Timestamp};
use sqlx::SqliteConnection;

use super::{Issued, Terms};

#[derive(sqlx::FromRow)]
struct Row {
    start_id: String,
    plugin_id: String,
    scope: String,
    manifest_digest: String,
    correlation_id: String,
    jti: String,
    kid: String,
    issued_at: i64,
    expires_at: i64,
    latest_expiry: i64,
    refresh_at: i64,
}

impl Row {
    /// None when its ids are none.
    fn read(&self) -> Option<Issued> {
        Some(Issued {
            terms: Terms {
                plugin_id: self.plugin_id.parse().ok()?,
                start_id: self.start_id.parse().ok()?,
                scope: self.scope.clone(),
                manifest_digest: self.manifest_digest.clone(),
            },
            correlation_id: self.correlation_id.clone(),
            jti: self.jti.clone(),
            kid: self.kid.clone(),
            issued_at: self.issued_at,
            expires_at: self.expires_at,
            latest_expiry: self.latest_expiry,
            refresh_at: Timestamp::from_millis(self.refresh_at),
        })
    }
}

/// A row that was damaged on disk must not hold up those of other plugins: it is told, never due again, and
/// left where it is.
async fn set_aside(connection: &mut SqliteConnection, row: &Row) -> Result<(), sqlx::Error> {
    tracing::error!(
        start_id = row.start_id,
        plugin_id = row.plugin_id,
        "a kept token cannot be used, because its ids are damaged; start the plugin again"
    );
    sqlx::query("UPDATE tokens SET refresh_at = ?, issued_at = 0 WHERE start_id = ?")
        .bind(i64::MAX)
        .bind(&row.start_id)
        .execute(connection)
        .await?;
    Ok(())
}

async fn readable(connection: &mut SqliteConnection, rows: Vec<Row>) -> Result<Vec<Issued>, sqlx::Error> {
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        match row.read() {
            Some(issued) => all.push(issued),
            None => set_aside(connection, &row).await?,
        }
    }
    Ok(all)
}

/// All tokens.
pub(crate) async fn all(connection: &mut SqliteConnection) -> Result<Vec<Issued>, sqlx::Error> {
    let rows: Vec<Row> = sqlx::query_as("SELECT * FROM tokens").fetch_all(&mut *connection).await?;
    readable(connection, rows).await
}

/// The tokens that [`Issued::due`] may find due.
pub(crate) async fn due(
    connection: &mut SqliteConnection,
    now: Timestamp,
) -> Result<Vec<Issued>, sqlx::Error> {
    let rows: Vec<Row> = sqlx::query_as("SELECT * FROM tokens WHERE refresh_at <= ? OR issued_at > ?")
        .bind(now.as_millis())
        .bind(now.as_seconds())
        .fetch_all(&mut *connection)
        .await?;
    readable(connection, rows).await
}

/// The token of one start.
pub(crate) async fn of_start(
    connection: &mut SqliteConnection,
    start: StartId,
) -> Result<Option<Issued>, sqlx::Error> {
    let row: Option<Row> = sqlx::query_as("SELECT * FROM tokens WHERE start_id = ?")
        .bind(start.to_string())
        .fetch_optional(connection)
        .await?;
    Ok(row.and_then(|row| row.read()))
}

/// The token that a plugin has now.
pub(crate) async fn of_plugin(
    connection: &mut SqliteConnection,
    plugin: &PluginId,
) -> Result<Option<Issued>, sqlx::Error> {
    let row: Option<Row> = sqlx::query_as("SELECT * FROM tokens WHERE plugin_id = ?")
        .bind(plugin.as_str())
        .fetch_optional(connection)
        .await?;
    Ok(row.and_then(|row| row.read()))
}

/// Keeps a token in place of whatever its plugin had.
pub(crate) async fn put(connection: &mut SqliteConnection, issued: &Issued) -> Result<(), sqlx::Error> {
    // "OR REPLACE" takes away the start's earlier token, and a row of the plugin that cannot be read.
    sqlx::query(
        "INSERT OR REPLACE INTO tokens (start_id, plugin_id, scope, manifest_digest, correlation_id, jti, \
         kid, issued_at, expires_at, latest_expiry, refresh_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(issued.terms.start_id.to_string())
    .bind(issued.terms.plugin_id.as_str())
    .bind(&issued.terms.scope)
    .bind(&issued.terms.manifest_digest)
    .bind(&issued.correlation_id)
    .bind(&issued.jti)
    .bind(&issued.kid)
    .bind(issued.issued_at)
    .bind(issued.expires_at)
    .bind(issued.latest_expiry)
    .bind(issued.refresh_at.as_millis())
    .execute(&mut *connection)
    .await?;
    sqlx::query("INSERT INTO issued_tokens (jti, start_id, plugin_id, expires_at) VALUES (?, ?, ?, ?)")
        .bind(&issued.jti)
        .bind(issued.terms.start_id.to_string())
        .bind(issued.terms.plugin_id.as_str())
        .bind(issued.expires_at)
        .execute(connection)
        .await?;
    Ok(())
}

/// A token that was issued and can still be valid, also when it has been followed by the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Past {
    pub(crate) plugin_id: PluginId,
    pub(crate) start_id: StartId,
    /// Seconds since 1970.
    pub(crate) expires_at: i64,
}

/// The token of this id.
pub(crate) async fn of_jti(
    connection: &mut SqliteConnection,
    jti: &str,
) -> Result<Option<Past>, sqlx::Error> {
    let row: Option<(String, String, i64)> =
        sqlx::query_as("SELECT plugin_id, start_id, expires_at FROM issued_tokens WHERE jti = ?")
            .bind(jti)
            .fetch_optional(connection)
            .await?;
    Ok(row.and_then(|(plugin_id, start_id, expires_at)| {
        Some(Past { plugin_id: plugin_id.parse().ok()?, start_id: start_id.parse().ok()?, expires_at })
    }))
}

/// Forgets the ids of tokens that expired before `at`, in seconds since 1970.
pub(crate) async fn forget_past(connection: &mut SqliteConnection, at: i64) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM issued_tokens WHERE expires_at < ?").bind(at).execute(connection).await?;
    Ok(())
}

/// The latest end of any token of the starts that are not over, in seconds since 1970.
pub(crate) async fn latest_expiry(connection: &mut SqliteConnection) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar("SELECT MAX(latest_expiry) FROM tokens").fetch_one(connection).await
}

/// Forgets the token of a start.
pub(crate) async fn remove(connection: &mut SqliteConnection, start: StartId) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM tokens WHERE start_id = ?").bind(start.to_string()).execute(connection).await?;
    Ok(())
}

/// When the next token is due.
pub(crate) async fn next_due(connection: &mut SqliteConnection) -> Result<Option<Timestamp>, sqlx::Error> {
    let at: Option<i64> =
        sqlx::query_scalar("SELECT MIN(refresh_at) FROM tokens").fetch_one(connection).await?;
    Ok(at.map(Timestamp::from_millis))
}

/// How many tokens there are.
pub(crate) async fn count(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT COUNT(*) FROM tokens").fetch_one(connection).await
}
