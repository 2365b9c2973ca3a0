//! `plugin list`: all plugins, one line each.

use envelope::payload::lifecycle::{ListRequest, ListResponse};
use envelope::payload::state::{Phase, PluginState, Watchdog, WatchdogState};
use envelope::{Operation, Timestamp};

use super::Context;
use crate::approval::rating_in_short;
use crate::failure::Failure;
use crate::render::{Table, ago, clean, phase, plugin_health, shorten};

/// Columns for what a plugin's author chose freely.
const NAME: usize = 32;

pub(super) async fn run(context: &Context) -> Result<(), Failure> {
    let data = context.ask(Operation::List, &ListRequest {}, "asking the plugin coordinator").await?;
    context.show(data, |list: &ListResponse| {
        if list.plugins.is_empty() {
            return "No plugin is installed: bigskies plugin install --help".to_owned();
        }
        states_table(&list.plugins, Timestamp::now(), context.screen.width())
    })
}

/// The table that `plugin list` and `status` share.
pub(in super::super) fn states_table(states: &[PluginState], now: Timestamp, width: Option<usize>) -> String {
    let mut table =
        Table::new(&["PLUGIN", "NAME", "VERSION", "PHASE", "HEALTH", "RATING", "SINCE", "REASON"]);
    for state in states {
        let name = shorten(&clean(&state.name), NAME);
        table.row([
            state.plugin_id.to_string(),
            if name == state.plugin_id.as_str() { String::new() } else { name },
            shorten(&clean(&state.version), NAME),
            phase(state.phase),
            plugin_health(state.health),
            rating_in_short(state.rating),
            ago(state.since, now),
            reason(state),
        ]);
    }
    table.render(width)
}

/// The step that runs, else that the watchdog gave up, else why it is so, else what a plugin that is not quite well says.
fn reason(state: &PluginState) -> String {
    if let Some(running) = &state.operation {
        return format!("{}: {}", running.operation, clean(&running.step));
    }
    if let Some(watchdog) = &state.watchdog {
        return watchdog_in_words(watchdog);
    }
    let unwell = state.phase == Phase::Running && state.health.as_str() != "healthy";
    let said = state.reason.as_deref().or(state.health_message.as_deref().filter(|_| unwell));
    said.map(clean).unwrap_or_default()
}

/// What the watchdog does about it, where that is not the usual.
pub(super) fn watchdog_in_words(watchdog: &Watchdog) -> String {
    match watchdog.state {
        WatchdogState::Suspended => format!("watchdog suspended: it {}", clean(&watchdog.reason)),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use envelope::payload::state::{PluginHealth, RunningOperation};
    use envelope::{Generation, OperationId, PluginId};

    use super::*;
    use crate::render::finish;

    /// A plugin that runs and is well.
    pub(in super::super) fn state(id: &str) -> PluginState {
        PluginState {
            plugin_id: PluginId::parse(id).expect("an id"),
            name: "Focuser Control".to_owned(),
            version: "1.0.0".to_owned(),
            phase: Phase::Running,
            health: PluginHealth::Healthy,
            health_message: None,
            reason: None,
            digest: "sha256:ab".to_owned(),
            node: "local".to_owned(),
            generation: Generation(1),
            rating: 6,
            since: Timestamp::from_seconds(1_768_521_600),
            cause: "start by operator:ada".to_owned(),
            correlation_id: "i".to_owned(),
            operation: None,
            watchdog: None,
        }
    }

    #[test]
    fn each_plugin_has_a_line_with_what_it_is_doing_or_why() {
        let mut starting = state("mount");
        starting.name = "Mount\n\u{1b}[31m".to_owned();
        starting.phase = Phase::Starting;
        starting.health = PluginHealth::Unknown;
        starting.rating = 2;
        starting.operation = Some(RunningOperation {
            id: OperationId::new(),
            operation: Operation::Start,
            step: "wait for health".to_owned(),
            since: starting.since,
        });
        let mut unwell = state("dome");
        unwell.health = PluginHealth::Degraded;
        // Of a coordinator that does not tell it yet.
        unwell.rating = 0;
        unwell.health_message = Some("no rain sensor".to_owned());
        let expected = "\
PLUGIN    NAME              VERSION   PHASE      HEALTH     RATING   SINCE     REASON
focuser   Focuser Control   1.0.0     running    healthy    6/6      3 h ago
mount     Mount\\n\\x1b[31m   1.0.0     starting   unknown    2/6      3 h ago   start: wait for health
dome      Focuser Control   1.0.0     running    degraded            3 h ago   no rain sensor
rain      Focuser Control   1.0.0     running    stale      6/6      3 h ago   watchdog suspended: it is\\nsilent";
        let now = Timestamp::from_seconds(1_768_521_600 + 3 * 3600);
        let mut given_up = state("rain");
        given_up.health = PluginHealth::Stale;
        given_up.watchdog = Some(Watchdog {
            state: WatchdogState::Suspended,
            reason: "is\nsilent".to_owned(),
            since: given_up.since,
        });
        let table = states_table(&[state("focuser"), starting, unwell, given_up], now, None);
        assert_eq!(finish(&table, false), expected);
    }
}
