//! The steps of the plan: each does one thing, is idempotent, and records what it did.

mod drift;
mod failure;
mod forward;
mod install;
mod pull;
mod remove;
mod start;
mod stop;
mod update;

use envelope::payload::event::Progress;
use envelope::{Answer, ErrorBody};

use crate::context::Context;
use crate::operation::Running;
use crate::peers::Thread;
use crate::plan::Step;
use crate::record::Record;
use crate::registrations::TableError;
use crate::report;

pub(crate) use drift::{Found, find, of as drift};
pub(crate) use failure::{StepError, cancel, expire, expire_unheard, fail};
pub(crate) use forward::is_in_order as is_forwarded;

/// A plugin at the beginning of a step.
pub(crate) struct Subject {
    pub(crate) record: Option<Record>,
    pub(crate) operation: Option<Running>,
}

impl Subject {
    /// What joins a request to another coordinator to the one that caused it.
    fn thread(&self) -> Thread {
        match &self.operation {
            Some(operation) => Thread {
                correlation_id: operation.correlation_id.clone(),
                traceparent: operation.traceparent.clone(),
            },
            None => Thread { correlation_id: uuid::Uuid::now_v7().to_string(), traceparent: None },
        }
    }

    fn cause(&self, otherwise: &str) -> (String, String) {
        match &self.operation {
            Some(operation) => (operation.cause(), operation.correlation_id.clone()),
            None => (otherwise.to_owned(), uuid::Uuid::now_v7().to_string()),
        }
    }
}

/// Takes one step.
///
/// # Errors
/// It could not be taken; whether it is worth another try, the error says.
pub(crate) async fn take(ctx: &Context, step: Step, subject: Subject) -> Result<(), StepError> {
    match step {
        Step::Resolve => install::resolve(ctx, subject).await,
        Step::Pull => install::pull(ctx, subject).await,
        Step::Register => install::register(ctx, subject).await,
        Step::Stage => update::stage(ctx, subject).await,
        Step::Swap => update::swap(ctx, subject).await,
        Step::Unstage => update::unstage(ctx, subject).await,
        Step::Begin => start::begin(ctx, subject).await,
        Step::AclRefused => start::acl_refused(ctx, &subject),
        Step::Prepare => start::prepare(ctx, subject).await,
        Step::StartProcess => start::start_process(ctx, subject).await,
        Step::MarkReady => start::mark_ready(ctx, subject).await,
        Step::Confirm => start::confirm(ctx, &subject).await,
        Step::Forward => forward::mend(ctx, &subject).await,
        Step::Mend(drift) => drift::mend(ctx, &subject, drift).await,
        Step::Resume => stop::resume(ctx, subject).await,
        Step::EndedEarly => start::ended_early(ctx, &subject).await,
        Step::NotReady => start::not_ready(ctx, &subject).await,
        Step::Ended => stop::ended(ctx, subject).await,
        Step::Lost => stop::lost(ctx, subject).await,
        Step::Pause => stop::pause(ctx, subject).await,
        Step::Renew => stop::renew(ctx, subject).await,
        Step::Steady => start::steady(ctx, subject).await,
        Step::Stop => stop::stop(ctx, subject).await,
        Step::RemoveContainer => stop::remove_container(ctx, subject).await,
        Step::RemoveStray => stop::remove_stray(ctx, &subject).await,
        Step::MarkStopped => stop::mark_stopped(ctx, subject).await,
        Step::PayOwed => remove::pay_owed(ctx, subject).await,
        Step::Uninstall => remove::uninstall(ctx, subject).await,
        Step::Abandon => remove::abandon(ctx, subject).await,
        Step::AwaitAcl
        | Step::AwaitAbsent
        | Step::AwaitEngine
        | Step::AwaitReady(_)
        | Step::Settled(_)
        | Step::Retire => Ok(()),
    }
}

/// Records the step that an operation is at, and tells of it.
pub(crate) async fn enter(
    ctx: &Context,
    operation: Option<&mut Running>,
    step: Step,
) -> Result<(), TableError> {
    let Some(operation) = operation else { return Ok(()) };
    if operation.step == step.name() {
        return Ok(());
    }
    step.name().clone_into(&mut operation.step);
    ctx.registrations.advance(None, Some(operation)).await?;
    let progress = Progress { step: step.name().to_owned(), done: None, total: None, unit: None };
    ctx.reporter.progress(operation, progress);
    Ok(())
}

/// What an operation that has come to its end is answered with: how the plugin is now, or what it may do.
fn answer(ctx: &Context, record: &Record, operation: &Running) -> Answer {
    let manifest = record.manifest();
    if let Some(swap) = operation.work.swap() {
        return update::answer(record, &manifest, swap);
    }
    let data = if operation.work.is_about_grants() {
        serde_json::to_value(record.grants(&manifest))
    } else {
        let health = ctx.health.now(&record.id, None);
        serde_json::to_value(report::state(record, &manifest, &ctx.settings.node, None, &health))
    };
    Answer::Success(data.expect("answers have string keys"))
}

fn missing_subject() -> StepError {
    StepError::fatal(ErrorBody::new(
        envelope::ErrorCode::Internal,
        "A step was planned for a plugin or an operation that is not there. This is a fault of the \
         coordinator; please report it with the coordinator's log.",
    ))
}
