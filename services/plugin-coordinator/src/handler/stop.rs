//! `stop`: stops a plugin and removes its container; the image stays.

use std::time::Duration;

use chassis::{Permit, Reply, Request};
use envelope::Operation;
use envelope::payload::lifecycle::PluginRequest;
use envelope::payload::state::Phase;

use super::{InTheWay, Refusal, being_removed, give_way, in_the_way, installed};
use crate::context::Context;
use crate::operation::{Running, Work};
use crate::policy;
use crate::record::Desired;
use crate::report;
use crate::supervisor::Supervisor;

pub(super) async fn handle(
    ctx: &Context,
    supervisor: &Supervisor,
    permit: &Permit,
    request: &Request,
) -> Result<Reply, Refusal> {
    let PluginRequest { plugin_id: id } = request.parse()?;
    let mut record = installed(ctx, &id).await?;
    being_removed(&record)?;
    let other = match in_the_way(ctx, &id, request).await? {
        InTheWay::Ours => {
            supervisor.wake(&id);
            return Ok(Reply::Later);
        }
        InTheWay::Nothing => None,
        InTheWay::Other(running) => Some((give_way(&running, Operation::Stop)?, running)),
    };
    let manifest = record.manifest();
    if other.is_none() && record.start.is_none() && record.standing.phase == Phase::Stopped {
        let health = ctx.health.now(&id, None);
        return Ok(Reply::now(&report::state(&record, &manifest, &ctx.settings.node, None, &health)));
    }
    let lasts = policy::stop_bound(&manifest) + Duration::from_secs(30);
    let operation = Running::new(permit, request, id.clone(), Work::Stop, lasts);
    record.desired = Desired::Stopped;
    record.retry_at = None;
    record.enter(Phase::Stopping, None, &operation.cause(), &operation.correlation_id);
    let instead = other.as_ref().map(|(answer, running)| (&**running, answer.clone()));
    ctx.registrations.begin(&operation, Some(&record), instead).await?;
    supervisor.wake(&id);
    Ok(Reply::Later)
}
