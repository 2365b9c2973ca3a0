//! What went wrong: for people, for programs, and as an exit code.

mod details;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use envelope::{Coordinator, ErrorCode, Operation, OperatorRole};
use serde_json::{Value, json};

use crate::approval;
use crate::login::LoginError;
use crate::render::{Ink, clean, ink, lasting};

/// How the command ended, as its caller sees it. The numbers are documented in `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// The request failed.
    Failed = 1,
    /// The command line, or a file named on it, cannot be used.
    Usage = 2,
    /// No login, no broker, or the login refused.
    Broker = 3,
    /// No answer in time, or nobody listens.
    Silence = 4,
    /// An operator's approval is needed.
    Approval = 5,
    /// Interrupted.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An answer that says no. The code is kept as text: a coordinator may be newer than this program.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    /// What was asked for.
    pub(crate) operation: Operation,
    /// Who was asked.
    pub(crate) coordinator: Coordinator,
    /// The error's code.
    pub(crate) code: String,
    /// The sentence for people.
    pub(crate) message: String,
    /// More, depending on the code.
    pub(crate) details: Value,
    /// Finds the request in the coordinators' logs and events.
    pub(crate) correlation_id: String,
    /// The command line that approves what waits for approval.
    pub(crate) again: Option<String>,
}

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line, or a file named on it, cannot be used.
    #[error("{0}")]
    Usage(String),
    /// There is no login.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// There is no connection to the broker.
    #[error("{reason}")]
    NoConnection {
        /// Why.
        reason: String,
        /// Where the login came from.
        origin: String,
        /// Whether something listens there at all.
        reachable: bool,
        /// What to do, where it can be told from the reason.
        hint: Option<String>,
    },
    /// The broker did not let a message or a subscription through.
    #[error("{0}")]
    Broker(String),
    /// The account's role does not allow it: the broker did not let it through.
    #[error("{account} may not {what}: its role does not allow it, or the account was disabled")]
    NotAllowed {
        /// The login.
        account: String,
        /// What it may not do.
        what: String,
        /// The roles that allow it.
        roles: Vec<OperatorRole>,
    },
    /// The coordinator answered that it did not do it.
    #[error("{}", clean(&.0.message))]
    Refused(Box<Refusal>),
    /// Whoever was asked said no.
    #[error("nothing was approved, so nothing was changed")]
    NotApproved,
    /// The ACLs at the broker are not as they must be.
    #[error("{0}")]
    Unproven(String),
    /// The connection ended, as was to be expected of what was asked for.
    #[error("{reason}")]
    CutOff {
        /// Why.
        reason: String,
    },
    /// What came is no answer.
    #[error("the {coordinator} coordinator's answer to {operation} cannot be read: {why}")]
    BadAnswer {
        /// Who answered.
        coordinator: Coordinator,
        /// What was asked for.
        operation: Operation,
        /// What is wrong with it.
        why: String,
    },
    /// The broker says that nobody is subscribed to the request's topic.
    #[error("nobody listens to {operation} requests: is the {coordinator} coordinator running?")]
    NobodyListens {
        /// Who should.
        coordinator: Coordinator,
        /// What was asked for.
        operation: Operation,
    },
    /// A plugin is not subscribed to a control command.
    #[error("nobody listens on {}: the plugin does not run, or does not subscribe to its control topics", .topics.join(" or "))]
    PluginDeaf {
        /// Where it was tried.
        topics: Vec<String>,
    },
    /// No answer came.
    #[error(
        "the {coordinator} coordinator did not answer {operation} within {}{}",
        lasting(*.after),
        .health.as_ref().map(|health| format!("; its last health was {health}")).unwrap_or_default()
    )]
    NoAnswer {
        /// Who was asked.
        coordinator: Coordinator,
        /// For what.
        operation: Operation,
        /// How long was waited.
        after: Duration,
        /// The last that was heard of the coordinator's health.
        health: Option<String>,
        /// Finds the request in the coordinators' logs and events.
        correlation_id: String,
    },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted {
        /// What was asked for and goes on without us.
        operation: Option<Operation>,
    },
    /// The result could not be written.
    #[error("could not write the result: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// How the command ends.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Login(_) | Self::NoConnection { .. } | Self::CutOff { .. } | Self::Broker(_) => {
                Exit::Broker
            }
            Self::Refused(refusal) if approval::is_needed(refusal) => Exit::Approval,
            Self::NotApproved => Exit::Approval,
            Self::Refused(_) | Self::NotAllowed { .. } | Self::BadAnswer { .. } | Self::Unproven(_) => {
                Exit::Failed
            }
            Self::NobodyListens { .. } | Self::PluginDeaf { .. } | Self::NoAnswer { .. } => Exit::Silence,
            Self::Interrupted { .. } => Exit::Interrupted,
            // `bigskies … | head` is no failure.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Output(_) => Exit::Failed,
        }
    }

    /// What kind of failure, for programs: an error code of the coordinators, or one of this program's.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Usage(_) => "usage",
            Self::Login(_) => "no_login",
            Self::NoConnection { .. } | Self::CutOff { .. } => "no_connection",
            Self::Broker(_) => "broker_refused",
            Self::NotAllowed { .. } => ErrorCode::Forbidden.as_str(),
            Self::Refused(refusal) => &refusal.code,
            Self::NotApproved => "not_approved",
            Self::Unproven(_) => "acl_unproven",
            Self::BadAnswer { .. } => "bad_answer",
            Self::NobodyListens { .. } | Self::PluginDeaf { .. } => "nobody_listens",
            Self::NoAnswer { .. } => "no_answer",
            Self::Interrupted { .. } => "interrupted",
            Self::Output(_) => "output",
        }
    }

    /// For programs: `{"error": {code, message, details}}`.
    pub(crate) fn to_json(&self) -> Value {
        let (message, details) = match self {
            Self::Refused(refusal) => (refusal.message.clone(), refusal.details.clone()),
            Self::NoAnswer { correlation_id, .. } => {
                (self.to_string(), json!({ "correlation_id": correlation_id }))
            }
            Self::NotAllowed { roles, .. } => (self.to_string(), json!({ "roles": roles })),
            _ => (self.to_string(), Value::Null),
        };
        json!({ "error": { "code": self.code(), "message": message, "details": details } })
    }

    /// For people: what failed, the particulars, and what to do next.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{} {}", ink(Ink::Bad, "error:"), clean(&self.to_string()));
        if let Self::Refused(refusal) = self {
            text.push_str(&ink(Ink::Faint, &format!(" ({})", clean(&refusal.code))));
            text.push_str(&details::render(refusal));
        }
        for line in self.advice() {
            text.push_str(&format!("\n{} {line}", ink(Ink::Faint, "  next:")));
        }
        text
    }

    /// What to do next.
    fn advice(&self) -> Vec<String> {
        match self {
            Self::Login(LoginError::Missing { .. } | LoginError::Incomplete { .. }) => vec![
                "go to the folder in which `make up` was run, or set MQTT_HOST, MQTT_USERNAME and MQTT_PASSWORD".to_owned(),
            ],
            // They say it themselves.
            Self::Usage(_) | Self::Login(_) | Self::NotApproved | Self::CutOff { .. } => Vec::new(),
            Self::NoConnection { hint: Some(hint), .. } => vec![clean(hint)],
            Self::NoConnection { origin, reachable: true, .. } => {
                vec![format!("see whether it is the right login: it is from {}", clean(origin))]
            }
            Self::NoConnection { reachable: false, .. } => vec![
                "see whether the broker is up: `docker compose ps`; --host and --port name another one".to_owned(),
            ],
            Self::Broker(_) => vec!["this login may lack the right: use an operator's login".to_owned()],
            Self::NotAllowed { roles, .. } => vec![details::roles(roles)],
            Self::Refused(refusal) => details::advice(refusal),
            Self::Unproven(_) => vec![
                "until it is put right, trust no plugin: `bigskies events` shows what the message coordinator does about it".to_owned(),
                "look for \"proof\" in `docker compose logs message-coordinator`".to_owned(),
            ],
            Self::BadAnswer { .. } => vec![
                "this program and the coordinator may be of different versions: compare `bigskies --version`".to_owned(),
            ],
            Self::NobodyListens { coordinator, .. } => vec![
                "see what runs: `docker compose ps`".to_owned(),
                format!("see why it does not: `docker compose logs {coordinator}-coordinator`"),
            ],
            Self::PluginDeaf { .. } => vec!["see how the plugin is: `bigskies plugin list`".to_owned()],
            Self::NoAnswer { correlation_id, coordinator, .. } => vec![format!(
                "look for {correlation_id} in `docker compose logs {coordinator}-coordinator`; the request may still be carried out"
            )],
            Self::Interrupted { operation: Some(operation) } if operation.coordinator() == Coordinator::Plugin => {
                vec![format!(
                    "the coordinator goes on with {operation}: `bigskies operations` shows how far it is, \
                     `bigskies cancel` ends it"
                )]
            }
            Self::Interrupted { operation: Some(operation) } => vec![format!(
                "the coordinator goes on with {operation}: `bigskies audit` shows what came of it"
            )],
            Self::Interrupted { operation: None } | Self::Output(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
