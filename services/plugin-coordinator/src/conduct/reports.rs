//! What the other coordinators tell of plugins that ask too often: each such event is told at most once a minute
//! by each of them, so some in a short time mean a plugin that does not stop.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use envelope::PluginId;
use tokio::time::Instant;

/// So many reports in [`WITHIN`] are too many.
const TOO_MANY: usize = 3;
const WITHIN: Duration = Duration::from_secs(300);
/// Most plugins that are remembered. Reports are coordinators' own, and of plugins that have a login.
const MOST: usize = 4096;

/// The latest reports of each plugin.
#[derive(Debug, Default)]
pub(super) struct Reports {
    plugins: HashMap<PluginId, VecDeque<Instant>>,
}

impl Reports {
    /// A report has come. Answers whether there were too many now; then they count from the beginning.
    pub(super) fn take(&mut self, id: &PluginId, now: Instant) -> bool {
        let recent = |at: &Instant| now.saturating_duration_since(*at) < WITHIN;
        if self.plugins.len() >= MOST {
            self.plugins.retain(|_, times| times.back().is_some_and(recent));
        }
        let times = self.plugins.entry(id.clone()).or_default();
        times.retain(recent);
        times.push_back(now);
        if times.len() < TOO_MANY {
            return false;
        }
        self.plugins.remove(id);
        true
    }

    /// A plugin is gone.
    pub(super) fn forget(&mut self, id: &PluginId) {
        self.plugins.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_reports_of_one_plugin_in_five_minutes_are_too_many() {
        let (a, b) = (PluginId::parse("one").expect("an id"), PluginId::parse("two").expect("an id"));
        let mut reports = Reports::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!reports.take(&a, at(0)));
        assert!(!reports.take(&a, at(60)));
        assert!(!reports.take(&b, at(61)));
        assert!(!reports.take(&a, at(310)), "the first is too old");
        assert!(reports.take(&a, at(311)));
        assert!(!reports.take(&a, at(312)), "they count from the beginning");
    }
}
