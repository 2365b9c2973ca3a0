//! Operations that take longer than their handler.

use std::time::Duration;

use chassis::{Permit, Request};
use envelope::payload::lifecycle::{InstallRequest, ManifestSource};
use envelope::payload::state::RunningOperation;
use envelope::{Answer, ErrorBody, ErrorCode, Operation, OperationId, PluginId, Principal, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::record::{Granted, Release};

/// An operation that runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Running {
    /// Its id.
    pub id: OperationId,
    /// The plugin that it works on.
    pub plugin_id: PluginId,
    /// The request that its end answers.
    pub request_id: String,
    /// What was asked for.
    pub work: Work,
    /// Who asked.
    pub principal: String,
    /// Whether that is an operator on the topics of an account, who may approve: it is known who approved
    /// then, and no plugin approves another.
    pub named: bool,
    /// The step it is at.
    pub step: String,
    /// When it was accepted.
    pub started_at: Timestamp,
    /// When it fails at the latest.
    pub deadline: Timestamp,
    /// Joins everything that comes of it.
    pub correlation_id: String,
    /// Trace context.
    pub traceparent: Option<String>,
    /// Who asked for its end before it is done. In a column of its own: the worker writes the rest.
    #[serde(skip)]
    pub cancelled_by: Option<String>,
}

/// What was asked for, with how far it has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "operation")]
pub enum Work {
    /// Install.
    Install(Box<Install>),
    /// Start.
    Start,
    /// Stop.
    Stop,
    /// Restart.
    Restart {
        /// Whether the container has been stopped.
        stopped: bool,
    },
    /// Remove.
    Remove,
    /// Update.
    Update(Box<Update>),
    /// Go back to what it was before its last update.
    Rollback(Box<Swap>),
    /// Give it another configuration: recorded already, what runs has still to follow.
    Config,
    /// Give back what was taken back: recorded already, what runs has still to follow.
    Approve,
    /// Take a grant back: recorded already, what runs has still to follow.
    #[serde(rename = "revoke-grant")]
    RevokeGrant,
}

/// An installation under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Install {
    /// The request.
    pub request: InstallRequest,
    /// The image, once the registry has told of it.
    #[serde(default)]
    pub resolved: Option<ResolvedImage>,
    /// The manifest, once one was found and let in.
    #[serde(default)]
    pub admitted: Option<Admitted>,
    /// Whether the image is there.
    #[serde(default)]
    pub pulled: bool,
}

/// An update under way: what is to be, then its taking the place of what is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// The new image and its manifest.
    pub staging: Install,
    /// How it takes its place.
    pub swap: Swap,
}

/// One release taking the place of another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Swap {
    /// What is replaced.
    pub from: Named,
    /// What a rollback would have brought back before, once the release has been replaced.
    #[serde(default)]
    pub kept: Option<Box<Release>>,
    /// Whether the release has been replaced.
    #[serde(default)]
    pub swapped: bool,
    /// Since when a plugin that was running is away.
    #[serde(default)]
    pub away_since: Option<Timestamp>,
    /// Why it goes back to what it was, once it does.
    #[serde(default)]
    pub failed: Option<ErrorBody>,
}

/// A release by what people know of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The version in its manifest.
    pub version: String,
    /// Its image's digest.
    pub digest: String,
}

impl Swap {
    /// Something else in the place of `release`.
    pub fn of(release: &Release) -> Self {
        Self { from: release.named(), kept: None, swapped: false, away_since: None, failed: None }
    }
}

/// An image as the registry tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedImage {
    /// As it was asked for.
    pub source: String,
    /// By digest.
    pub reference: String,
    /// The digest.
    pub digest: String,
    /// The manifest in its label.
    pub label: Option<String>,
    /// The bytes of its layers as the registry tells them, compressed; not known of an operation that an earlier
    /// version began.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// Its user, as written in the image.
    pub user: String,
    /// Whether the engine had it before: then it is not ours to remove when the installation fails.
    pub present_before: bool,
}

/// A manifest that was let in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Admitted {
    /// The manifest, as its author wrote it.
    pub manifest: Value,
    /// Where it came from.
    pub source: ManifestSource,
    /// What is odd in it.
    pub warnings: Vec<String>,
    /// What goes beyond the plugin's namespace, and who approved it.
    pub grants: Vec<Granted>,
}

impl Work {
    /// Which operation.
    pub fn operation(&self) -> Operation {
        match self {
            Self::Install(_) => Operation::Install,
            Self::Start => Operation::Start,
            Self::Stop => Operation::Stop,
            Self::Restart { .. } => Operation::Restart,
            Self::Remove => Operation::Remove,
            Self::Update(_) => Operation::Update,
            Self::Rollback(_) => Operation::Rollback,
            Self::Config => Operation::Config,
            Self::Approve => Operation::Approve,
            Self::RevokeGrant => Operation::RevokeGrant,
        }
    }

