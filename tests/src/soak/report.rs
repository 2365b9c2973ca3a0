//! The report, as text in Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::book::Pages;
use super::doubt::Tried;
use super::gauge::{SERVICES, Sample};
use super::trend::{percentile, slope};

/// What a report is about besides what is in the book.
pub(super) struct About<'a> {
    pub(super) seed: u64,
    pub(super) lasted: Duration,
    pub(super) interrupted: bool,
    pub(super) tried: &'a Tried,
    pub(super) trouble: &'a [String],
}

/// What is read from a sample.
type Measure = fn(&Sample) -> u64;

/// The whole report.
pub(super) fn text(pages: &Pages, about: &About<'_>) -> String {
    let mut text = String::from("# Soak\n\n");
    let parts = [
        head(pages, about),
        operations(pages),
        mischief(pages),
        resources(pages, about.lasted),
        checks(pages),
        doubts(about.tried),
    ];
    for part in parts {
        text.push_str(&part);
        text.push('\n');
    }
    for trouble in about.trouble {
        writeln!(text, "The soak itself: {trouble}").expect("a string takes everything");
    }
    match pages.violations.as_slice() {
        [] => text.push_str("No violation.\n"),
        all => {
            writeln!(text, "## {} violations\n", all.len()).expect("a string takes everything");
            for violation in all {
                writeln!(text, "- {violation}").expect("a string takes everything");
            }
        }
    }
    text
}

fn head(pages: &Pages, about: &About<'_>) -> String {
    let operations: u64 = pages.answers.values().sum();
    let mischief: usize = pages.mischief.values().map(Vec::len).sum();
    let checks: u64 = pages.checks.values().sum();
    let ended = if about.interrupted { ", ended early" } else { "" };
    format!(
        "{:.1} minutes with the seed {}{ended}: {operations} operations, {mischief} pieces of mischief, {checks} checks, {} \
         violations.\n",
        about.lasted.as_secs_f64() / 60.0,
        about.seed,
        pages.violations.len()
    )
}

fn operations(pages: &Pages) -> String {
    let mut by_operation: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for ((operation, told), count) in &pages.answers {
        by_operation.entry(operation).or_default().push(format!("{count} {told}"));
    }
    let rows = by_operation.iter().map(|(operation, told)| {
        let took = pages.latencies.get(operation).map(Vec::as_slice).unwrap_or_default();
        vec![
            (*operation).to_owned(),
            seconds(percentile(took, 50)),
            seconds(percentile(took, 95)),
            seconds(took.iter().max().copied()),
            told.join(", "),
        ]
    });
    table(&["operation", "median of done", "p95", "max", "answers"], rows)
}

fn mischief(pages: &Pages) -> String {
    let rows = pages.mischief.iter().map(|(kind, took)| {
        let well: Vec<Duration> = took.iter().flatten().copied().collect();
        vec![
            kind.clone(),
            took.len().to_string(),
            seconds(percentile(&well, 50)),
            seconds(well.iter().max().copied()),
        ]
    });
    let calms = &pages.calms;
    let quiet = vec![
        "(quiet: everything as wanted)".to_owned(),
        calms.len().to_string(),
        seconds(percentile(calms, 50)),
        seconds(calms.iter().max().copied()),
    ];
    table(&["mischief", "times", "healthy again: median", "max"], rows.chain([quiet]))
}

fn resources(pages: &Pages, lasted: Duration) -> String {
    let measures: [(&str, Measure); 3] = [
        ("resident memory, KiB", |sample| sample.memory),
        ("open files", |sample| sample.files),
        ("volume, KiB", |sample| sample.disk),
    ];
    let mut rows = Vec::new();
    for (service, _) in SERVICES {
        let of: Vec<&Sample> = pages.samples.iter().filter(|sample| sample.service == service).collect();
        for (name, measure) in measures {
            let values = || of.iter().map(|sample| measure(sample));
            let warm = of.iter().filter(|sample| sample.at * 3 > lasted);
            let points: Vec<(f64, f64)> =
                warm.map(|sample| (sample.at.as_secs_f64() / 3600.0, measure(sample) as f64)).collect();
            rows.push(vec![
                service.to_owned(),
                name.to_owned(),
                number(values().min()),
                number(values().max()),
                number(of.last().map(|sample| measure(sample))),
                slope(&points).map_or("-".to_owned(), |slope| format!("{slope:+.0}")),
                of.len().to_string(),
            ]);
        }
    }
    table(&["service", "measure", "min", "max", "last", "slope per hour", "samples"], rows)
}

fn checks(pages: &Pages) -> String {
    let rows = pages.checks.iter().map(|(what, count)| {
        let violated = pages.violations.iter().filter(|violation| violation.fault.what == *what).count();
        vec![(*what).to_owned(), count.to_string(), violated.to_string()]
    });
    table(&["check", "times", "violated"], rows)
}

fn doubts(tried: &Tried) -> String {
    let rows = tried
        .iter()
        .map(|(what, noticed)| vec![(*what).to_owned(), if *noticed { "yes" } else { "NO" }.to_owned()]);
    table(&["the soak's own mischief", "noticed"], rows)
}

fn seconds(time: Option<Duration>) -> String {
    time.map_or("-".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()))
}

fn number(value: Option<u64>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

/// A table whose columns are as wide as what is in them.
fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    let rows: Vec<Vec<String>> = rows.into_iter().collect();
    let wide = |column: usize| {
        let cells = rows.iter().chain([&head]).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(wide).collect();
    let line = |row: &[String]| {
        let cells = row.iter().zip(&widths).map(|(cell, wide)| format!(" {cell:<wide$} |"));
        format!("|{}\n", cells.collect::<String>())
    };
    let between: Vec<String> = widths.iter().map(|wide| "-".repeat(*wide)).collect();
    let mut text = line(&head) + &line(&between);
    for row in &rows {
        text.push_str(&line(row));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_what_is_in_it() {
        let rows = [vec!["start".to_owned(), "1".to_owned()]];
        let expect = "| name  | count |\n| ----- | ----- |\n| start | 1     |\n";
        assert_eq!(table(&["name", "count"], rows), expect);
    }
}
