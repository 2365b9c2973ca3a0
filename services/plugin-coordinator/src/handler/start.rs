//! `start`: runs an installed plugin and waits until it is ready.

use std::time::Duration;

use chassis::{Permit, Reply, Request};
use envelope::payload::lifecycle::PluginRequest;
use envelope::payload::state::Phase;

use super::{InTheWay, Refusal, being_removed, busy, in_the_way, installed};
use crate::context::Context;
use crate::operation::{Running, Work};
use crate::record::Desired;
use crate::report;
use crate::supervisor::Supervisor;

/// What a start may take beside the time that the plugin needs to get ready.
pub(super) const AROUND: Duration = Duration::from_secs(60);

pub(super) async fn handle(
    ctx: &Context,
    supervisor: &Supervisor,
    permit: &Permit,
    request: &Request,
) -> Result<Reply, Refusal> {
    let PluginRequest { plugin_id: id } = request.parse()?;
    let mut record = installed(ctx, &id).await?;
    being_removed(&record)?;
    match in_the_way(ctx, &id, request).await? {
        InTheWay::Other(running) => return Err(busy(&running).into()),
        InTheWay::Ours => {}
        InTheWay::Nothing => {
            let manifest = record.manifest();
            if record.desired == Desired::Running && record.standing.phase == Phase::Running {
                let health = ctx.health.now(&id, None);
                return Ok(Reply::now(&report::state(&record, &manifest, &ctx.settings.node, None, &health)));
            }
            let lasts = manifest.start_timeout() + AROUND;
            let operation = Running::new(permit, request, id.clone(), Work::Start, lasts);
            record.desired = Desired::Running;
            record.failures = 0;
            record.retry_at = None;
            record.enter(Phase::Starting, None, &operation.cause(), &operation.correlation_id);
            ctx.registrations.begin(&operation, Some(&record), None).await?;
        }
    }
    supervisor.wake(&id);
    Ok(Reply::Later)
}
