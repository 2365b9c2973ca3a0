//! The logins of plugins that are started.

use std::collections::BTreeMap;
use std::sync::Arc;

use acl::compile::PluginRoles;
use acl::password::Password;
use envelope::principal::plugin_login;
use envelope::{Generation, InstallUid, PluginId, StartId};
use sqlx::SqlitePool;

use seal::{DoesNotOpen, Seal, SealError};

/// The login of one start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Whose.
    pub plugin_id: PluginId,
    /// The installation, and its generation that was started; none for a login that was found at the broker by a
    /// new database.
    pub installation: Option<(InstallUid, Generation)>,
    /// The start.
    pub start_id: StartId,
    /// What it may do: the roles of the generation that was started, which the next start replaces.
    pub roles: Arc<PluginRoles>,
    /// The password, encrypted; none for a login that was found at the broker by a new database.
    pub password: Option<Vec<u8>>,
    /// Whether it is to go, and may still be at the broker.
    pub ending: bool,
}

/// All logins, by plugin.
pub type Logins = BTreeMap<PluginId, Login>;

impl Login {
    /// Its name at the broker.
    pub fn username(&self) -> String {
        plugin_login(&self.plugin_id)
    }

    /// What stands beside it at the broker, so that the broker can be asked whose password it has.
    pub fn note(&self) -> String {
        note(self.start_id)
    }

    /// Its password, if it is known.
    pub(crate) fn password(&self, seal: &Seal) -> Result<Option<Password>, DoesNotOpen> {
        let open = |sealed: &Vec<u8>| {
            let opened = seal.open(&name(&self.plugin_id, self.start_id), sealed)?;
            String::from_utf8(opened.to_vec()).map_err(|_| DoesNotOpen)
        };
        Ok(self.password.as_ref().map(open).transpose()?.map(Password::known))
    }

    /// Seals its password anew where that was done with the key before. Returns whether it was.
    pub(crate) fn renew(&mut self, seal: &Seal) -> Result<bool, SealError> {
        let Some(sealed) = &mut self.password else { return Ok(false) };
        let renewed = seal.renew(&name(&self.plugin_id, self.start_id), sealed)?;
        Ok(renewed.map(|renewed| *sealed = renewed).is_some())
    }

    /// Gives it a password.
    pub(crate) fn set_password(&mut self, password: &Password, seal: &Seal) -> Result<(), SealError> {
        let sealed = seal.seal(&name(&self.plugin_id, self.start_id), password.as_str().as_bytes())?;
        self.password = Some(sealed);
        Ok(())
    }
}

/// The note beside the login of a start.
pub fn note(start_id: StartId) -> String {
    format!("start {start_id}")
}

/// The start in a note.
pub fn start_in(note: &str) -> Option<StartId> {
    note.strip_prefix("start ")?.parse().ok()
}

fn name(id: &PluginId, start_id: StartId) -> String {
    format!("{id}/{start_id}")
}

/// The table of logins.
#[derive(Debug, Clone)]
pub struct LoginStore {
    pool: SqlitePool,
}

#[derive(sqlx::FromRow)]
struct Row {
    plugin_id: String,
    uid: Option<String>,
    generation: Option<i64>,
    start_id: String,
    roles: String,
    password: Option<Vec<u8>>,
    ending: bool,
}

impl LoginStore {
    /// The table in `pool`.
    pub fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }

    /// Everything that is kept. A row that cannot be read is left out and told in the log.
    ///
    /// # Errors
    /// The database failed.
    pub async fn load(&self) -> Result<Logins, sqlx::Error> {
        let rows: Vec<Row> = sqlx::query_as("SELECT * FROM logins").fetch_all(&self.pool).await?;
        let mut logins = Logins::new();
        for row in rows {
            let name = row.plugin_id.clone();
            match row.into_login() {
                Some(login) => {
                    logins.insert(login.plugin_id.clone(), login);
                }
                None => tracing::error!(plugin_id = name, "a kept login cannot be read"),
            }
        }
        Ok(logins)
    }

    /// Keeps a login in the place of the plugin's earlier one.
    ///
    /// # Errors
    /// The database failed.
    pub async fn put(&self, login: &Login) -> Result<(), sqlx::Error> {
        let roles = serde_json::to_string(&*login.roles).expect("roles have string keys");
        sqlx::query(
            "INSERT OR REPLACE INTO logins \
             (plugin_id, uid, generation, start_id, roles, password, ending) VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(login.plugin_id.as_str())
        .bind(login.installation.map(|(uid, _)| uid.to_string()))
        .bind(login.installation.map(|(_, generation)| i64::try_from(generation.0).unwrap_or(i64::MAX)))
        .bind(login.start_id.to_string())
        .bind(roles)
        .bind(&login.password)
        .bind(login.ending)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Forgets the plugin's login.
    ///
    /// # Errors
    /// The database failed.
    pub async fn remove(&self, id: &PluginId) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM logins WHERE plugin_id = ?").bind(id.as_str()).execute(&self.pool).await?;
        Ok(())
    }
}

impl Row {
    fn into_login(self) -> Option<Login> {
        let installation = match (self.uid, self.generation) {
            (Some(uid), Some(generation)) => {
                Some((uid.parse().ok()?, Generation(u64::try_from(generation).ok()?)))
            }
            _ => None,
        };
        Some(Login {
            plugin_id: PluginId::parse(&self.plugin_id).ok()?,
            installation,
            start_id: self.start_id.parse().ok()?,
            roles: Arc::new(serde_json::from_str(&self.roles).ok()?),
            password: self.password,
            ending: self.ending,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_tells_its_start_and_nothing_else_does() {
        let start = StartId::new();
        assert_eq!(start_in(&note(start)), Some(start));
        for other in ["", "start", "start x", "start 1 2"] {
            assert_eq!(start_in(other), None, "{other}");
        }
    }
}
