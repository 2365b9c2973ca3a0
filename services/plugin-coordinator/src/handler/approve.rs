//! `approve`: gives a plugin back what was taken back from it. One that runs gets a new container, because
//! rights change around a start only; one that does not run is not started.

use chassis::{Permit, Reply, Request};
use envelope::payload::grant::ApproveRequest;

use super::{Refusal, admit, follow, why};
use crate::admission;
use crate::context::Context;
use crate::operation::Work;
use crate::supervisor::Supervisor;

pub(super) async fn handle(
    ctx: &Context,
    supervisor: &Supervisor,
    permit: &Permit,
    request: &Request,
) -> Result<Reply, Refusal> {
    let ApproveRequest { plugin_id: id, approve } = request.parse()?;
    let Some(mut plugin) = admit(ctx, supervisor, permit, request, &id).await? else {
        return Ok(Reply::Later);
    };
    let details = plugin.record.approval(&plugin.manifest);
    if approve != details.approve {
        return Err(admission::changed(&id, &approve, &details).into());
    }
    let why = why(permit, request);
    let given = plugin.record.restore(&why.by, crate::clock::now());
    if given.is_empty() {
        return Ok(Reply::now(&plugin.record.grants(&plugin.manifest)));
    }
    let reply = follow(ctx, supervisor, permit, request, plugin, Work::Approve).await?;
    ctx.reporter.grants(&id, &given, true, &why);
    Ok(reply)
}
