//! Starts that are over and single tokens that were revoked, kept until the last of them has expired.

use std::time::Duration;

use envelope::payload::token::{Revoked, RevokedJti, RevokedSid};
use envelope::{PluginId, StartId, Timestamp};
use sqlx::SqliteConnection;
use token::LEEWAY_SECONDS;

use crate::tokens::Issued;

/// A start that is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// As it is kept.
    pub(crate) plugin_id: String,
    /// Who revoked it, when it was not its own end.
    pub(crate) revoked_by: Option<String>,
}

/// For how long the tokens of a start must be refused that ends now. The clock may have been set since they
/// were issued, so it is never less than a whole lifetime from now; verifiers allow their leeway, and
/// their clocks may be that much late.
pub(crate) fn until(issued: Option<&Issued>, now: Timestamp, lifetime: Duration) -> i64 {
    token_until(issued.map_or(i64::MIN, |i| i.latest_expiry), now, lifetime)
}

/// The same of a single token that expires at `expires_at`.
pub(crate) fn token_until(expires_at: i64, now: Timestamp, lifetime: Duration) -> i64 {
    expires_at.max(now.after(lifetime).as_seconds()).saturating_add(2 * LEEWAY_SECONDS)
}

/// Lists a start as over; one that is listed stays listed for the longer of both times.
pub(crate) async fn add(
    connection: &mut SqliteConnection,
    start: StartId,
    plugin: &PluginId,
    until: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO revoked_starts (start_id, plugin_id, until) VALUES (?, ?, ?) \
         ON CONFLICT (start_id) DO UPDATE SET until = MAX(until, excluded.until)",
    )
    .bind(start.to_string())
    .bind(plugin.as_str())
    .bind(until)
    .execute(connection)
    .await?;
    Ok(())
}

/// Keeps a listed start listed until it is [`release`]d: it was revoked by somebody, and runs on.
pub(crate) async fn hold(
    connection: &mut SqliteConnection,
    start: StartId,
    by: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE revoked_starts SET held = 1, revoked_by = ? WHERE start_id = ?")
        .bind(by)
        .bind(start.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// Lets go of a held start: it is over, and nobody asks for its tokens.
pub(crate) async fn release(connection: &mut SqliteConnection, start: StartId) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE revoked_starts SET held = 0 WHERE start_id = ?")
        .bind(start.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// Lets go of all held starts of a plugin: another has taken their place.
pub(crate) async fn release_all(
    connection: &mut SqliteConnection,
    plugin: &PluginId,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE revoked_starts SET held = 0 WHERE plugin_id = ? AND held = 1")
        .bind(plugin.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// What is listed of a start.
pub(crate) async fn of_start(
    connection: &mut SqliteConnection,
    start: StartId,
) -> Result<Option<Listed>, sqlx::Error> {
    let row: Option<(String, Option<String>)> =
        sqlx::query_as("SELECT plugin_id, revoked_by FROM revoked_starts WHERE start_id = ?")
            .bind(start.to_string())
            .fetch_optional(connection)
            .await?;
    Ok(row.map(|(plugin_id, revoked_by)| Listed { plugin_id, revoked_by }))
}

/// The start of a plugin that somebody revoked and that is not heard to be over, and who did.
pub(crate) async fn held_of(
    connection: &mut SqliteConnection,
    plugin: &PluginId,
) -> Result<Option<(StartId, String)>, sqlx::Error> {
    let row: Option<(String, String)> = sqlx::query_as(
        "SELECT start_id, revoked_by FROM revoked_starts \
         WHERE plugin_id = ? AND held = 1 AND revoked_by IS NOT NULL ORDER BY until DESC LIMIT 1",
    )
    .bind(plugin.as_str())
    .fetch_optional(connection)
    .await?;
    Ok(row.and_then(|(start, by)| Some((start.parse().ok()?, by))))
}

/// Lists a single token.
pub(crate) async fn add_token(
    connection: &mut SqliteConnection,
    jti: &str,
    plugin: &PluginId,
    until: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO revoked_tokens (jti, plugin_id, until) VALUES (?, ?, ?) \
         ON CONFLICT (jti) DO UPDATE SET until = MAX(until, excluded.until)",
    )
    .bind(jti)
    .bind(plugin.as_str())
    .bind(until)
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether this token is listed by itself.
pub(crate) async fn has_token(connection: &mut SqliteConnection, jti: &str) -> Result<bool, sqlx::Error> {
    let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM revoked_tokens WHERE jti = ?")
        .bind(jti)
        .fetch_optional(connection)
        .await?;
    Ok(found.is_some())
}

/// Everything revoked, as it is published.
pub(crate) async fn list(connection: &mut SqliteConnection) -> Result<Revoked, sqlx::Error> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT start_id, until FROM revoked_starts ORDER BY until, start_id")
            .fetch_all(&mut *connection)
            .await?;
    let sids = rows
        .into_iter()
        .filter_map(|(start, until)| match start.parse() {
            Ok(sid) => Some(RevokedSid { sid, until }),
            Err(_) => {
                tracing::error!(start, "a kept revocation cannot be used: the start is no id");
                None
            }
        })
        .collect();
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT jti, until FROM revoked_tokens ORDER BY until, jti")
            .fetch_all(connection)
            .await?;
    Ok(Revoked { sids, jtis: rows.into_iter().map(|(jti, until)| RevokedJti { jti, until }).collect() })
}

/// The plugins that were stopped and have no token now: their topics are to be empty.
pub(crate) async fn plugins_without_token(
    connection: &mut SqliteConnection,
) -> Result<Vec<PluginId>, sqlx::Error> {
    let ids: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT plugin_id FROM revoked_starts \
         WHERE plugin_id NOT IN (SELECT plugin_id FROM tokens)",
    )
    .fetch_all(connection)
    .await?;
    Ok(ids.iter().filter_map(|id| PluginId::parse(id).ok()).collect())
}

/// Drops what is past. Returns how many.
pub(crate) async fn drop_past(connection: &mut SqliteConnection, now: Timestamp) -> Result<u64, sqlx::Error> {
    let mut dropped = 0;
    for table in [
        "DELETE FROM revoked_starts WHERE until < ? AND held = 0",
        "DELETE FROM revoked_tokens WHERE until < ?",
    ] {
        let done = sqlx::query(table).bind(now.as_seconds()).execute(&mut *connection).await?;
        dropped += done.rows_affected();
    }
    Ok(dropped)
}

/// When the next entry is past.
pub(crate) async fn next_past(connection: &mut SqliteConnection) -> Result<Option<Timestamp>, sqlx::Error> {
    let until: Option<i64> = sqlx::query_scalar(
        "SELECT MIN(until) FROM (SELECT until FROM revoked_starts WHERE held = 0 \
         UNION ALL SELECT until FROM revoked_tokens)",
    )
    .fetch_one(connection)
    .await?;
    Ok(until.map(|seconds| Timestamp::from_seconds(seconds.saturating_add(1))))
}
