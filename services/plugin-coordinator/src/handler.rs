//! Requests: one file for each operation. A handler records what is wanted, or answers from what is recorded;
//! it never moves a container.

mod approve;
mod cancel;
mod config;
mod grants;
mod inspect;
mod install;
mod list;
mod logs;
mod operations;
mod remove;
mod restart;
mod revoke_grant;
mod rollback;
mod start;
mod stop;
mod update;

use chassis::{Permit, Reply, Request};
use envelope::{Answer, ErrorBody, ErrorCode, Operation, PluginId, Principal};
use manifest::Manifest;
use serde_json::json;

use crate::admission;
use crate::context::Context;
use crate::operation::{Running, Work};
use crate::policy;
use crate::record::{Desired, Record};
use crate::registrations::{LOOKS, TableError};
use crate::report::{self, Why};
use crate::supervisor::Supervisor;

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
        Operation::Update => update::handle(ctx, supervisor, permit, request).await,
        Operation::Rollback => rollback::handle(ctx, supervisor, permit, request).await,
        Operation::Config => config::handle(ctx, supervisor, permit, request).await,
        Operation::Operations => operations::handle(ctx, request).await,
        Operation::Cancel => cancel::handle(ctx, supervisor, permit, request).await,
        Operation::List => list::handle(ctx).await,
        Operation::Inspect => inspect::handle(ctx, permit, request).await,
        Operation::Logs => logs::handle(ctx, permit, request).await,
        Operation::Grants => grants::handle(ctx, request).await,
        Operation::Approve => approve::handle(ctx, supervisor, permit, request).await,
        Operation::RevokeGrant => revoke_grant::handle(ctx, supervisor, permit, request).await,
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

