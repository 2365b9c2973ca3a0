//! The specs as they were last published, and what became of each.
//!
//! They are kept because a topic that is empty says nothing: only a spec that says `absent` takes anything
//! away. Which installations are gone is kept for longer than their specs: a broker that went back in time still has
//! them.

use std::collections::BTreeMap;

use envelope::payload::spec::{AclOutcome, AclStatus, Spec};
use envelope::{InstallUid, PluginId};
use sqlx::SqlitePool;

/// How many installations are remembered that are gone. A broker that was killed goes back by a minute, in which
/// there were far fewer.
const GONE: i64 = 10_000;

/// A spec, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// As the plugin coordinator published it.
    pub spec: Spec,
    /// What became of it; none until the broker has what it asks for.
    pub status: Option<AclStatus>,
}

impl Known {
    /// Whether the broker was given what it asks for.
    pub fn is_applied(&self) -> bool {
        self.status.as_ref().is_some_and(|s| matches!(s.outcome, AclOutcome::Applied { .. }))
    }
}

/// All specs, by plugin.
pub type Specs = BTreeMap<PluginId, Known>;

/// The table of specs.
#[derive(Debug, Clone)]
pub struct SpecStore {
    pool: SqlitePool,
}

impl SpecStore {
    /// The table in `pool`.
    pub fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }

    /// Everything that is kept. A row that cannot be read is left out and told in the log.
    ///
    /// # Errors
    /// The database failed.
    pub async fn load(&self) -> Result<Specs, sqlx::Error> {
        let rows: Vec<(String, Option<String>)> =
            sqlx::query_as("SELECT spec, status FROM specs").fetch_all(&self.pool).await?;
        let mut specs = Specs::new();
        for (spec, status) in rows {
            match serde_json::from_str::<Spec>(&spec) {
                Ok(spec) => {
                    let status = status.and_then(|text| serde_json::from_str(&text).ok());
                    specs.insert(spec.plugin_id.clone(), Known { spec, status });
                }
                Err(error) => tracing::error!(%error, "a kept spec cannot be read"),
            }
        }
        Ok(specs)
    }

    /// Keeps a new spec; nothing has become of it yet.
    ///
    /// # Errors
    /// The database failed.
    pub async fn put(&self, spec: &Spec) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO specs (plugin_id, spec, status) VALUES (?, ?, NULL) \
             ON CONFLICT (plugin_id) DO UPDATE SET spec = excluded.spec, status = NULL",
        )
        .bind(spec.plugin_id.as_str())
        .bind(json(spec))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Keeps what became of a spec.
    ///
    /// # Errors
    /// The database failed.
    pub async fn settle(&self, status: &AclStatus) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("UPDATE specs SET status = ? WHERE plugin_id = ?")
            .bind(json(status))
            .bind(status.plugin_id.as_str())
            .execute(&mut *transaction)
            .await?;
        if status.outcome == AclOutcome::Absent {
            let uid = status.uid.to_string();
            sqlx::query("INSERT INTO gone (uid) VALUES (?) ON CONFLICT (uid) DO NOTHING")
                .bind(uid)
                .execute(&mut *transaction)
                .await?;
            sqlx::query("DELETE FROM gone WHERE number <= (SELECT MAX(number) FROM gone) - ?")
                .bind(GONE)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await
    }

    /// Whether this installation was acknowledged as absent.
    ///
    /// # Errors
    /// The database failed.
    pub async fn is_gone(&self, uid: InstallUid) -> Result<bool, sqlx::Error> {
        let found: Option<i64> = sqlx::query_scalar("SELECT number FROM gone WHERE uid = ?")
            .bind(uid.to_string())
            .fetch_optional(&self.pool)
            .await?;
        Ok(found.is_some())
    }

    /// Forgets a plugin.
    ///
    /// # Errors
    /// The database failed.
    pub async fn remove(&self, id: &PluginId) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM specs WHERE plugin_id = ?").bind(id.as_str()).execute(&self.pool).await?;
        Ok(())
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("payload types have string keys")
}
