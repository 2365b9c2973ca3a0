//! What the drill goes through: operations, their steps, the moments in a step, and who is killed there.
//!
//! A new operation is a [`Scenario`] here, and its request in [`super::subject`].

use std::fmt;

use envelope::{ErrorCode, Operation};

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    /// The plugin coordinator, whose step it is.
    Plugin,
    /// The message coordinator.
    Message,
    /// The security coordinator.
    Security,
    /// The broker.
    Broker,
    /// The container engine, with everything that it runs.
    Engine,
}

impl Victim {
    /// As rows are called by it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plugin => "plugin",
            Self::Message => "message",
            Self::Security => "security",
            Self::Broker => "broker",
            Self::Engine => "engine",
        }
    }
}

/// Where in a step it happens, as the plugin coordinator's holds are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing of the step is done.
    Before,
    /// At its first write: what was done up to there is not recorded.
    Unrecorded,
    /// At its second write.
    UnrecordedAgain,
    /// It is done and recorded.
    After,
}

impl Moment {
    fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Unrecorded => "unrecorded",
            Self::UnrecordedAgain => "unrecorded-2",
            Self::After => "after",
        }
    }
}

/// What a step works with, besides the coordinator's own database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Record,
    /// Another coordinator, over the broker.
    Wire,
    /// The container engine.
    Engine,
    /// It waits.
    Wait,
}

/// A step of an operation, with the moments that there are in it.
#[derive(Debug, Clone, Copy)]
pub struct Stage {
    /// Its name.
    pub step: &'static str,
    kind: Kind,
    moments: &'static [Moment],
    /// Whether it is taken after the operation has ended.
    upkeep: bool,
}

/// How the plugin is before the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    /// It is not there.
    Absent,
    /// It is installed.
    Installed,
    /// It runs.
    Running,
    /// It runs, without a grant that was taken back.
    Revoked,
    /// It runs and was updated.
    Updated,
}

/// How it must be in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// It is gone, with everything.
    Absent,
    /// It is installed and does not run.
    Stopped,
    /// It runs.
    Running,
}

/// How that is which an operation starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// It gets ready.
    Well,
    /// It ends at once.
    Ending,
    /// It runs, and reports nothing.
    Silent,
}

/// When the message coordinator is away, so that its acknowledgement has to be waited for. It is back after the kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Away {
    /// Never.
    Never,
    /// From before the plugin is installed.
    FromTheBeginning,
    /// From before the request.
    FromTheRequest,
}

/// One operation on one plugin.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// What rows are called by it.
    pub name: &'static str,
    /// What is asked for.
    pub operation: Operation,
    /// How the plugin is before.
    pub begins: Begins,
    /// How it must be after.
    pub ends: Ends,
    /// Processes that are started for it, no more and no less.
    pub starts: usize,
    /// Containers that are made for it.
    pub containers: usize,
    /// When the message coordinator is away.
    pub away: Away,
    /// What is to be started.
    pub behaviour: Behaviour,
    /// Whether somebody cancels it while it waits.
    pub cancelled: bool,
    /// What it is answered with when it cannot succeed.
    pub fails: Option<ErrorCode>,
    /// Whether a removal is asked for that leaves the data.
    pub keeps_data: bool,
    stages: &'static [Stage],
}

/// One line of the drill.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The operation.
    pub scenario: &'static Scenario,
    /// The step.
    pub stage: &'static Stage,
    /// The moment in the step.
    pub moment: Moment,
    /// Who is killed.
    pub victim: Victim,
}

impl Scenario {
    /// Whether the plugin is in the end what an update has brought.
    pub fn is_updated(&self) -> bool {
        self.operation == Operation::Update && self.fails.is_none()
    }
}

impl Row {
    /// The hold at which the plugin coordinator waits.
    pub fn point(&self) -> String {
        let during = if self.stage.upkeep { "upkeep" } else { self.scenario.operation.as_str() };
        format!("{during}:{}:{}", self.stage.step, self.moment.name())
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let upkeep = if self.stage.upkeep { "upkeep:" } else { "" };
        let (scenario, step, moment) = (self.scenario.name, self.stage.step, self.moment.name());
        write!(f, "{scenario}/{upkeep}{step}/{moment}/{}", self.victim.name())
    }
}

const fn stage(step: &'static str, kind: Kind, moments: &'static [Moment]) -> Stage {
    Stage { step, kind, moments, upkeep: false }
}

