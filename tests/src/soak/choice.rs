//! What is asked, and how it is asked.

use std::fmt;

use envelope::{ErrorCode, Operation, PluginId};
use serde_json::{Value, json};

use super::dice::Dice;
use super::field::Images;
use super::model::{Model, Release};

/// A request about one plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Install,
    Start,
    Stop,
    Restart,
    Update(Release),
    Rollback,
    Config(Option<u64>),
    Remove,
}

/// What else is asked while a request is not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    /// That it is ended.
    Cancel,
    /// Something else.
    Other(Ask),
}

/// Refusals that are right whenever somebody else asks about the same plugin: a cancelled swap goes back.
const CROSSED: &[ErrorCode] =
    &[ErrorCode::Busy, ErrorCode::Cancelled, ErrorCode::InvalidPhase, ErrorCode::RolledBack];
/// Refusals that are right while something that is needed is away, or has just been.
const OUTAGE: &[ErrorCode] = &[
    ErrorCode::StartFailed,
    ErrorCode::NotReady,
    ErrorCode::RolledBack,
    ErrorCode::DependencyUnavailable,
    ErrorCode::EngineUnavailable,
    ErrorCode::RegistryUnreachable,
    ErrorCode::TimedOut,
    ErrorCode::Expired,
];
/// Refusals that are right where what the plugin is explains them, which the model sees to.
const EXPLAINED: &[ErrorCode] =
    &[ErrorCode::UnknownPlugin, ErrorCode::AlreadyInstalled, ErrorCode::InvalidPhase];

/// Whether a refusal may be. Every other one is a violation.
pub(super) fn may_be_refused(code: ErrorCode, crossed: bool, outage: bool) -> bool {
    EXPLAINED.contains(&code) || crossed && CROSSED.contains(&code) || outage && OUTAGE.contains(&code)
}

impl Ask {
    /// Chooses what makes sense, and now and then what does not.
    pub(super) fn choose(dice: &mut Dice, model: &Model) -> Self {
        let release = if dice.percent(50) { Release::First } else { Release::Second };
        let gain = (!dice.percent(20)).then(|| dice.below(1_000_000));
        let choices: &[(u64, Self)] = if !model.may_be_installed() {
            &[(20, Self::Install), (1, Self::Start), (1, Self::Remove)]
        } else if model.must_run() {
            &[
                (5, Self::Stop),
                (5, Self::Restart),
                (5, Self::Update(release)),
                (if model.can_go_back() { 5 } else { 1 }, Self::Rollback),
                (4, Self::Config(gain)),
                (2, Self::Remove),
                (1, Self::Start),
                (1, Self::Install),
            ]
        } else {
            &[
                (16, Self::Start),
                (2, Self::Restart),
                (3, Self::Update(release)),
                (2, Self::Rollback),
                (2, Self::Config(gain)),
                (3, Self::Remove),
                (1, Self::Stop),
                (1, Self::Install),
            ]
        };
        dice.weighted(choices).unwrap_or(Self::Start)
    }

    /// The operation.
    pub(super) fn operation(self) -> Operation {
        match self {
            Self::Install => Operation::Install,
            Self::Start => Operation::Start,
            Self::Stop => Operation::Stop,
            Self::Restart => Operation::Restart,
            Self::Update(_) => Operation::Update,
            Self::Rollback => Operation::Rollback,
            Self::Config(_) => Operation::Config,
            Self::Remove => Operation::Remove,
        }
    }

    /// What is sent.
    pub(super) fn payload(self, id: &PluginId, images: &Images) -> Value {
        let release = |release: Release| {
            let source = match release {
                Release::First => &images.first,
                Release::Second => &images.second,
            };
            json!({"plugin_id": id, "source": source, "manifest": manifest(id, release)})
        };
        match self {
            Self::Install => release(Release::First),
            Self::Update(to) => release(to),
            Self::Config(Some(gain)) => json!({"plugin_id": id, "config": {"gain": gain}}),
            Self::Config(None) => json!({"plugin_id": id, "config": null}),
            Self::Remove => json!({"plugin_id": id, "remove_volumes": true}),
            Self::Start | Self::Stop | Self::Restart | Self::Rollback => json!({"plugin_id": id}),
        }
    }
}

impl Beside {
    /// What comes in the way of a request.
    pub(super) fn choose(dice: &mut Dice) -> Self {
        let choices = [
            (4, Self::Cancel),
            (4, Self::Other(Ask::Stop)),
            (2, Self::Other(Ask::Restart)),
            (1, Self::Other(Ask::Start)),
            (1, Self::Other(Ask::Remove)),
        ];
        dice.weighted(&choices).unwrap_or(Self::Cancel)
    }
}

fn manifest(id: &PluginId, release: Release) -> Value {
    json!({"id": id, "name": "Throw-away", "version": release.version(), "stop_timeout_seconds": 5})
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.operation())?;
        match self {
            Self::Update(release) => write!(f, " to {}", release.version()),
            Self::Config(Some(gain)) => write!(f, " of gain {gain}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_right_only_where_something_explains_it() {
        assert!(may_be_refused(ErrorCode::Busy, true, false));
        assert!(!may_be_refused(ErrorCode::Busy, false, true));
        assert!(may_be_refused(ErrorCode::StartFailed, false, true));
        assert!(!may_be_refused(ErrorCode::StartFailed, true, false));
        for never in
            [ErrorCode::Internal, ErrorCode::Conflict, ErrorCode::EngineRefused, ErrorCode::Forbidden]
        {
            assert!(!may_be_refused(never, true, true), "{never}");
        }
    }
}
