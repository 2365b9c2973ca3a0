//! Stopping, and finding a container stopped, changed or gone.

use std::time::Duration;

use envelope::payload::event::EventKind;
use envelope::payload::lifecycle::ExitRecord;
use envelope::payload::login::DeprovisionRequest;
use envelope::payload::state::Phase;
use envelope::payload::token::RevokeRequest;
use manifest::Manifest;

use super::{StepError, Subject, missing_subject};
use crate::context::Context;
use crate::engine::{EngineError, Exit};
use crate::operation::Work;
use crate::peers::Thread;
use crate::policy::Role;
use crate::record::{Desired, Record};

const TAIL_LINES: u32 = 50;
const TAIL_BYTES: usize = 8 * 1024;
/// How long a plugin may take to stop when something was taken back from it: a device or a folder is out of its reach only
/// then, and the plugin says itself how long its stop takes.
const REVOKED: Duration = Duration::from_secs(10);
/// The pause before a container that cannot be started is followed by another.
const ANOTHER: Duration = Duration::from_secs(2);

/// Stops a plugin's container if it runs, keeps its exit code and last lines, and removes it if `remove`.
pub(super) async fn collect(
    ctx: &Context,
    record: &mut Record,
    manifest: &Manifest,
    remove: bool,
) -> Result<Option<ExitRecord>, StepError> {
    let name = ctx.policy.container_name(&record.id);
    if remove {
        // First: without the plugin's container nobody would look for it.
        super::forward::remove(ctx, &record.id).await?;
    }
    // A container of somebody else that has its name is not ours to stop or remove.
    let Some(container) = ctx.container(&record.id, Role::Plugin).await? else {
        return Ok(None);
    };
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
    let log_tail = match ctx.engine.logs(container, TAIL_LINES, TAIL_BYTES).await {
        Ok(tail) => tail.text,
        // Somebody removes the container just now, and its log with it.
        Err(EngineError::NotFound { .. } | EngineError::Conflict { .. }) => String::new(),
        Err(error) => return Err(error.into()),
    };
    let seen = ExitRecord { code: exit.code, oom_killed: exit.oom_killed, at: crate::clock::now(), log_tail };
    record.last_exit = Some(seen.clone());
    Ok(seen)
}

/// Sends the stop signal, waits as long as the manifest says, then kills.
pub(super) async fn stop(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let thread = subject.thread();
    let mut record = subject.record.ok_or_else(missing_subject)?;
    let phase = match record.desired {
        Desired::Absent { .. } => Phase::Removing,
        _ => Phase::Stopping,
    };
    // What is left of a start that failed while the engine was away goes quietly: the plugin keeps saying that it failed.
    let is_left = record.desired == Desired::Stopped
        && record.standing.phase == Phase::Failed
        && subject.operation.is_none();
    if !is_left {
        enter(ctx, &mut record, phase, subject.operation.as_ref()).await?;
    }
    if record.is_outdated() && !record.revoked().is_empty() {
        disarm(ctx, &record, &thread).await;
    }
    let name = ctx.policy.container_name(&record.id);
    let patience = record.manifest().stop_timeout();
    let is_revoked = subject.operation.as_ref().is_some_and(|operation| operation.work == Work::RevokeGrant);
    let patience = if is_revoked { patience.min(REVOKED) } else { patience };
    ctx.engine.stop(&name, patience).await?;
    Ok(())
}

/// Takes login, token and ports of a start back while its process still runs: what was taken back from the plugin is
/// out of its reach at once, and not only when it has ended. No stop waits for this: what does not succeed
/// here is owed, as after every stop.
async fn disarm(ctx: &Context, record: &Record, thread: &Thread) {
    let Some(start_id) = record.start.as_ref().map(|start| start.id) else { return };
    let plugin_id = record.id.clone();
    let revoke = RevokeRequest { plugin_id: plugin_id.clone(), start_id };
    let deprovision = DeprovisionRequest { plugin_id, start_id };
    let (token, login) =
        tokio::join!(ctx.peers.revoke(revoke, thread), ctx.peers.deprovision(deprovision, thread));
    for error in [token.err(), login.err()].into_iter().flatten() {
        tracing::warn!(error = telemetry::chain(&error), "a right that was taken back lasts until the stop");
    }
    if let Err(error) = super::forward::remove(ctx, &record.id).await {
        tracing::warn!(error = error.body.message, "a port that was taken back is open until the stop");
    }
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
    let halted = subject.record.as_ref().and_then(|record| record.halted.clone());
    let (cause, correlation_id) = subject.cause(halted.as_deref().unwrap_or("it should not run"));
    let mut record = subject.record.ok_or_else(missing_subject)?;
    record.enter(Phase::Stopped, record.why_stopped(), &cause, &correlation_id);
    record.forgive();
    record.retry_at = None;
    let Some(operation) = subject.operation.filter(|o| o.work.ends_stopped()) else {
        return Ok(ctx.registrations.advance(Some(&mut record), None).await?);
    };
    super::update::settle(ctx, &mut record, &operation).await?;
    let answer = super::answer(ctx, &record, &operation);
    ctx.end(Some(&record), &operation, &answer).await?;
    Ok(())
}

/// Stops the process for a restart; the container, its login and its token stay.
pub(super) async fn pause(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let mut record = subject.record.ok_or_else(missing_subject)?;
    let mut operation = subject.operation.ok_or_else(missing_subject)?;
    enter(ctx, &mut record, Phase::Stopping, Some(&operation)).await?;
    let manifest = record.manifest();
    collect(ctx, &mut record, &manifest, false).await?;
    record.rewind_start();
    record.restart = None;
    operation.work = Work::Restart { stopped: true };
    Ok(ctx.registrations.advance(Some(&mut record), Some(&operation)).await?)
}

