//! `stop`: stops a plugin and removes its container; the image stays.

use std::time::Duration;

use chassis::{Permit, Reply, Request};
use envelope::payload::lifecycle::PluginRequest;
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
    let PluginRequest { plugin_id: id } = request.parse()?;
    let Some(mut plugin) = admit(ctx, supervisor, permit, request, &id).await? else {
        return Ok(Reply::Later);
    };
    let record = &mut plugin.record;
    if plugin.instead.is_none() && record.start.is_none() && record.standing.phase == Phase::Stopped {
        return Ok(plugin.state(ctx));
    }
    let lasts = policy::stop_bound(&plugin.manifest) + Duration::from_secs(30);
    let operation = Running::new(permit, request, id, Work::Stop, lasts);
    record.desired = Desired::Stopped;
    record.retry_at = None;
    record.enter(Phase::Stopping, None, &operation.cause(), &operation.correlation_id);
    plugin.begin(ctx, supervisor, &operation).await
}
