//! `remove`: uninstalls a plugin, with its data only when that is asked for.

use std::time::Duration;

use chassis::{Permit, Reply, Request};
use envelope::payload::lifecycle::RemoveRequest;
use envelope::payload::state::Phase;

use super::{Refusal, admit};
use crate::context::Context;
use crate::operation::{Running, Work};
use crate::policy;
use crate::record::Desired;
use crate::supervisor::Supervisor;

pub(super) async fn handle(
    ctx: &Context,
    supervisor: &Supervisor,
    permit: &Permit,
    request: &Request,
) -> Result<Reply, Refusal> {
    let RemoveRequest { plugin_id: id, remove_volumes } = request.parse()?;
    let Some(mut plugin) = admit(ctx, supervisor, permit, request, &id).await? else {
        return Ok(Reply::Later);
    };
    let lasts = policy::stop_bound(&plugin.manifest) + Duration::from_secs(30);
    let operation = Running::new(permit, request, id, Work::Remove, lasts);
    let record = &mut plugin.record;
    record.desired = Desired::Absent { remove_volumes };
    record.retry_at = None;
    record.enter(Phase::Removing, None, &operation.cause(), &operation.correlation_id);
    plugin.begin(ctx, supervisor, &operation).await
}
