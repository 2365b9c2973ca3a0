//! Requests: one file for each operation. A handler records what is wanted, or answers from what is recorded;
//! it never moves a container.

mod inspect;
mod install;
mod list;
mod logs;
mod remove;
mod restart;
mod start;
mod stop;

use chassis::{Permit, Reply, Request};
use envelope::{Answer, ErrorBody, ErrorCode, Operation, PluginId};
use serde_json::json;

use crate::context::Context;
use crate::operation::{Running, Work};
use crate::record::{Desired, Record};
use crate::registrations::TableError;
use crate::supervisor::Supervisor;

/// How often a request is looked at again when a worker wrote meanwhile; a step writes once or twice.
const LOOKS: usize = 16;

/// Why a handler did not do it.
enum Refusal {
    /// With what the caller is told.
    Told(ErrorBody),
    /// The plugin's row was written meanwhile: the handler must look again.
    Overtaken,
}

impl From<ErrorBody> for Refusal {
    fn from(body: ErrorBody) -> Self {
        Self::Told(body)
    }
}

impl From<TableError> for Refusal {
    fn from(error: TableError) -> Self {
        if matches!(error, TableError::Changed(_)) {
            return Self::Overtaken;
        }
        tracing::error!(error = telemetry::chain(&error), "the plugin registry failed");
        Self::Told(ErrorBody::new(
            ErrorCode::Internal,
            "The plugin registry cannot be read or written. Check the disk under the coordinator's data \
             folder; its log has more.",
        ))
    }
}

pub(crate) async fn handle(
    ctx: &Context,
    supervisor: &Supervisor,
    permit: &Permit,
    request: &Request,
) -> Result<Reply, ErrorBody> {
    for _ in 0..LOOKS {
        match dispatch(ctx, supervisor, permit, request).await {
            Ok(reply) => return Ok(reply),
            Err(Refusal::Told(body)) => return Err(body),
            Err(Refusal::Overtaken) => {}
        }
    }
    Err(ErrorBody::new(ErrorCode::Busy, "The plugin is being changed all the time. Ask again."))
}

async fn dispatch(
    ctx: &Context,
    supervisor: &Supervisor,
    permit: &Permit,
    request: &Request,
) -> Result<Reply, Refusal> {
    match permit.operation() {
        Operation::Install => install::handle(ctx, supervisor, permit, request).await,
        Operation::Start => start::handle(ctx, supervisor, permit, request).await,
        Operation::Stop => stop::handle(ctx, supervisor, permit, request).await,
        Operation::Restart => restart::handle(ctx, supervisor, permit, request).await,
        Operation::Remove => remove::handle(ctx, supervisor, permit, request).await,
        Operation::List => list::handle(ctx).await,
        Operation::Inspect => inspect::handle(ctx, request).await,
        Operation::Logs => logs::handle(ctx, request).await,
        other => Err(Refusal::Told(ErrorBody::new(
            ErrorCode::UnknownOperation,
            format!("The plugin coordinator does not {other}."),
        ))),
    }
}

/// The plugin, which must be installed.
async fn installed(ctx: &Context, id: &PluginId) -> Result<Record, Refusal> {
    let record = ctx.registrations.plugin(id).await?;
    record.ok_or_else(|| {
        Refusal::Told(ErrorBody::new(
            ErrorCode::UnknownPlugin,
            format!("No plugin {id} is installed. See list for those that are, or install it first."),
        ))
    })
}

/// The operation that runs on the plugin, unless it is the one that this very request began before a restart.
enum InTheWay {
    Nothing,
    Ours,
    Other(Box<Running>),
}

async fn in_the_way(ctx: &Context, id: &PluginId, request: &Request) -> Result<InTheWay, Refusal> {
    let running = ctx.registrations.running(id).await?;
    Ok(match running {
        None => InTheWay::Nothing,
        Some(running) if running.request_id == request.id => InTheWay::Ours,
        Some(running) => InTheWay::Other(Box::new(running)),
    })
}

fn busy(running: &Running) -> ErrorBody {
    ErrorBody::new(
        ErrorCode::Busy,
        format!(
            "{} of {} is running (operation {}, at the step {}). Wait for its end and ask again.",
            running.work.operation(),
            running.plugin_id,
            running.id,
            running.step
        ),
    )
    .with_details(json!({"operation_id": running.id, "step": running.step}))
}

fn being_removed(record: &Record) -> Result<(), ErrorBody> {
    match record.desired {
        Desired::Absent { .. } => Err(ErrorBody::new(
            ErrorCode::InvalidPhase,
            format!("{} is being removed. Wait for its end; then it can be installed again.", record.id),
        )),
        Desired::Running | Desired::Stopped => Ok(()),
    }
}

/// A stop or a removal ends a start that still runs; everything else waits for its turn.
fn give_way(running: &Running, by: Operation) -> Result<Answer, ErrorBody> {
    match running.work {
        Work::Start | Work::Restart { .. } => Ok(Answer::Failure(ErrorBody::new(
            ErrorCode::Cancelled,
            format!(
                "{} of {} was ended by a {by} request before it was done.",
                running.work.operation(),
                running.plugin_id
            ),
        ))),
        Work::Install(_) | Work::Stop | Work::Remove => Err(busy(running)),
    }
}
