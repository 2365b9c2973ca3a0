//! What the engine's disk holds of ours: whether there is room left, and images that no plugin needs any more.
//!
//! An image is removed when it was pulled for a plugin, was not there before, and is none of what a plugin is, was
//! before its last update, or is to be. The engine keeps what a container is made from, whoever made it.

mod images;

use std::collections::BTreeSet;
use std::time::Duration;

use chassis::HealthBoard;
use chassis::health::Condition;
use envelope::PluginId;
use store::room::size;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use crate::context::Context;
use crate::engine::{EngineError, Removal};
use crate::operation::Running;
use crate::record::{Desired, Record};
use crate::registrations::{Everything, TableError};

pub(crate) use images::{Images, SqlitePulled};

/// How often the room is looked at.
const LOOK: Duration = Duration::from_secs(30);

/// The part of the coordinator's health that tells of it.
const PART: &str = "engine's disk";

/// Why it is not known which images are needed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NeedsError {
    /// Which ones are needed is not known.
    #[error("which images are needed cannot be read")]
    Tables(#[from] TableError),
    /// A plugin or an operation whose row cannot be read may need any image.
    #[error("no image is removed while {0} rows of the plugin registry cannot be read; the log names them")]
    Unreadable(usize),
}

/// Looks after the engine's disk, for good.
pub(crate) async fn run(ctx: &Context, health: &HealthBoard) {
    let every = Duration::from_secs(ctx.settings.image_sweep_seconds.into());
    let mut due = Instant::now();
    loop {
        // An engine that does not answer is told elsewhere; what was told of its disk stays.
        if let Ok(info) = ctx.engine.info().await {
            health.set(PART, condition(info.storage_free_bytes, ctx.settings.disk_reserve_bytes));
            if due <= Instant::now() {
                if let Err(error) = sweep(ctx).await {
                    tracing::warn!(error = telemetry::chain(&error), "images were not looked through");
                }
                due = Instant::now() + every;
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// How the engine's disk is. Where it cannot be seen there is nothing to tell.
fn condition(free: Option<u64>, reserve: u64) -> Condition {
    match free {
        Some(free) if free < reserve => Condition::Degraded(format!(
            "{} are free where the engine keeps its images, and {} have to be (plugin.disk_reserve_bytes); no plugin \
             is installed or updated until there is room. Free some, for instance with docker image prune",
            size(free),
            size(reserve)
        )),
        _ => Condition::Good,
    }
}

/// Which images are needed. While this is held it stays so: whoever is to pull waits, for an image that is found
/// there must not go before its plugin is registered.
pub(crate) struct Needs {
    needed: BTreeSet<String>,
    _nobody_pulls: OwnedMutexGuard<()>,
}

impl Needs {
    /// As it is now. What the operation on `ended` brings counts no more.
    ///
    /// # Errors
    /// It is not known: then every image may be needed.
    pub(crate) async fn now(ctx: &Context, ended: Option<&PluginId>) -> Result<Self, NeedsError> {
        let nobody_pulls = ctx.images.still().await;
        let Everything { plugins, mut running, unreadable } = ctx.registrations.everything().await?;
        if unreadable > 0 {
            return Err(NeedsError::Unreadable(unreadable));
        }
        running.retain(|operation| Some(&operation.plugin_id) != ended);
        Ok(Self { needed: needed(&plugins, &running), _nobody_pulls: nobody_pulls })
    }

    /// Whether this image is.
    pub(crate) fn contains(&self, reference: &str) -> bool {
        self.needed.contains(reference)
    }
}

/// What plugins are, were before their last update and are to be, and what operations are bringing or could still
/// bring back. A plugin that is being removed needs none: of several, whichever goes last takes the image with it.
fn needed(plugins: &[Record], running: &[Running]) -> BTreeSet<String> {
    let stays = |record: &&Record| !matches!(record.desired, Desired::Absent { .. });
    let releases = plugins.iter().filter(stays).flat_map(Record::releases);
    let mut needed: BTreeSet<String> = releases.map(|release| release.reference.clone()).collect();
    for operation in running {
        let staged = operation.work.staging().and_then(|staging| staging.resolved.as_ref());
        needed.extend(staged.map(|image| image.reference.clone()));
        let kept = operation.work.swap().and_then(|swap| swap.kept.as_ref());
        needed.extend(kept.map(|release| release.reference.clone()));
    }
    needed
}

/// Removes the images that were pulled for plugins and that none needs any more. Answers which.
///
/// # Errors
/// Which are needed is not known: then none is removed.
pub(crate) async fn sweep(ctx: &Context) -> Result<Vec<String>, NeedsError> {
    let needs = Needs::now(ctx, None).await?;
    let mut removed = Vec::new();
    for reference in ctx.images.all().await? {
        if needs.contains(&reference) {
            continue;
        }
        match remove_image(ctx, &reference).await {
            Ok(Removal::Removed) => {
                tracing::info!(reference, "an image that no plugin needs was removed");
                removed.push(reference);
            }
            Ok(Removal::Missing | Removal::InUse) => {}
            Err(error) => {
                tracing::warn!(reference, error = telemetry::chain(&error), "an image was not removed")
            }
        }
    }
    Ok(removed)
}

/// Removes an image, and forgets that it was pulled for a plugin: what is there under its name from then on is
/// somebody else's.
///
/// # Errors
/// What the engine says.
pub(crate) async fn remove_image(ctx: &Context, reference: &str) -> Result<Removal, EngineError> {
    let removal = ctx.engine.remove_image(reference).await?;
    if removal != Removal::InUse
        && let Err(error) = ctx.images.forget(reference).await
    {
        // The next sweep forgets it.
        tracing::warn!(reference, error = telemetry::chain(&error), "a removed image is still noted");
    }
    Ok(removal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_below_its_reserve_is_told_with_both() {
        let gib = 1 << 30;
        assert_eq!(condition(None, gib), Condition::Good);
        assert_eq!(condition(Some(gib), gib), Condition::Good);
        let why = match condition(Some(gib / 2), gib) {
            Condition::Degraded(why) => why,
            other => format!("{other:?}"),
        };
        assert!(why.contains("512 MiB are free") && why.contains("1 GiB have to be"), "{why}");
    }

    #[test]
    fn what_a_plugin_is_was_and_is_to_be_is_needed_and_nothing_else() {
        let mut record = crate::record::tests::record();
        let release = |reference: &str| {
            let mut release = record.release.clone();
            reference.clone_into(&mut release.reference);
            Box::new(release)
        };
        let (previous, next) = (release("previous"), release("next"));
        record.release.reference = "now".to_owned();
        record.previous = Some(previous);
        record.next = Some(next);
        let all = ["next", "now", "previous"].map(str::to_owned);
        assert_eq!(needed(&[record.clone()], &[]), all.into());
        record.desired = Desired::Absent { remove_volumes: false };
        assert!(needed(&[record], &[]).is_empty());
    }
}
