//! The plan, case by case: what is recorded and observed, and the step that follows.

use super::*;
use envelope::payload::grant::GrantState;
use envelope::payload::lifecycle::{InstallRequest, ManifestSource};
use envelope::{Generation, InstallUid, OperationId, PluginId};

use crate::operation::ResolvedImage;
use crate::record::{Granted, Release, Standing};

/// As long as anything has run.
const LONG: Duration = Duration::from_secs(100_000);

struct Case {
    record: Option<Record>,
    operation: Option<Running>,
    container: Observed,
    acl: Option<AclOutcome>,
    reported: bool,
    listened_for: Option<Duration>,
    watched: bool,
    confirmed: bool,
    forwarded: bool,
    hindered: bool,
    drift: Option<Drift>,
    well_for: Option<Duration>,
}

fn id() -> PluginId {
    PluginId::parse("focuser").expect("an id")
}

fn record(desired: Desired, phase: Phase, start: Option<StartProgress>) -> Record {
    let now = Timestamp::from_seconds(1000);
    Record {
        id: id(),
        uid: InstallUid::new(),
        generation: Generation::FIRST,
        release: Release {
            source: "r/i:1".into(),
            reference: "r/i@sha256:0".into(),
            digest: "sha256:0".into(),
            manifest: serde_json::json!({"id": "focuser", "name": "Focuser", "version": "1.0.0"}).into(),
            manifest_source: ManifestSource::Label,
            warnings: Vec::new(),
            grants: Vec::new(),
            uid: 1000,
            gid: 1000,
            groups: Vec::new(),
            config: None,
        },
        next: None,
        previous: None,
        installed_at: now,
        desired,
        standing: Standing {
            phase,
            reason: None,
            since: now,
            cause: "test".into(),
            correlation_id: "c".into(),
        },
        start: start.map(|progress| Start {
            id: StartId::new(),
            progress,
            generation: Some(Generation::FIRST),
            started_at: Some(now),
            listened: None,
        }),
        owed: Vec::new(),
        last_exit: None,
        failures: 0,
        retry_at: None,
        halted: None,
        watchdog: Default::default(),
        restart: None,
        revision: 1,
    }
}

fn operation(work: Work) -> Running {
    Running {
        id: OperationId::new(),
        plugin_id: id(),
        request_id: "r".into(),
        work,
        principal: "operator:operator".into(),
        named: true,
        step: "accepted".into(),
        started_at: Timestamp::from_seconds(1000),
        deadline: Timestamp::from_seconds(2000),
        correlation_id: "c".into(),
        traceparent: None,
        cancelled_by: None,
    }
}

fn case(desired: Desired, phase: Phase, start: Option<StartProgress>) -> Case {
    Case {
        record: Some(record(desired, phase, start)),
        operation: None,
        container: Observed::Missing,
        acl: Some(AclOutcome::Applied { role: "r".into() }),
        reported: false,
        listened_for: Some(LONG),
        watched: true,
        confirmed: true,
        forwarded: true,
        hindered: false,
        drift: None,
        well_for: Some(Duration::ZERO),
    }
}

impl Case {
    fn container(mut self, state: Process) -> Self {
        let start = self.record.as_ref().and_then(|r| r.start.as_ref()).map(|s| s.id);
        self.container = Observed::Present { start, state };
        self
    }

    fn working(mut self, work: Work) -> Self {
        self.operation = Some(operation(work));
        self
    }

    fn acl(mut self, outcome: Option<AclOutcome>) -> Self {
        self.acl = outcome;
        self
    }

    fn change(mut self, change: impl FnOnce(&mut Record)) -> Self {
        change(self.record.as_mut().expect("a record"));
        self
    }

