//! `restart`: stops and starts a plugin. Its container, login and token stay, so nobody else is needed.

use chassis::{Permit, Reply, Request};
use envelope::payload::lifecycle::PluginRequest;

use super::start::AROUND;
use super::{InTheWay, Refusal, being_removed, busy, in_the_way, installed};
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
    let mut record = installed(ctx, &id).await?;
    being_removed(&record)?;
    match in_the_way(ctx, &id, request).await? {
        InTheWay::Other(running) => return Err(busy(&running).into()),
        InTheWay::Ours => {}
        InTheWay::Nothing => {
            let manifest = record.manifest();
            let lasts = policy::stop_bound(&manifest) + manifest.start_timeout() + AROUND;
            let work = Work::Restart { stopped: false };
            let operation = Running::new(permit, request, id.clone(), work, lasts);
            record.desired = Desired::Running;
            record.failures = 0;
            record.retry_at = None;
            ctx.registrations.begin(&operation, Some(&record), None).await?;
        }
    }
    supervisor.wake(&id);
    Ok(Reply::Later)
}
