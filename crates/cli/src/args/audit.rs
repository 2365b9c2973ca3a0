//! `audit` as it is typed.

use clap::Args as Group;
use envelope::payload::audit::AuditRequest;
use envelope::{Coordinator, PluginId, Timestamp};

use super::parse::since;

#[derive(Debug, Default, Group)]
#[command(after_help = "\
Newest first. Every coordinator keeps its own records; those of all three are shown, unless --coordinator
names one. A coordinator that does not answer is named, the records of the others are shown, and the command
then exits 4. With --json each record has its correlation id, which joins it to what came of it.")]
pub(crate) struct Audit {
    /// Only what was asked on this plugin
    #[arg(long, value_name = "ID", value_parser = PluginId::parse)]
    pub(crate) plugin: Option<PluginId>,
    /// Only what this one asked, such as operator:ann or plugin:focuser
    #[arg(long, value_name = "WHO")]
    pub(crate) principal: Option<String>,
    /// Only this operation, such as install
    #[arg(long, value_name = "NAME")]
    pub(crate) operation: Option<String>,
    /// Only what belongs to this correlation id
    #[arg(long, value_name = "ID")]
    pub(crate) correlation: Option<String>,
    /// Only from then on: so long ago (45m, 2h, 7d), or a time such as 2026-01-16T21:00:00Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub(crate) since: Option<Timestamp>,
    /// At most so many records, 1 to 1000
    #[arg(long, short = 'n', value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(AuditRequest::MAX_LIMIT)),
          default_value_t = AuditRequest::DEFAULT_LIMIT)]
    pub(crate) limit: u32,
    /// Only the records of this coordinator: plugin, message or security
    #[arg(long, value_name = "COORDINATOR")]
    pub(crate) coordinator: Option<Coordinator>,
}
