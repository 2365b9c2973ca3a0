//! What to do next with a plugin: one step, from what is recorded and what is observed. Pure and total.

use std::time::Duration;

use envelope::payload::spec::{AclOutcome, AclStatus};
use envelope::payload::state::Phase;
use envelope::{StartId, Timestamp};

use crate::operation::{Install, Running, Work};
use crate::record::{Desired, Record, Start, StartProgress};

/// After so long without a failure earlier ones count no more.
const STEADY: Duration = Duration::from_secs(600);

/// Everything that the next step depends on.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// The plugin, when it is registered.
    pub record: Option<&'a Record>,
    /// The operation that runs on it.
    pub operation: Option<&'a Running>,
    /// Its container.
    pub container: Observed,
    /// What the message coordinator acknowledged last.
    pub acl: Option<&'a AclStatus>,
    /// Whether it has reported health since its process was started.
    pub reported: bool,
    /// Whether its token was asked for lately.
    pub confirmed: bool,
    /// Whether what its published ports need beside its container is there.
    pub forwarded: bool,
    /// How long it may take to get ready.
    pub start_timeout: Duration,
    /// The time.
    pub now: Timestamp,
}

/// A plugin's container as the engine shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// The engine cannot be asked.
    Unknown,
    /// There is none.
    Missing,
    /// There is one.
    Present {
        /// The start that it was made for; none when its label is not one.
        start: Option<StartId>,
        /// Whether its process runs.
        state: Process,
    },
}

/// The process in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// Never started.
    Created,
    /// Runs.
    Running,
    /// Has ended.
    Exited,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Ask the registry for the image's digest and label.
    Resolve,
    /// Get the image.
    Pull,
    /// Read the manifest in the pulled image, compare, and register.
    Register,
    /// Choose the id of a start.
    Begin,
    /// Wait until the message coordinator has applied the plugin's rights.
    AwaitAcl,
    /// The message coordinator refuses the plugin's rights.
    AclRefused,
    /// Get login and token, and make the container.
    Prepare,
    /// Start the container's process.
    StartProcess,
    /// Wait for the first health message until then.
    AwaitReady(Timestamp),
    /// It reported health.
    MarkReady,
    /// Make sure that a running plugin has its token.
    Confirm,
    /// Put right what carries the published ports of a running plugin.
    Forward,
    /// Its process ended before it reported health.
    EndedEarly,
    /// It did not report health in time.
    NotReady,
    /// Its process ended although it should run.
    Ended,
    /// Its container is gone although it should run.
    Lost,
    /// Stop the process and keep the container, to start it again.
    Pause,
    /// The same, by the framework's own decision.
    Renew,
    /// It has run well for a while after a failure: that counts no more.
    Steady,
    /// Stop the process.
    Stop,
    /// Keep what is known of the ended container, and remove it.
    RemoveContainer,
    /// A container that is not of the current start: remove it.
    RemoveStray,
    /// It is stopped.
    MarkStopped,
    /// Take logins and tokens of past starts back.
    PayOwed,
    /// Wait until the message coordinator has taken the plugin's rights away.
    AwaitAbsent,
    /// Remove image, data if wanted, retained topics, and the row.
    Uninstall,
    /// Wait for the engine.
    AwaitEngine,
    /// An operation on a plugin that is not registered: end it.
    Abandon,
    /// Nothing to do, until then at the latest.
    Settled(Option<Timestamp>),
    /// Nothing is left to look after.
    Retire,
}

impl Step {
    /// Its name, as operations and events tell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Pull => "pull",
            Self::Register => "register",
            Self::Begin => "begin",
            Self::AwaitAcl => "await_acl",
            Self::AclRefused => "acl_refused",
            Self::Prepare => "prepare",
            Self::StartProcess => "start_process",
            Self::AwaitReady(_) => "await_ready",
            Self::MarkReady => "mark_ready",
            Self::Confirm => "confirm",
            Self::Forward => "forward",
            Self::EndedEarly => "ended_early",
            Self::NotReady => "not_ready",
            Self::Ended => "ended",
            Self::Lost => "lost",
            Self::Pause => "pause",
            Self::Renew => "renew",
            Self::Steady => "steady",
            Self::Stop => "stop",
            Self::RemoveContainer => "remove_container",
            Self::RemoveStray => "remove_stray",
            Self::MarkStopped => "mark_stopped",
            Self::PayOwed => "pay_owed",
            Self::AwaitAbsent => "await_absent",
            Self::Uninstall => "uninstall",
            Self::AwaitEngine => "await_engine",
            Self::Abandon => "abandon",
            Self::Settled(_) => "settled",
            Self::Retire => "retire",
        }
    }
}

