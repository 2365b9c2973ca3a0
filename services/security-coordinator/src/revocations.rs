//! Starts that are over, kept until the last of their tokens has expired.

use std::time::Duration;

use envelope::payload::token::{Revoked, RevokedSid};
use envelope::{PluginId, StartId, Timestamp};
use sqlx::SqliteConnection;
use token::LEEWAY_SECONDS;

use crate::tokens::Issued;

/// For how long the tokens of a start must be refused that ends now. The clock may have been set since they
/// were issued, so it is never less than a whole lifetime from now; verifiers allow their leeway, and
/// their clocks may be that much late.
pub(crate) fn until(issued: Option<&Issued>, now: Timestamp, lifetime: Duration) -> i64 {
    let from_now = now.after(lifetime).as_seconds();
    issued.map_or(from_now, |i| i.latest_expiry.max(from_now)).saturating_add(2 * LEEWAY_SECONDS)
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

/// The plugin of a start that is over.
pub(crate) async fn plugin_of(
    connection: &mut SqliteConnection,
    start: StartId,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT plugin_id FROM revoked_starts WHERE start_id = ?")
        .bind(start.to_string())
        .fetch_optional(connection)
        .await
}

/// Everything revoked, as it is published.
pub(crate) async fn list(connection: &mut SqliteConnection) -> Result<Revoked, sqlx::Error> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT start_id, until FROM revoked_starts ORDER BY until, start_id")
            .fetch_all(connection)
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
    Ok(Revoked { sids, jtis: Vec::new() })
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
    let done = sqlx::query("DELETE FROM revoked_starts WHERE until < ?")
        .bind(now.as_seconds())
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}

/// When the next entry is past.
pub(crate) async fn next_past(connection: &mut SqliteConnection) -> Result<Option<Timestamp>, sqlx::Error> {
    let until: Option<i64> =
        sqlx::query_scalar("SELECT MIN(until) FROM revoked_starts").fetch_one(connection).await?;
    Ok(until.map(|seconds| Timestamp::from_seconds(seconds.saturating_add(1))))
}
