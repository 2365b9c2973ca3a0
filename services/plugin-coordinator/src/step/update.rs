//! Updating and rolling back: what is to be takes the place of what is, once everything that it needs is there, and
//! goes back by itself when it does not get ready.

use std::time::Duration;

use chassis::CallError;
use envelope::payload::event::EventKind;
use envelope::payload::lifecycle::{InstallRequest, Updated};
use envelope::payload::login::DeprovisionRequest;
use envelope::payload::state::Phase;
use envelope::{Answer, ErrorBody, ErrorCode, StartId};
use manifest::Manifest;
use serde_json::json;

use super::{StepError, Subject, install, missing_subject, start, stop};
use crate::admission;
use crate::context::Context;
use crate::operation::{Running, Swap};
use crate::policy;
use crate::record::{Desired, Record, StartProgress};
use crate::registrations::Name;

/// What a swap may take beside stopping what was and starting what is to be.
const AROUND: Duration = Duration::from_secs(60);

/// Whether an update would change nothing.
pub(super) fn is_unchanged(record: &Record, request: &InstallRequest, digest: &str) -> bool {
    let release = &record.release;
    release.digest == digest
        && request.manifest.as_ref().is_none_or(|manifest| manifest == release.manifest.document())
        && request.config.as_ref().is_none_or(|config| Some(config) == release.config.as_ref())
}

/// Ends an update that changes nothing.
pub(super) async fn unchanged(ctx: &Context, operation: &Running, record: &Record) -> Result<(), StepError> {
    let answer = updated(record, &record.manifest(), &Swap::of(&record.release), false);
    ctx.end(None, operation, &answer).await?;
    Ok(())
}

/// Lets what was pulled in, and has its rights made while what is goes on.
pub(super) async fn stage(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let operation = subject.operation.ok_or_else(missing_subject)?;
    let mut record = subject.record.ok_or_else(missing_subject)?;
    let (next, manifest) = install::examine(ctx, &operation, Some(&record.release)).await?;
    record.stage(next);
    match claim(ctx, &mut record, Some(&operation)).await? {
        None => Ok(()),
        Some(name) => {
            let owner = ctx.registrations.owner(&name).await?.unwrap_or_default();
            Err(StepError::fatal(admission::taken(&manifest.id, &name, &owner)))
        }
    }
}

/// The names of everything that a plugin is, was, and is to be next.
fn names(record: &Record) -> Vec<Name> {
    let mut names: Vec<Name> =
        record.releases().flat_map(|release| admission::names(&release.manifest())).collect();
    names.sort();
    names.dedup();
    names
}

/// Records the plugin with the names of all that it is, was, and is to be. Answers one that another plugin has.
async fn claim(
    ctx: &Context,
    record: &mut Record,
    operation: Option<&Running>,
) -> Result<Option<Name>, StepError> {
    let names = names(record);
    Ok(ctx.registrations.claim(record, &names, operation).await?)
}

/// What was replaced before the last time is its own no more, once what came has its place for good.
pub(super) async fn settle(ctx: &Context, record: &mut Record, operation: &Running) -> Result<(), StepError> {
    if operation.work.swap().is_some() {
        claim(ctx, record, Some(operation)).await?;
    }
    Ok(())
}

/// What is to be takes the place of what is: a container of that is stopped next. Both other coordinators must be
/// there, for without them nothing could be started in its place.
pub(super) async fn swap(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let thread = subject.thread();
    let mut operation = subject.operation.ok_or_else(missing_subject)?;
    let mut record = subject.record.ok_or_else(missing_subject)?;
    if record.next.is_none() {
        return Err(missing_subject());
    }
    let was = record.manifest();
    let running = record.start.clone().filter(|start| start.progress > StartProgress::Begun);
    if let Some(start) = &running {
        // The end of a start that there never was: nothing is changed by it, whatever was lost meanwhile.
        let request = DeprovisionRequest { plugin_id: record.id.clone(), start_id: StartId::new() };
        there(ctx.peers.deprovision(request, &thread).await)?;
        there(ctx.peers.issue(start::token_request(&record, &was, start.id), &thread).await)?;
    }
    let kept = record.swap();
    let now = crate::clock::now();
    let lasts = policy::stop_bound(&was) + record.manifest().start_timeout() + AROUND;
    if record.desired == Desired::Running {
        record.forgive();
        record.retry_at = None;
        record.restart = None;
    }
    if let Some(swap) = operation.work.swap_mut() {
        swap.swapped = true;
        swap.kept = kept;
        swap.away_since = running.filter(|start| start.progress == StartProgress::Ready).map(|_| now);
    }
    operation.deadline = now.after(lasts);
    Ok(ctx.registrations.advance(Some(&mut record), Some(&operation)).await?)
}

/// That a coordinator refuses shows that it is there.
fn there(answer: Result<(), CallError>) -> Result<(), StepError> {
    match answer {
        Ok(()) => Ok(()),
        Err(error) if error.is_retryable() => Err(error.into()),
        Err(_) => Ok(()),
    }
}

/// The operation that was to bring what is next has ended.
pub(super) async fn unstage(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let mut record = subject.record.ok_or_else(missing_subject)?;
    record.unstage();
    claim(ctx, &mut record, None).await?;
    Ok(())
}

