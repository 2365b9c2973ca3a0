//! `plugin start`, `stop`, `restart`.

use envelope::payload::lifecycle::{LifecycleResponse, PluginRequest};
use envelope::payload::state::Phase;
use envelope::{Operation, PluginId};

use super::Context;
use crate::failure::Failure;
use crate::render::{clean, phase, plugin_health};

pub(super) async fn run(operation: Operation, plugin_id: PluginId, context: &Context) -> Result<(), Failure> {
    let waiting = format!("{operation} {plugin_id}");
    let data = context.ask(operation, &PluginRequest { plugin_id }, &waiting).await?;
    context.show(data, render)
}

/// How the plugin is, in a sentence.
pub(super) fn render(state: &LifecycleResponse) -> String {
    let mut text = format!("{} is {}", state.plugin_id, phase(state.phase));
    if state.phase == Phase::Running {
        text.push_str(&format!(" and {}", plugin_health(state.health)));
    }
    let said =
        state.reason.as_ref().or(state.health_message.as_ref().filter(|_| state.phase == Phase::Running));
    if let Some(said) = said.filter(|said| !said.is_empty()) {
        text.push_str(&format!(": {}", clean(said)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::plugin::list::tests::state;
    use crate::render::finish;

    #[test]
    fn the_answer_is_one_sentence() {
        let mut running = state("focuser");
        running.health_message = Some("ready at 1200 steps".to_owned());
        assert_eq!(finish(&render(&running), false), "focuser is running and healthy: ready at 1200 steps");
        let mut stopped = state("focuser");
        stopped.phase = Phase::Stopped;
        assert_eq!(finish(&render(&stopped), false), "focuser is stopped");
    }
}
