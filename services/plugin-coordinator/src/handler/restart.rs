//! `restart`: stops and starts a plugin. Its container, login and token stay, so nobody else is needed.

use chassis::{Permit, Reply, Request};
use envelope::payload::lifecycle::PluginRequest;

use super::start::AROUND;
use super::{Refusal, admit};
use crate::context::Context;
use crate::operation::{Running, Work};
use crate::policy;
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
    plugin.can_run()?;
    let lasts = policy::stop_bound(&plugin.manifest) + plugin.manifest.start_timeout() + AROUND;
    let work = Work::Restart { stopped: false };
    let operation = Running::new(permit, request, id, work, lasts);
    plugin.record.ask_to_run();
    plugin.begin(ctx, supervisor, &operation).await
}
