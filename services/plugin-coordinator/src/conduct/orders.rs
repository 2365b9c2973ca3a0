//! What is decided, as it is recorded; the plugin's worker, which is woken for it, does the rest.

use envelope::PluginId;
use envelope::payload::event::EventKind;

use super::hearing::Life;
use crate::context::Context;
use crate::record::{Desired, StartProgress, Suspended};
use crate::registrations::{LOOKS, TableError};
use crate::supervisor::Supervisor;

/// Does something to a record, and again where somebody else changed the record meanwhile.
async fn unless_overtaken<T, F>(attempt: impl Fn() -> F) -> Result<T, TableError>
where
    F: Future<Output = Result<T, TableError>>,
{
    for _ in 1..LOOKS {
        match attempt().await {
            Err(TableError::Changed(_)) => {}
            done => return done,
        }
    }
    attempt().await
}

/// Stops a plugin until somebody asks for a start. An operation that would make it run ends.
///
/// # Errors
/// The registry cannot be read or written.
pub(crate) async fn halt(
    ctx: &Context,
    supervisor: &Supervisor,
    id: &PluginId,
    why: &str,
) -> Result<(), TableError> {
    unless_overtaken(|| try_halt(ctx, supervisor, id, why)).await
}

async fn try_halt(
    ctx: &Context,
    supervisor: &Supervisor,
    id: &PluginId,
    why: &str,
) -> Result<(), TableError> {
    let (record, operation) = ctx.registrations.both(id).await?;
    let Some(mut record) = record.filter(|record| record.desired == Desired::Running) else { return Ok(()) };
    let operation = operation.filter(|operation| operation.work.makes_it_run());
    let correlation_id = uuid::Uuid::now_v7().to_string();
    record.halt(why, why, &correlation_id);
    match &operation {
        None => ctx.registrations.advance(Some(&mut record), None).await?,
        Some(operation) => {
            let answer = operation.cancelled(&format!("because the framework stops the plugin: {why}"));
            ctx.end(Some(&record), operation, &answer).await?;
        }
    }
    let message = format!("{id} was stopped: {why}. It stays stopped until somebody asks for a start.");
    ctx.reporter.notice(EventKind::Flood, id, message, why);
    match operation {
        // A pull that is wanted no more can last for half an hour.
        Some(ended) if ended.work.is_bringing() => supervisor.interrupt(id),
        _ => supervisor.wake_known(id),
    }
    Ok(())
}

/// Records that a plugin listens to its control topics in this life of its process.
///
/// # Errors
/// The registry cannot be read or written.
pub(crate) async fn listens(ctx: &Context, id: &PluginId, life: Life) -> Result<(), TableError> {
    unless_overtaken(|| try_listens(ctx, id, life)).await
}

async fn try_listens(ctx: &Context, id: &PluginId, life: Life) -> Result<(), TableError> {
    let Some(mut record) = ctx.registrations.plugin(id).await? else { return Ok(()) };
    let Some(start) = record.start.as_mut().filter(|start| (start.id, start.started_at) == life) else {
        return Ok(());
    };
    start.listened = start.started_at;
    ctx.registrations.advance(Some(&mut record), None).await
}

/// What became of the wish to restart a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restart {
    /// It is recorded, and will be done.
    Recorded,
    /// It was restarted often enough, and is left running.
    GaveUp,
    /// Not now, or not any more: it runs no more as it did, an operation runs on it, or that was decided before.
    Refused,
}

/// Restarts a plugin that is in this life of its process, when no operation runs on it; or gives that up, when it
/// did not help often enough. `why` goes on after its name.
///
/// # Errors
/// The registry cannot be read or written.
pub(crate) async fn restart(
    ctx: &Context,
    id: &PluginId,
    life: Life,
    why: &str,
) -> Result<Restart, TableError> {
    unless_overtaken(|| try_restart(ctx, id, life, why)).await
}

async fn try_restart(ctx: &Context, id: &PluginId, life: Life, why: &str) -> Result<Restart, TableError> {
    let Some(mut record) = ctx.registrations.plugin(id).await? else { return Ok(Restart::Refused) };
    let lives = record
        .start
        .as_ref()
        .is_some_and(|start| start.progress == StartProgress::Ready && (start.id, start.started_at) == life);
    let decided = record.restart.is_some() || record.watchdog.suspended.is_some();
    if record.desired != Desired::Running || !lives || decided || record.is_outdated() {
        return Ok(Restart::Refused);
    }
    let operation = ctx.registrations.running(id).await?;
    if operation.is_some_and(|operation| !operation.work.is_bringing()) {
        // Whatever it does, the process is looked at again after it.
        return Ok(Restart::Refused);
    }
    let done = if record.watchdog.restarts < ctx.settings.watchdog_restarts {
        record.watchdog.restarts += 1;
        record.restart = Some(why.to_owned());
        Restart::Recorded
    } else {
        record.watchdog.suspended = Some(Suspended { why: why.to_owned(), since: crate::clock::now() });
        Restart::GaveUp
    };
    ctx.registrations.advance(Some(&mut record), None).await?;
    Ok(done)
}
