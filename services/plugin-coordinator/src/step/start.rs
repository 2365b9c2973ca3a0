//! Starting: rights, login, token, container, process, first health.

use chassis::CallError;
use envelope::payload::login::ProvisionRequest;
use envelope::payload::spec::AclOutcome;
use envelope::payload::state::Phase;
use envelope::payload::token::IssueRequest;
use envelope::{ErrorBody, ErrorCode, StartId};
use manifest::Manifest;

use super::{StepError, Subject, forward, missing_subject};
use crate::context::Context;
use crate::engine::State;
use crate::policy::{self, host};
use crate::record::{Record, Start, StartProgress};

/// The permission that every plugin has.
const READ: &str = "system:read";

/// Chooses the id of the start, before anything is made under it.
pub(super) async fn begin(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let (cause, correlation_id) = subject.cause("the plugin should run");
    let mut record = subject.record.ok_or_else(missing_subject)?;
    let (progress, generation) = (StartProgress::Begun, Some(record.generation));
    record.start = Some(Start { id: StartId::new(), progress, generation, started_at: None, listened: None });
    record.retry_at = None;
    record.enter(Phase::Starting, None, &cause, &correlation_id);
    Ok(ctx.registrations.advance(Some(&mut record), None).await?)
}

/// The message coordinator said that these rights are never given.
pub(super) fn acl_refused(ctx: &Context, subject: &Subject) -> Result<(), StepError> {
    let record = subject.record.as_ref().ok_or_else(missing_subject)?;
    let reasons = match ctx.acls.get(&record.id).map(|acl| acl.outcome) {
        Some(AclOutcome::Refused { reasons }) => reasons,
        _ => Vec::new(),
    };
    Err(StepError::fatal(
        ErrorBody::new(
            ErrorCode::Forbidden,
            format!("The message coordinator refuses the topics of {}: {}", record.id, reasons.join(" ")),
        )
        .with_details(serde_json::json!({"reasons": reasons})),
    ))
}

/// Gets login and token, and makes the container with its configuration in it. Asked again after a crash,
/// login, token and container are the same ones.
pub(super) async fn prepare(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let thread = subject.thread();
    let mut record = subject.record.ok_or_else(missing_subject)?;
    let manifest = record.manifest();
    let start = record.start.as_ref().map(|s| s.id).ok_or_else(missing_subject)?;

    let engine = ctx.engine.as_ref();
    let image = &record.release.reference;
    if engine.image(image).await?.is_none() {
        return Err(StepError::fatal(ErrorBody::new(
            ErrorCode::StartFailed,
            format!(
                "The image {image} is not on this engine any more: somebody removed it. Have it pulled again with \
                 `bigskies plugin update {} {image}`; then start it.",
                record.id
            ),
        )));
    }
    check_host_folders(ctx, &record, &manifest).await?;
    let request = ProvisionRequest {
        plugin_id: record.id.clone(),
        start_id: start,
        uid: record.uid,
        generation: record.generation,
    };
    let login = ctx.peers.provision(request, &thread).await?;
    ctx.peers.issue(token_request(&record, &manifest, start), &thread).await?;

    for network in ctx.policy.networks(&manifest) {
        if network.internal {
            // Made with the framework: the broker is on it. One that we made would have no broker.
            if ctx.engine.network(&network.name).await?.is_none() {
                return Err(StepError::passing(ErrorBody::new(
                    ErrorCode::EngineRefused,
                    format!(
                        "The network {} does not exist on this engine, so no plugin can reach the broker. \
                         Start the broker with `docker compose up`, or correct plugin.network.",
                        network.name
                    ),
                )));
            }
        } else {
            ctx.engine.ensure_network(&network).await?;
        }
    }
    for name in ctx.policy.volumes(&record.id, &manifest).keys() {
        ctx.engine.ensure_volume(name, &ctx.policy.labels(&record.id)).await?;
    }
    let spec = ctx.policy.container(&record, &manifest, start, &login);
    let container = ctx.engine.create(&spec).await?;
    for target in policy::owned_targets(&manifest) {
        ctx.engine.set_owner(&container, &target, policy::owner(&record, &manifest)).await?;
    }
    let files = policy::config_files(&record, &manifest);
    if !files.is_empty() {
        ctx.engine.upload(&container, &files).await?;
    }
    forward::prepare(ctx, &record, &manifest, start).await?;
    if let Some(start) = &mut record.start {
        start.progress = StartProgress::Prepared;
    }
    Ok(ctx.registrations.advance(Some(&mut record), None).await?)
}

/// Refuses host folders that are not what they seem.
async fn check_host_folders(ctx: &Context, record: &Record, manifest: &Manifest) -> Result<(), StepError> {
    match host::deceiving(ctx.engine.as_ref(), &record.release.reference, manifest).await? {
        None => Ok(()),
        Some((path, found)) => Err(StepError::fatal(host::refusal(manifest, &path, found))),
    }
}

/// What a start's token says.
pub(super) fn token_request(record: &Record, manifest: &Manifest, start: StartId) -> IssueRequest {
    let mut scope: Vec<String> = manifest.permissions.iter().map(ToString::to_string).collect();
    if !scope.iter().any(|p| p == READ) {
        scope.push(READ.to_owned());
    }
    IssueRequest { plugin_id: record.id.clone(), start_id: start, scope, digest: manifest.digest() }
}

