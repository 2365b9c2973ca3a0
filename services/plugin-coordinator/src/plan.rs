//! What to do next with a plugin: one step, from what is recorded and what is observed. Pure and total.

use std::time::Duration;

use envelope::payload::spec::{AclOutcome, AclStatus};
use envelope::payload::state::Phase;
use envelope::{StartId, Timestamp};

use crate::operation::{Install, Running, Work};
use crate::record::{Desired, Record, Start, StartProgress, Watchdog};

/// After so long in good health earlier failures count no more.
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
    /// How its container is other than it should be, if it is.
    pub drift: Option<Drift>,
    /// For how long it has been well; none when it is not, or not known to be.
    pub well_for: Option<Duration>,
    /// Whether it has reported health since its process was started.
    pub reported: bool,
    /// For how long it could have been heard, had it reported; none while we do not listen.
    pub listened_for: Option<Duration>,
    /// Whether the end of its process, if it has ended, is its own doing: false when the engine or this coordinator
    /// was away since it was last seen running.
    pub watched: bool,
    /// Whether its token was asked for lately.
    pub confirmed: bool,
    /// Whether what its published ports need beside its container is there.
    pub forwarded: bool,
    /// Whether the last step failed, and was to put that right, or to look after what runs while something is brought.
    pub hindered: bool,
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
    /// There is none, and there can be none: somebody else's has its name.
    Taken,
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

/// How a container is other than it should be, by somebody's hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drift {
    /// It has another name.
    Renamed,
    /// It is paused.
    Held,
    /// It is on a network that it was not granted.
    ForeignNetwork,
    /// It is not on a network that it should be on.
    OffNetwork,
    /// It has other bounds, or the engine would start it again by itself.
    Unbounded,
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
    /// Read the manifest in the pulled image, compare, and have the rights of an update made.
    Stage,
    /// What is to be next takes the place of what is.
    Swap,
    /// What was to be next comes to nothing: its operation has ended.
    Unstage,
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
    /// Wait for the first health message until then; none while nobody can hear it.
    AwaitReady(Option<Timestamp>),
    /// It reported health.
    MarkReady,
    /// Make sure that a running plugin has its token.
    Confirm,
    /// Put right what carries the published ports of a running plugin.
    Forward,
    /// Put right what somebody changed of its container.
    Mend(Drift),
    /// Its process ended while the engine or this coordinator was away: start it again.
    Resume,
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
            Self::Stage => "stage",
            Self::Swap => "swap",
            Self::Unstage => "unstage",
            Self::Begin => "begin",
            Self::AwaitAcl => "await_acl",
            Self::AclRefused => "acl_refused",
            Self::Prepare => "prepare",
            Self::StartProcess => "start_process",
            Self::AwaitReady(_) => "await_ready",
            Self::MarkReady => "mark_ready",
            Self::Confirm => "confirm",
            Self::Forward => "forward",
            Self::Mend(_) => "mend",
            Self::Resume => "resume",
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

impl Step {
    /// Whether it makes the engine, the disk or the network work, and can wait for its turn. What stops a plugin never
    /// waits.
    pub(crate) fn is_heavy(self) -> bool {
        matches!(
            self,
            Self::Pull
                | Self::Register
                | Self::Stage
                | Self::Prepare
                | Self::StartProcess
                | Self::Forward
                | Self::RemoveStray
                | Self::Uninstall
        )
    }
}

impl View<'_> {
    /// Whether a step of this plan is not for the operation, but for what runs while that brings something else.
    pub(crate) fn is_beside(&self, step: Step) -> bool {
        let is_staging = self.operation.and_then(|o| o.work.swap()).is_some_and(|swap| !swap.swapped);
        is_staging
            && self.record.is_some()
            && !matches!(
                step,
                Step::Resolve | Step::Pull | Step::Stage | Step::AwaitAcl | Step::AclRefused | Step::Swap
            )
    }
}

impl Step {
    /// Whether it only gets what is to be next, which may take long and touches nothing that runs.
    pub(crate) fn only_brings(self) -> bool {
        matches!(self, Self::Resolve | Self::Pull)
    }

