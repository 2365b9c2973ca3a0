//! Foreign text made safe to show: an engine's words and a plugin's output can hold anything, terminal
//! control sequences included.

use std::fmt::Write;

/// One line of at most `max` bytes, nothing in it that a terminal or a log reader acts on.
pub fn line(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max));
    for c in text.trim().chars() {
        let before = out.len();
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            c => push(&mut out, c),
        }
        if out.len() > max {
            out.truncate(before);
            out.push('…');
            break;
        }
    }
    out
}

/// Lines as they are, every other control character spelled out.
pub fn lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' | '\t' => out.push(c),
            '\r' if chars.peek() == Some(&'\n') => {}
            c => push(&mut out, c),
        }
    }
    out
}

fn push(out: &mut String, c: char) {
    if c.is_control() || reorders(c) {
        // Writing to a String cannot fail.
        let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
    } else {
        out.push(c);
    }
}

/// Characters that break lines, hide, or show text in another order than it has (Unicode TR 36).
const fn reorders(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line_without_control_characters() {
        assert_eq!(
            line(" a\nb\tc\u{1b}[31m\u{202e}\u{9b}\0 ", 100),
            "a b c\\u{1b}[31m\\u{202e}\\u{9b}\\u{0}"
        );
    }

    #[test]
    fn a_line_is_cut_between_characters() {
        assert_eq!(line("äöü", 4), "äö…");
        assert_eq!(line("äöü", 5), "äö…");
        assert_eq!(line("äöü", 6), "äöü");
        assert_eq!(line("\u{1b}x", 3), "…");
    }

    #[test]
    fn lines_keep_their_ends_and_lose_their_escapes() {
        assert_eq!(lines("a\r\nb\rc\u{7}\n"), "a\nb\\u{d}c\\u{7}\n");
    }
}
