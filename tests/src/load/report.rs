//! What came of the load, for people.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::book::Totals;
use super::lifecycle::{TIMED, Times, quantile};
use super::meter::{SERVICES, Usage};

/// Memory may grow by so much, in KiB a minute: what comes and goes with buffers and the allocator's pages is less
/// in ten minutes.
pub const MOST_SLOPE: f64 = 256.0;
/// In less time growth cannot be told from noise.
const LEAST_MINUTES: u64 = 5;

/// A part of bringing the crowd up.
#[derive(Debug)]
pub struct Phase {
    /// What was done.
    pub what: &'static str,
    /// How long it took.
    pub took: Duration,
    /// Processor time of each service, in seconds.
    pub spent: [f64; SERVICES.len()],
    /// What the engine was asked for.
    pub calls: BTreeMap<String, u64>,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| {} | {:.1} s |", self.what, self.took.as_secs_f64())?;
        for spent in self.spent {
            write!(f, " {spent:.1} s |")?;
        }
        let of = |call: &str| self.calls.get(call).copied().unwrap_or_default();
        write!(f, " {}, {} |", of("GET containers"), of("GET containers/*/json"))
    }
}

/// Everything that was found.
#[derive(Debug)]
pub struct Report {
    /// Plugins, and the seconds in which their manifests say that health is to come.
    pub crowd: (usize, u32),
    /// How long it was measured.
    pub lasted: Duration,
    /// How it was brought up.
    pub brought_up: Vec<Phase>,
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
        // What was on its way when counting began is answered, and was not counted as sent.
        let unanswered = totals.sent.saturating_sub(totals.taken + untaken);
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
        if totals.late > 0 {
            faults.push(format!(
                "{} times a plugin was told to be not healthy because the load itself was late: this machine is too \
                 busy for it, and nothing is shown; try again when less runs on it",
                totals.late
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
        let lasted = self.lasted.as_secs_f64();
        writeln!(f, "# {count} plugins, each with health each second, for {lasted:.0} s\n")?;
        let stale = 3 * seconds;
        writeln!(
            f,
            "Their manifests give {seconds} s between two health messages: stale after {stale} s.\n"
        )?;
        writeln!(
            f,
            "| bringing it up | took | {} | lists, looks |\n|---|---|---|---|---|---|---|",
            SERVICES.join(" | ")
        )?;
        for phase in &self.brought_up {
            writeln!(f, "{phase}")?;
        }
        self.health(f)?;
        self.processes(f)?;
        self.real(f)?;
        writeln!(f, "\n| asked of the engine | a second |\n|---|---|")?;
        #[expect(clippy::cast_precision_loss, reason = "a number of calls")]
        for (call, times) in &self.calls {
            writeln!(f, "| {call} | {:.2} |", *times as f64 / lasted)?;
        }
        for fault in self.faults() {
            writeln!(f, "\nNOT: {fault}")?;
        }
        Ok(())
    }
}

impl Report {
    fn health(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let totals = &self.totals;
        let (told, untold) = (totals.delays.len(), totals.untold);
        let millis = |part| quantile(&totals.delays, part).as_millis();
        let gap = totals.longest_gap.as_secs_f64();
        let noticed =
            self.noticed.map_or("never".to_owned(), |noticed| format!("{:.1} s", noticed.as_secs_f64()));
        writeln!(f, "\n| health | |\n|---|---|")?;
        writeln!(
            f,
            "| messages sent, taken by the broker for a listener | {}, {} |",
            totals.sent, totals.taken
        )?;
        writeln!(f, "| not taken | {:?} |", totals.untaken)?;
        writeln!(f, "| connections that ended | {} |", totals.disconnected)?;
        writeln!(f, "| longest gap between two messages of one plugin | {gap:.2} s |")?;
        writeln!(f, "| numbers in them that were told before the next, that were not | {told}, {untold} |")?;
        let (median, most, longest) = (millis(0.5), millis(0.99), millis(1.0));
        writeln!(f, "| until told: median, 99 %, longest | {median}, {most}, {longest} ms |")?;
        writeln!(f, "| told to be not healthy, events | {}, {:?} |", totals.odd.len(), totals.events)?;
        writeln!(f, "| the same because the load itself was late | {} |", totals.late)?;
        writeln!(f, "| lines of logs about dropped messages | {} |", self.dropped.len())?;
        writeln!(f, "| one that falls silent is told to be stale after | {noticed} |")
    }

    fn processes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n| process | memory at first, at last, most (MiB) | slope (KiB/min) | of a processor |\n|---|---|---|---|"
        )?;
        for usage in &self.usages {
            let (first, last, most) = usage.kib;
            let [first, last, most] = [first, last, most].map(|kib| kib / 1024.0);
            let (service, slope, cpu) = (usage.service, usage.slope, usage.cpu * 100.0);
            writeln!(f, "| {service} | {first:.1}, {last:.1}, {most:.1} | {slope:.0} | {cpu:.1} % |")?;
        }
        Ok(())
    }

    fn real(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (idle, loaded) = &self.times;
        writeln!(
            f,
            "\n| a real plugin, medians of {} | alone | under load | ratio |\n|---|---|---|---|",
            loaded.cycles()
        )?;
        for (operation, (idle, loaded)) in TIMED.iter().zip(idle.medians().into_iter().zip(loaded.medians()))
        {
            let (idle, loaded) = (idle.as_secs_f64(), loaded.as_secs_f64());
            writeln!(f, "| {operation} | {idle:.3} s | {loaded:.3} s | {:.2} |", loaded / idle)?;
        }
        Ok(())
    }
}
