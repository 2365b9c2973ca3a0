//! Tables: a heading, columns, no lines.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table as Grid};
use unicode_width::UnicodeWidthStr;

use super::{Ink, ink, shorten};

/// Blanks between columns.
const GAP: u16 = 3;
/// Columns that the last one keeps even on a narrow terminal.
const LEAST: usize = 24;

/// A table under construction. Cells are clean text on one line, perhaps with ink.
#[derive(Debug)]
pub(crate) struct Table {
    heading: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns. The last one gives way when the terminal is narrow, and must be
    /// without ink.
    pub(crate) fn new(columns: &[&str]) -> Self {
        Self { heading: columns.iter().map(|c| (*c).to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table in at most `width` columns, where that is possible. Columns in which nothing
    /// stands are left out.
    pub(crate) fn render(mut self, width: Option<usize>) -> String {
        let used: Vec<bool> = (0..self.heading.len())
            .map(|column| self.rows.iter().any(|row| row.get(column).is_some_and(|c| !c.is_empty())))
            .collect();
        keep(&mut self.heading, &used);
        for row in &mut self.rows {
            keep(row, &used);
        }
        let last = self.heading.len().saturating_sub(1);
        if let Some(width) = width {
            let taken: usize = (0..last).map(|column| self.width(column) + usize::from(GAP)).sum();
            let left = width.saturating_sub(taken).max(LEAST);
            for row in &mut self.rows {
                if let Some(cell) = row.get_mut(last)
                    && cell.width() > left
                {
                    *cell = shorten(cell, left);
                }
            }
        }
        let mut grid = Grid::new();
        grid.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        grid.set_header(self.heading.iter().map(|title| ink(Ink::Faint, title)));
        grid.add_rows(self.rows);
        for column in grid.column_iter_mut() {
            column.set_padding((0, GAP));
        }
        grid.trim_fmt()
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells.chain(self.heading.get(column)).map(|cell| cell.width()).max().unwrap_or(0)
    }
}

fn keep(row: &mut Vec<String>, used: &[bool]) {
    let mut used = used.iter();
    row.retain(|_| used.next().copied().unwrap_or(true));
}

#[cfg(test)]
mod tests {
    use super::super::finish;
    use super::*;

    #[test]
    fn columns_are_aligned_whatever_their_ink_and_script() {
        let mut table = Table::new(&["PLUGIN", "PHASE", "EMPTY", "REASON"]);
        table.row(["望遠鏡".into(), ink(Ink::Good, "running"), String::new(), String::new()]);
        table.row(["m".into(), ink(Ink::Bad, "failed"), String::new(), "exited with 1".into()]);
        let expected = "\
PLUGIN   PHASE     REASON
望遠鏡   running
m        failed    exited with 1";
        assert_eq!(finish(&table.render(None), false), expected);
    }

    #[test]
    fn the_last_column_gives_way_on_a_narrow_terminal() {
        let mut table = Table::new(&["A", "B"]);
        table.row(["x".into(), "a sentence that is far too long for that".into()]);
        assert_eq!(finish(&table.render(Some(34)), false), "A   B\nx   a sentence that is far too lo…");
    }
}
