//! `cancel`: ends an operation before it is done. What brings a new image is undone by the plugin's worker; a start
//! becomes a stop. Everything else goes on by itself in any case, so that its wait alone would end.
//!
//! It is answered in the transaction in which it does that: handled again after a kill it would find the operation at its
//! end, and deny what it did.

use chassis::{Permit, Reply, Request};
use envelope::payload::lifecycle::CancelRequest;
use envelope::{ErrorBody, ErrorCode};

use super::{Refusal, operations};
use crate::context::Context;
use crate::operation::{Running, Work};
use crate::record::Desired;
use crate::registrations::{Answered, Operated, Outcome};
use crate::supervisor::Supervisor;

pub(super) async fn handle(
    ctx: &Context,
    supervisor: &Supervisor,
    permit: &Permit,
    request: &Request,
) -> Result<Reply, Refusal> {
    let CancelRequest { operation_id } = request.parse()?;
    let Some(found) = ctx.registrations.operation(&operation_id).await? else {
        let message =
            format!("No operation {operation_id} runs or is remembered. See operations for those that are.");
        return Err(ErrorBody::new(ErrorCode::NoSuchOperation, message).into());
    };
    let operation = &found.operation;
    if found.ended_at.is_some() {
        return Err(ended(operation).into());
    }
    let id = operation.plugin_id.clone();
    match &operation.work {
        Work::Install(_) | Work::Update(_) | Work::Rollback(_) => {
            let by = permit.principal().to_string();
            let answered = Answered::with(request, &operations::entry(found.clone()));
            if !ctx.registrations.cancel(&operation_id, &by, &answered).await? {
                return Err(ended(operation).into());
            }
            supervisor.interrupt(&id);
        }
        Work::Start => {
            // As they are together: what came after this start is not undone with it.
            let (record, running) = ctx.registrations.both(&id).await?;
            let Some(mut record) =
                record.filter(|_| running.is_some_and(|running| running.id == operation_id))
            else {
                return Err(Refusal::Overtaken);
            };
            record.desired = Desired::Stopped;
            let answer = operation.cancelled(&format!("by a cancel request of {}", permit.principal()));
            let (at, outcome) = (crate::clock::now(), Some(Outcome::from(&answer)));
            let ended = Operated { operation: operation.clone(), ended_at: Some(at), outcome };
            let answered = Answered::with(request, &operations::entry(ended));
            ctx.registrations.give_up(&record, operation, (&answer, at), &answered).await?;
            ctx.reporter.outcome(operation, &answer);
            supervisor.wake(&id);
        }
        Work::Stop
        | Work::Remove
        | Work::Restart { .. }
        | Work::Config
        | Work::Approve
        | Work::RevokeGrant => {
            let message = format!(
                "{} of {id} cannot be ended half-way: it is at the step {} and goes on until {} at the latest. Stop the \
                 plugin if it should not run.",
                operation.work.operation(),
                operation.step,
                operation.deadline
            );
            return Err(ErrorBody::new(ErrorCode::InvalidPhase, message).into());
        }
    }
    Ok(Reply::Later)
}

fn ended(operation: &Running) -> ErrorBody {
    let message = format!(
        "{} of {} has ended already; see operations for what came of it.",
        operation.work.operation(),
        operation.plugin_id
    );
    ErrorBody::new(ErrorCode::InvalidPhase, message)
}
