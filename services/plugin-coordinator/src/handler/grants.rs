//! `grants`: what a plugin may do beyond its own topics, who decided that, and what waits for approval.

use chassis::{Reply, Request};
use envelope::payload::lifecycle::PluginRequest;

use super::{Refusal, installed};
use crate::context::Context;

pub(super) async fn handle(ctx: &Context, request: &Request) -> Result<Reply, Refusal> {
    let PluginRequest { plugin_id: id } = request.parse()?;
    let record = installed(ctx, &id).await?;
    Ok(Reply::now(&record.grants(&record.manifest())))
}
