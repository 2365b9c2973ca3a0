//! One thing in detail: names at the left, values at the right.

use unicode_width::UnicodeWidthStr;

use super::{Ink, ink};

/// Blanks between a name and its value.
const GAP: usize = 3;

/// Names and values under construction. Values are clean text, of several lines where needed.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Adds a value; an empty one is left out.
    pub(crate) fn add(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        let value = value.into();
        if !value.is_empty() {
            self.0.push((name.to_owned(), value));
        }
        self
    }

    /// Adds a value when there is one.
    pub(crate) fn maybe(&mut self, name: &str, value: Option<String>) -> &mut Self {
        self.add(name, value.unwrap_or_default())
    }

    /// The values below each other.
    pub(crate) fn render(&self) -> String {
        let width = self.0.iter().map(|(name, _)| name.width()).max().unwrap_or(0) + GAP;
        let mut lines = Vec::new();
        for (name, value) in &self.0 {
            let mut label = format!("{}{}", ink(Ink::Faint, name), " ".repeat(width - name.width()));
            for line in value.lines() {
                lines.push(format!("{label}{line}").trim_end().to_owned());
                label = " ".repeat(width);
            }
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::super::finish;
    use super::*;

    #[test]
    fn values_stand_below_each_other_and_empty_ones_are_left_out() {
        let mut fields = Fields::default();
        fields.add("Phase", "running").add("Reason", "").maybe("Node", None).add("Volumes", "a\nb");
        assert_eq!(finish(&fields.render(), false), "Phase     running\nVolumes   a\n          b");
    }
}
