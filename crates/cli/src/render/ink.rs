//! Colours, as marks without width that the screen turns into colours or takes away.

/// What a colour says; which one it is, is decided here alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// As it should be.
    Good,
    /// On its way, or not quite as it should be.
    Warn,
    /// Not as it should be.
    Bad,
    /// Less important than the rest.
    Faint,
    /// What the eye should find first.
    Strong,
}

/// Invisible operators of Unicode, of no width, which [`super::clean`] never lets through.
const MARKS: [(char, Ink, &str); 5] = [
    ('\u{2060}', Ink::Good, "\x1b[32m"),
    ('\u{2061}', Ink::Warn, "\x1b[33m"),
    ('\u{2062}', Ink::Bad, "\x1b[31m"),
    ('\u{2063}', Ink::Faint, "\x1b[2m"),
    ('\u{2064}', Ink::Strong, "\x1b[1m"),
];
const END: char = '\u{206f}';
const RESET: &str = "\x1b[0m";

/// Marks `text`.
pub(crate) fn ink(ink: Ink, text: &str) -> String {
    let mark = MARKS.iter().find(|(_, i, _)| *i == ink).map_or(END, |(mark, _, _)| *mark);
    format!("{mark}{text}{END}")
}

/// Turns the marks in `text` into colours, or takes them away.
pub(crate) fn finish(text: &str, colour: bool) -> String {
    let mut finished = String::with_capacity(text.len());
    for c in text.chars() {
        let code = if c == END {
            Some(RESET)
        } else {
            MARKS.iter().find(|(mark, _, _)| *mark == c).map(|(_, _, code)| *code)
        };
        match code {
            None => finished.push(c),
            Some(code) if colour => finished.push_str(code),
            Some(_) => {}
        }
    }
    finished
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;

    #[test]
    fn marks_have_no_width_and_become_colours_or_nothing() {
        let text = ink(Ink::Bad, "failed");
        assert_eq!(text.width(), 6);
        assert_eq!(finish(&text, true), "\x1b[31mfailed\x1b[0m");
        assert_eq!(finish(&text, false), "failed");
    }

    #[test]
    fn hostile_text_cannot_bring_marks_of_its_own() {
        let text: String = MARKS.iter().map(|(mark, _, _)| *mark).chain([END]).collect();
        assert!(!finish(&super::super::clean(&text), true).contains('\x1b'));
    }
}