    fn step_at(&self, seconds: i64) -> Step {
        let acl = self.acl.clone().zip(self.record.as_ref()).map(|(outcome, record)| AclStatus {
            plugin_id: id(),
            uid: record.uid,
            generation: record.generation,
            outcome,
            at: Timestamp::from_seconds(1000),
        });
        plan(&View {
            record: self.record.as_ref(),
            operation: self.operation.as_ref(),
            container: self.container.clone(),
            acl: acl.as_ref(),
            reported: self.reported,
            listened_for: self.listened_for,
            watched: self.watched,
            drift: self.drift,
            well_for: self.well_for,
            confirmed: self.confirmed,
            forwarded: self.forwarded,
            hindered: self.hindered,
            start_timeout: Duration::from_secs(60),
            now: Timestamp::from_seconds(seconds),
        })
    }

    fn is(self, want: Step) {
        assert_eq!(self.step_at(1001), want);
    }
}

const RUN: Desired = Desired::Running;
const STOP: Desired = Desired::Stopped;
const GONE: Desired = Desired::Absent { remove_volumes: false };

#[test]
fn a_start_goes_step_by_step_to_ready() {
    use StartProgress::{Begun, Prepared, Ready, Started};
    case(RUN, Phase::Starting, None).working(Work::Start).is(Step::Begin);
    case(RUN, Phase::Starting, Some(Begun)).working(Work::Start).acl(None).is(Step::AwaitAcl);
    case(RUN, Phase::Starting, Some(Begun)).working(Work::Start).is(Step::Prepare);
    case(RUN, Phase::Starting, Some(Begun)).container(Process::Created).is(Step::Prepare);
    case(RUN, Phase::Starting, Some(Prepared)).container(Process::Created).is(Step::StartProcess);
    let wait = Step::AwaitReady(Some(Timestamp::from_seconds(1060)));
    case(RUN, Phase::Starting, Some(Started)).container(Process::Running).is(wait);
    let mut reported = case(RUN, Phase::Starting, Some(Started)).container(Process::Running);
    reported.reported = true;
    reported.is(Step::MarkReady);
    case(RUN, Phase::Running, Some(Ready)).container(Process::Running).is(Step::Settled(None));
}

#[test]
fn a_start_that_fails_says_how() {
    use StartProgress::{Begun, Started};
    let refused = Some(AclOutcome::Refused { reasons: vec!["never".into()] });
    case(RUN, Phase::Starting, Some(Begun)).acl(refused).is(Step::AclRefused);
    case(RUN, Phase::Starting, Some(Started)).container(Process::Exited).is(Step::EndedEarly);
    let silent = case(RUN, Phase::Starting, Some(Started)).container(Process::Running);
    assert_eq!(silent.step_at(1060), Step::NotReady);
}

#[test]
fn only_the_time_in_which_it_could_be_heard_is_held_against_a_plugin_that_has_not_reported() {
    let heard_for = |seconds: Option<u64>, now| {
        let case = case(RUN, Phase::Starting, Some(StartProgress::Started)).container(Process::Running);
        Case { listened_for: seconds.map(Duration::from_secs), ..case }.step_at(now)
    };
    let until = |seconds| Step::AwaitReady(Some(Timestamp::from_seconds(seconds)));
    // It was started at 1000, and has 60 s.
    assert_eq!(heard_for(Some(500), 1059), until(1060));
    assert_eq!(heard_for(Some(500), 1060), Step::NotReady);
    for now in [1001, 1060, 9000] {
        assert_eq!(heard_for(None, now), Step::AwaitReady(None));
    }
    // Somebody listens again since 9000.
    assert_eq!(heard_for(Some(0), 9000), until(9060));
    assert_eq!(heard_for(Some(59), 9059), until(9060));
    assert_eq!(heard_for(Some(60), 9060), Step::NotReady);
    let mut reported = case(RUN, Phase::Starting, Some(StartProgress::Started)).container(Process::Running);
    (reported.reported, reported.listened_for) = (true, None);
    reported.is(Step::MarkReady);
}

