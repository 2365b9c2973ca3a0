//! How steps fail, and what becomes of the plugin and the operation then.

use std::time::Duration;

use chassis::CallError;
use envelope::payload::lifecycle::ExitRecord;
use envelope::payload::state::Phase;
use envelope::{Answer, ErrorBody, ErrorCode, Timestamp};
use serde_json::json;

use super::{Subject, stop};
use crate::context::Context;
use crate::engine::{EngineError, StartError};
use crate::operation::{Swap, Work};
use crate::record::Desired;
use crate::registrations::TableError;

/// First pause after a failure in the background; doubled with each in a row, up to [`MAX_BACK_OFF`].
const BACK_OFF: Duration = Duration::from_secs(10);
const MAX_BACK_OFF: Duration = Duration::from_secs(300);

/// Why a step could not be taken.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{body}")]
pub(crate) struct StepError {
    /// What is told to whoever asked.
    pub(crate) body: ErrorBody,
    /// Whether the same step may succeed later without anything being changed.
    pub(crate) retryable: bool,
    /// Something else was recorded meanwhile: it is no failure, the plan is made anew.
    pub(crate) overtaken: bool,
}

impl StepError {
    pub(crate) fn fatal(body: ErrorBody) -> Self {
        Self { body, retryable: false, overtaken: false }
    }

    pub(crate) fn passing(body: ErrorBody) -> Self {
        Self { body, retryable: true, overtaken: false }
    }
}

impl From<TableError> for StepError {
    fn from(error: TableError) -> Self {
        if let TableError::Changed(id) = &error {
            let body =
                ErrorBody::new(ErrorCode::Busy, format!("{id} was changed by another request meanwhile."));
            return Self { body, retryable: true, overtaken: true };
        }
        tracing::error!(error = telemetry::chain(&error), "the plugin registry failed");
        Self::passing(ErrorBody::new(
            ErrorCode::Internal,
            "The coordinator's database failed. Check the disk under its data folder; its log has more.",
        ))
    }
}

impl From<EngineError> for StepError {
    fn from(error: EngineError) -> Self {
        let text = telemetry::chain(&error);
        let code = if error.is_unreachable() || matches!(error, EngineError::Timeout { .. }) {
            ErrorCode::EngineUnavailable
        } else {
            ErrorCode::EngineRefused
        };
        Self {
            body: ErrorBody::new(code, sentence(&text)),
            retryable: error.is_retryable(),
            overtaken: false,
        }
    }
}

impl From<StartError> for StepError {
    fn from(error: StartError) -> Self {
        let code = match error {
            StartError::PortTaken { .. } => ErrorCode::PortTaken,
            StartError::BadCommand { .. } | StartError::MissingNetwork { .. } | StartError::Stuck { .. } => {
                ErrorCode::StartFailed
            }
            StartError::Engine(error) => return error.into(),
        };
        // A taken port may be free later, but whoever asks for a start is told at once.
        Self::fatal(ErrorBody::new(code, sentence(&error.to_string())))
    }
}

impl From<CallError> for StepError {
    fn from(error: CallError) -> Self {
        let retryable = error.is_retryable();
        let body = match &error {
            CallError::Refused { source, .. } if !retryable => source.clone(),
            _ => ErrorBody::new(ErrorCode::DependencyUnavailable, sentence(&telemetry::chain(&error))),
        };
        Self { body, retryable, overtaken: false }
    }
}

