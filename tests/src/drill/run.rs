//! All rows that were asked for, wave after wave.

use std::time::Duration;

use tokio::time::Instant;

use super::ground::Ground;
use super::table::{Away, Row, Victim};
use super::wave::{Mischief, Report, wave};

/// What became of all rows.
#[derive(Debug, Default)]
pub struct Tally {
    /// Rows that hold.
    pub held: usize,
    /// Those that do not.
    pub failed: Vec<Report>,
    /// Steps that operations took, and at which nobody was killed.
    pub missing: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

/// Goes through rows, and tells each to `tell` as it comes.
pub async fn run(ground: &Ground<'_>, rows: &[Row], tell: impl Fn(&Report)) -> Tally {
    let (begin, mut tally) = (Instant::now(), Tally::default());
    for rows in waves(rows, ground.images.len()) {
        for report in wave(ground, &rows, Mischief::None).await {
            tell(&report);
            match report.found.is_well() {
                true => tally.held += 1,
                false => tally.failed.push(report),
            }
        }
    }
    tally.missing = ground.steps.without_rows();
    tally.took = begin.elapsed();
    tally
}

/// Rows that can be done with one kill, at most so many together.
fn waves(rows: &[Row], most: usize) -> Vec<Vec<Row>> {
    let alike = |row: &Row| (row.victim, row.scenario.away);
    let mut kinds: Vec<(Victim, Away)> = rows.iter().map(alike).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut waves = Vec::new();
    for kind in kinds {
        let of_kind: Vec<Row> = rows.iter().filter(|row| alike(row) == kind).copied().collect();
        waves.extend(of_kind.chunks(most.max(1)).map(<[Row]>::to_vec));
    }
    waves
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    #[test]
    fn every_row_is_in_one_wave_and_a_wave_has_one_victim() {
        let rows = table::rows();
        let waves = waves(&rows, 6);
        assert_eq!(waves.iter().map(Vec::len).sum::<usize>(), rows.len());
        for wave in waves {
            assert!((1..=6).contains(&wave.len()));
            assert!(wave.iter().all(|row| row.victim == wave[0].victim));
        }
    }
}