    /// The image that it brings, with how far it has come.
    pub fn staging(&self) -> Option<&Install> {
        match self {
            Self::Install(install) => Some(install),
            Self::Update(update) => Some(&update.staging),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub fn staging_mut(&mut self) -> Option<&mut Install> {
        match self {
            Self::Install(install) => Some(install),
            Self::Update(update) => Some(&mut update.staging),
            _ => None,
        }
    }

    /// How one release takes the place of another.
    pub fn swap(&self) -> Option<&Swap> {
        match self {
            Self::Update(update) => Some(&update.swap),
            Self::Rollback(swap) => Some(swap),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub fn swap_mut(&mut self) -> Option<&mut Swap> {
        match self {
            Self::Update(update) => Some(&mut update.swap),
            Self::Rollback(swap) => Some(swap),
            _ => None,
        }
    }

    /// Whether it is still bringing something else, so that nothing of the plugin itself is touched yet.
    pub fn is_bringing(&self) -> bool {
        self.staging().is_some() && self.swap().is_none_or(|swap| !swap.swapped)
    }

    /// Whether it changes what the plugin is granted, and is answered with that.
    pub fn is_about_grants(&self) -> bool {
        matches!(self, Self::Approve | Self::RevokeGrant)
    }

    /// What it has recorded already when it begins: only what runs has still to follow. Said before a failure to.
    pub fn recorded(&self) -> Option<&'static str> {
        match self {
            Self::Approve => Some("The grants are approved."),
            Self::RevokeGrant => Some("The grant is taken back."),
            Self::Config => Some("The configuration is recorded."),
            _ => None,
        }
    }

    /// Whether it is done once the plugin has stopped, when the plugin should not run.
    pub fn ends_stopped(&self) -> bool {
        matches!(self, Self::Stop | Self::Update(_) | Self::Rollback(_)) || self.recorded().is_some()
    }

    /// Whether the plugin is to run when it is done: then it ends when the plugin is to stop.
    pub fn makes_it_run(&self) -> bool {
        match self {
            Self::Start
            | Self::Restart { .. }
            | Self::Update(_)
            | Self::Rollback(_)
            | Self::Config
            | Self::Approve
            | Self::RevokeGrant => true,
            Self::Install(_) | Self::Stop | Self::Remove => false,
        }
    }
}

impl Running {
    /// The operation that `request` asks for.
    pub fn new(permit: &Permit, request: &Request, plugin_id: PluginId, work: Work, lasts: Duration) -> Self {
        let now = crate::clock::now();
        Self {
            id: OperationId::new(),
            plugin_id,
            request_id: request.id.clone(),
            work,
            principal: permit.principal().to_string(),
            named: may_approve(permit.principal()),
            step: "accepted".to_owned(),
            started_at: now,
            deadline: now.after(lasts),
            correlation_id: request.correlation_id.clone(),
            traceparent: request.traceparent.clone(),
            cancelled_by: None,
        }
    }

    /// Why things happen while it runs.
    pub fn cause(&self) -> String {
        format!("{} by {}", self.work.operation(), self.principal)
    }

    /// Its answer when it is ended before it was done. `how` goes on after "was ended".
    pub(crate) fn cancelled(&self, how: &str) -> Answer {
        let note = match (&self.work, self.work.swap()) {
            (Work::Approve | Work::RevokeGrant, _) => {
                " What it says of grants is recorded and holds.".to_owned()
            }
            (Work::Config, _) => " The configuration is recorded and holds.".to_owned(),
            (_, Some(Swap { failed: Some(failed), from, .. })) => {
                format!(" {} It had gone back to {} already.", failed.message, from.version)
            }
            (_, Some(Swap { swapped: true, .. })) => {
                " What it brought has its place already; rollback brings back what was.".to_owned()
            }
            _ => String::new(),
        };
        let message = format!("{} of {} was ended {how}.{note}", self.work.operation(), self.plugin_id);
        Answer::Failure(ErrorBody::new(ErrorCode::Cancelled, message))
    }

    /// Who wants it to end before it is done; nobody once it is going back to what was.
    pub(crate) fn to_be_cancelled(&self) -> Option<&str> {
        let goes_back = self.work.swap().is_some_and(|swap| swap.failed.is_some());
        self.cancelled_by.as_deref().filter(|_| !goes_back)
    }

    /// As it is told in a plugin's state.
    pub fn summary(&self) -> RunningOperation {
        RunningOperation {
            id: self.id,
            operation: self.work.operation(),
            step: self.step.clone(),
            since: self.started_at,
        }
    }
}

/// Whether somebody may approve what a plugin asks for: an operator by account. A plugin may ask for an
/// installation, and must not approve what it installs.
fn may_approve(principal: &Principal) -> bool {
    match principal {
        Principal::Operator(_) => true,
        Principal::Unnamed | Principal::Plugin(_) | Principal::Coordinator(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_operator_by_account_may_approve() {
        let ada = envelope::OperatorName::parse("ada").expect("a name");
        let plugin = PluginId::parse("installer").expect("an id");
        assert!(may_approve(&Principal::Operator(ada)));
        assert!(!may_approve(&Principal::Unnamed));
        assert!(!may_approve(&Principal::Plugin(plugin)));
        assert!(!may_approve(&Principal::Coordinator(envelope::Coordinator::Security)));
    }

    #[test]
    fn work_is_written_by_the_name_of_its_operation() {
        for work in [Work::Start, Work::Stop, Work::Remove, Work::Config, Work::Approve, Work::RevokeGrant] {
            let text = serde_json::to_value(&work).expect("encodes");
            assert_eq!(text["operation"], work.operation().as_str());
            assert_eq!(serde_json::from_value::<Work>(text).ok(), Some(work));
        }
    }
}
