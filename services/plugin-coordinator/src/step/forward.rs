//! The forwarder that carries the published ports of a plugin without a way out: made, started and removed with
//! the plugin's container, and put right when something happened to it.

use envelope::payload::event::EventKind;
use envelope::{ErrorBody, ErrorCode, PluginId, StartId};
use manifest::Manifest;

use super::{StepError, Subject, missing_subject};
use crate::context::Context;
use crate::engine::{State, label};
use crate::policy::Role;
use crate::record::{Record, StartProgress};

/// Makes the forwarder of a start, if there has to be one, and removes one of another start.
pub(super) async fn prepare(
    ctx: &Context,
    record: &Record,
    manifest: &Manifest,
    start: StartId,
) -> Result<(), StepError> {
    let Some(spec) = ctx.policy.forwarder(record, manifest, start) else {
        return remove(ctx, &record.id).await;
    };
    let image = ctx.policy.forwarder_image();
    if ctx.engine.image(image).await?.is_none() {
        return Err(StepError::fatal(ErrorBody::new(
            ErrorCode::StartFailed,
            format!(
                "The published ports of {} need the image {image}, which this engine does not have. Build it with \
                 deploy/build-images.sh forwarder, or name another with plugin.forwarder_image; then start again.",
                record.id
            ),
        )));
    }
    ctx.engine.ensure_network(&ctx.policy.outside()).await?;
    if let Some(there) = ctx.container(&record.id, Role::Forwarder).await?
        && there.label(label::START) != spec.labels.get(label::START).map(String::as_str)
    {
        ctx.engine.remove(&there.id).await?;
    }
    ctx.engine.create(&spec).await?;
    Ok(())
}

/// Starts the forwarder, before the plugin: a port that is taken is found out before anything runs.
pub(super) async fn start(ctx: &Context, record: &Record, manifest: &Manifest) -> Result<(), StepError> {
    if ctx.policy.forwards(manifest) {
        ctx.engine.start(&ctx.policy.forwarder_name(&record.id)).await?;
    }
    Ok(())
}

/// Removes the forwarder, if there is one.
pub(super) async fn remove(ctx: &Context, id: &PluginId) -> Result<(), StepError> {
    if let Some(there) = ctx.container(id, Role::Forwarder).await? {
        ctx.engine.remove(&there.id).await?;
    }
    Ok(())
}

/// Whether what the plugin's ports need is there. What cannot be seen counts as there.
pub(crate) async fn is_in_order(ctx: &Context, record: &Record, manifest: &Manifest) -> bool {
    let Some(start) = record.start.as_ref().filter(|start| start.progress > StartProgress::Prepared) else {
        return true;
    };
    if !ctx.policy.forwards(manifest) {
        return true;
    }
    match ctx.container(&record.id, Role::Forwarder).await {
        Ok(Some(there)) => {
            matches!(there.state, State::Running { .. })
                && there.label(label::START) == Some(&start.id.to_string())
        }
        Ok(None) => false,
        Err(_) => true,
    }
}

/// Puts the forwarder of a running plugin right. The plugin runs on whatever comes of it.
pub(super) async fn mend(ctx: &Context, subject: &Subject) -> Result<(), StepError> {
    let record = subject.record.as_ref().ok_or_else(missing_subject)?;
    let manifest = record.manifest();
    let start_id = record.start.as_ref().map(|s| s.id).ok_or_else(missing_subject)?;
    let result = async {
        prepare(ctx, record, &manifest, start_id).await?;
        start(ctx, record, &manifest).await
    };
    match result.await {
        Ok(()) => {
            let message = format!(
                "What carries the published ports of {} had ended, was held or was removed; it runs again.",
                record.id
            );
            ctx.reporter.notice(EventKind::Drift, &record.id, message, "the forwarder was not there");
            Ok(())
        }
        // A container that cannot be started any more is made anew at the next try.
        Err(error) => {
            if !error.retryable {
                remove(ctx, &record.id).await?;
            }
            Err(StepError::passing(error.body))
        }
    }
}
