//! Stopping, and finding a container stopped, changed or gone.

use envelope::payload::event::EventKind;
use envelope::payload::lifecycle::ExitRecord;
use envelope::payload::state::Phase;
use envelope::{Answer, Timestamp};
use manifest::Manifest;

use super::{StepError, Subject, missing_subject};
use crate::context::Context;
use crate::engine::Exit;
use crate::operation::Work;
use crate::record::{Desired, Record, StartProgress};
use crate::report;

const TAIL_LINES: u32 = 50;
const TAIL_BYTES: usize = 8 * 1024;

/// Stops a plugin's container if it runs, keeps its exit code and last lines, and removes it if `remove`.
pub(super) async fn collect(
    ctx: &Context,
    record: &mut Record,
    manifest: &Manifest,
    remove: bool,
) -> Result<Option<ExitRecord>, StepError> {
    let name = ctx.policy.container_name(&record.id);
    let Some(container) = ctx.engine.inspect(&name).await? else { return Ok(None) };
    let exit = if container.state.is_running() {
        ctx.engine.stop(&name, manifest.stop_timeout()).await?
    } else {
        container.state.exit()
    };
    let seen = match exit {
        Some(exit) => Some(note_exit(ctx, record, &name, exit).await?),
        None => None,
    };
    if remove {
        ctx.engine.remove(&name).await?;
    }
    Ok(seen)
}

async fn note_exit(
    ctx: &Context,
    record: &mut Record,
    container: &str,
    exit: Exit,
) -> Result<ExitRecord, StepError> {
    let tail = ctx.engine.logs(container, TAIL_LINES, TAIL_BYTES).await?;
    let seen = ExitRecord {
        code: exit.code,
        oom_killed: exit.oom_killed,
        at: Timestamp::now(),
        log_tail: tail.text,
    };
    record.last_exit = Some(seen.clone());
    Ok(seen)
}

/// Sends the stop signal, waits as long as the manifest says, then kills.
pub(super) async fn stop(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let mut record = subject.record.ok_or_else(missing_subject)?;
    let phase = match record.desired {
        Desired::Absent { .. } => Phase::Removing,
        _ => Phase::Stopping,
    };
    enter(ctx, &mut record, phase, subject.operation.as_ref()).await?;
    let name = ctx.policy.container_name(&record.id);
    ctx.engine.stop(&name, record.manifest().stop_timeout()).await?;
    Ok(())
}

async fn enter(
    ctx: &Context,
    record: &mut Record,
    phase: Phase,
    operation: Option<&crate::operation::Running>,
) -> Result<(), StepError> {
    if record.standing.phase == phase {
        return Ok(());
    }
    let (cause, correlation_id) = match operation {
        Some(operation) => (operation.cause(), operation.correlation_id.clone()),
        None => (record.standing.cause.clone(), record.standing.correlation_id.clone()),
    };
    record.enter(phase, None, &cause, &correlation_id);
    ctx.registrations.advance(Some(record), None).await?;
    let manifest = record.manifest();
    let health = ctx.health.now(&record.id, None);
    ctx.reporter.tell(record, &manifest, operation, &health);
    Ok(())
}

/// Keeps exit code and last lines, and removes the container. Its login and token are owed back.
pub(super) async fn remove_container(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let mut record = subject.record.ok_or_else(missing_subject)?;
    let manifest = record.manifest();
    collect(ctx, &mut record, &manifest, true).await?;
    record.drop_start();
    Ok(ctx.registrations.advance(Some(&mut record), None).await?)
}

/// It is stopped, and whoever asked is told.
pub(super) async fn mark_stopped(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let (cause, correlation_id) = subject.cause("it should not run");
    let mut record = subject.record.ok_or_else(missing_subject)?;
    record.enter(Phase::Stopped, None, &cause, &correlation_id);
    record.failures = 0;
    record.retry_at = None;
    let Some(operation) = subject.operation.filter(|o| o.work == Work::Stop) else {
        return Ok(ctx.registrations.advance(Some(&mut record), None).await?);
    };
    let health = ctx.health.now(&record.id, None);
    let state = report::state(&record, &record.manifest(), &ctx.settings.node, None, &health);
    let answer = Answer::Success(serde_json::to_value(state).expect("answers have string keys"));
    ctx.registrations.finish(Some(&record), &operation, &answer).await?;
    ctx.reporter.outcome(&operation, &answer);
    Ok(())
}

/// Stops the process for a restart; the container, its login and its token stay.
pub(super) async fn pause(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let mut record = subject.record.ok_or_else(missing_subject)?;
    let mut operation = subject.operation.ok_or_else(missing_subject)?;
    enter(ctx, &mut record, Phase::Stopping, Some(&operation)).await?;
    let manifest = record.manifest();
    collect(ctx, &mut record, &manifest, false).await?;
    if let Some(start) = &mut record.start {
        start.progress = StartProgress::Prepared;
        start.started_at = None;
    }
    operation.work = Work::Restart { stopped: true };
    Ok(ctx.registrations.advance(Some(&mut record), Some(&operation)).await?)
}

/// Its process ended although it should run: noted, and started again after a pause, with the same login.
pub(super) async fn ended(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let mut record = subject.record.clone().ok_or_else(missing_subject)?;
    let manifest = record.manifest();
    let seen = collect(ctx, &mut record, &manifest, false).await?;
    let how = match seen {
        Some(exit) if exit.oom_killed => "was ended because it used more memory than it may".to_owned(),
        Some(exit) => format!("exited with code {}", exit.code),
        None => "ended".to_owned(),
    };
    let body = envelope::ErrorBody::new(
        envelope::ErrorCode::StartFailed,
        format!("{} {how} although nobody had asked for it. It is started again after a pause.", record.id),
    );
    ctx.reporter.notice(EventKind::Drift, &record.id, body.message.clone(), "the container ended");
    super::fail(ctx, Subject { record: Some(record), operation: subject.operation }, body).await
}

/// Its container is gone although it should run: a new one is made.
pub(super) async fn lost(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let mut record = subject.record.ok_or_else(missing_subject)?;
    let message = format!("The container of {} was removed by somebody else; a new one is made.", record.id);
    ctx.reporter.notice(EventKind::Drift, &record.id, message, "the container is gone");
    record.drop_start();
    Ok(ctx.registrations.advance(Some(&mut record), None).await?)
}

/// A container in the plugin's place that is not of its current start.
pub(super) async fn remove_stray(ctx: &Context, subject: &Subject) -> Result<(), StepError> {
    let record = subject.record.as_ref().ok_or_else(missing_subject)?;
    let message = format!("A container of {} that is not of its current start was removed.", record.id);
    ctx.reporter.notice(EventKind::Drift, &record.id, message, "a container was found");
    ctx.engine.remove(&ctx.policy.container_name(&record.id)).await?;
    Ok(())
}