#[test]
fn an_acknowledgement_of_another_generation_is_none() {
    let mut stale = case(RUN, Phase::Starting, Some(StartProgress::Begun)).working(Work::Start);
    let acl = AclStatus {
        plugin_id: id(),
        uid: stale.record.as_ref().expect("a record").uid,
        generation: Generation::FIRST,
        outcome: AclOutcome::Applied { role: "r".into() },
        at: Timestamp::from_seconds(1000),
    };
    stale = stale.change(|r| {
        r.generation = r.generation.next();
        r.start.as_mut().expect("a start").generation = Some(r.generation);
    });
    let view = View {
        record: stale.record.as_ref(),
        operation: stale.operation.as_ref(),
        container: Observed::Missing,
        acl: Some(&acl),
        drift: None,
        well_for: None,
        reported: false,
        listened_for: Some(LONG),
        watched: true,
        confirmed: true,
        forwarded: true,
        hindered: false,
        start_timeout: Duration::from_secs(60),
        now: Timestamp::from_seconds(1001),
    };
    assert_eq!(plan(&view), Step::AwaitAcl);
}

#[test]
fn a_stop_goes_step_by_step_and_waits_for_no_peer() {
    let ready = Some(StartProgress::Ready);
    case(STOP, Phase::Stopping, ready).container(Process::Running).acl(None).is(Step::Stop);
    case(STOP, Phase::Stopping, ready).container(Process::Exited).acl(None).is(Step::RemoveContainer);
    case(STOP, Phase::Stopping, ready).acl(None).is(Step::RemoveContainer);
    let owing = |r: &mut Record| r.owed.push(StartId::new());
    case(STOP, Phase::Stopping, None).working(Work::Stop).change(owing).is(Step::MarkStopped);
    case(STOP, Phase::Stopped, None).change(owing).is(Step::PayOwed);
    case(STOP, Phase::Stopped, None).is(Step::Settled(None));
}

#[test]
fn a_failed_plugin_says_so_until_somebody_stops_it() {
    case(STOP, Phase::Failed, None).is(Step::Settled(None));
    case(STOP, Phase::Failed, None).working(Work::Stop).is(Step::MarkStopped);
}

#[test]
fn a_removal_waits_until_the_rights_are_gone() {
    case(GONE, Phase::Removing, Some(StartProgress::Ready)).container(Process::Running).is(Step::Stop);
    case(GONE, Phase::Removing, None).is(Step::AwaitAbsent);
    case(GONE, Phase::Removing, None).acl(Some(AclOutcome::Absent)).is(Step::Uninstall);
    let owing = |r: &mut Record| r.owed.push(StartId::new());
    case(GONE, Phase::Removing, None).acl(Some(AclOutcome::Absent)).change(owing).is(Step::PayOwed);
    let mut blind = case(GONE, Phase::Removing, None).acl(Some(AclOutcome::Absent));
    blind.container = Observed::Unknown;
    blind.is(Step::AwaitEngine);
}

#[test]
fn a_restart_keeps_the_container() {
    let ready = Some(StartProgress::Ready);
    let restart = |stopped| Work::Restart { stopped };
    case(RUN, Phase::Running, ready).container(Process::Running).working(restart(false)).is(Step::Pause);
    case(RUN, Phase::Stopping, Some(StartProgress::Prepared))
        .container(Process::Exited)
        .working(restart(true))
        .is(Step::StartProcess);
    case(RUN, Phase::Stopped, None).working(restart(false)).is(Step::Begin);
}

#[test]
fn what_ended_while_nobody_looked_is_started_again() {
    use StartProgress::{Prepared, Ready, Started};
    let unseen = |phase, progress| Case {
        watched: false,
        ..case(RUN, phase, Some(progress)).container(Process::Exited)
    };
    unseen(Phase::Starting, Started).is(Step::Resume);
    unseen(Phase::Starting, Started).working(Work::Start).is(Step::Resume);
    unseen(Phase::Running, Ready).is(Step::Resume);
    unseen(Phase::Starting, Prepared).is(Step::StartProcess);
    let running = unseen(Phase::Running, Ready).container(Process::Running);
    running.is(Step::Settled(None));
}

