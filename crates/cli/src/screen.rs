//! Where text goes: results to stdout, everything else to stderr, each in its style.

use std::io::{self, IsTerminal, Write};

use console::Term;
use serde::Serialize;

use crate::args::Common;
use crate::failure::Failure;
use crate::render::{Ink, finish, ink};

/// The terminal, pipe or file that the user looks at.
#[derive(Debug, Clone)]
pub(crate) struct Screen {
    /// Results are data for programs.
    pub(crate) json: bool,
    quiet: bool,
    colour: bool,
    error_colour: bool,
    error_terminal: bool,
    width: Option<usize>,
}

impl Screen {
    /// The screen as the process finds it.
    pub(crate) fn new(options: &Common) -> Self {
        // https://no-color.org: present and not empty.
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let (terminal, error_terminal) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let size = Term::stdout().size_checked().filter(|_| terminal);
        Self {
            json: options.json,
            quiet: options.quiet,
            colour: terminal && !plain,
            error_colour: error_terminal && !plain,
            error_terminal,
            width: size.map(|(_rows, columns)| usize::from(columns)),
        }
    }

    /// Columns of the terminal that results go to, when they go to one.
    pub(crate) fn width(&self) -> Option<usize> {
        self.width
    }

    /// Whether there is somebody at a terminal who can be asked.
    pub(crate) fn can_ask(&self) -> bool {
        self.error_terminal && io::stdin().is_terminal()
    }

    /// Whether steps are shown as they pass, and whether they may move.
    pub(crate) fn progress(&self) -> Steps {
        match (self.json || self.quiet, self.error_terminal) {
            (true, _) => Steps::Hidden,
            (false, true) => Steps::Moving,
            (false, false) => Steps::Lines,
        }
    }

    /// A result for people.
    pub(crate) fn say(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", finish(text, self.colour))?;
        Ok(out.flush()?)
    }

    /// A result for programs.
    pub(crate) fn data(&self, data: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(data).map_err(io::Error::from)?;
        self.say_raw(&text)
    }

    /// One of many results for programs: one line.
    pub(crate) fn data_line(&self, data: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(data).map_err(io::Error::from)?;
        self.say_raw(&text)
    }

    fn say_raw(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", escape(text))?;
        Ok(out.flush()?)
    }

    /// Something beside the result that is good to know.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet && !self.json {
            self.tell(&ink(Ink::Faint, text));
        }
    }

    /// Something beside the result that should not be overlooked.
    pub(crate) fn warn(&self, text: &str) {
        if !self.json {
            self.tell(&format!("{} {text}", ink(Ink::Warn, "warning:")));
        }
    }

    /// A line on stderr; when even that is gone there is nobody left to tell.
    pub(crate) fn tell(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{}", finish(text, self.error_colour));
    }

    /// A question on stderr, which is answered on the same line.
    pub(crate) fn ask(&self, question: &str) {
        let mut error = io::stderr().lock();
        let _ = write!(error, "{}", finish(question, self.error_colour));
        let _ = error.flush();
    }

    /// The same screen, on which nothing passes or moves: for what is done beside something else.
    pub(crate) fn calm(&self) -> Self {
        Self { quiet: true, ..self.clone() }
    }

    /// Why the command failed.
    pub(crate) fn fail(&self, failure: &Failure) {
        if self.json {
            let _ = writeln!(io::stderr().lock(), "{}", failure.to_json());
        } else {
            self.tell(&failure.to_text());
        }
    }
}

/// The same JSON without the control characters that JSON itself lets stand (U+007F to U+009F), some
/// of which a terminal obeys.
fn escape(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_control() && c != '\n' {
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// How steps are shown while they pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Steps {
    /// Not at all.
    Hidden,
    /// One line each.
    Lines,
    /// As a bar or a spinner that moves.
    Moving,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_exact_and_yet_harmless_on_a_terminal() {
        let value = serde_json::json!({"text": "a\u{9b}2J\u{7f}\u{1b}b"});
        let text = escape(&serde_json::to_string_pretty(&value).expect("plain data"));
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("still JSON"), value);
    }
}
