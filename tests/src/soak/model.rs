//! What a plugin should be, going by what was asked and answered: all that is possible, which mostly is one thing.
//!
//! An answer that nothing possible explains is a violation.

use std::collections::BTreeSet;
use std::fmt;

use envelope::ErrorCode;
use serde_json::Value;

use super::choice::Ask;

/// Which of the two releases of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Release {
    /// What it is installed with.
    First,
    /// What it is updated to.
    Second,
}

/// A release with the configuration that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Content {
    pub(super) release: Release,
    pub(super) gain: Option<u64>,
}

/// One thing that a plugin may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// It is not there, or on its way out.
    Absent { leaving: bool },
    /// It is installed.
    Installed { runs: bool, content: Content, previous: Option<Content> },
}

/// All that a plugin may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Model(pub(super) BTreeSet<State>);

/// How a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Done { changed: bool },
    Refused(ErrorCode),
}

impl Told {
    /// What an answer says; none when it is no answer that is documented.
    pub(super) fn read(answer: &Value) -> Option<Self> {
        if answer["success"] == true {
            return Some(Self::Done { changed: answer["data"]["changed"] != false });
        }
        let code = answer["error"]["code"].as_str()?;
        let known = ErrorCode::ALL.iter().find(|known| known.as_str() == code)?;
        Some(Self::Refused(*known))
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done { .. } => write!(f, "done"),
            Self::Refused(code) => write!(f, "{code}"),
        }
    }
}

impl Model {
    /// Nothing is there yet.
    pub(super) fn absent() -> Self {
        Self(BTreeSet::from([State::Absent { leaving: false }]))
    }

    /// What may be after these requests were answered so, in an order that nobody knows.
    pub(super) fn after(&self, asked: &[(Ask, Told)]) -> Self {
        let mut possible = BTreeSet::new();
        for first in 0..asked.len() {
            let order = asked[first..].iter().chain(&asked[..first]);
            let mut states = self.0.clone();
            for (ask, told) in order {
                states = states.iter().flat_map(|state| state.after(*ask, *told, asked.len() > 1)).collect();
            }
            possible.extend(states);
        }
        Self(possible)
    }

    /// Whether it may be installed.
    pub(super) fn may_be_installed(&self) -> bool {
        self.0.iter().any(|state| matches!(state, State::Installed { .. }))
    }

    /// Whether it must run.
    pub(super) fn must_run(&self) -> bool {
        self.0.iter().all(|state| matches!(state, State::Installed { runs: true, .. }))
    }

    /// Whether it may be something with another to go back to.
    pub(super) fn can_go_back(&self) -> bool {
        self.0.iter().any(|state| matches!(state, State::Installed { previous: Some(_), .. }))
    }
}

impl State {
    /// What it may be once this request was answered so; nothing when the answer cannot be. `crossed` is whether another
    /// was not answered yet: a removal, for one, may have been under way.
    fn after(self, ask: Ask, told: Told, crossed: bool) -> Vec<Self> {
        use ErrorCode as E;
        match told {
            Told::Done { changed } => self.done(ask, changed).into_iter().collect(),
            Told::Refused(E::UnknownPlugin) => match self {
                Self::Absent { .. } => vec![Self::Absent { leaving: false }],
                Self::Installed { .. } => Vec::new(),
            },
            Told::Refused(E::AlreadyInstalled) => match self {
                Self::Installed { content: Content { release: Release::Second, .. }, .. } => vec![self],
                _ => Vec::new(),
            },
            Told::Refused(E::InvalidPhase) => match (self, ask) {
                (Self::Absent { leaving }, _) if leaving || crossed => vec![self],
                (Self::Installed { previous: None, .. }, Ask::Rollback) => vec![self],
                _ => Vec::new(),
            },
            // Nothing was begun.
            Told::Refused(E::Busy | E::Expired | E::TooManyRequests) => vec![self],
            // It was begun and not brought to its end: each request says what comes of that.
            Told::Refused(_) => self.failed(ask, told),
        }
    }

    fn done(self, ask: Ask, changed: bool) -> Option<Self> {
        let Self::Installed { runs, content, previous } = self else {
            let new = Content { release: Release::First, gain: None };
            return match ask {
                Ask::Install if changed => {
                    Some(Self::Installed { runs: false, content: new, previous: None })
                }
                _ => None,
            };
        };
        let installed = |runs, content, previous| Some(Self::Installed { runs, content, previous });
        match ask {
            Ask::Install if content.release == Release::First && !changed => Some(self),
            Ask::Install => None,
            Ask::Start | Ask::Restart => installed(true, content, previous),
            Ask::Stop => installed(false, content, previous),
            Ask::Update(release) if changed => {
                (release != content.release).then_some(())?;
                installed(runs, Content { release, ..content }, Some(content))
            }
            Ask::Update(release) => (release == content.release).then_some(self),
            Ask::Rollback => installed(runs, previous?, Some(content)),
            Ask::Config(gain) => installed(runs, Content { gain, ..content }, previous),
            Ask::Remove => Some(Self::Absent { leaving: false }),
        }
    }

