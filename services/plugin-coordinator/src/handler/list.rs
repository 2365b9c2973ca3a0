//! `list`: all plugins and their states.

use chassis::Reply;
use envelope::payload::lifecycle::ListResponse;

use super::Refusal;
use crate::context::Context;
use crate::report;

pub(super) async fn handle(ctx: &Context) -> Result<Reply, Refusal> {
    let records = ctx.registrations.plugins().await?;
    let running = ctx.registrations.all_running().await?;
    let plugins = records
        .iter()
        .map(|record| {
            let operation = running.iter().find(|o| o.plugin_id == record.id);
            let health = ctx.health.now(&record.id, None);
            report::state(record, &record.manifest(), &ctx.settings.node, operation, &health)
        })
        .collect();
    Ok(Reply::now(&ListResponse { plugins }))
}
