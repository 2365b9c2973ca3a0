//! The login of one start.

use std::collections::BTreeMap;

use acl::dynsec::Command;
use acl::password::{NoRandomness, Password};
use envelope::payload::login::{ProvisionRequest, ProvisionResponse};
use envelope::payload::spec::AclOutcome;

use super::{Keeper, PassError, Scope};
use crate::desired::judge_one;
use crate::logins::Login;
use crate::report::Cause;
use seal::{DoesNotOpen, SealError};

/// Why there is no login.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProvisionError {
    /// The spec of that generation has not come, or is not at the broker yet.
    #[error("the rights of this generation are not at the broker yet")]
    NotAcknowledged,
    /// The spec of that generation is refused.
    #[error("the rights that the plugin asks for were refused")]
    Refused(Vec<String>),
    /// The start is over, or was of another generation.
    #[error("this start has ended, or was provisioned for another generation")]
    Over,
    /// The broker or the database failed half-way.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// No password could be made.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// No password could be kept.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl Keeper {
    /// Makes the login of one start, with the rights of the acknowledged generation, in the place of that of
    /// an earlier one. Asked again for the same start it answers the same.
    pub(crate) async fn provision(
        &self,
        request: &ProvisionRequest,
        cause: &Cause,
    ) -> Result<ProvisionResponse, ProvisionError> {
        let mut admin = self.admin.lock().await;
        // Before this start is noted: what is later than all that is known is judged by that.
        self.adopt(&mut admin).await?;
        let mut login = self.login_of(request)?;
        let password = match login.password(&self.seal) {
            Ok(Some(password)) => password,
            Ok(None) | Err(DoesNotOpen) => {
                // A login of this very start with a password that nobody knows would pass for the right one, once
                // that stands here.
                let gone = [Command::DeleteClient(login.username())];
                admin.give(&gone).await.map_err(PassError::from)?;
                self.begins(login.start_id).await?;
                let password = Password::random()?;
                login.set_password(&password, &self.seal)?;
                self.keep_login(login.clone()).await.map_err(PassError::from)?;
                password
            }
        };
        let id = &request.plugin_id;
        self.pass(&mut admin, Scope::Only { id, fresh: true }, cause, &BTreeMap::new()).await?;
        Ok(ProvisionResponse {
            start_id: request.start_id,
            username: login.username(),
            password: password.as_str().to_owned(),
        })
    }

    /// The login that is asked for: as it is kept, or a new one without a password.
    fn login_of(&self, request: &ProvisionRequest) -> Result<Login, ProvisionError> {
        let state = self.state();
        let id = &request.plugin_id;
        let installation = (request.uid, request.generation);
        let login = state.logins.get(id).filter(|login| login.start_id == request.start_id);
        if let Some(login) = login {
            let same = login.installation.is_none_or(|known| known == installation);
            return if same && !login.ending { Ok(login.clone()) } else { Err(ProvisionError::Over) };
        }
        let status = state.specs.get(id).and_then(|known| known.status.as_ref());
        let status = status.filter(|s| s.uid == request.uid && s.generation == request.generation);
        match status.map(|s| &s.outcome) {
            None | Some(AclOutcome::Absent) => Err(ProvisionError::NotAcknowledged),
            Some(AclOutcome::Refused { reasons }) => Err(ProvisionError::Refused(reasons.clone())),
            Some(AclOutcome::Applied { .. }) => match judge_one(&state.specs, id) {
                Some(Ok(roles)) => Ok(Login {
                    plugin_id: id.clone(),
                    installation: Some(installation),
                    start_id: request.start_id,
                    roles,
                    password: None,
                    ending: false,
                }),
                Some(Err(reasons)) => Err(ProvisionError::Refused(reasons)),
                None => Err(ProvisionError::NotAcknowledged),
            },
        }
    }
}