const fn upkeep(step: &'static str, kind: Kind, moments: &'static [Moment]) -> Stage {
    Stage { step, kind, moments, upkeep: true }
}

const ALL: &[Moment] = &[Moment::Before, Moment::Unrecorded, Moment::After];
const TWICE: &[Moment] = &[Moment::Before, Moment::Unrecorded, Moment::UnrecordedAgain, Moment::After];
const BEFORE: &[Moment] = &[Moment::Before];
/// Of steps that leave nothing in the database.
const AROUND: &[Moment] = &[Moment::Before, Moment::After];

/// The request becomes an operation.
const ACCEPTED: Stage = stage("accepted", Kind::Record, &[Moment::Unrecorded, Moment::After]);
const REMOVE_CONTAINER: Stage = stage("remove_container", Kind::Engine, ALL);
const PAY_OWED: Stage = stage("pay_owed", Kind::Wire, ALL);
const BEGIN: Stage = stage("begin", Kind::Record, ALL);
const PREPARE: Stage = stage("prepare", Kind::Wire, ALL);
const START_PROCESS: Stage = stage("start_process", Kind::Engine, ALL);
const AWAIT_READY: Stage = stage("await_ready", Kind::Wait, BEFORE);
const MARK_READY: Stage = stage("mark_ready", Kind::Record, ALL);
/// Of an operation that finds the plugin in another phase than it leads to.
const STOP_IN_PHASE: Stage =
    stage("stop", Kind::Engine, &[Moment::Before, Moment::Unrecorded, Moment::After]);

/// A plugin that runs is made anew.
const ANEW: &[Stage] = &[
    ACCEPTED,
    STOP_IN_PHASE,
    REMOVE_CONTAINER,
    PAY_OWED,
    BEGIN,
    PREPARE,
    START_PROCESS,
    AWAIT_READY,
    MARK_READY,
];

/// What is staged takes the place of what runs. At the end names are written, and then the answer.
const SWAP: Stage = stage("swap", Kind::Wire, ALL);
const MARK_SWAPPED: Stage = stage("mark_ready", Kind::Record, TWICE);

/// What was started has ended, so that the operation fails and is undone.
const ENDED_EARLY: Stage = stage("ended_early", Kind::Engine, BEFORE);
/// What was started said nothing in time: the same.
const NOT_READY: Stage = stage("not_ready", Kind::Engine, BEFORE);

/// What most operations have in common: the plugin runs before and after, and is started once in a new container.
const USUAL: Scenario = Scenario {
    name: "",
    operation: Operation::Start,
    begins: Begins::Running,
    ends: Ends::Running,
    starts: 1,
    containers: 1,
    away: Away::Never,
    behaviour: Behaviour::Well,
    cancelled: false,
    fails: None,
    keeps_data: false,
    stages: &[],
};

static SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "install",
        operation: Operation::Install,
        begins: Begins::Absent,
        ends: Ends::Stopped,
        starts: 0,
        containers: 0,
        stages: &[
            ACCEPTED,
            stage("resolve", Kind::Engine, ALL),
            stage("pull", Kind::Engine, ALL),
            stage("register", Kind::Engine, ALL),
        ],
        ..USUAL
    },
    Scenario {
        name: "start",
        operation: Operation::Start,
        begins: Begins::Installed,
        stages: &[
            ACCEPTED,
            BEGIN,
            PREPARE,
            START_PROCESS,
            AWAIT_READY,
            MARK_READY,
            upkeep("confirm", Kind::Wire, AROUND),
        ],
        ..USUAL
    },
    Scenario {
        name: "start-unacknowledged",
        operation: Operation::Start,
        begins: Begins::Installed,
        away: Away::FromTheBeginning,
        stages: &[stage("await_acl", Kind::Wait, BEFORE)],
        ..USUAL
    },
    Scenario {
        name: "start-broken",
        operation: Operation::Start,
        begins: Begins::Installed,
        ends: Ends::Stopped,
        behaviour: Behaviour::Ending,
        fails: Some(ErrorCode::StartFailed),
        stages: &[ENDED_EARLY],
        ..USUAL
    },
    Scenario {
        name: "start-silent",
        operation: Operation::Start,
        begins: Begins::Installed,
        ends: Ends::Stopped,
        behaviour: Behaviour::Silent,
        fails: Some(ErrorCode::NotReady),
        stages: &[NOT_READY],
        ..USUAL
    },
    Scenario {
        name: "start-cancelled",
        operation: Operation::Start,
        begins: Begins::Installed,
        ends: Ends::Stopped,
        starts: 0,
        containers: 0,
        away: Away::FromTheBeginning,
        cancelled: true,
        fails: Some(ErrorCode::Cancelled),
        stages: &[upkeep("remove_container", Kind::Engine, ALL), upkeep("mark_stopped", Kind::Record, ALL)],
        ..USUAL
    },
    Scenario {
        name: "stop",
        operation: Operation::Stop,
        ends: Ends::Stopped,
        starts: 0,
        containers: 0,
        stages: &[
            ACCEPTED,
            stage("stop", Kind::Engine, AROUND),
            REMOVE_CONTAINER,
            stage("mark_stopped", Kind::Record, ALL),
            upkeep("pay_owed", Kind::Wire, ALL),
        ],
        ..USUAL
    },
    Scenario {
        name: "restart",
        operation: Operation::Restart,
        containers: 0,
        stages: &[
            ACCEPTED,
            stage("pause", Kind::Engine, TWICE),
            stage("start_process", Kind::Engine, TWICE),
            AWAIT_READY,
            MARK_READY,
        ],
        ..USUAL
    },
    Scenario {
        name: "remove",
        operation: Operation::Remove,
        ends: Ends::Absent,
        starts: 0,
        containers: 0,
        stages: &[
            ACCEPTED,
            stage("stop", Kind::Engine, AROUND),
            REMOVE_CONTAINER,
            PAY_OWED,
            stage("uninstall", Kind::Wire, ALL),
        ],
        ..USUAL
    },
    Scenario {
        name: "remove-keeping-data",
        operation: Operation::Remove,
        ends: Ends::Absent,
        starts: 0,
        containers: 0,
        keeps_data: true,
        stages: &[stage("uninstall", Kind::Wire, ALL)],
        ..USUAL
    },
    Scenario {
        name: "remove-unacknowledged",
        operation: Operation::Remove,
        begins: Begins::Installed,
        ends: Ends::Absent,
        starts: 0,
        containers: 0,
        away: Away::FromTheBeginning,
        stages: &[stage("await_absent", Kind::Wait, BEFORE)],
        ..USUAL
    },
    Scenario { name: "revoke-grant", operation: Operation::RevokeGrant, stages: ANEW, ..USUAL },
    Scenario {
        name: "approve",
        operation: Operation::Approve,
        begins: Begins::Revoked,
        stages: ANEW,
        ..USUAL
    },
    Scenario { name: "config", operation: Operation::Config, stages: ANEW, ..USUAL },
    Scenario {
        name: "update",
        operation: Operation::Update,
        stages: &[
            ACCEPTED,
            stage("resolve", Kind::Engine, ALL),
            stage("pull", Kind::Engine, ALL),
            stage("stage", Kind::Engine, ALL),
            SWAP,
            STOP_IN_PHASE,
            REMOVE_CONTAINER,
            PAY_OWED,
            BEGIN,
            PREPARE,
            START_PROCESS,
            AWAIT_READY,
            MARK_SWAPPED,
        ],
        ..USUAL
    },
    Scenario {
        name: "update-unacknowledged",
        operation: Operation::Update,
        away: Away::FromTheRequest,
        stages: &[stage("await_acl", Kind::Wait, BEFORE)],
        ..USUAL
    },
    Scenario {
        name: "update-broken",
        operation: Operation::Update,
        starts: 2,
        containers: 2,
        behaviour: Behaviour::Ending,
        fails: Some(ErrorCode::RolledBack),
        stages: &[ENDED_EARLY],
        ..USUAL
    },
    Scenario {
        name: "update-silent",
        operation: Operation::Update,
        starts: 2,
        containers: 2,
        behaviour: Behaviour::Silent,
        fails: Some(ErrorCode::RolledBack),
        stages: &[NOT_READY],
        ..USUAL
    },
    Scenario {
        name: "rollback",
        operation: Operation::Rollback,
        begins: Begins::Updated,
        stages: &[
            ACCEPTED,
            SWAP,
            STOP_IN_PHASE,
            REMOVE_CONTAINER,
            PAY_OWED,
            BEGIN,
            PREPARE,
            START_PROCESS,
            AWAIT_READY,
            MARK_SWAPPED,
        ],
        ..USUAL
    },
    Scenario {
        name: "rollback-unacknowledged",
        operation: Operation::Rollback,
        begins: Begins::Updated,
        away: Away::FromTheRequest,
        stages: &[stage("await_acl", Kind::Wait, BEFORE)],
        ..USUAL
    },
];

