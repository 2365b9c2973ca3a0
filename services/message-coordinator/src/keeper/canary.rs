//! The logins of the two canaries: made like those of plugins, and kept like them.

use std::collections::BTreeMap;
use std::sync::Arc;

use acl::compile::compile;
use acl::password::Password;
use envelope::{Generation, InstallUid, PluginId, StartId};

use super::{Keeper, PassError, ProvisionError, Scope};
use crate::broker::Admin;
use crate::logins::Login;
use crate::proof::canary;
use crate::report::Cause;

/// How a canary logs in.
#[derive(Debug, Clone)]
pub(crate) struct CanaryLogin {
    /// The canary.
    pub(crate) id: PluginId,
    /// Its login.
    pub(crate) username: String,
    /// Its password.
    pub(crate) password: Password,
}

impl Keeper {
    /// The logins of both canaries. Those that stand are not looked at: what they can do is what is asked.
    pub(crate) async fn canaries(&self, cause: &Cause) -> Result<[CanaryLogin; 2], ProvisionError> {
        let mut admin = self.admin.lock().await;
        let [one, other] = canary::ids();
        Ok([self.canary(&mut admin, one, cause).await?, self.canary(&mut admin, other, cause).await?])
    }

    /// Makes the canaries' logins where they are not made, so that a pass finds them as it finds plugins'.
    pub(super) async fn ensure_canaries(&self, admin: &mut Admin, cause: &Cause) -> Result<(), PassError> {
        for id in canary::ids() {
            match self.canary(admin, id, cause).await {
                Ok(_) => {}
                Err(ProvisionError::Pass(error)) => return Err(error),
                // Nothing else depends on it, and each proof says so.
                Err(error) => tracing::error!(error = telemetry::chain(&error), "there is no canary"),
            }
        }
        Ok(())
    }

    /// The login of one canary; a new one where there is none, or where this version makes other roles.
    async fn canary(
        &self,
        admin: &mut Admin,
        id: PluginId,
        cause: &Cause,
    ) -> Result<CanaryLogin, ProvisionError> {
        let spec = canary::spec(&id);
        let roles = compile(&spec).map_err(|all| {
            ProvisionError::Refused(all.iter().map(ToString::to_string).collect::<Vec<String>>())
        })?;
        let kept = self.state().logins.get(&id).filter(|l| !l.ending && *l.roles == roles).cloned();
        if let Some(login) = kept
            && let Ok(Some(password)) = login.password(&self.seal)
        {
            return Ok(CanaryLogin { username: login.username(), id, password });
        }
        let password = Password::random()?;
        let mut login = Login {
            plugin_id: id.clone(),
            installation: Some((InstallUid::new(), Generation::FIRST)),
            start_id: StartId::new(),
            roles: Arc::new(roles),
            password: None,
            ending: false,
        };
        login.set_password(&password, &self.seal)?;
        let username = login.username();
        self.keep_login(login).await.map_err(PassError::from)?;
        self.pass(admin, Scope::Only { id: &id, fresh: true }, cause, &BTreeMap::new()).await?;
        Ok(CanaryLogin { id, username, password })
    }
}