/// The next step.
pub fn plan(view: &View<'_>) -> Step {
    if let Some(Running { work: Work::Install(install), .. }) = view.operation {
        return plan_install(install);
    }
    let Some(record) = view.record else {
        return if view.operation.is_some() { Step::Abandon } else { Step::Retire };
    };
    if let Observed::Present { start, .. } = &view.container
        && *start != record.start.as_ref().map(|s| s.id)
    {
        return Step::RemoveStray;
    }
    match wanted(record) {
        // Made for what it was: nothing of it stays, and the next start is for what it should be now.
        Desired::Running if record.is_outdated() => plan_stop(view),
        Desired::Running => plan_running(view, record),
        Desired::Stopped => match &record.start {
            Some(_) => plan_stop(view),
            None if must_mark_stopped(view, record) => Step::MarkStopped,
            None if !record.owed.is_empty() => Step::PayOwed,
            None => Step::Settled(None),
        },
        Desired::Absent { .. } => match &record.start {
            Some(_) => plan_stop(view),
            None if !record.owed.is_empty() => Step::PayOwed,
            None if !absent(view, record) => Step::AwaitAbsent,
            None if view.container == Observed::Unknown => Step::AwaitEngine,
            None => Step::Uninstall,
        },
    }
}

/// What is wanted of the plugin. Without what it cannot run without it is stopped, whatever was asked for.
fn wanted(record: &Record) -> Desired {
    match record.desired {
        Desired::Running if !record.lacks().is_empty() => Desired::Stopped,
        desired => desired,
    }
}

fn plan_install(install: &Install) -> Step {
    match install {
        Install { resolved: None, .. } => Step::Resolve,
        Install { pulled: false, .. } => Step::Pull,
        Install { .. } => Step::Register,
    }
}

/// A plugin that failed keeps saying so until somebody asks for a stop.
fn must_mark_stopped(view: &View<'_>, record: &Record) -> bool {
    let asked = view.operation.is_some_and(|o| o.work == Work::Stop || o.work.is_about_grants());
    asked || !matches!(record.standing.phase, Phase::Stopped | Phase::Failed)
}

fn plan_stop(view: &View<'_>) -> Step {
    match view.container {
        Observed::Unknown => Step::AwaitEngine,
        Observed::Present { state: Process::Running, .. } => Step::Stop,
        Observed::Present { .. } | Observed::Missing => Step::RemoveContainer,
    }
}

fn absent(view: &View<'_>, record: &Record) -> bool {
    view.acl.is_some_and(|acl| acl.uid == record.uid && acl.outcome == AclOutcome::Absent)
}

fn plan_running(view: &View<'_>, record: &Record) -> Step {
    let Some(start) = &record.start else {
        // What an earlier container could do must not be possible beside a new one.
        return match record.owed.is_empty() {
            true => wait_or(view, record, Step::Begin),
            false => Step::PayOwed,
        };
    };
    if start.progress == StartProgress::Begun {
        return plan_prepare(view, record);
    }
    let process = match &view.container {
        Observed::Unknown => return Step::AwaitEngine,
        Observed::Missing => return Step::Lost,
        Observed::Present { state, .. } => *state,
    };
    if matches!(view.operation, Some(Running { work: Work::Restart { stopped: false }, .. })) {
        return Step::Pause;
    }
    // An operation comes first. One that came while the process was being stopped begins at a stopped one.
    if record.restart.is_some() && (view.operation.is_none() || process != Process::Running) {
        return Step::Renew;
    }
    match (start.progress, process) {
        (StartProgress::Begun | StartProgress::Prepared, _) => wait_or(view, record, Step::StartProcess),
        (StartProgress::Started, Process::Running) => plan_ready(view, start),
        (StartProgress::Started, _) => Step::EndedEarly,
        (StartProgress::Ready, Process::Running) if view.operation.is_some() => Step::MarkReady,
        (StartProgress::Ready, Process::Running) if !record.owed.is_empty() => Step::PayOwed,
        (StartProgress::Ready, Process::Running) if !view.confirmed => Step::Confirm,
        (StartProgress::Ready, Process::Running) if !view.forwarded => Step::Forward,
        (StartProgress::Ready, Process::Running) => plan_steady(view, record, start),
        (StartProgress::Ready, _) => Step::Ended,
    }
}

/// After a failure the next try waits, unless somebody asked for it.
fn wait_or(view: &View<'_>, record: &Record, step: Step) -> Step {
    match record.retry_at {
        Some(at) if at > view.now && view.operation.is_none() => Step::Settled(Some(at)),
        _ => step,
    }
}

fn plan_prepare(view: &View<'_>, record: &Record) -> Step {
    let acl = view.acl.filter(|a| a.uid == record.uid && a.generation == record.generation);
    match acl.map(|a| &a.outcome) {
        Some(AclOutcome::Applied { .. }) => {}
        Some(AclOutcome::Refused { .. }) => return Step::AclRefused,
        Some(AclOutcome::Absent) | None => return Step::AwaitAcl,
    }
    match view.container {
        Observed::Unknown => Step::AwaitEngine,
        _ => Step::Prepare,
    }
}

fn plan_ready(view: &View<'_>, start: &Start) -> Step {
    if view.reported {
        return Step::MarkReady;
    }
    let deadline = start.started_at.unwrap_or(view.now).after(view.start_timeout);
    if view.now >= deadline { Step::NotReady } else { Step::AwaitReady(deadline) }
}

/// A plugin that fails again soon after a failure backs off further; one that ran well in between begins anew.
fn plan_steady(view: &View<'_>, record: &Record, start: &Start) -> Step {
    if record.failures == 0 {
        return Step::Settled(None);
    }
    let due = start.started_at.unwrap_or(view.now).after(STEADY);
    if view.now >= due { Step::Steady } else { Step::Settled(Some(due)) }
}

#[cfg(test)]
mod tests;