/// Stops the process because the framework restarts it; the container, its login and its token stay. It is
/// started again after a pause, which is longer after each failure, or at once when somebody asked for a start
/// meanwhile.
pub(super) async fn renew(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let mut record = subject.record.ok_or_else(missing_subject)?;
    let why = record.restart.clone().unwrap_or_else(|| "is restarted by the framework".to_owned());
    let cause = format!("{} {why}", record.id);
    let correlation_id = uuid::Uuid::now_v7().to_string();
    if subject.operation.is_none() && record.standing.phase != Phase::Stopping {
        record.enter(Phase::Stopping, Some(why.clone()), &cause, &correlation_id);
        ctx.registrations.advance(Some(&mut record), None).await?;
    }
    let manifest = record.manifest();
    collect(ctx, &mut record, &manifest, false).await?;
    record.restart = None;
    if subject.operation.is_some() {
        record.rewind_start();
        return Ok(ctx.registrations.advance(Some(&mut record), None).await?);
    }
    let message = format!("{cause}. It is started again after a pause.");
    let body = envelope::ErrorBody::new(envelope::ErrorCode::StartFailed, message);
    super::fail(ctx, Subject { record: Some(record), operation: None }, body).await
}

/// Its process ended although it should run: noted, and started again after a pause, with the same login.
pub(super) async fn ended(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let mut record = subject.record.clone().ok_or_else(missing_subject)?;
    let manifest = record.manifest();
    let seen = collect(ctx, &mut record, &manifest, false).await?;
    let how = how(seen.map(|exit| (exit.code, exit.oom_killed)));
    let body = envelope::ErrorBody::new(
        envelope::ErrorCode::StartFailed,
        format!("{} {how} although nobody had asked for it. It is started again after a pause.", record.id),
    );
    ctx.reporter.notice(EventKind::Drift, &record.id, body.message.clone(), "the container ended");
    super::fail(ctx, Subject { record: Some(record), operation: subject.operation }, body).await
}

/// Its process ended unseen, as all do when the engine or the machine restarts: it is started again at once, with the
/// same login, and nothing is held against it.
pub(super) async fn resume(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let (cause, correlation_id) = subject.cause("it ended while the engine or this coordinator was away");
    let mut record = subject.record.ok_or_else(missing_subject)?;
    let manifest = record.manifest();
    let seen = collect(ctx, &mut record, &manifest, false).await?;
    let how = how(seen.map(|exit| (exit.code, exit.oom_killed)));
    record.rewind_start();
    record.retry_at = None;
    record.enter(Phase::Starting, None, &cause, &correlation_id);
    ctx.registrations.advance(Some(&mut record), None).await?;
    let message = format!(
        "{} {how} while the container engine or this coordinator was away. It is started again at once.",
        record.id
    );
    ctx.reporter.notice(EventKind::Drift, &record.id, message, "the container ended");
    Ok(())
}

/// How a process ended, by its exit code and whether it was for want of memory; goes on after the plugin's name.
pub(super) fn how(exit: Option<(i64, bool)>) -> String {
    match exit {
        Some((_, true)) => "was ended because it used more memory than it may".to_owned(),
        // The engine hears of a want of memory on another way than of the end, and sometimes too late.
        Some((137, false)) => {
            "exited with code 137 (signal 9: killed by somebody, or for want of memory)".to_owned()
        }
        Some((code @ 129..=192, false)) => format!("exited with code {code} (signal {})", code - 128),
        Some((code, false)) => format!("exited with code {code}"),
        None => "ended".to_owned(),
    }
}

/// Its container is gone although it should run: a new one is made.
pub(super) async fn lost(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let record = subject.record.ok_or_else(missing_subject)?;
    let message = format!("The container of {} was removed by somebody else; a new one is made.", record.id);
    ctx.reporter.notice(EventKind::Drift, &record.id, message, "the container is gone");
    anew(ctx, record).await
}

/// Its container can never be started: a new one takes its place, soon, so that an engine that can start none is not
/// kept busy with them.
pub(super) async fn replace(ctx: &Context, mut record: Record, why: &str) -> Result<(), StepError> {
    record.retry_at = Some(crate::clock::now().after(ANOTHER));
    let message = format!("The container of {} is replaced by a new one: {why}.", record.id);
    ctx.reporter.notice(EventKind::Drift, &record.id, message, "the engine refused to start the container");
    ctx.engine.remove(&ctx.policy.container_name(&record.id)).await?;
    anew(ctx, record).await
}

/// There is no container any more. Login and token of the start are owed back, and another start follows.
async fn anew(ctx: &Context, mut record: Record) -> Result<(), StepError> {
    super::forward::remove(ctx, &record.id).await?;
    record.drop_start();
    Ok(ctx.registrations.advance(Some(&mut record), None).await?)
}

/// A container in the plugin's place that is not of its current start.
pub(super) async fn remove_stray(ctx: &Context, subject: &Subject) -> Result<(), StepError> {
    let record = subject.record.as_ref().ok_or_else(missing_subject)?;
    let message = format!("A container of {} that is not of its current start was removed.", record.id);
    super::forward::remove(ctx, &record.id).await?;
    ctx.engine.remove(&ctx.policy.container_name(&record.id)).await?;
    ctx.reporter.notice(EventKind::Drift, &record.id, message, "a container was found");
    Ok(())
}
