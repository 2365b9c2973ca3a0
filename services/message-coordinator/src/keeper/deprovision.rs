//! The end of the login of one start.

use std::collections::BTreeMap;

use envelope::payload::login::DeprovisionRequest;

use super::{Keeper, PassError, Scope};
use crate::report::Cause;

impl Keeper {
    /// Takes the login of one start away. That of a later start stays, and what is gone is gone; that it is gone is
    /// seen at the broker.
    pub(crate) async fn deprovision(
        &self,
        request: &DeprovisionRequest,
        cause: &Cause,
    ) -> Result<(), PassError> {
        let mut admin = self.admin.lock().await;
        let id = &request.plugin_id;
        // A login that is not known yet may be adopted; when that fails the pass below says so.
        let _ = self.adopt(&mut admin).await;
        let login = self.state().logins.get(id).filter(|l| l.start_id == request.start_id).cloned();
        if let Some(mut login) = login.filter(|login| !login.ending) {
            // From here on it is owed: if the broker is away now, the next pass does it.
            login.ending = true;
            self.keep_login(login).await?;
        }
        let done = self.pass(&mut admin, Scope::Only { id, fresh: false }, cause, &BTreeMap::new()).await;
        if done.is_err() {
            // Whoever asked may not ask again.
            self.owed.notify_one();
        }
        done
    }
}
