//! How long a real plugin's operations take.

use std::time::Duration;

use anyhow::{Context as _, Result};
use envelope::{Operation, PluginId};
use serde_json::json;
use testkit::Version;
use tokio::time::Instant;

use crate::stack::Stack;
use crate::stack::operator::Operator;

/// The operations that are timed, in their order.
pub const TIMED: [Operation; 4] = [Operation::Install, Operation::Start, Operation::Stop, Operation::Remove];

/// How long each operation took each time.
#[derive(Debug, Clone, Default)]
pub struct Times([Vec<Duration>; TIMED.len()]);

impl Times {
    /// Installs a plugin, starts it, stops it and removes it, and notes how long each took until it was answered.
    ///
    /// # Errors
    /// The broker does not let us ask.
    pub async fn cycle(&mut self, stack: &Stack, source: &str) -> Result<()> {
        let id = PluginId::parse("load-real").context("an id")?;
        let manifest = json!({"id": id, "name": "A real plugin", "version": "1.0.0"});
        let mut operator = Operator::connect(stack, Version::V5).await?;
        for (times, operation) in self.0.iter_mut().zip(TIMED) {
            let asked = match operation {
                Operation::Install => json!({"plugin_id": id, "source": source, "manifest": manifest}),
                Operation::Remove => json!({"plugin_id": id, "remove_volumes": true}),
                _ => json!({"plugin_id": id}),
            };
            let begin = Instant::now();
            operator.ask(operation, asked).await.data();
            times.push(begin.elapsed());
        }
        Ok(())
    }

    /// How often each was timed.
    pub fn cycles(&self) -> usize {
        self.0.iter().map(Vec::len).min().unwrap_or_default()
    }

    /// The median of each operation.
    pub fn medians(&self) -> [Duration; TIMED.len()] {
        self.0.each_ref().map(|times| quantile(times, 0.5))
    }
}

/// So large is that part of `times` at most; nothing when there are none.
pub fn quantile(times: &[Duration], part: f64) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a list of some thousand"
    )]
    let place = (sorted.len().saturating_sub(1) as f64 * part).round() as usize;
    sorted.get(place).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_lies_in_the_middle() {
        let times: Vec<Duration> = [9, 1, 5, 3, 7].map(Duration::from_secs).to_vec();
        assert_eq!(quantile(&times, 0.5), Duration::from_secs(5));
        assert_eq!(quantile(&times, 1.0), Duration::from_secs(9));
        assert_eq!(quantile(&[], 0.5), Duration::ZERO);
    }
}
