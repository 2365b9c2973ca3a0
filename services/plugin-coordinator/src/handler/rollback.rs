//! `rollback`: goes back to what a plugin was before its last update. Asked twice, it is what it was before. What was
//! taken back since then stays taken back.

use chassis::{Permit, Reply, Request};
use envelope::payload::lifecycle::PluginRequest;
use envelope::{ErrorBody, ErrorCode};

use super::{Refusal, admit, start};
use crate::context::Context;
use crate::operation::{Running, Swap, Work};
use crate::policy;
use crate::record::{Desired, keys};
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
    let Some(previous) = record.previous.as_deref().cloned() else {
        let message = format!(
            "There is nothing to go back to: {id} was not updated since it was installed. Use update with the image \
             that you want."
        );
        return Err(ErrorBody::new(ErrorCode::InvalidPhase, message).into());
    };
    let lacks = previous.lacks();
    if record.desired == Desired::Running && !lacks.is_empty() {
        let message = format!(
            "{id} {} cannot run without what was taken back from it: {}. Stop it, roll it back, and approve what it may \
             have again; grants shows the list.",
            previous.manifest().version,
            keys(&lacks)
        );
        return Err(ErrorBody::new(ErrorCode::InvalidPhase, message).into());
    }
    let timeout = previous.manifest().start_timeout();
    record.stage(previous);
    let lasts = policy::stop_bound(&plugin.manifest) + timeout + start::AROUND;
    let work = Work::Rollback(Box::new(Swap::of(&record.release)));
    let operation = Running::new(permit, request, id, work, lasts);
    plugin.begin(ctx, supervisor, &operation).await
}
