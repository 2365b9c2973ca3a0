//! `logs`: the last lines that a plugin wrote.

use chassis::{Permit, Reply, Request};
use envelope::payload::lifecycle::{LogsRequest, LogsResponse};
use envelope::{ErrorBody, ErrorCode};

use super::{Refusal, installed, only_its_own};
use crate::context::Context;
use crate::policy::Role;

const MAX_LINES: u32 = 1000;
const MAX_BYTES: usize = 256 * 1024;

pub(super) async fn handle(ctx: &Context, permit: &Permit, request: &Request) -> Result<Reply, Refusal> {
    let LogsRequest { plugin_id: id, tail } = request.parse()?;
    // A log may hold anything, passwords too.
    only_its_own(permit, &id)?;
    if tail == 0 || tail > MAX_LINES {
        return Err(ErrorBody::new(
            ErrorCode::BadRequest,
            format!("\"tail\" is {tail}; ask for 1 to {MAX_LINES} lines."),
        )
        .into());
    }
    let record = installed(ctx, &id).await?;
    let name = ctx.policy.container_name(&id);
    let unavailable = |error: crate::engine::EngineError| {
        ErrorBody::new(
            ErrorCode::EngineUnavailable,
            format!("The log of {id} cannot be read: {}.", telemetry::chain(&error)),
        )
    };
    let Some(container) = ctx.container(&id, Role::Plugin).await.map_err(unavailable)? else {
        let last = record.last_exit.map(|exit| exit.log_tail).unwrap_or_default();
        let answer = LogsResponse { plugin_id: id, text: last, truncated: true, ended: true };
        return Ok(Reply::now(&answer));
    };
    let log = ctx.engine.logs(&name, tail, MAX_BYTES).await.map_err(unavailable)?;
    Ok(Reply::now(&LogsResponse {
        plugin_id: id,
        text: log.text,
        truncated: log.truncated,
        ended: !container.state.is_running(),
    }))
}
