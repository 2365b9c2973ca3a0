//! `plugin config`: another configuration, or none.

use envelope::Operation;
use envelope::payload::lifecycle::{ConfigRequest, LifecycleResponse};

use super::{Context, file, lifecycle};
use crate::args::Config;
use crate::failure::Failure;

pub(super) async fn run(args: Config, context: &Context) -> Result<(), Failure> {
    // Exactly one of `file` and `clear` is given.
    let config = args.file.as_deref().map(file::read_config).transpose()?;
    let verb = if config.is_some() { "replaced" } else { "taken away" };
    let waiting = format!("config {}", args.id);
    let request = ConfigRequest { plugin_id: args.id, config };
    let data = context.ask(Operation::Config, &request, &waiting).await?;
    context.show(data, |state: &LifecycleResponse| {
        format!("the configuration of {} is {verb}\n{}", state.plugin_id, lifecycle::render(state))
    })
}
