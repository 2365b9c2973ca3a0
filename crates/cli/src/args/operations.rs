//! `operations` and `cancel` as they are typed.

use clap::Args as Group;
use envelope::payload::lifecycle::OperationsRequest;
use envelope::{OperationId, PluginId};

#[derive(Debug, Group)]
#[command(after_help = "\
Those that run come first, each with the id that `bigskies cancel` takes, then those that have ended, the newest
first. Who asked for what else, and what was refused, is in `bigskies audit`.")]
pub(crate) struct Operations {
    /// Only those on this plugin
    #[arg(long, value_name = "ID", value_parser = PluginId::parse)]
    pub(crate) plugin: Option<PluginId>,
    /// At most so many that have ended, 0 to 1000; those that run are always shown
    #[arg(long, short = 'n', value_name = "N",
          value_parser = clap::value_parser!(u32).range(0..=i64::from(OperationsRequest::MAX_LIMIT)),
          default_value_t = OperationsRequest::DEFAULT_LIMIT)]
    pub(crate) limit: u32,
}

#[derive(Debug, Group)]
#[command(after_help = "\
An install or an update that is ended leaves nothing behind; an update leaves the old version as it was, and so does
a rollback. A start that is ended stops the plugin. Other operations go on, and the answer says until when.")]
pub(crate) struct Cancel {
    /// The operation's id, as `bigskies operations` shows it
    #[arg(value_name = "OPERATION-ID")]
    pub(crate) operation: OperationId,
}