/// Keeps what may hold another's passwords from a plugin that asks for it.
fn only_its_own(permit: &Permit, id: &PluginId) -> Result<(), Refusal> {
    if matches!(permit.principal(), Principal::Plugin(asking) if asking != id) {
        let message = format!("A plugin is shown this of itself only; of {id} it is shown to operators.");
        return Err(ErrorBody::new(ErrorCode::Forbidden, message).into());
    }
    Ok(())
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

/// A plugin that a request may change now.
struct Admitted {
    record: Record,
    manifest: Manifest,
    /// The operation that ends for it, with its answer.
    instead: Option<(Box<Running>, Answer)>,
}

/// Lets a request at an installed plugin, when nothing is in its way that does not give way. None when this
/// very request began its operation before a restart: its answer comes at the operation's end.
async fn admit(
    ctx: &Context,
    supervisor: &Supervisor,
    permit: &Permit,
    request: &Request,
    id: &PluginId,
) -> Result<Option<Admitted>, Refusal> {
    let by = permit.operation();
    let mut record = installed(ctx, id).await?;
    if by != Operation::Remove {
        being_removed(&record)?;
    }
    let instead = match in_the_way(ctx, id, request).await? {
        InTheWay::Ours => {
            supervisor.wake(id);
            return Ok(None);
        }
        InTheWay::Nothing => None,
        InTheWay::Other(running) => Some((give_way(&running, by)?, running)),
    };
    let instead = instead.map(|(answer, running)| (running, answer));
    if instead.is_some() {
        record.unstage();
    }
    let manifest = record.manifest();
    Ok(Some(Admitted { record, manifest, instead }))
}

impl Admitted {
    /// Records the operation, and what is wanted of the plugin; the rest is its worker's.
    async fn begin(
        self,
        ctx: &Context,
        supervisor: &Supervisor,
        operation: &Running,
    ) -> Result<Reply, Refusal> {
        let instead = self.instead.as_ref().map(|(running, answer)| (&**running, answer.clone()));
        ctx.registrations.begin(operation, Some(&self.record), instead).await?;
        match &self.instead {
            // A pull that is wanted no more can last for half an hour.
            Some((ended, _)) if ended.work.is_bringing() => supervisor.interrupt(&operation.plugin_id),
            _ => supervisor.wake(&operation.plugin_id),
        }
        Ok(Reply::Later)
    }

    /// How the plugin is, when that is what was asked for.
    fn state(&self, ctx: &Context) -> Reply {
        let health = ctx.health.now(&self.record.id, None);
        Reply::now(&report::state(&self.record, &self.manifest, &ctx.settings.node, None, &health))
    }

    /// Refuses to start a plugin that cannot run without what was taken back from it.
    fn can_run(&self) -> Result<(), ErrorBody> {
        let lacks = self.record.lacks();
        if lacks.is_empty() {
            return Ok(());
        }
        Err(admission::lacking(&self.record.id, &lacks, &self.record.approval(&self.manifest)))
    }
}

/// Records what is different from now on. A plugin that runs has to follow before that is answered, and what another
/// operation was bringing has to end; of one that does not run only the record changes.
async fn follow(
    ctx: &Context,
    supervisor: &Supervisor,
    permit: &Permit,
    request: &Request,
    mut plugin: Admitted,
    work: Work,
) -> Result<Reply, Refusal> {
    let id = plugin.record.id.clone();
    let runs = plugin.record.start.is_some() || plugin.record.desired == Desired::Running;
    if runs || plugin.instead.is_some() {
        let lasts = policy::stop_bound(&plugin.manifest) + plugin.manifest.start_timeout() + start::AROUND;
        let operation = Running::new(permit, request, id, work, lasts);
        return plugin.begin(ctx, supervisor, &operation).await;
    }
    ctx.registrations.advance(Some(&mut plugin.record), None).await?;
    supervisor.wake(&id);
    match work.is_about_grants() {
        true => Ok(Reply::now(&plugin.record.grants(&plugin.manifest))),
        false => Ok(plugin.state(ctx)),
    }
}

/// Why what a handler does at once happens.
fn why(permit: &Permit, request: &Request) -> Why {
    Why {
        cause: format!("{} by {}", permit.operation(), permit.principal()),
        by: permit.principal().to_string(),
        operation_id: None,
        correlation_id: request.correlation_id.clone(),
        traceparent: request.traceparent.clone(),
    }
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

/// A stop, a removal and a revocation end what makes a plugin run; everything else waits for its turn.
fn give_way(running: &Running, by: Operation) -> Result<Answer, ErrorBody> {
    let urgent = matches!(by, Operation::Stop | Operation::Remove | Operation::RevokeGrant);
    if urgent && running.work.makes_it_run() {
        return Ok(running.cancelled(&format!("by a {by} request before it was done")));
    }
    Err(busy(running))
}

#[cfg(test)]
mod tests {
    use envelope::{OperationId, Timestamp};

    use super::*;

    fn running(work: Work) -> Running {
        Running {
            id: OperationId::new(),
            plugin_id: PluginId::parse("focuser").expect("an id"),
            request_id: "r".into(),
            work,
            principal: "operator:ada".into(),
            named: true,
            step: "accepted".into(),
            started_at: Timestamp::from_seconds(1000),
            deadline: Timestamp::from_seconds(2000),
            correlation_id: "c".into(),
            traceparent: None,
            cancelled_by: None,
        }
    }

    #[test]
    fn what_makes_a_plugin_run_gives_way_to_what_takes_from_it_and_nothing_else_does() {
        use Operation as O;
        let yields =
            [Work::Start, Work::Restart { stopped: true }, Work::Config, Work::Approve, Work::RevokeGrant];
        for work in yields {
            for by in [O::Stop, O::Remove, O::RevokeGrant] {
                let answer = give_way(&running(work.clone()), by).expect("gives way");
                assert!(matches!(answer, Answer::Failure(body) if body.code == ErrorCode::Cancelled));
            }
            for by in [O::Start, O::Restart, O::Approve] {
                let refused = give_way(&running(work.clone()), by).expect_err("does not give way");
                assert_eq!(refused.code, ErrorCode::Busy, "{by}");
            }
        }
        for work in [Work::Stop, Work::Remove] {
            for by in [O::Start, O::Stop, O::Remove, O::Approve, O::RevokeGrant] {
                assert_eq!(give_way(&running(work.clone()), by).expect_err("goes on").code, ErrorCode::Busy);
            }
        }
    }
}