#[test]
fn what_changed_by_itself_is_put_right() {
    let ready = Some(StartProgress::Ready);
    case(RUN, Phase::Running, ready).container(Process::Exited).is(Step::Ended);
    case(RUN, Phase::Running, ready).is(Step::Lost);
    let mut stray = case(STOP, Phase::Stopped, None);
    stray.container = Observed::Present { start: Some(StartId::new()), state: Process::Running };
    stray.is(Step::RemoveStray);
    let mut blind = case(RUN, Phase::Running, ready);
    blind.container = Observed::Unknown;
    blind.is(Step::AwaitEngine);
}

#[test]
fn a_name_that_somebody_else_has_holds_up_what_needs_a_container_and_nothing_else() {
    let taken =
        |desired, phase, progress| Case { container: Observed::Taken, ..case(desired, phase, progress) };
    for progress in [StartProgress::Begun, StartProgress::Prepared, StartProgress::Ready] {
        taken(RUN, Phase::Starting, Some(progress)).is(Step::AwaitEngine);
        taken(STOP, Phase::Running, Some(progress)).is(Step::RemoveContainer);
        taken(GONE, Phase::Removing, Some(progress)).is(Step::RemoveContainer);
    }
    taken(STOP, Phase::Stopping, None).is(Step::MarkStopped);
    taken(GONE, Phase::Removing, None).acl(Some(AclOutcome::Absent)).is(Step::Uninstall);
}

#[test]
fn a_container_of_an_earlier_generation_is_replaced_step_by_step() {
    use StartProgress::{Begun, Prepared, Ready, Started};
    for work in [None, Some(Work::RevokeGrant), Some(Work::Approve)] {
        let outdated = |progress| {
            let mut case = case(RUN, Phase::Running, Some(progress)).change(Record::advance_generation);
            case.operation = work.clone().map(operation);
            // What the message coordinator said of the earlier generation counts no more, nor does health.
            case.reported = true;
            case
        };
        for progress in [Started, Ready] {
            outdated(progress).container(Process::Running).is(Step::Stop);
            outdated(progress).container(Process::Exited).is(Step::RemoveContainer);
            outdated(progress).is(Step::RemoveContainer);
        }
        outdated(Prepared).container(Process::Created).is(Step::RemoveContainer);
        outdated(Begun).acl(None).is(Step::RemoveContainer);
        let mut blind = outdated(Ready);
        blind.container = Observed::Unknown;
        blind.is(Step::AwaitEngine);
        let dropped = || outdated(Ready).change(Record::drop_start);
        dropped().is(Step::PayOwed);
        dropped().change(|r| r.owed.clear()).is(Step::Begin);
    }
}

#[test]
fn a_pause_after_a_failure_does_not_keep_an_earlier_generation() {
    let at = Timestamp::from_seconds(1010);
    let failed = case(RUN, Phase::Failed, Some(StartProgress::Prepared)).container(Process::Exited);
    let failed = failed.change(|r| r.retry_at = Some(at)).change(Record::advance_generation);
    failed.is(Step::RemoveContainer);
}

#[test]
fn a_plugin_that_is_to_stop_or_go_is_not_replaced() {
    let ready = Some(StartProgress::Ready);
    for desired in [STOP, GONE] {
        let outdated = case(desired, Phase::Running, ready).change(Record::advance_generation);
        outdated.container(Process::Running).is(Step::Stop);
    }
    case(STOP, Phase::Stopping, None).working(Work::RevokeGrant).is(Step::MarkStopped);
    case(STOP, Phase::Failed, None).working(Work::RevokeGrant).is(Step::MarkStopped);
}

#[test]
fn a_start_of_before_there_were_generations_is_of_the_plugins_own_until_that_changes() {
    let ready = || {
        case(RUN, Phase::Running, Some(StartProgress::Ready))
            .change(|r| r.start.as_mut().expect("a start").generation = None)
    };
    ready().container(Process::Running).is(Step::Settled(None));
    ready().change(Record::advance_generation).container(Process::Running).is(Step::Stop);
}

