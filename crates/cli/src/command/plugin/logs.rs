//! `plugin logs`: the last lines that a plugin wrote.

use envelope::Operation;
use envelope::payload::lifecycle::{LogsRequest, LogsResponse};

use super::Context;
use crate::args::Logs;
use crate::failure::Failure;
use crate::render::clean_lines;

pub(super) async fn run(args: Logs, context: &Context) -> Result<(), Failure> {
    let request = LogsRequest { plugin_id: args.id.clone(), tail: args.tail };
    let data = context.ask(Operation::Logs, &request, "asking the plugin coordinator").await?;
    let answer: Option<LogsResponse> = serde_json::from_value(data.clone()).ok();
    let Some(answer) = answer.filter(|_| !context.screen.json) else {
        return context.show(data, |answer: &LogsResponse| clean_lines(&answer.text));
    };
    // Notes go to stderr, so that a file or a pipe has the plugin's own lines only.
    if answer.ended {
        context.screen.note(&format!("{} does not run; these are its last lines", args.id));
    }
    if answer.text.is_empty() {
        context.screen.note(&format!("{} wrote nothing", args.id));
        return Ok(());
    }
    if answer.truncated {
        context.screen.note("earlier lines are left out: --tail shows more");
    }
    context.screen.say(clean_lines(&answer.text).trim_end_matches('\n'))
}
