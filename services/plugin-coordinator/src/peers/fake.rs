//! The other coordinators in memory, for tests and for simulation: they remember logins and tokens by start.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use chassis::CallError;
use envelope::payload::login::{DeprovisionRequest, ProvisionRequest, ProvisionResponse};
use envelope::payload::token::{IssueRequest, RevokeRequest};
use envelope::{Coordinator, ErrorCode, Operation, PluginId, StartId};
use serde_json::json;

use super::{Peers, Thread};
use crate::leftovers::LeftoversError;

/// The login of a start, which is the same whenever it is asked for.
pub(crate) fn login_of(id: &PluginId, start_id: StartId) -> ProvisionResponse {
    ProvisionResponse {
        start_id,
        username: format!("plugin.{id}"),
        password: format!("password-of-{start_id}"),
    }
}

/// The other coordinators in memory.
#[derive(Default)]
pub(crate) struct FakePeers {
    /// Starts that have a login.
    pub(crate) logins: Mutex<Vec<StartId>>,
    /// Starts that have a token.
    pub(crate) tokens: Mutex<Vec<StartId>>,
    /// Whether nobody answers.
    pub(crate) away: Mutex<bool>,
    /// The names whose retained topics were cleared.
    pub(crate) cleared: Mutex<Vec<PluginId>>,
    /// Whether somebody listens to the plugin's control topics; none when the broker does not answer.
    pub(crate) listens: Mutex<Option<bool>>,
    /// Whether an operator has taken the tokens away.
    pub(crate) revoked: Mutex<bool>,
}

impl FakePeers {
    fn there(&self, operation: Operation) -> Result<(), CallError> {
        if *self.away.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(CallError::Absent { callee: operation.coordinator(), operation });
        }
        Ok(())
    }

    fn change(list: &Mutex<Vec<StartId>>, change: impl FnOnce(&mut Vec<StartId>)) {
        change(&mut list.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[async_trait]
impl Peers for FakePeers {
    async fn provision(&self, request: ProvisionRequest, _: &Thread) -> Result<ProvisionResponse, CallError> {
        self.there(Operation::Provision)?;
        Self::change(&self.logins, |l| {
            l.retain(|s| *s != request.start_id);
            l.push(request.start_id);
        });
        Ok(login_of(&request.plugin_id, request.start_id))
    }

    async fn issue(&self, request: IssueRequest, _: &Thread) -> Result<(), CallError> {
        self.there(Operation::Issue)?;
        if *self.revoked.lock().unwrap_or_else(PoisonError::into_inner) {
            let source = envelope::ErrorBody::new(ErrorCode::InvalidPhase, "They were taken away.")
                .with_details(json!({"reason": "revoked"}));
            return Err(CallError::Refused {
                callee: Coordinator::Security,
                operation: Operation::Issue,
                source,
            });
        }
        Self::change(&self.tokens, |t| {
            t.retain(|s| *s != request.start_id);
            t.push(request.start_id);
        });
        Ok(())
    }

    async fn revoke(&self, request: RevokeRequest, _: &Thread) -> Result<(), CallError> {
        self.there(Operation::Revoke)?;
        Self::change(&self.tokens, |t| t.retain(|s| *s != request.start_id));
        Ok(())
    }

    async fn deprovision(&self, request: DeprovisionRequest, _: &Thread) -> Result<(), CallError> {
        self.there(Operation::Deprovision)?;
        Self::change(&self.logins, |l| l.retain(|s| *s != request.start_id));
        Ok(())
    }

    async fn clear_leftovers(&self, names: &[PluginId]) -> Result<usize, LeftoversError> {
        if *self.away.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(LeftoversError::Away);
        }
        self.cleared.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(names);
        Ok(names.len())
    }

    async fn ping(&self, _: &[PluginId]) -> Result<bool, bus::PublishError> {
        let answer = *self.listens.lock().unwrap_or_else(PoisonError::into_inner);
        answer.ok_or(bus::PublishError::Closed { topic: "t".into() })
    }

    fn hear(&self, _: Vec<String>) {}
}