#[test]
fn a_plugin_without_what_it_cannot_run_without_is_stopped_whatever_is_wanted() {
    let ready = Some(StartProgress::Ready);
    let revoked = |r: &mut Record| {
        let state = GrantState::Revoked { by: "operator:ada".into(), at: Timestamp::from_seconds(1000) };
        r.release.grants = vec![Granted { grant: manifest::Grant::RootUser, state }];
    };
    case(RUN, Phase::Running, ready).change(revoked).container(Process::Running).is(Step::Stop);
    case(RUN, Phase::Starting, None).change(revoked).is(Step::MarkStopped);
    case(RUN, Phase::Stopped, None).change(revoked).is(Step::Settled(None));
}

#[test]
fn after_a_failure_the_next_try_waits_unless_somebody_asks() {
    let at = Timestamp::from_seconds(1010);
    let failed = || {
        case(RUN, Phase::Failed, Some(StartProgress::Prepared))
            .container(Process::Exited)
            .change(|r| r.retry_at = Some(at))
    };
    failed().is(Step::Settled(Some(at)));
    assert_eq!(failed().step_at(1010), Step::StartProcess);
    failed().working(Work::Start).is(Step::StartProcess);

    let begun = || case(RUN, Phase::Failed, Some(StartProgress::Begun)).change(|r| r.retry_at = Some(at));
    begun().is(Step::Settled(Some(at)));
    assert_eq!(begun().step_at(1010), Step::Prepare);
    let refused = || begun().acl(Some(AclOutcome::Refused { reasons: vec!["never".into()] }));
    refused().is(Step::Settled(Some(at)));
    assert_eq!(refused().step_at(1010), Step::AclRefused);
    refused().working(Work::Restart { stopped: true }).is(Step::AclRefused);
}

#[test]
fn an_installation_goes_from_the_registry_to_the_register() {
    let request: InstallRequest =
        serde_json::from_value(serde_json::json!({"plugin_id": "focuser"})).expect("a request");
    let mut install = Install { request, resolved: None, admitted: None, pulled: false };
    let step = |install: &Install| {
        let nothing = Case {
            drift: None,
            well_for: None,
            record: None,
            operation: Some(operation(Work::Install(Box::new(install.clone())))),
            container: Observed::Missing,
            acl: None,
            reported: false,
            listened_for: Some(LONG),
            watched: true,
            confirmed: true,
            forwarded: true,
            hindered: false,
        };
        nothing.step_at(1001)
    };
    assert_eq!(step(&install), Step::Resolve);
    install.resolved = Some(ResolvedImage {
        source: "r/i:1".into(),
        reference: "r/i@sha256:0".into(),
        digest: "sha256:0".into(),
        label: None,
        bytes: Some(1),
        user: "1000".into(),
        present_before: false,
    });
    assert_eq!(step(&install), Step::Pull);
    install.pulled = true;
    assert_eq!(step(&install), Step::Register);
}

#[test]
fn without_a_plugin_nothing_is_left_to_do() {
    let nothing = |operation| Case {
        drift: None,
        well_for: None,
        record: None,
        operation,
        container: Observed::Missing,
        acl: None,
        reported: false,
        listened_for: Some(LONG),
        watched: true,
        confirmed: true,
        forwarded: true,
        hindered: false,
    };
    nothing(None).is(Step::Retire);
    nothing(Some(operation(Work::Stop))).is(Step::Abandon);
}

#[test]
fn the_forwarder_of_a_plugin_that_runs_is_put_right() {
    let ready = || case(Desired::Running, Phase::Running, Some(StartProgress::Ready));
    let gone = |case: Case| Case { forwarded: false, ..case };
    gone(ready().container(Process::Running)).is(Step::Forward);
    ready().container(Process::Running).is(Step::Settled(None));
    gone(ready().container(Process::Exited)).is(Step::Ended);
    let stopped = case(Desired::Stopped, Phase::Running, Some(StartProgress::Ready));
    gone(stopped.container(Process::Running)).is(Step::Stop);
    let starting = case(Desired::Running, Phase::Starting, Some(StartProgress::Prepared));
    gone(starting.container(Process::Created)).is(Step::StartProcess);
}

