//! The plugin registry, as a port: plugins, the names that are theirs, operations. [`SqliteRegistrations`] is the real
//! one; tests have one in memory.
//!
//! Handlers and workers write the same rows. Each write names the revision that it has read, and is refused
//! with [`TableError::Changed`] when somebody else has written since: the writer then looks again.

#[cfg(test)]
pub(crate) mod fake;
mod sqlite;

use std::collections::BTreeSet;

use async_trait::async_trait;
use chassis::Request;
use envelope::{Answer, ErrorCode, OperationId, PluginId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::operation::Running;
use crate::record::Record;

pub use sqlite::SqliteRegistrations;

/// So many ended operations are kept, the newest ones.
pub const ENDED_KEPT: u32 = 1000;

/// How often whoever is overtaken looks again; a step writes once or twice.
pub(crate) const LOOKS: usize = 16;

/// What went wrong with the tables.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The database failed.
    #[error("the plugin registry's database failed")]
    Database(#[from] store::Error),
    /// Somebody else wrote the row after it was read.
    #[error("the row of {0} in the plugin registry was changed meanwhile")]
    Changed(PluginId),
    /// A row cannot be read: it was written by another version, or by hand.
    #[error("the row of {key} in the plugin registry cannot be read")]
    Row {
        /// Which.
        key: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// What a plugin has to itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// `topic` (id and alias), `network`, or `client`.
    pub kind: &'static str,
    /// The name.
    pub name: String,
}

/// What came of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was not done.
    Failure {
        /// What kind of failure.
        code: ErrorCode,
        /// What failed, and what to do next.
        message: String,
    },
}

impl From<&Answer> for Outcome {
    fn from(answer: &Answer) -> Self {
        match answer {
            Answer::Success(_) => Self::Success,
            Answer::Failure(error) => Self::Failure { code: error.code, message: error.message.clone() },
        }
    }
}

/// An operation that runs, or has run.
#[derive(Debug, Clone, PartialEq)]
pub struct Operated {
    /// The operation, as far as it has come.
    pub operation: Running,
    /// When it ended; none while it runs.
    pub ended_at: Option<Timestamp>,
    /// What came of it; none while it runs, and for one that an earlier version ended.
    pub outcome: Option<Outcome>,
}

/// A request that is answered with what it changes, in one transaction: handled again after a kill it would be judged by
/// what it has changed itself.
#[derive(Debug, Clone)]
pub struct Answered {
    request_id: String,
    correlation_id: String,
    traceparent: Option<String>,
    answer: Answer,
}

impl Answered {
    /// `request`, answered with that it is done.
    pub fn with(request: &Request, data: &impl Serialize) -> Self {
        let data = serde_json::to_value(data).expect("answers have string keys");
        Self {
            request_id: request.id.clone(),
            correlation_id: request.correlation_id.clone(),
            traceparent: request.traceparent.clone(),
            answer: Answer::Success(data),
        }
    }

    /// Which request.
    #[cfg(test)]
    pub(crate) fn request_id(&self) -> &str {
        &self.request_id
    }
}

/// All that is recorded of what is and is being done.
#[derive(Debug, Default)]
pub struct Everything {
    /// The plugins.
    pub plugins: Vec<Record>,
    /// The operations that run.
    pub running: Vec<Running>,
    /// Rows of either that cannot be read, and are left out.
    pub unreadable: usize,
}

/// The plugin registry. Each verb that writes does all of it or nothing.
#[async_trait]
pub trait Registrations: Send + Sync + 'static {
    /// One plugin.
    ///
    /// # Errors
    /// The database failed, or the row cannot be read.
    async fn plugin(&self, id: &PluginId) -> Result<Option<Record>, TableError>;

    /// All plugins, by id. A row that cannot be read is logged and left out, so that it hurts no other.
    ///
    /// # Errors
    /// The database failed.
    async fn plugins(&self) -> Result<Vec<Record>, TableError>;

    /// The operation that runs on a plugin.
    ///
    /// # Errors
    /// The database failed, or the row cannot be read.
    async fn running(&self, id: &PluginId) -> Result<Option<Running>, TableError>;

    /// A plugin and the operation that runs on it, as they are at one moment: an operation is never seen without what
    /// was recorded with it.
    ///
    /// # Errors
    /// The database failed, or a row cannot be read.
    async fn both(&self, id: &PluginId) -> Result<(Option<Record>, Option<Running>), TableError>;

    /// All operations that run.
    ///
    /// # Errors
    /// The database failed.
    async fn all_running(&self) -> Result<Vec<Running>, TableError>;

    /// All plugins and all operations that run, as they are at one moment, and how many rows of them cannot be read.
    ///
    /// # Errors
    /// The database failed.
    async fn everything(&self) -> Result<Everything, TableError>;

    /// The ids of all plugins, and of those on which an operation runs, as they are at one moment. A row that cannot be
    /// read counts: what it is of is there.
    ///
    /// # Errors
    /// The database failed.
    async fn ids(&self) -> Result<BTreeSet<String>, TableError>;

    /// Whose a name is.
    ///
    /// # Errors
    /// The database failed.
    async fn owner(&self, name: &Name) -> Result<Option<String>, TableError>;

    /// Records an operation, and with it what is wanted of the plugin, in one transaction. An operation
    /// `instead` of which it runs ends with `superseded`.
    ///
    /// # Errors
    /// The database failed.
    async fn begin(
        &self,
        operation: &Running,
        record: Option<&Record>,
        instead: Option<(&Running, Answer)>,
    ) -> Result<(), TableError>;

    /// Records how far a plugin and an operation have come, in one transaction. The record has the new
    /// revision then, so that it can be written again.
    ///
    /// # Errors
    /// The database failed.
    async fn advance(
        &self,
        record: Option<&mut Record>,
        operation: Option<&Running>,
    ) -> Result<(), TableError>;

    /// Registers a plugin with its names and ends the operation that installed it, in one transaction.
    /// Answers the name that another plugin has, if one has it; then nothing is recorded.
    ///
    /// # Errors
    /// The database failed.
    async fn register(
        &self,
        record: &Record,
        names: &[Name],
        operation: &Running,
        answer: &Answer,
    ) -> Result<Option<Name>, TableError>;

    /// Records how far a plugin and an operation have come, and that exactly these names are the plugin's from now
    /// on, in one transaction. The record has the new revision then. Answers the name that another plugin has, if
    /// one has it; then nothing is recorded.
    ///
    /// # Errors
    /// The database failed.
    async fn claim(
        &self,
        record: &mut Record,
        names: &[Name],
        operation: Option<&Running>,
    ) -> Result<Option<Name>, TableError>;

    /// Records that somebody asks for the end of an operation, and answers the request for that, in one transaction.
    /// Answers whether it runs; nothing is recorded where it does not.
    ///
    /// # Errors
    /// The database failed.
    async fn cancel(&self, id: &OperationId, by: &str, asked: &Answered) -> Result<bool, TableError>;

    /// Ends an operation at a request for its end, as [`finish`](Self::finish) does, and answers that request, in one
    /// transaction.
    ///
    /// # Errors
    /// The database failed.
    async fn give_up(
        &self,
        record: &Record,
        operation: &Running,
        end: (&Answer, Timestamp),
        asked: &Answered,
    ) -> Result<(), TableError>;

    /// Ends an operation with its answer, together with what became of the plugin, in one transaction.
    ///
    /// # Errors
    /// The database failed.
    async fn finish(
        &self,
        record: Option<&Record>,
        operation: &Running,
        answer: &Answer,
    ) -> Result<(), TableError>;

    /// Forgets a plugin and its names, and ends the operation that removed it, in one transaction.
    ///
    /// # Errors
    /// The database failed.
    async fn forget(&self, record: &Record, ended: Option<(&Running, &Answer)>) -> Result<(), TableError>;

    /// One operation, whether it runs or has ended.
    ///
    /// # Errors
    /// The database failed, or the row cannot be read.
    async fn operation(&self, id: &OperationId) -> Result<Option<Operated>, TableError>;

    /// Operations that run or have ended, of one plugin or of all, newest first: at most `limit`. A row that cannot
    /// be read is logged and left out.
    ///
    /// # Errors
    /// The database failed.
    async fn operations(&self, on: Option<&PluginId>, limit: u32) -> Result<Vec<Operated>, TableError>;
}

/// An ended operation keeps no configuration: it can hold secrets.
fn without_request(operation: &Running) -> Running {
    let mut kept = operation.clone();
    if let Some(staging) = kept.work.staging_mut() {
        staging.request.config = None;
        staging.request.manifest = None;
        staging.admitted = None;
    }
    if let Some(swap) = kept.work.swap_mut() {
        swap.kept = None;
    }
    kept
}

#[cfg(test)]
mod tests;
