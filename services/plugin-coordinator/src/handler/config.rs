//! `config`: gives a plugin another configuration, or none. One that runs gets a new container with it.

use chassis::{Permit, Reply, Request};
use envelope::payload::lifecycle::ConfigRequest;

use super::{Refusal, admit, follow};
use crate::context::Context;
use crate::operation::Work;
use crate::policy::config;
use crate::supervisor::Supervisor;

pub(super) async fn handle(
    ctx: &Context,
    supervisor: &Supervisor,
    permit: &Permit,
    request: &Request,
) -> Result<Reply, Refusal> {
    let ConfigRequest { plugin_id: id, config } = request.parse()?;
    let config = config.filter(|config| !config.is_null());
    let Some(mut plugin) = admit(ctx, supervisor, permit, request, &id).await? else {
        return Ok(Reply::Later);
    };
    config::check(&plugin.manifest, config.as_ref()).await?;
    if plugin.record.release.config == config {
        return Ok(plugin.state(ctx));
    }
    plugin.record.release.config = config;
    plugin.record.follow_change();
    follow(ctx, supervisor, permit, request, plugin, Work::Config).await
}