#[test]
fn the_forwarder_comes_before_what_needs_another_coordinator_unless_it_just_failed() {
    let gone = |hindered, confirmed| Case {
        forwarded: false,
        hindered,
        confirmed,
        ..case(RUN, Phase::Running, Some(StartProgress::Ready)).container(Process::Running)
    };
    let owing = |r: &mut Record| r.owed.push(StartId::new());
    gone(false, false).change(owing).is(Step::Forward);
    gone(true, false).change(owing).is(Step::PayOwed);
    gone(true, false).is(Step::Confirm);
    gone(true, true).is(Step::Forward);
}

#[test]
fn a_plugin_that_the_framework_stopped_is_stopped_and_says_so() {
    let halted = |r: &mut Record| r.halt("flood: much", "flood: much", "c");
    let ready = Some(StartProgress::Ready);
    case(RUN, Phase::Running, ready).change(halted).container(Process::Running).is(Step::Stop);
    case(RUN, Phase::Running, ready).change(halted).container(Process::Exited).is(Step::RemoveContainer);
    // Also one that had failed before, whose phase would stay otherwise.
    case(RUN, Phase::Failed, None).change(halted).is(Step::MarkStopped);
    let stopped = case(RUN, Phase::Failed, None).change(halted).change(|r| r.standing.phase = Phase::Stopped);
    stopped.is(Step::Settled(None));
}

#[test]
fn a_start_during_such_a_stop_replaces_the_container() {
    let asked = |r: &mut Record| {
        r.halt("flood: much", "flood: much", "c");
        r.ask_to_run();
        assert_eq!((r.halted.as_deref(), r.desired), (None, Desired::Running));
    };
    let ready = Some(StartProgress::Ready);
    for state in [Process::Running, Process::Exited] {
        let case = case(RUN, Phase::Starting, ready).change(asked).container(state).working(Work::Start);
        case.is(if state == Process::Running { Step::Stop } else { Step::RemoveContainer });
    }
    case(RUN, Phase::Starting, None).change(asked).working(Work::Start).is(Step::Begin);
}

#[test]
fn the_framework_restarts_a_plugin_when_no_operation_runs_on_it() {
    let ready = Some(StartProgress::Ready);
    let deaf = || case(RUN, Phase::Running, ready).change(|r| r.restart = Some("is deaf".into()));
    deaf().container(Process::Running).is(Step::Renew);
    deaf().container(Process::Exited).is(Step::Renew);
    deaf().is(Step::Lost);
    deaf().container(Process::Running).working(Work::Start).is(Step::MarkReady);
    deaf().container(Process::Running).working(Work::Restart { stopped: false }).is(Step::Pause);
    // An operation that came while the process was being stopped.
    deaf().container(Process::Exited).working(Work::Start).is(Step::Renew);
    deaf().change(Record::advance_generation).container(Process::Running).is(Step::Stop);
    deaf().change(|r| r.desired = STOP).container(Process::Running).is(Step::Stop);
}

#[test]
fn failures_and_restarts_count_until_the_plugin_has_been_well_for_ten_minutes() {
    let failed = |r: &mut Record| r.failures = 2;
    let restarted = |r: &mut Record| r.watchdog.restarts = 1;
    for change in [failed as fn(&mut Record), restarted] {
        let well_for = |seconds: Option<u64>| {
            let case = case(RUN, Phase::Running, Some(StartProgress::Ready)).container(Process::Running);
            Case { well_for: seconds.map(Duration::from_secs), ..case.change(change) }
        };
        let due = Timestamp::from_seconds(1002);
        well_for(Some(599)).is(Step::Settled(Some(due)));
        well_for(Some(600)).is(Step::Steady);
        // It has run for long, and is not well.
        assert_eq!(well_for(None).step_at(9000), Step::Settled(None));
    }
}

