//! Text of strangers, made harmless for a terminal.

use std::fmt::Write;

/// `text` on one line: whatever a terminal would obey instead of show is written out, line breaks
/// as well.
pub(crate) fn clean(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        push(&mut shown, c);
    }
    shown
}

/// The same for text of several lines: line breaks stay, tabs become blanks.
pub(crate) fn clean_lines(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\n' => shown.push('\n'),
            '\r' if characters.peek() == Some(&'\n') => {}
            '\t' => shown.push_str("    "),
            c => push(&mut shown, c),
        }
    }
    shown
}

fn push(shown: &mut String, c: char) {
    match c {
        '\n' => shown.push_str("\\n"),
        '\r' => shown.push_str("\\r"),
        '\t' => shown.push_str("\\t"),
        c if c.is_control() => {
            let _ = write!(shown, "\\x{:02x}", u32::from(c));
        }
        c if is_deceptive(c) => {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
        }
        c => shown.push(c),
    }
}

/// Characters without a shape of their own, which hide text or change the order in which it reads
/// (Unicode Technical Report 36, section 2; Trojan Source, CVE-2021-42574).
fn is_deceptive(c: char) -> bool {
    matches!(u32::from(c),
        0xAD | 0x34F | 0x61C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F
        | 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F | 0x3164 | 0xFE00..=0xFE0D | 0xFEFF
        | 0xFFA0 | 0xFFF0..=0xFFFB | 0x1D173..=0x1D17A | 0xE0000..=0xE0FFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_instead() {
        assert_eq!(clean("a\x1b[2Jb\x07\u{9b}1m\r\n\tc\x7f"), "a\\x1b[2Jb\\x07\\x9b1m\\r\\n\\tc\\x7f");
        assert_eq!(clean("abc\u{202e}cba\u{200b}"), "abc\\u{202e}cba\\u{200b}");
        assert_eq!(clean("Ståle 望遠鏡 ✓"), "Ståle 望遠鏡 ✓");
    }

    #[test]
    fn lines_stay_lines_and_nothing_else_gets_through() {
        assert_eq!(clean_lines("a\r\nb\rc\n\td\x1b]0;t\x07"), "a\nb\\rc\n    d\\x1b]0;t\\x07");
    }

    #[test]
    fn no_character_that_is_let_through_is_a_control_character() {
        let all: String = (0..=u32::from(char::MAX)).filter_map(char::from_u32).collect();
        assert!(!clean(&all).chars().any(char::is_control));
        assert!(clean_lines(&all).chars().all(|c| c == '\n' || !c.is_control()));
    }
}
