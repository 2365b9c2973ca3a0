//! Taking back what a plugin had: logins and tokens, image, data, topics, its place in the registry.

use std::collections::BTreeSet;

use envelope::payload::event::EventKind;
use envelope::payload::lifecycle::Removed;
use envelope::payload::login::DeprovisionRequest;
use envelope::payload::token::RevokeRequest;
use envelope::{Answer, ErrorBody, ErrorCode, PluginId};
use manifest::Manifest;

use super::{StepError, Subject, missing_subject};
use crate::context::Context;
use crate::engine::Removal;
use crate::housekeeping::{self, Needs, NeedsError};
use crate::operation::Work;
use crate::record::{Desired, Record, Release};

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
    // What it was before its last update has left its part too.
    let manifests: Vec<Manifest> = record.releases().map(Release::manifest).collect();
    let image_removed = remove_images(ctx, &record).await?;
    let remove = matches!(record.desired, Desired::Absent { remove_volumes: true });
    let (mut volumes_removed, mut volumes_kept) = (Vec::new(), Vec::new());
    let volumes: BTreeSet<String> =
        manifests.iter().flat_map(|manifest| ctx.policy.volumes(&record.id, manifest).into_keys()).collect();
    for name in volumes {
        let gone = remove
            && match ctx.engine.remove_volume(&name).await? {
                Removal::Removed | Removal::Missing => true,
                Removal::InUse => false,
            };
        if gone { volumes_removed.push(name) } else { volumes_kept.push(name) }
    }
    let names: BTreeSet<PluginId> = manifests.iter().flat_map(Manifest::names).cloned().collect();
    clear_leftovers(ctx, &record.id, names.into_iter().collect()).await?;
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

/// Removes a plugin's images. Whether none of them is left: another plugin may need one, or somebody's container is
/// made from it.
async fn remove_images(ctx: &Context, record: &Record) -> Result<bool, StepError> {
    let needs = match Needs::now(ctx, None).await {
        Ok(needs) => needs,
        Err(NeedsError::Tables(error)) => return Err(error.into()),
        Err(error @ NeedsError::Unreadable(_)) => {
            tracing::warn!(plugin_id = %record.id, error = telemetry::chain(&error), "its images stay");
            return Ok(false);
        }
    };
    let mut none_left = true;
    for release in record.releases() {
        let reference = release.reference.as_str();
        none_left &= !needs.contains(reference)
            && match housekeeping::remove_image(ctx, reference).await? {
                Removal::Removed | Removal::Missing => true,
                Removal::InUse => false,
            };
    }
    Ok(none_left)
}

/// Clears what it left retained. Its login is gone, so nothing more comes. A removal does not hang on what the
/// broker never lets us do.
async fn clear_leftovers(ctx: &Context, id: &PluginId, names: Vec<PluginId>) -> Result<(), StepError> {
    match ctx.peers.clear_leftovers(&names).await {
        Ok(cleared) => {
            tracing::info!(plugin_id = %id, cleared, "what it left retained is cleared");
            Ok(())
        }
        Err(error) if error.is_retryable() => Err(StepError::passing(ErrorBody::new(
            ErrorCode::DependencyUnavailable,
            super::failure::sentence(&telemetry::chain(&error)),
        ))),
        Err(error) => {
            let message = format!(
                "What {} left retained could not be cleared: {}. Clear the topics below its name yourself.",
                id,
                telemetry::chain(&error)
            );
            ctx.reporter.notice(EventKind::Drift, id, message, "a removal");
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
    ctx.end(None, &operation, &answer).await?;
    Ok(())
}