#[test]
fn what_somebody_changed_of_a_container_is_put_right_while_its_process_runs() {
    use Drift::{ForeignNetwork, Held, OffNetwork, Renamed, Unbounded};
    use StartProgress::{Prepared, Ready, Started};
    let changed = |drift, progress| Case {
        drift: Some(drift),
        ..case(RUN, Phase::Running, Some(progress)).container(Process::Running)
    };
    for drift in [Held, ForeignNetwork, OffNetwork, Unbounded] {
        changed(drift, Ready).is(Step::Mend(drift));
        // One that is held would never report health.
        changed(drift, Started).working(Work::Start).is(Step::Mend(drift));
        // Started, and not recorded yet: one that is held cannot be started.
        changed(drift, Prepared).working(Work::Start).is(Step::Mend(drift));
        changed(drift, Ready).working(Work::Restart { stopped: false }).is(Step::Pause);
        changed(drift, Ready).change(|r| r.restart = Some("is deaf".into())).is(Step::Renew);
        // What is to stop or to be replaced is stopped as it is.
        changed(drift, Ready).change(|r| r.desired = STOP).is(Step::Stop);
        changed(drift, Ready).change(Record::advance_generation).is(Step::Stop);
        Case { drift: Some(drift), ..case(RUN, Phase::Running, Some(Ready)).container(Process::Exited) }
            .is(Step::Ended);
    }
    // Its name comes first, whatever is to be done, for all is done by the name.
    for state in [Process::Created, Process::Running, Process::Exited] {
        for desired in [RUN, STOP, GONE] {
            let case = case(desired, Phase::Running, Some(Ready)).container(state);
            Case { drift: Some(Renamed), ..case }.is(Step::Mend(Renamed));
        }
    }
}

/// A plugin that runs, with an update that has come so far.
fn updating(change: impl FnOnce(&mut crate::operation::Update)) -> Case {
    let running =
        case(Desired::Running, Phase::Running, Some(StartProgress::Ready)).container(Process::Running);
    let wanted = serde_json::from_value(serde_json::json!({"plugin_id": "focuser"})).expect("a request");
    let staging = Install { request: wanted, resolved: None, admitted: None, pulled: false };
    let release = &running.record.as_ref().expect("a record").release;
    let mut update = crate::operation::Update { staging, swap: crate::operation::Swap::of(release) };
    change(&mut update);
    running.working(Work::Update(Box::new(update)))
}

fn resolved(update: &mut crate::operation::Update) {
    update.staging.resolved = Some(crate::operation::ResolvedImage {
        source: "r/i:2".into(),
        reference: "r/i@sha256:2".into(),
        digest: "sha256:2".into(),
        label: None,
        bytes: Some(1),
        user: "1000".into(),
        present_before: false,
    });
}

#[test]
fn an_update_touches_nothing_that_runs_before_the_rights_of_what_is_to_be_are_acknowledged() {
    let stage = |record: &mut Record| record.stage(record.release.clone());
    updating(|_| {}).is(Step::Resolve);
    updating(resolved).is(Step::Pull);
    let pulled = |update: &mut crate::operation::Update| {
        resolved(update);
        update.staging.pulled = true;
    };
    updating(pulled).is(Step::Stage);
    updating(pulled).change(stage).acl(None).is(Step::AwaitAcl);
    let refused = AclOutcome::Refused { reasons: vec!["no".into()] };
    updating(pulled).change(stage).acl(Some(refused)).is(Step::AclRefused);
    updating(pulled).change(stage).is(Step::Swap);
}