/// Asks again for the token of a running plugin, which is the same one unless the security coordinator lost
/// what it knew.
pub(super) async fn confirm(ctx: &Context, subject: &Subject) -> Result<(), StepError> {
    let record = subject.record.as_ref().ok_or_else(missing_subject)?;
    let start = record.start.as_ref().ok_or_else(missing_subject)?;
    let request = token_request(record, &record.manifest(), start.id);
    let revoked = match ctx.peers.issue(request, &subject.thread()).await {
        Ok(()) => false,
        // An operator took its tokens away: that is no failure of the plugin, which runs on without.
        Err(CallError::Refused { source, .. }) if is_revoked(&source) => true,
        Err(error) => return Err(error.into()),
    };
    ctx.conduct.tokens_revoked(&record.id, start.id, revoked);
    Ok(())
}

fn is_revoked(refusal: &ErrorBody) -> bool {
    refusal.code == ErrorCode::InvalidPhase && refusal.details["reason"] == "revoked"
}

/// Starts the process. Only health that arrives from now on makes it ready.
pub(super) async fn start_process(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let (cause, correlation_id) = subject.cause("the plugin should run");
    let mut record = subject.record.ok_or_else(missing_subject)?;
    if record.standing.phase != Phase::Starting {
        record.enter(Phase::Starting, None, &cause, &correlation_id);
        ctx.registrations.advance(Some(&mut record), None).await?;
    }
    let name = ctx.policy.container_name(&record.id);
    let manifest = record.manifest();
    forward::start(ctx, &record, &manifest).await?;
    // Taken again after its answer was lost, the step must not forget what was heard since.
    let found = ctx.engine.inspect(&name).await?.map(|container| container.state);
    if !found.as_ref().is_some_and(State::is_running) {
        ctx.health.starts(&record.id);
        // Its binds are made anew, also of a container that ran before: what it ran as can have planted a link.
        check_host_folders(ctx, &record, &manifest).await?;
    }
    match ctx.engine.start(&name).await {
        Err(error) if error.is_of_the_container(matches!(found, Some(State::Created))) => {
            return super::stop::replace(ctx, record, &error.to_string()).await;
        }
        started => started?,
    }
    if let Some(start) = &mut record.start {
        ctx.conduct.starts(&record.id, start.id);
        start.progress = StartProgress::Started;
        start.started_at = Some(crate::clock::now());
    }
    record.retry_at = None;
    Ok(ctx.registrations.advance(Some(&mut record), None).await?)
}

/// It reported health: it runs, and whoever asked is told.
pub(super) async fn mark_ready(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let (cause, correlation_id) = subject.cause("it reported health");
    let mut record = subject.record.ok_or_else(missing_subject)?;
    if let Some(start) = &mut record.start {
        start.progress = StartProgress::Ready;
    }
    record.retry_at = None;
    record.enter(Phase::Running, None, &cause, &correlation_id);
    // Failures are forgotten when it has run well for a while: one that gets ready and fails, again and again,
    // backs off.
    let Some(operation) = subject.operation else {
        return Ok(ctx.registrations.advance(Some(&mut record), None).await?);
    };
    record.forgive();
    super::update::settle(ctx, &mut record, &operation).await?;
    let answer = super::answer(ctx, &record, &operation);
    ctx.end(Some(&record), &operation, &answer).await?;
    Ok(())
}

/// It has run well for a while.
pub(super) async fn steady(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let mut record = subject.record.ok_or_else(missing_subject)?;
    record.forgive();
    Ok(ctx.registrations.advance(Some(&mut record), None).await?)
}

/// Its process ended before it was ready. The code and the last lines are added where this is dealt
/// with.
pub(super) async fn ended_early(ctx: &Context, subject: &Subject) -> Result<(), StepError> {
    let record = subject.record.as_ref().ok_or_else(missing_subject)?;
    let name = ctx.policy.container_name(&record.id);
    let exit = ctx.engine.inspect(&name).await?.and_then(|container| container.state.exit());
    let how = super::stop::how(exit.map(|exit| (exit.code, exit.oom_killed)));
    let when = match ctx.health.has_reported(&record.id) {
        true => "right after it had reported health for the first time",
        false => "before it reported health",
    };
    Err(StepError::fatal(ErrorBody::new(
        ErrorCode::StartFailed,
        format!("{} {how} {when}. Its last lines are in details.log_tail.", record.id),
    )))
}

/// It did not report health in time.
pub(super) async fn not_ready(ctx: &Context, subject: &Subject) -> Result<(), StepError> {
    let record = subject.record.as_ref().ok_or_else(missing_subject)?;
    let manifest = record.manifest();
    let next = match ctx.health.last_refused(&record.id) {
        Some(why) => format!("A message came there and was not taken: it {why}."),
        None => "If it needs longer, raise start_timeout_seconds in its manifest.".to_owned(),
    };
    let started_at = record.start.as_ref().and_then(|start| start.started_at);
    let runs_for = started_at.map(|at| crate::clock::now().since(at));
    let since = match ctx.health.listened_for() < runs_for {
        true => "in which it could be heard",
        false => "of its start",
    };
    Err(StepError::fatal(ErrorBody::new(
        ErrorCode::NotReady,
        format!(
            "{} did not report health on {} within {} s {since}. {next} Its last lines are in details.log_tail.",
            record.id,
            manifest.health_topic().as_str(),
            manifest.start_timeout().as_secs()
        ),
    )))
}
