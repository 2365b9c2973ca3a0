//! `install`: registers a plugin and pulls its image.

use std::time::Duration;

use chassis::{Permit, Reply, Request};
use envelope::payload::lifecycle::InstallRequest;

use super::{InTheWay, Refusal, being_removed, busy, in_the_way};
use crate::context::Context;
use crate::operation::{Install, Running, Work};
use crate::supervisor::Supervisor;

/// A pull over a slow line takes its time.
const LASTS: Duration = Duration::from_secs(30 * 60);

pub(super) async fn handle(
    ctx: &Context,
    supervisor: &Supervisor,
    permit: &Permit,
    request: &Request,
) -> Result<Reply, Refusal> {
    let wanted: InstallRequest = request.parse()?;
    let id = wanted.plugin_id.clone();
    if let Some(record) = ctx.registrations.plugin(&id).await? {
        being_removed(&record)?;
    }
    match in_the_way(ctx, &id, request).await? {
        InTheWay::Other(running) => return Err(busy(&running).into()),
        InTheWay::Ours => {}
        InTheWay::Nothing => {
            let install = Install { request: wanted, resolved: None, admitted: None, pulled: false };
            let work = Work::Install(Box::new(install));
            let operation = Running::new(permit, request, id.clone(), work, LASTS);
            ctx.registrations.begin(&operation, None, None).await?;
        }
    }
    supervisor.wake(&id);
    Ok(Reply::Later)
}
