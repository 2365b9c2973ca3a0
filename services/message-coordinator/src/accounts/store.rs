//! The table of accounts.

use std::time::Duration;

use envelope::{OperatorName, Timestamp};
use sqlx::SqlitePool;

use super::{Account, Accounts, Changed, KeptPassword};

/// How long a removed account is remembered: for as long as its request is.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// The table of accounts.
#[derive(Debug, Clone)]
pub struct AccountStore {
    pool: SqlitePool,
}

#[derive(sqlx::FromRow)]
struct Row {
    name: String,
    role: String,
    disabled: bool,
    password: Option<Vec<u8>>,
    password_id: Option<String>,
    created_at: Option<i64>,
    created_by: Option<String>,
    changed_at: i64,
    changed_by: String,
    request_id: String,
    removed: bool,
    applied: bool,
}

impl AccountStore {
    /// The table in `pool`.
    pub fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }

    /// Every account, that of the first operator among them whether the table has it or not. A row that
    /// cannot be read is left out and told in the log: nobody logs in with an account that is not understood.
    ///
    /// # Errors
    /// The database failed.
    pub async fn load(&self, now: Timestamp) -> Result<Accounts, sqlx::Error> {
        let forgotten = now.as_millis().saturating_sub(REMEMBERED.as_millis().try_into().unwrap_or(i64::MAX));
        sqlx::query("DELETE FROM accounts WHERE removed != 0 AND applied != 0 AND changed_at < ?")
            .bind(forgotten)
            .execute(&self.pool)
            .await?;
        let rows: Vec<Row> = sqlx::query_as("SELECT * FROM accounts").fetch_all(&self.pool).await?;
        let first = Account::first();
        let mut accounts = Accounts::from([(first.name.clone(), first)]);
        for row in rows {
            let name = row.name.clone();
            match row.into_account() {
                Some(account) => {
                    accounts.insert(account.name.clone(), account);
                }
                None => tracing::error!(account = name, "a kept account cannot be read"),
            }
        }
        Ok(accounts)
    }

    /// Keeps an account in the place of what was kept under its name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn put(&self, account: &Account) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT OR REPLACE INTO accounts (name, role, disabled, password, password_id, created_at, \
             created_by, changed_at, changed_by, request_id, removed, applied) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(account.name.as_str())
        .bind(account.role.as_str())
        .bind(account.disabled)
        .bind(account.password.as_ref().map(|kept| kept.sealed.as_slice()))
        .bind(account.password.as_ref().map(|kept| kept.id.to_string()))
        .bind(account.created.as_ref().map(|(at, _)| at.as_millis()))
        .bind(account.created.as_ref().map(|(_, by)| by.as_str()))
        .bind(account.changed.at.as_millis())
        .bind(&account.changed.by)
        .bind(&account.changed.request_id)
        .bind(account.removed)
        .bind(account.applied)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Keeps that the last change of an account is at the broker.
    ///
    /// # Errors
    /// The database failed.
    pub async fn applied(&self, name: &OperatorName) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE accounts SET applied = 1 WHERE name = ?")
            .bind(name.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

impl Row {
    fn into_account(self) -> Option<Account> {
        let password = match (self.password_id, self.password) {
            (Some(id), Some(sealed)) => Some(KeptPassword { id: id.parse().ok()?, sealed }),
            _ => None,
        };
        Some(Account {
            name: OperatorName::parse(&self.name).ok()?,
            role: self.role.parse().ok()?,
            disabled: self.disabled,
            password,
            created: self.created_at.map(Timestamp::from_millis).zip(self.created_by),
            changed: Changed {
                at: Timestamp::from_millis(self.changed_at),
                by: self.changed_by,
                request_id: self.request_id,
            },
            removed: self.removed,
            applied: self.applied,
        })
    }
}
