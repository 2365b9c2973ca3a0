//! A database that is new, or was put back as it was earlier, takes over the logins of plugins that were made since, so
//! that those keep running. That is done once in a life, before anything else is done at the broker.
//!
//! Starts have ids that grow with time. A login of a later start than any that is known was made by what was lost here;
//! one of an earlier start that is not known was taken away, and is there because the broker went back in time.

use std::sync::atomic::Ordering;

use envelope::StartId;

use super::{Keeper, PassError};
use crate::broker::{self, Admin};
use crate::proof::is_canary;
use crate::reconcile::adoptable;

/// The latest start of which there was a login.
const LATEST: &str = "latest_start";

impl Keeper {
    pub(super) async fn adopt(&self, admin: &mut Admin) -> Result<(), PassError> {
        if self.adopted.load(Ordering::Relaxed) {
            return Ok(());
        }
        let observed = broker::everything(admin).await?;
        let noted = self.state().latest_start;
        let adopted = {
            let logins = &self.state().logins;
            let starts =
                logins.values().filter(|login| !is_canary(&login.plugin_id)).map(|login| login.start_id);
            adoptable(&observed, logins, noted.or(starts.max()))
        };
        for login in adopted {
            let (id, start_id) = (login.plugin_id.as_str(), login.start_id);
            tracing::info!(plugin_id = id, %start_id, "a login is adopted");
            self.keep_login(login).await?;
            self.begins(start_id).await?;
        }
        if noted.is_none() {
            // Whatever ended before this database was made ended before now.
            self.begins(StartId::new()).await?;
        }
        self.adopted.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Notes a start before there is a login of it.
    pub(super) async fn begins(&self, start_id: StartId) -> Result<(), PassError> {
        if self.state().latest_start.is_none_or(|latest| latest < start_id) {
            self.store.set_meta(LATEST, &start_id.to_string()).await?;
            self.state().latest_start = Some(start_id);
        }
        Ok(())
    }
}

/// The latest start of which there was a login; none in a database that is new.
pub(super) async fn latest_start(store: &store::Store) -> Result<Option<StartId>, sqlx::Error> {
    Ok(store.meta(LATEST).await?.and_then(|text| text.parse().ok()))
}