#[test]
fn what_runs_is_looked_after_while_an_update_brings_something_else() {
    let pulled = |update: &mut crate::operation::Update| {
        resolved(update);
        update.staging.pulled = true;
    };
    let stage = |record: &mut Record| record.stage(record.release.clone());
    let come_so_far = || {
        [
            updating(|_| {}),
            updating(resolved),
            updating(pulled),
            updating(pulled).change(stage).acl(None),
            updating(pulled).change(stage),
        ]
    };
    let drop_start = |r: &mut Record| {
        r.drop_start();
        r.owed.clear();
    };
    for (n, is_staged) in [(0, false), (1, false), (2, false), (3, true), (4, true)] {
        let so_far = || come_so_far().into_iter().nth(n).expect("there is one");
        let own = so_far().step_at(1001);
        so_far().container(Process::Exited).is(Step::Ended);
        Case { watched: false, ..so_far().container(Process::Exited) }.is(Step::Resume);
        Case { drift: Some(Drift::Held), ..so_far() }.is(Step::Mend(Drift::Held));
        Case { drift: Some(Drift::Renamed), ..so_far() }.is(Step::Mend(Drift::Renamed));
        Case { forwarded: false, ..so_far() }.is(Step::Forward);
        Case { confirmed: false, ..so_far() }.is(own);
        so_far().change(|r| r.restart = Some("is deaf".into())).is(Step::Renew);
        // Where that did not succeed, the update has its turn.
        Case { hindered: true, ..so_far().container(Process::Exited) }.is(own);
        // So it has while nothing can be done.
        Case { container: Observed::Unknown, ..so_far() }.is(own);
        let at = Timestamp::from_seconds(1010);
        let failed = so_far().container(Process::Exited).change(|r| {
            r.retry_at = Some(at);
            r.rewind_start();
        });
        assert_eq!((failed.step_at(1001), failed.step_at(1010)), (own, Step::StartProcess));
        let started = |r: &mut Record| r.start.as_mut().expect("a start").progress = StartProgress::Started;
        so_far().change(started).is(own);
        Case { reported: true, ..so_far().change(started) }.is(Step::MarkReady);
        // One that is to be made anew is made with the rights that there are.
        let lost = Case { container: Observed::Missing, ..so_far() };
        lost.is(if is_staged { own } else { Step::Lost });
        let none = Case { container: Observed::Missing, ..so_far().change(drop_start) };
        none.is(if is_staged { own } else { Step::Begin });
        // One that should not run is left as it is.
        so_far().container(Process::Exited).change(|r| r.desired = STOP).is(own);
    }
}

#[test]
fn after_the_swap_the_old_container_goes_and_the_new_one_is_waited_for() {
    let swapped = |update: &mut crate::operation::Update| {
        resolved(update);
        update.staging.pulled = true;
        update.swap.swapped = true;
    };
    let swap = |record: &mut Record| {
        record.stage(record.release.clone());
        record.swap();
    };
    updating(swapped).change(swap).is(Step::Stop);
    updating(swapped).change(swap).container(Process::Exited).is(Step::RemoveContainer);
    let gone = |record: &mut Record| {
        swap(record);
        record.drop_start();
    };
    let mut without = updating(swapped).change(gone);
    without.container = Observed::Missing;
    without.is(Step::PayOwed);
    let fresh = |record: &mut Record| {
        swap(record);
        if let Some(start) = &mut record.start {
            start.generation = Some(record.generation);
        }
    };
    updating(swapped).change(fresh).is(Step::MarkReady);
    let stopped = |record: &mut Record| {
        gone(record);
        record.owed.clear();
        record.desired = Desired::Stopped;
        record.standing.phase = Phase::Stopped;
    };
    let mut stopped = updating(swapped).change(stopped);
    stopped.container = Observed::Missing;
    stopped.is(Step::MarkStopped);
}

#[test]
fn what_was_to_be_next_goes_with_its_operation_and_the_container_stays() {
    let running =
        || case(Desired::Running, Phase::Running, Some(StartProgress::Ready)).container(Process::Running);
    running().change(|record| record.stage(record.release.clone())).is(Step::Unstage);
    let unstaged = running().change(|record| {
        record.stage(record.release.clone());
        record.unstage();
    });
    assert!(!unstaged.record.as_ref().expect("a record").is_outdated());
    unstaged.is(Step::Settled(None));
}