pub(super) fn sentence(text: &str) -> String {
    let mut chars = text.trim_end_matches('.').chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

/// When the next try is due after `failures` in a row.
fn retry_at(failures: u32) -> Timestamp {
    let factor = 1_u32 << failures.saturating_sub(1).min(5);
    crate::clock::now().after((BACK_OFF * factor).min(MAX_BACK_OFF))
}

/// A step failed for good. What is half done is undone, and whoever asked is answered.
///
/// # Errors
/// That failed too: it is tried again.
pub(crate) async fn fail(ctx: &Context, subject: Subject, body: ErrorBody) -> Result<(), StepError> {
    match subject.operation.as_ref().map(|o| &o.work) {
        Some(Work::Install(_)) => super::install::abort(ctx, subject, body).await,
        Some(Work::Stop | Work::Remove) => goes_on(ctx, subject, body).await,
        Some(work) if work.swap().is_some() => super::update::fail(ctx, subject, body).await,
        Some(work) if let Some(done) = work.recorded() => {
            let body = ErrorBody { message: format!("{done} {}", body.message), ..body };
            match subject.record.as_ref().map(|record| record.desired) {
                Some(Desired::Running) => fail_start(ctx, subject, body).await,
                _ => goes_on(ctx, subject, body).await,
            }
        }
        Some(_) => fail_start(ctx, subject, body).await,
        None => match subject.record.as_ref().map(|record| record.desired) {
            Some(Desired::Running) => fail_start(ctx, subject, body).await,
            // It is being put away, which is tried until it is done: it fails at nothing, and keeps saying what it said.
            _ => Err(StepError::passing(body)),
        },
    }
}

/// What is recorded will be done: only the wait for it ends.
pub(super) async fn goes_on(ctx: &Context, subject: Subject, body: ErrorBody) -> Result<(), StepError> {
    let Some(operation) = &subject.operation else { return Ok(()) };
    let note = "It goes on in the background, and will be done as soon as it can be.";
    let body = ErrorBody { message: format!("{} {note}", body.message), ..body };
    let answer = Answer::Failure(body);
    ctx.end(None, operation, &answer).await?;
    Ok(())
}

/// The failure with how the container ended, where it says nothing else yet.
pub(super) fn with_exit(body: ErrorBody, seen: Option<&ExitRecord>) -> ErrorBody {
    match seen {
        Some(exit) if body.details.is_null() => {
            body.with_details(json!({"exit_code": exit.code, "log_tail": exit.log_tail}))
        }
        _ => body,
    }
}

/// A start that somebody asked for is given up: its container is removed. One that the coordinator does by
/// itself is tried again after a pause, with its container kept.
///
/// Whoever asked is answered at the deadline, also while the engine is away or refuses to undo it. The start then stays
/// recorded, as that of a plugin that should not run any more, so that the next passes remove its container.
pub(super) async fn fail_start(ctx: &Context, subject: Subject, body: ErrorBody) -> Result<(), StepError> {
    let (cause, correlation_id) = subject.cause("a failure");
    let Some(mut record) = subject.record else { return Ok(()) };
    let give_up = subject.operation.as_ref().is_some_and(|o| o.work == Work::Start);
    let manifest = record.manifest();
    let is_over = subject.operation.as_ref().is_some_and(|o| o.deadline <= crate::clock::now());
    let known = record.last_exit.clone();
    let (body, is_undone) = match stop::collect(ctx, &mut record, &manifest, give_up).await {
        Ok(seen) => (with_exit(body, seen.as_ref()), true),
        Err(error) if is_over => {
            // What ended before the engine refused was seen.
            let seen = record.last_exit.clone().filter(|exit| known.as_ref() != Some(exit));
            let note = left_undone(&error.body, give_up);
            let body = ErrorBody { message: format!("{} {note}", body.message), ..body };
            (with_exit(body, seen.as_ref()), false)
        }
        Err(error) => return Err(error),
    };
    record.failures = record.failures.saturating_add(1);
    record.restart = None;
    if give_up {
        if is_undone {
            record.drop_start();
        }
        record.desired = Desired::Stopped;
        record.retry_at = None;
    } else {
        record.rewind_start();
        record.retry_at = Some(retry_at(record.failures));
    }
    record.enter(Phase::Failed, Some(body.message.clone()), &cause, &correlation_id);
    match &subject.operation {
        Some(operation) => {
            let answer = Answer::Failure(body);
            ctx.end(Some(&record), operation, &answer).await?;
        }
        None => ctx.registrations.advance(Some(&mut record), None).await?,
    }
    Ok(())
}

/// What is said of a container that the engine has not stopped or removed, and of what becomes of it.
fn left_undone(error: &ErrorBody, give_up: bool) -> String {
    let what = if give_up { "Its container is removed" } else { "It is started again" };
    match error.code {
        ErrorCode::EngineUnavailable => format!(
            "The container engine does not answer, so it is not known how its container is and what that said last. \
             {what} once the engine is back."
        ),
        _ => format!(
            "Its container could not be put away: {} {what} as soon as the engine lets it be.",
            error.message
        ),
    }
}

/// Somebody wants the operation to end before it is done: what is half done is undone.
///
/// # Errors
/// Ending it failed: it is tried again.
pub(crate) async fn cancel(ctx: &Context, subject: Subject, by: &str) -> Result<(), StepError> {
    let Some(operation) = &subject.operation else { return Ok(()) };
    let message = format!(
        "{} of {} was ended by a cancel request of {by}.",
        operation.work.operation(),
        operation.plugin_id
    );
    fail(ctx, subject, ErrorBody::new(ErrorCode::Cancelled, message)).await
}

/// An operation's deadline has passed. `last` is why the last step did not succeed.
///
/// # Errors
/// Ending it failed too: it is tried again.
pub(crate) async fn expire(
    ctx: &Context,
    subject: Subject,
    last: Option<ErrorBody>,
) -> Result<(), StepError> {
    let Some(operation) = &subject.operation else { return Ok(()) };
    let body = last.unwrap_or_else(|| {
        ErrorBody::new(
            ErrorCode::TimedOut,
            format!(
                "{} of {} was not done in time; it was at the step {}.",
                operation.work.operation(),
                operation.plugin_id,
                operation.step
            ),
        )
    });
    fail(ctx, subject, body).await
}

/// An operation's deadline has passed, and the plugin had no time enough in which it could have been heard. Nothing has
/// failed: what runs may be well, and is left to run until it can be judged. Only what an update has just brought gives
/// way to what is known to have worked.
///
/// # Errors
/// Ending it failed: it is tried again.
pub(crate) async fn expire_unheard(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let Some(operation) = &subject.operation else { return Ok(()) };
    let unheard = format!(
        "It is not known in time whether {} got ready: the plugin coordinator, or its connection to the broker, was away \
         while it could have reported its health.",
        operation.plugin_id
    );
    let message = match (operation.work.swap(), operation.work.recorded()) {
        (Some(Swap { failed: None, .. }), _) => {
            return fail(ctx, subject, ErrorBody::new(ErrorCode::DependencyUnavailable, unheard)).await;
        }
        (Some(Swap { failed: Some(first), from, .. }), _) => {
            let message = format!("{} So it went back to {}. {unheard}", first.message, from.version);
            let body = ErrorBody { message, ..first.clone() };
            return goes_on(ctx, subject, body).await;
        }
        (None, Some(done)) => format!("{done} {unheard}"),
        (None, None) => unheard,
    };
    goes_on(ctx, subject, ErrorBody::new(ErrorCode::DependencyUnavailable, message)).await
}
