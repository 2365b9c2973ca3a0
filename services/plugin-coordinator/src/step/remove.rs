//! Taking back what a plugin had: logins and tokens, image, data, topics, its place in the registry.

use envelope::payload::event::EventKind;
use envelope::payload::lifecycle::Removed;
use envelope::payload::login::DeprovisionRequest;
use envelope::payload::token::RevokeRequest;
use envelope::{Answer, ErrorBody, ErrorCode, PluginId};
use manifest::Manifest;

use super::{StepError, Subject, missing_subject};
use crate::context::Context;
use crate::engine::Removal;
use crate::operation::Work;
use crate::record::Desired;

/// Takes logins and tokens of past starts back, one after another.
pub(super) async fn pay_owed(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let thread = subject.thread();
    let mut record = subject.record.ok_or_else(missing_subject)?;
    let Some(start_id) = record.owed.first().copied() else { return Ok(()) };
    let plugin_id = record.id.clone();
    ctx.peers.revoke(RevokeRequest { plugin_id: plugin_id.clone(), start_id }, &thread).await?;
    ctx.peers.deprovision(DeprovisionRequest { plugin_id, start_id }, &thread).await?;
    record.owed.retain(|owed| *owed != start_id);
    Ok(ctx.registrations.advance(Some(&mut record), None).await?)
}

/// Removes what is left, and forgets the plugin. Its rights and logins are gone already.
pub(super) async fn uninstall(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let record = subject.record.ok_or_else(missing_subject)?;
    let manifest = record.manifest();
    let others = ctx.registrations.plugins().await?;
    let shared = others
        .iter()
        .any(|other| other.id != record.id && other.release.reference == record.release.reference);
    let image_removed = !shared
        && match ctx.engine.remove_image(&record.release.reference).await? {
            Removal::Removed | Removal::Missing => true,
            Removal::InUse => false,
        };
    let remove = matches!(record.desired, Desired::Absent { remove_volumes: true });
    let (mut volumes_removed, mut volumes_kept) = (Vec::new(), Vec::new());
    for name in ctx.policy.volumes(&record.id, &manifest).into_keys() {
        let gone = remove
            && match ctx.engine.remove_volume(&name).await? {
                Removal::Removed | Removal::Missing => true,
                Removal::InUse => false,
            };
        if gone { volumes_removed.push(name) } else { volumes_kept.push(name) }
    }
    clear_leftovers(ctx, &manifest).await?;
    let removed = Removed { plugin_id: record.id.clone(), image_removed, volumes_removed, volumes_kept };
    let answer = Answer::Success(serde_json::to_value(removed).expect("answers have string keys"));
    let operation = subject.operation.filter(|o| o.work == Work::Remove);
    ctx.registrations.forget(&record, operation.as_ref().map(|o| (o, &answer))).await?;
    ctx.health.forget(&record.id);
    ctx.conduct.forget(&record.id);
    ctx.reporter.forget(&record.id);
    if let Some(operation) = operation {
        ctx.reporter.outcome(&operation, &answer);
    }
    Ok(())
}

/// Clears what it left retained. Its login is gone, so nothing more comes. A removal does not hang on what the
/// broker never lets us do.
async fn clear_leftovers(ctx: &Context, manifest: &Manifest) -> Result<(), StepError> {
    let names: Vec<PluginId> = manifest.names().cloned().collect();
    match ctx.peers.clear_leftovers(&names).await {
        Ok(cleared) => {
            tracing::info!(plugin_id = %manifest.id, cleared, "what it left retained is cleared");
            Ok(())
        }
        Err(error) if error.is_retryable() => Err(StepError::passing(ErrorBody::new(
            ErrorCode::DependencyUnavailable,
            super::failure::sentence(&telemetry::chain(&error)),
        ))),
        Err(error) => {
            let message = format!(
                "What {} left retained could not be cleared: {}. Clear the topics below its name yourself.",
                manifest.id,
                telemetry::chain(&error)
            );
            ctx.reporter.notice(EventKind::Drift, &manifest.id, message, "a removal");
            Ok(())
        }
    }
}

/// An operation on a plugin that is not registered (any more).
pub(super) async fn abandon(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let operation = subject.operation.ok_or_else(missing_subject)?;
    let answer = Answer::Failure(ErrorBody::new(
        ErrorCode::UnknownPlugin,
        format!("No plugin {} is installed. See list for those that are.", operation.plugin_id),
    ));
    ctx.registrations.finish(None, &operation, &answer).await?;
    ctx.reporter.outcome(&operation, &answer);
    Ok(())
}
