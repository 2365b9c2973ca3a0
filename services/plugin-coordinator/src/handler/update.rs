//! `update`: replaces a plugin's image, and goes back by itself when the new one does not get ready.

use std::time::Duration;

use chassis::{Permit, Reply, Request};
use envelope::payload::lifecycle::{InstallRequest, UpdateRequest};

use super::{Refusal, admit};
use crate::context::Context;
use crate::operation::{Install, Running, Swap, Update, Work};
use crate::supervisor::Supervisor;

/// A pull over a slow line takes its time. What comes after it has a deadline of its own.
const LASTS: Duration = Duration::from_secs(30 * 60);

pub(super) async fn handle(
    ctx: &Context,
    supervisor: &Supervisor,
    permit: &Permit,
    request: &Request,
) -> Result<Reply, Refusal> {
    let UpdateRequest { plugin_id: id, source, config, manifest, approve } = request.parse()?;
    let Some(plugin) = admit(ctx, supervisor, permit, request, &id).await? else {
        return Ok(Reply::Later);
    };
    let release = &plugin.record.release;
    // A manifest that is given may name its image; else it is the tag that was asked for before.
    let source = source.or_else(|| manifest.is_none().then(|| release.source.clone()));
    let wanted = InstallRequest { plugin_id: id.clone(), source, config, manifest, approve };
    let staging = Install { request: wanted, resolved: None, admitted: None, pulled: false };
    let work = Work::Update(Box::new(Update { staging, swap: Swap::of(release) }));
    let operation = Running::new(permit, request, id, work, LASTS);
    plugin.begin(ctx, supervisor, &operation).await
}
