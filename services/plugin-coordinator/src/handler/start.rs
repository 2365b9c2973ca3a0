//! `start`: runs an installed plugin and waits until it is ready.

use std::time::Duration;

use chassis::{Permit, Reply, Request};
use envelope::payload::lifecycle::PluginRequest;
use envelope::payload::state::Phase;

use super::{Refusal, admit};
use crate::context::Context;
use crate::operation::{Running, Work};
use crate::record::Desired;
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
    let Some(mut plugin) = admit(ctx, supervisor, permit, request, &id).await? else {
        return Ok(Reply::Later);
    };
    plugin.can_run()?;
    let record = &mut plugin.record;
    if record.desired == Desired::Running && record.standing.phase == Phase::Running {
        return Ok(plugin.state(ctx));
    }
    let lasts = plugin.manifest.start_timeout() + AROUND;
    let operation = Running::new(permit, request, id, Work::Start, lasts);
    record.ask_to_run();
    record.enter(Phase::Starting, None, &operation.cause(), &operation.correlation_id);
    plugin.begin(ctx, supervisor, &operation).await
}