/// One of each kind of step, at which broker and engine are killed: scenario and step.
const DISTINCT: [(&str, &str); 8] = [
    ("install", "pull"),
    ("start", "begin"),
    ("start", "prepare"),
    ("start", "start_process"),
    ("start", "await_ready"),
    ("stop", "pay_owed"),
    ("remove", "uninstall"),
    ("update", "swap"),
];

/// The rows that every run of tests goes through.
const SHORT: [&str; 8] = [
    "install/pull/unrecorded/plugin",
    "start/prepare/unrecorded/plugin",
    "start/start_process/unrecorded/plugin",
    "remove/uninstall/unrecorded/plugin",
    "update/swap/unrecorded/plugin",
    "start/prepare/before/message",
    "stop/upkeep:pay_owed/unrecorded/message",
    "start/prepare/before/security",
];

/// At which moments of a step of somebody else a victim is killed: at each its own, and of others before it
/// works with them, and after they have done their part of it.
fn moments(stage: &Stage, victim: Victim) -> impl Iterator<Item = Moment> {
    let last = stage.moments.iter().rposition(|m| matches!(m, Moment::Unrecorded | Moment::UnrecordedAgain));
    stage
        .moments
        .iter()
        .enumerate()
        .filter(move |(place, _)| match victim {
            Victim::Plugin => true,
            Victim::Message | Victim::Security => {
                *place == 0 || stage.kind == Kind::Wire && Some(*place) == last
            }
            Victim::Broker | Victim::Engine => *place == 0,
        })
        .map(|(_, moment)| *moment)
}

/// All rows, those of one victim together.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for victim in [Victim::Plugin, Victim::Message, Victim::Security, Victim::Broker, Victim::Engine] {
        for scenario in SCENARIOS {
            for stage in scenario.stages {
                let distinct = DISTINCT.contains(&(scenario.name, stage.step));
                if matches!(victim, Victim::Broker | Victim::Engine) && !distinct {
                    continue;
                }
                rows.extend(moments(stage, victim).map(|moment| Row { scenario, stage, moment, victim }));
            }
        }
    }
    rows
}

/// Whether somebody is killed at this step of this operation. A wait is the same in whatever operation it is met. The
/// engine is waited for, and what ended with it is resumed, where it is killed.
pub fn has_rows(operation: &str, step: &str) -> bool {
    let of = |scenario: &Scenario, stage: &Stage| {
        stage.step == step && (scenario.operation.as_str() == operation || stage.kind == Kind::Wait)
    };
    ["await_engine", "resume"].contains(&step)
        || SCENARIOS.iter().any(|s| s.stages.iter().any(|stage| of(s, stage)))
}

/// The rows that every run of tests goes through.
pub fn short() -> Vec<Row> {
    rows().into_iter().filter(|row| SHORT.contains(&row.to_string().as_str())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own_and_the_short_ones_are_among_them() {
        let all = rows();
        let names: BTreeSet<String> = all.iter().map(Row::to_string).collect();
        assert_eq!(names.len(), all.len());
        assert_eq!(short().len(), SHORT.len());
    }

    #[test]
    fn every_victim_and_every_kind_of_step_is_met() {
        let all = rows();
        for victim in [Victim::Plugin, Victim::Message, Victim::Security, Victim::Broker, Victim::Engine] {
            for kind in [Kind::Record, Kind::Wire, Kind::Engine, Kind::Wait] {
                let met = all.iter().any(|row| row.victim == victim && row.stage.kind == kind);
                assert!(met, "{victim:?} is never killed at a step of the kind {kind:?}");
            }
        }
    }

    #[test]
    fn a_step_without_rows_is_told_from_one_that_has_some() {
        assert!(has_rows("start", "prepare"));
        assert!(has_rows("approve", "await_acl"), "a wait is the same everywhere");
        assert!(!has_rows("stop", "prepare"));
        assert!(!has_rows("start", "unheard_of"));
    }

    #[test]
    fn coordinators_are_killed_at_every_step() {
        let all = rows();
        for scenario in SCENARIOS {
            for stage in scenario.stages {
                for victim in [Victim::Plugin, Victim::Message, Victim::Security] {
                    let met = |row: &&Row| {
                        row.victim == victim
                            && row.scenario.name == scenario.name
                            && std::ptr::eq(row.stage, stage)
                    };
                    assert!(all.iter().any(|row| met(&row)), "{} {}", scenario.name, stage.step);
                }
            }
        }
    }
}
