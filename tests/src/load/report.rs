//! What came of the load, for people.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::book::Totals;
use super::lifecycle::{TIMED, Times, quantile};
use super::meter::Usage;

/// Memory may grow by so much, in KiB a minute: what comes and goes with buffers and the allocator's pages is less
/// in ten minutes.
pub const MOST_SLOPE: f64 = 256.0;
/// In less time growth cannot be told from noise.
const LEAST_MINUTES: u64 = 5;

/// Everything that was found.
#[derive(Debug)]
pub struct Report {
    /// Plugins, and the seconds in which their manifests say that health is to come.
    pub crowd: (usize, u32),
    /// How long it was measured.
    pub lasted: Duration,
    /// How long it took to install all, to start all, and after a restart of the plugin coordinator until all were
    /// known to be healthy.
    pub brought_up: (Duration, Duration, Duration),
    /// What came of the crowd's health.
    pub totals: Totals,
    /// Lines of logs that tell of messages that were dropped.
    pub dropped: Vec<String>,
    /// The framework's processes.
    pub usages: Vec<Usage>,
    /// What the engine was asked for while it was measured.
    pub calls: BTreeMap<String, u64>,
    /// The real plugin's operations, idle and under load.
    pub times: (Times, Times),
    /// How long it took until one that fell silent was told to be stale; none when it was not.
    pub noticed: Option<Duration>,
}

impl Report {
    /// What does not hold.
    pub fn faults(&self) -> Vec<String> {
        let (totals, mut faults) = (&self.totals, Vec::new());
        let untaken: u64 = totals.untaken.values().sum();
        let unanswered = totals.sent - totals.taken - untaken;
        if untaken > 0 || unanswered > self.crowd.0 as u64 {
            faults.push(format!("health was lost: {:?}, {unanswered} without an answer", totals.untaken));
        }
        if totals.untold > 0 {
            faults.push(format!("{} numbers in health messages were never told", totals.untold));
        }
        if totals.delays.is_empty() {
            faults.push("no number in a health message was told at all".to_owned());
        }
        if totals.disconnected > 0 {
            faults.push(format!("{} connections of plugins ended", totals.disconnected));
        }
        if !self.dropped.is_empty() {
            faults.push(format!("messages were dropped: {}", self.dropped.join(" | ")));
        }
        if let Some(first) = totals.odd.first() {
            faults.push(format!(
                "{} times a plugin was told to be not healthy, first: {first}",
                totals.odd.len()
            ));
        }
        if !totals.events.is_empty() {
            faults.push(format!(
                "there were events about plugins that nothing happened to: {:?}",
                totals.events
            ));
        }
        if self.lasted >= Duration::from_secs(LEAST_MINUTES * 60) {
            for usage in self.usages.iter().filter(|usage| usage.slope > MOST_SLOPE) {
                faults.push(format!(
                    "the memory of {} grows by {:.0} KiB a minute, more than {MOST_SLOPE:.0}",
                    usage.service, usage.slope
                ));
            }
        }
        if self.noticed.is_none() {
            faults.push("a plugin that fell silent was not told to be stale".to_owned());
        }
        faults
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, seconds) = self.crowd;
        let ((install, start, restart), totals) = (self.brought_up, &self.totals);
        let lasted = self.lasted.as_secs_f64();
        writeln!(f, "# {count} plugins, each with health each second, for {lasted:.0} s\n")?;
        writeln!(
            f,
            "Their manifests give {seconds} s between two health messages: stale after {} s.\n",
            3 * seconds
        )?;
        writeln!(f, "| | |\n|---|---|")?;
        let each = |all: Duration| all.as_secs_f64() * 1000.0 / count as f64;
        writeln!(f, "| install all | {:.1} s, {:.0} ms each |", install.as_secs_f64(), each(install))?;
        writeln!(f, "| start all | {:.1} s, {:.0} ms each |", start.as_secs_f64(), each(start))?;
        writeln!(
            f,
            "| restart of the plugin coordinator until all are known healthy | {:.1} s |",
            restart.as_secs_f64()
        )?;
        writeln!(
            f,
            "| health messages sent, taken by the broker for a listener | {}, {} |",
            totals.sent, totals.taken
        )?;
        writeln!(f, "| a second | {:.0} |", totals.taken as f64 / lasted)?;
        writeln!(f, "| not taken | {:?} |", totals.untaken)?;
        writeln!(f, "| longest gap between two of one plugin | {:.2} s |", totals.longest_gap.as_secs_f64())?;
        writeln!(
            f,
            "| numbers in them that were told in time, never told | {}, {} |",
            totals.delays.len(),
            totals.untold
        )?;
        let delay = |part| quantile(&totals.delays, part).as_secs_f64() * 1000.0;
        writeln!(
            f,
            "| until told: median, 99 %, longest | {:.0}, {:.0}, {:.0} ms |",
            delay(0.5),
            delay(0.99),
            delay(1.0)
        )?;
        writeln!(f, "| told to be not healthy, events | {}, {:?} |", totals.odd.len(), totals.events)?;
        writeln!(f, "| lines of logs about dropped messages | {} |", self.dropped.len())?;
        let noticed =
            self.noticed.map_or("never".to_owned(), |noticed| format!("{:.1} s", noticed.as_secs_f64()));
        writeln!(f, "| one that falls silent is told to be stale after | {noticed} |\n")?;
        writeln!(
            f,
            "| process | memory at the beginning, end, most (MiB) | slope (KiB/min) | processor |\n|---|---|---|---|"
        )?;
        for usage in &self.usages {
            let (first, last, most) = usage.kib;
            let mib = |kib: f64| kib / 1024.0;
            let (service, slope, cpu) = (usage.service, usage.slope, usage.cpu * 100.0);
            writeln!(
                f,
                "| {service} | {:.1}, {:.1}, {:.1} | {slope:.0} | {cpu:.1} % |",
                mib(first),
                mib(last),
                mib(most)
            )?;
        }
        writeln!(
            f,
            "\n| real plugin (medians of {}) | idle | under load | ratio |\n|---|---|---|---|",
            self.times.1.cycles()
        )?;
        let medians = self.times.0.medians().into_iter().zip(self.times.1.medians());
        for (operation, (idle, loaded)) in TIMED.iter().zip(medians) {
            let (idle, loaded) = (idle.as_secs_f64(), loaded.as_secs_f64());
            writeln!(f, "| {operation} | {idle:.3} s | {loaded:.3} s | {:.2} |", loaded / idle)?;
        }
        writeln!(f, "\n| asked of the engine | a second |\n|---|---|")?;
        for (call, times) in &self.calls {
            writeln!(f, "| {call} | {:.2} |", *times as f64 / lasted)?;
        }
        for fault in self.faults() {
            writeln!(f, "\nNOT: {fault}")?;
        }
        Ok(())
    }
}