    fn failed(self, ask: Ask, told: Told) -> Vec<Self> {
        let Self::Installed { runs, content, previous } = self else {
            // An installation that failed leaves nothing; everything else needs a plugin.
            return if ask == Ask::Install { vec![self] } else { Vec::new() };
        };
        let done = self.done(ask, true);
        match ask {
            Ask::Install => vec![self],
            // Given up: it is stopped. Ended by a stop it is that, too.
            Ask::Start => vec![Self::Installed { runs: false, content, previous }],
            Ask::Restart => vec![Self::Installed { runs: true, content, previous }],
            // It goes on in the background.
            Ask::Stop => done.into_iter().collect(),
            Ask::Remove => vec![Self::Absent { leaving: true }],
            Ask::Config(_) => done.into_iter().collect(),
            Ask::Update(_) | Ask::Rollback => {
                let swapped = (told == Told::Refused(ErrorCode::Cancelled)).then_some(done).flatten();
                [Some(self), swapped, Some(Self::Installed { runs, content, previous: None })]
                    .into_iter()
                    .flatten()
                    .collect()
            }
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> = self.0.iter().map(State::to_string).collect();
        write!(f, "{}", shown.join(" or "))
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent { leaving: false } => write!(f, "not there"),
            Self::Absent { leaving: true } => write!(f, "on its way out"),
            Self::Installed { runs, content, previous } => {
                let verb = if *runs { "runs" } else { "stopped with" };
                write!(f, "{verb} {content}")?;
                previous.map_or(Ok(()), |previous| write!(f, " (before: {previous})"))
            }
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let release = self.release.version();
        match self.gain {
            Some(gain) => write!(f, "{release}, gain {gain}"),
            None => write!(f, "{release}"),
        }
    }
}

impl Release {
    /// As the manifest says.
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::First => "1.0.0",
            Self::Second => "1.1.0",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DONE: Told = Told::Done { changed: true };

    fn check(asked: &[&[(Ask, Told)]], expect: &str) {
        let model = asked.iter().fold(Model::absent(), |model, asked| model.after(asked));
        assert_eq!(model.to_string(), expect);
    }

    #[test]
    fn answers_lead_from_one_state_to_the_next() {
        let installed: &[_] = &[(Ask::Install, DONE)];
        let updated: &[_] = &[(Ask::Update(Release::Second), DONE)];
        check(&[], "not there");
        check(&[installed], "stopped with 1.0.0");
        check(&[installed, &[(Ask::Start, DONE)]], "runs 1.0.0");
        check(&[installed, updated], "stopped with 1.1.0 (before: 1.0.0)");
        check(&[installed, updated, &[(Ask::Rollback, DONE)]], "stopped with 1.0.0 (before: 1.1.0)");
        check(&[installed, &[(Ask::Remove, DONE)]], "not there");
        let failed: &[_] = &[(Ask::Start, Told::Refused(ErrorCode::StartFailed))];
        check(&[installed, &[(Ask::Start, DONE)], failed], "stopped with 1.0.0");
        let late: &[_] = &[(Ask::Remove, Told::Refused(ErrorCode::TimedOut))];
        check(&[installed, late], "on its way out");
    }

    #[test]
    fn of_two_requests_either_may_have_come_first() {
        let installed: &[_] = &[(Ask::Install, DONE)];
        let two: &[_] = &[(Ask::Start, DONE), (Ask::Stop, DONE)];
        check(&[installed, two], "stopped with 1.0.0 or runs 1.0.0");
        let ended: &[_] = &[(Ask::Start, Told::Refused(ErrorCode::Cancelled)), (Ask::Stop, DONE)];
        check(&[installed, ended], "stopped with 1.0.0");
        let leaving: &[_] = &[(Ask::Remove, DONE), (Ask::Stop, Told::Refused(ErrorCode::InvalidPhase))];
        check(&[installed, leaving], "not there");
    }

    #[test]
    fn an_answer_that_cannot_be_leaves_nothing() {
        let unknown = Told::Refused(ErrorCode::UnknownPlugin);
        check(&[&[(Ask::Start, DONE)]], "");
        check(&[&[(Ask::Install, DONE)], &[(Ask::Start, unknown)]], "");
        check(&[&[(Ask::Install, DONE)], &[(Ask::Rollback, DONE)]], "");
        check(&[&[(Ask::Install, DONE)], &[(Ask::Install, DONE)]], "");
    }
}
