//! A new database takes over the logins of plugins that an earlier one made, so that they keep running. It does so
//! once, before anything else is done at the broker: a login that turns up later is one that was taken away, at a
//! broker whose file is older than that.

use std::sync::atomic::Ordering;

use envelope::Timestamp;
use store::Store;

use super::{Keeper, PassError};
use crate::broker::{self, Admin};
use crate::reconcile::adoptable;

/// When what was at the broker was taken over.
const DONE: &str = "adopted_at";

/// Whether nothing was taken over yet.
pub(super) async fn is_new(store: &Store) -> Result<bool, sqlx::Error> {
    Ok(store.meta(DONE).await?.is_none())
}

impl Keeper {
    pub(super) async fn adopt(&self, admin: &mut Admin) -> Result<(), PassError> {
        if !self.is_new.load(Ordering::Relaxed) {
            return Ok(());
        }
        let observed = broker::everything(admin).await?;
        let adopted = adoptable(&observed, &self.state().logins);
        for login in adopted {
            let (id, start_id) = (login.plugin_id.as_str(), login.start_id);
            tracing::info!(plugin_id = id, %start_id, "a login is adopted");
            self.keep_login(login).await?;
        }
        self.store.set_meta(DONE, &Timestamp::now().to_string()).await?;
        self.is_new.store(false, Ordering::Relaxed);
        Ok(())
    }
}
