//! Operators' accounts: decided, written down, then seen to at the broker.

use std::collections::BTreeMap;

use envelope::OperatorName;
use seal::SealError;

use super::{Keeper, PassError, Scope};
use crate::accounts::rules::{Decision, Refusal};
use crate::accounts::{Account, Accounts};
use crate::report::Cause;

/// Why an account is not known to be as it was asked to be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountError {
    /// It is not to be so.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing was written down.
    #[error("the account could not be written down")]
    Store(#[source] sqlx::Error),
    /// Its password could not be kept.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// It is written down, and owed to the broker.
    #[error(transparent)]
    Pass(#[from] PassError),
}

impl Keeper {
    /// Every account, by name.
    pub(crate) fn accounts(&self) -> Vec<Account> {
        self.state().accounts.values().filter(|account| !account.removed).cloned().collect()
    }

    /// Decides about an account while nobody else does, writes it down, and brings it to the broker. When the
    /// broker fails, the change is owed: the next pass brings it there.
    pub(crate) async fn decide(
        &self,
        decide: impl FnOnce(&Accounts) -> Result<Decision, Refusal> + Send,
        cause: &Cause,
    ) -> Result<Account, AccountError> {
        let mut admin = self.admin.lock().await;
        let decision = decide(&self.state().accounts)?;
        let account = match decision {
            Decision::Stands(account) => account,
            Decision::Changes(change) => {
                let mut account = change.account;
                if let Some(password) = &change.password {
                    account.set_password(password, &self.seal)?;
                }
                self.accounts.put(&account).await.map_err(AccountError::Store)?;
                self.state().accounts.insert(account.name.clone(), account.clone());
                self.report.account(&account, change.told, cause);
                account
            }
        };
        let scope = Scope::Account(&account.name);
        if let Err(error) = self.pass(&mut admin, scope, cause, &BTreeMap::new()).await {
            self.owed.notify_one();
            return Err(error.into());
        }
        Ok(Account { applied: true, ..account })
    }

    /// Waits until a change is owed to the broker that nobody else sees to.
    pub(crate) async fn owes(&self) {
        self.owed.notified().await;
    }

    /// Writes down that an account is at the broker as it was decided. It is told when it comes later than its
    /// request.
    pub(super) async fn settle_account(
        &self,
        name: &OperatorName,
        scope: &Scope<'_>,
        cause: &Cause,
    ) -> Result<(), sqlx::Error> {
        let pending = self.state().accounts.get(name).filter(|account| !account.applied).cloned();
        let Some(account) = pending else { return Ok(()) };
        self.accounts.applied(name).await?;
        if let Some(known) = self.state().accounts.get_mut(name) {
            known.applied = true;
        }
        if matches!(scope, Scope::Everything) {
            let by = &account.changed.by;
            let message = format!("The broker has the operator's account {name} as {by} changed it before.");
            self.report.account(&account, message, cause);
        }
        Ok(())
    }
}
