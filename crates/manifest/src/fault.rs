//! What is wrong with a manifest: where, why, and what to write instead.
//!
//! A manifest is a stranger's text. What is shown of it is cut to a bounded length, and characters that a
//! terminal would obey or that turn the direction of writing are shown as escapes.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most faults that are listed, and most warnings.
pub const MAX_LISTED: usize = 100;

/// Something in a manifest that must be put right before the plugin can be installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// Where: a JSON pointer (RFC 6901); empty for the document as a whole. A key of the manifest that is
    /// very long or has unprintable characters is shortened and escaped in it.
    pub pointer: String,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub fix: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.pointer.is_empty() { "the manifest" } else { &self.pointer };
        write!(f, "{place}: {}; {}", self.reason, self.fix)
    }
}

/// Something in a manifest that is odd, and yet does not prevent anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Warning {
    /// Where, as in [`Fault::pointer`].
    pub pointer: String,
    /// What is odd, and what is made of it.
    pub reason: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.pointer.is_empty() { "the manifest" } else { &self.pointer };
        write!(f, "{place}: {}", self.reason)
    }
}

/// All faults of a manifest, at least one. Beyond [`MAX_LISTED`] the last one tells how many more there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[serde(transparent)]
#[error("the manifest has {} fault{}:{}", .0.len(), if .0.len() == 1 { "" } else { "s" }, lines(.0))]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// The faults, in the order in which they were found.
    pub fn list(&self) -> &[Fault] {
        &self.0
    }

    /// The faults, to keep.
    pub fn into_list(self) -> Vec<Fault> {
        self.0
    }
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("\n  {fault}")).collect()
}

/// What a reading found so far.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    faults: Vec<Fault>,
    more_faults: usize,
    warnings: Vec<Warning>,
    more_warnings: usize,
}

impl Findings {
    pub(crate) fn fault(&mut self, at: &Pointer, reason: impl Into<String>, fix: impl Into<String>) {
        if self.faults.len() == MAX_LISTED {
            self.more_faults += 1;
            return;
        }
        let (pointer, reason, fix) = (at.0.clone(), reason.into(), fix.into());
        self.faults.push(Fault { pointer, reason, fix });
    }

    pub(crate) fn warn(&mut self, at: &Pointer, reason: impl Into<String>) {
        if self.warnings.len() == MAX_LISTED {
            self.more_warnings += 1;
            return;
        }
        self.warnings.push(Warning { pointer: at.0.clone(), reason: reason.into() });
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }

    /// How many faults and warnings there are.
    #[cfg(test)]
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.faults.len() + self.more_faults, self.warnings.len() + self.more_warnings)
    }

    pub(crate) fn faults(mut self) -> Faults {
        if self.more_faults > 0 {
            self.faults.push(Fault {
                pointer: String::new(),
                reason: format!("{} more faults are not listed", self.more_faults),
                fix: "correct those above first".to_owned(),
            });
        }
        Faults(self.faults)
    }

    /// The warnings, when there are no faults.
    pub(crate) fn finish(mut self) -> Result<Vec<Warning>, Faults> {
        if !self.is_sound() {
            return Err(self.faults());
        }
        if self.more_warnings > 0 {
            let reason = format!("{} more warnings are not listed", self.more_warnings);
            self.warnings.push(Warning { pointer: String::new(), reason });
        }
        Ok(self.warnings)
    }
}

/// A place in the document (RFC 6901).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pointer(String);

impl Pointer {
    /// Longest text of a pointer, in bytes: enough for every place that has a meaning.
    const MAX_BYTES: usize = 1024;

    pub(crate) fn key(&self, key: &str) -> Self {
        self.step(&shown(key, 80).replace('~', "~0").replace('/', "~1"))
    }

    pub(crate) fn index(&self, index: usize) -> Self {
        self.step(&index.to_string())
    }

    fn step(&self, token: &str) -> Self {
        if self.0.len() + token.len() + 1 > Self::MAX_BYTES {
            return self.clone();
        }
        Self(format!("{}/{token}", self.0))
    }
}

/// At most `max` characters of a stranger's text, made harmless: what cannot be printed is escaped.
pub(crate) fn shown(text: &str, max: usize) -> String {
    let mut result = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == max {
            result.push('…');
            break;
        }
        match c {
            '"' | '\'' | '\\' => result.push(c),
            _ => result.extend(c.escape_debug()),
        }
    }
    result
}

/// The same in quotation marks, short enough to stand in a sentence.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", shown(text, 80))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_escaped_as_rfc_6901_says() {
        let pointer = Pointer::default().key("a/b").key("m~n").index(3);
        assert_eq!(pointer.0, "/a~1b/m~0n/3");
    }

    #[test]
    fn hostile_text_is_cut_and_escaped() {
        assert_eq!(quoted("\u{1b}[2J\u{202e}x"), "\"\\u{1b}[2J\\u{202e}x\"");
        assert_eq!(shown(&"x".repeat(90), 80).chars().count(), 81);
        let mut deep = Pointer::default();
        for _ in 0..1000 {
            deep = deep.key(&"k".repeat(500));
        }
        assert!(deep.0.len() <= Pointer::MAX_BYTES);
    }

    #[test]
    fn a_flood_of_faults_is_counted_and_not_listed() {
        let mut findings = Findings::default();
        for index in 0..250 {
            findings.fault(&Pointer::default().index(index), "wrong", "correct it");
        }
        let faults = findings.faults();
        assert_eq!(faults.list().len(), MAX_LISTED + 1);
        let last = faults.list().last().expect("at least one");
        assert_eq!(last.reason, "150 more faults are not listed");
        assert!(faults.to_string().starts_with("the manifest has 101 faults:\n  /0: wrong; correct it"));
    }
}
