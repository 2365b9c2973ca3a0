//! `remove`: uninstalls a plugin, with its data only when that is asked for.

use std::time::Duration;

use chassis::{Permit, Reply, Request};
use envelope::Operation;
use envelope::payload::lifecycle::RemoveRequest;
use envelope::payload::state::Phase;

use super::{InTheWay, Refusal, give_way, in_the_way, installed};
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
    let mut record = installed(ctx, &id).await?;
    let other = match in_the_way(ctx, &id, request).await? {
        InTheWay::Ours => {
            supervisor.wake(&id);
            return Ok(Reply::Later);
        }
        InTheWay::Nothing => None,
        InTheWay::Other(running) => Some((give_way(&running, Operation::Remove)?, running)),
    };
    let lasts = policy::stop_bound(&record.manifest()) + Duration::from_secs(30);
    let operation = Running::new(permit, request, id.clone(), Work::Remove, lasts);
    record.desired = Desired::Absent { remove_volumes };
    record.retry_at = None;
    record.enter(Phase::Removing, None, &operation.cause(), &operation.correlation_id);
    let instead = other.as_ref().map(|(answer, running)| (&**running, answer.clone()));
    ctx.registrations.begin(&operation, Some(&record), instead).await?;
    supervisor.wake(&id);
    Ok(Reply::Later)
}