/// Before the swap nothing has changed for what runs; after it, what was comes back.
pub(super) async fn fail(ctx: &Context, subject: Subject, body: ErrorBody) -> Result<(), StepError> {
    let Some(swap) = subject.operation.as_ref().and_then(|o| o.work.swap()).cloned() else {
        return Err(missing_subject());
    };
    let Some(record) = &subject.record else { return super::remove::abandon(ctx, subject).await };
    if !swap.swapped {
        return abort(ctx, subject, body).await;
    }
    match (swap.failed, record.desired) {
        (None, Desired::Running) => go_back(ctx, subject, body).await,
        (Some(first), Desired::Running) => {
            let message = format!(
                "{} So it went back to {}, which did not get ready either: {}",
                first.message, swap.from.version, body.message
            );
            super::failure::fail_start(ctx, subject, ErrorBody { message, ..first }).await
        }
        (_, Desired::Stopped | Desired::Absent { .. }) => super::failure::goes_on(ctx, subject, body).await,
    }
}

/// What runs was not touched yet, and is not.
async fn abort(ctx: &Context, subject: Subject, body: ErrorBody) -> Result<(), StepError> {
    let operation = subject.operation.ok_or_else(missing_subject)?;
    let mut record = subject.record.ok_or_else(missing_subject)?;
    if record.next.is_some() {
        record.unstage();
        claim(ctx, &mut record, Some(&operation)).await?;
    }
    install::abort(ctx, Subject { record: Some(record), operation: Some(operation) }, body).await
}

/// What came did not get ready: what was takes its place again, in a generation of its own.
async fn go_back(ctx: &Context, subject: Subject, body: ErrorBody) -> Result<(), StepError> {
    let mut operation = subject.operation.ok_or_else(missing_subject)?;
    let mut record = subject.record.ok_or_else(missing_subject)?;
    let tried = record.manifest();
    let (seen, left) = match stop::collect(ctx, &mut record, &tried, true).await {
        Ok(seen) => (seen, None),
        // Whoever asked is to be answered in time, so the way back begins. What is left is of no start any more, and is
        // removed before anything else is done.
        Err(error) if operation.deadline <= crate::clock::now() => (None, Some(error.body)),
        Err(error) => return Err(error),
    };
    record.drop_start();
    let Some(was) = record.previous.take() else { return Err(missing_subject()) };
    record.release = *was;
    record.advance_generation();
    record.forgive();
    record.retry_at = None;
    let manifest = record.manifest();
    let mut message = format!("{} {} did not get ready: {}", tried.id, tried.version, body.message);
    if let Some(left) = left {
        message = format!("{message} Its container could not be put away in time: {}", left.message);
    }
    record.enter(Phase::Starting, Some(message.clone()), &operation.cause(), &operation.correlation_id);
    if let Some(swap) = operation.work.swap_mut() {
        record.previous = swap.kept.take();
        let failed = super::failure::with_exit(body, seen.as_ref());
        swap.failed = Some(ErrorBody { message: message.clone(), ..failed });
    }
    let lasts = policy::stop_bound(&tried) + manifest.start_timeout() + AROUND;
    operation.deadline = crate::clock::now().after(lasts);
    claim(ctx, &mut record, Some(&operation)).await?;
    let notice = format!("{message} It goes back to {}.", manifest.version);
    ctx.reporter.notice(EventKind::Drift, &record.id, notice, &operation.cause());
    Ok(())
}

/// What an update or a rollback that has come to its end is answered with.
pub(super) fn answer(record: &Record, manifest: &Manifest, swap: &Swap) -> Answer {
    match &swap.failed {
        None => updated(record, manifest, swap, true),
        Some(failed) => {
            let message = format!("{} It runs {} again.", failed.message, manifest.version);
            Answer::Failure(
                ErrorBody::new(ErrorCode::RolledBack, message)
                    .with_details(json!({"code": failed.code, "failure": failed.details})),
            )
        }
    }
}

fn updated(record: &Record, manifest: &Manifest, swap: &Swap, changed: bool) -> Answer {
    let away = swap.away_since.map(|since| crate::clock::now().since(since));
    let updated = Updated {
        plugin_id: record.id.clone(),
        version: manifest.version.to_string(),
        previous_version: swap.from.version.clone(),
        digest: record.release.digest.clone(),
        previous_digest: swap.from.digest.clone(),
        changed,
        downtime_ms: away.map(|away| u64::try_from(away.as_millis()).unwrap_or(u64::MAX)),
        warnings: record.release.warnings.clone(),
    };
    Answer::Success(serde_json::to_value(updated).expect("answers have string keys"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Release;

    #[test]
    fn only_the_same_image_manifest_and_configuration_are_unchanged() {
        let record = crate::record::tests::record();
        let Release { digest, manifest, .. } = record.release.clone();
        let request = InstallRequest {
            plugin_id: record.id.clone(),
            source: None,
            config: None,
            manifest: None,
            approve: None,
        };
        assert!(is_unchanged(&record, &request, &digest));
        assert!(!is_unchanged(&record, &request, "sha256:other"));
        let same = InstallRequest { manifest: Some(manifest.document().clone()), ..request.clone() };
        assert!(is_unchanged(&record, &same, &digest));
        let config = InstallRequest { config: Some(json!({"gain": 1})), ..request.clone() };
        assert!(!is_unchanged(&record, &config, &digest));
        let manifest = InstallRequest { manifest: Some(json!({"id": "other"})), ..request };
        assert!(!is_unchanged(&record, &manifest, &digest));
    }
}