    /// What it puts right, when that can also be left as it is for a while. A container's name cannot: everything is
    /// done by it.
    pub(crate) fn can_be_left(self) -> Option<Drift> {
        match self {
            Self::Mend(drift) if drift != Drift::Renamed => Some(drift),
            _ => None,
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
    match view.operation.and_then(|o| o.work.swap()) {
        Some(swap) if !swap.swapped => plan_staging(view, record),
        None if record.next.is_some() => Step::Unstage,
        Some(_) | None => plan_installed(view, record),
    }
}

fn plan_installed(view: &View<'_>, record: &Record) -> Step {
    if let Observed::Present { start, .. } = &view.container
        && *start != record.start.as_ref().map(|s| s.id)
    {
        return Step::RemoveStray;
    }
    if view.drift == Some(Drift::Renamed) {
        // First: whatever else is done is done by its name.
        return Step::Mend(Drift::Renamed);
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

impl View<'_> {
    /// Whether there was a time since its process was started in which nobody could have heard it.
    pub(crate) fn was_unheard(&self) -> bool {
        let start = self.record.and_then(|record| record.start.as_ref());
        start.is_some_and(|start| self.listened_for.is_none_or(|listened| listened < runs_for(self, start)))
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

/// What runs is looked after as without an operation while something else is brought. Where that has just failed, what
/// is brought has its turn: neither keeps the other waiting.
fn plan_staging(view: &View<'_>, record: &Record) -> Step {
    match plan_beside(view, record) {
        Some(step) if !view.hindered => step,
        _ => plan_swap(view, record),
    }
}

/// What has to be done for a plugin that should run, beside what an operation brings.
fn plan_beside(view: &View<'_>, record: &Record) -> Option<Step> {
    if wanted(record) != Desired::Running {
        return None;
    }
    match plan_installed(&View { operation: None, ..view.clone() }, record) {
        // The rights that can be had are those of what is next: what is made anew would be made with these. It needs
        // the same two coordinators as the swap, which makes a container anyway.
        Step::Lost | Step::Begin | Step::Prepare if record.next.is_some() => None,
        // Nothing of this is for its container, and another coordinator can be away for long.
        Step::Confirm | Step::Steady => None,
        Step::PayOwed if record.start.is_some() || record.next.is_some() => None,
        Step::AwaitAcl | Step::AclRefused | Step::AwaitReady(_) | Step::AwaitEngine | Step::Settled(_) => {
            None
        }
        step => Some(step),
    }
}

/// Nothing that runs is replaced before everything that is to take its place is there.
fn plan_swap(view: &View<'_>, record: &Record) -> Step {
    match (&record.next, view.operation.and_then(|o| o.work.staging())) {
        (Some(_), _) => match acl(view, record) {
            Some(AclOutcome::Applied { .. }) => Step::Swap,
            Some(AclOutcome::Refused { .. }) => Step::AclRefused,
            Some(AclOutcome::Absent) | None => Step::AwaitAcl,
        },
        (None, Some(Install { resolved: None, .. })) => Step::Resolve,
        (None, Some(Install { pulled: false, .. })) => Step::Pull,
        (None, Some(_)) => Step::Stage,
        // A rollback records what is next when it begins; without it the step says so.
        (None, None) => Step::Swap,
    }
}

/// What the message coordinator says of this generation.
fn acl<'a>(view: &View<'a>, record: &Record) -> Option<&'a AclOutcome> {
    let acl = view.acl.filter(|a| a.uid == record.uid && a.generation == record.generation);
    acl.map(|a| &a.outcome)
}

/// A plugin that failed keeps saying so until somebody asks for a stop.
fn must_mark_stopped(view: &View<'_>, record: &Record) -> bool {
    let asked = view.operation.is_some_and(|o| o.work.ends_stopped());
    asked || !matches!(record.standing.phase, Phase::Stopped | Phase::Failed)
}

fn plan_stop(view: &View<'_>) -> Step {
    match view.container {
        Observed::Unknown => Step::AwaitEngine,
        Observed::Present { state: Process::Running, .. } => Step::Stop,
        Observed::Present { .. } | Observed::Missing | Observed::Taken => Step::RemoveContainer,
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
        Observed::Unknown | Observed::Taken => return Step::AwaitEngine,
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
    if let (Some(drift), Process::Running) = (view.drift, process) {
        return Step::Mend(drift);
    }
    match (start.progress, process) {
        (StartProgress::Begun | StartProgress::Prepared, _) => wait_or(view, record, Step::StartProcess),
        (StartProgress::Started, Process::Running) => plan_ready(view, start),
        (StartProgress::Started | StartProgress::Ready, Process::Exited) if !view.watched => Step::Resume,
        (StartProgress::Started, _) => Step::EndedEarly,
        (StartProgress::Ready, Process::Running) if view.operation.is_some() => Step::MarkReady,
        // Before what needs another coordinator: that can be away for long, and this needs the engine only. One that
        // could not be put right lets the others go first.
        (StartProgress::Ready, Process::Running) if !view.forwarded && !view.hindered => Step::Forward,
        (StartProgress::Ready, Process::Running) if !record.owed.is_empty() => Step::PayOwed,
        (StartProgress::Ready, Process::Running) if !view.confirmed => Step::Confirm,
        (StartProgress::Ready, Process::Running) if !view.forwarded => Step::Forward,
        (StartProgress::Ready, Process::Running) => plan_steady(view, record),
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
    match acl(view, record) {
        Some(AclOutcome::Applied { .. }) => {}
        Some(AclOutcome::Refused { .. }) => return wait_or(view, record, Step::AclRefused),
        Some(AclOutcome::Absent) | None => return Step::AwaitAcl,
    }
    match view.container {
        Observed::Unknown | Observed::Taken => Step::AwaitEngine,
        _ => wait_or(view, record, Step::Prepare),
    }
}

/// Only the time in which we listened is held against it: one that nobody could hear may be well.
fn plan_ready(view: &View<'_>, start: &Start) -> Step {
    if view.reported {
        return Step::MarkReady;
    }
    let Some(listened_for) = view.listened_for else { return Step::AwaitReady(None) };
    let had = runs_for(view, start).min(listened_for);
    match view.start_timeout.checked_sub(had).filter(|left| !left.is_zero()) {
        Some(left) => Step::AwaitReady(Some(view.now.after(left))),
        None => Step::NotReady,
    }
}

fn runs_for(view: &View<'_>, start: &Start) -> Duration {
    view.now.since(start.started_at.unwrap_or(view.now))
}

/// A plugin that fails again soon after a failure backs off further; one that was well in between begins anew. That
/// it runs is not enough.
fn plan_steady(view: &View<'_>, record: &Record) -> Step {
    let forgiven = record.failures == 0 && record.watchdog == Watchdog::default();
    match view.well_for {
        Some(well) if !forgiven && well >= STEADY => Step::Steady,
        Some(well) if !forgiven => Step::Settled(Some(view.now.after(STEADY - well))),
        _ => Step::Settled(None),
    }
}

#[cfg(test)]
mod tests;
