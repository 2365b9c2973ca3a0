//! `plugin …`: one file per command.

mod control;
mod inspect;
mod install;
mod lifecycle;
mod list;
mod logs;
mod remove;

use envelope::Operation;

use super::Context;
use crate::args::Plugin;
use crate::failure::Failure;

pub(super) use list::states_table;

pub(super) async fn run(command: Plugin, context: &Context) -> Result<(), Failure> {
    match command {
        Plugin::Install(args) => install::run(args, context).await,
        Plugin::Start(args) => lifecycle::run(Operation::Start, args.id, context).await,
        Plugin::Stop(args) => lifecycle::run(Operation::Stop, args.id, context).await,
        Plugin::Restart(args) => lifecycle::run(Operation::Restart, args.id, context).await,
        Plugin::Remove(args) => remove::run(args, context).await,
        Plugin::List => list::run(context).await,
        Plugin::Inspect(args) => inspect::run(args.id, context).await,
        Plugin::Logs(args) => logs::run(args, context).await,
        Plugin::Control(args) => control::run(args, context).await,
    }
}
