//! Reading a JSON document by hand, so that every fault is found and each is told with its place.
//!
//! A [`Node`] is a value and where it stands. Its methods give what was asked for, or record a fault and
//! give nothing. A key that is present with `null` counts as absent.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::fault::{Findings, Pointer, quoted};

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node<'v> {
    pub(crate) value: &'v Value,
    pub(crate) at: Pointer,
}

impl<'v> Node<'v> {
    pub(crate) fn root(value: &'v Value) -> Self {
        Self { value, at: Pointer::default() }
    }

    pub(crate) fn wrong_type(&self, found: &mut Findings, wanted: &str) {
        let reason = format!("is {}", kind(self.value));
        found.fault(&self.at, reason, format!("write {wanted}"));
    }

    /// Any text.
    pub(crate) fn text(&self, found: &mut Findings) -> Option<&'v str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.wrong_type(found, "a text in quotation marks");
        }
        text
    }

    /// A text of one line that people read: not empty, at most `max` characters, all of them visible.
    pub(crate) fn line(&self, found: &mut Findings, max: usize) -> Option<&'v str> {
        self.visible(found, max, false)
    }

    /// The same with line breaks and tabs.
    pub(crate) fn prose(&self, found: &mut Findings, max: usize) -> Option<&'v str> {
        self.visible(found, max, true)
    }

    fn visible(&self, found: &mut Findings, max: usize, breaks: bool) -> Option<&'v str> {
        let text = self.text(found)?;
        let count = text.chars().count();
        let allowed = |c: char| !is_hidden(c) || (breaks && "\n\r\t".contains(c));
        if let Some(bad) = text.chars().find(|c| !allowed(*c)) {
            let reason = format!("contains the character U+{:04X}, which cannot be seen", u32::from(bad));
            found.fault(&self.at, reason, "leave it out");
        } else if count > max {
            let reason = format!("has {count} characters");
            found.fault(&self.at, reason, format!("shorten it to {max}"));
        } else if text.trim().is_empty() && !breaks {
            found.fault(&self.at, "is empty", "write something, or leave the key out");
        } else {
            return Some(text);
        }
        None
    }

    pub(crate) fn flag(&self, found: &mut Findings) -> Option<bool> {
        let flag = self.value.as_bool();
        if flag.is_none() {
            self.wrong_type(found, "true or false");
        }
        flag
    }

    /// A whole number inside `range`; `1.0` is one too.
    pub(crate) fn whole(&self, found: &mut Findings, range: RangeInclusive<u64>) -> Option<u64> {
        let fix = format!("write a whole number from {} to {}", range.start(), range.end());
        let Value::Number(number) = self.value else {
            found.fault(&self.at, format!("is {}", kind(self.value)), fix);
            return None;
        };
        let whole = whole_number(number);
        match whole {
            Some(value) if range.contains(&value) => Some(value),
            _ => {
                found.fault(&self.at, format!("is {number}"), fix);
                None
            }
        }
    }

    /// The items of a list of at most `max`.
    pub(crate) fn list(&self, found: &mut Findings, max: usize) -> Vec<Node<'v>> {
        let Some(items) = self.value.as_array() else {
            self.wrong_type(found, "a list in square brackets");
            return Vec::new();
        };
        if items.len() > max {
            let reason = format!("has {} entries", items.len());
            found.fault(&self.at, reason, format!("list at most {max}"));
            return Vec::new();
        }
        let node = |(index, value)| Node { value, at: self.at.index(index) };
        items.iter().enumerate().map(node).collect()
    }

    pub(crate) fn object(&self, found: &mut Findings) -> Option<Object<'v>> {
        let Some(map) = self.value.as_object() else {
            self.wrong_type(found, "an object in braces");
            return None;
        };
        Some(Object { map, at: self.at.clone(), known: Vec::new() })
    }
}

/// An object that is being read, and which of its keys are known so far.
#[derive(Debug)]
pub(crate) struct Object<'v> {
    pub(crate) map: &'v Map<String, Value>,
    pub(crate) at: Pointer,
    known: Vec<&'static str>,
}

impl<'v> Object<'v> {
    /// The value of `key`, unless it is absent or `null`.
    pub(crate) fn get(&mut self, key: &'static str) -> Option<Node<'v>> {
        self.known.push(key);
        let value = self.map.get(key).filter(|value| !value.is_null())?;
        Some(Node { value, at: self.at.key(key) })
    }

    /// The same, where absence is a fault; `what` completes the sentence "add …".
    pub(crate) fn need(&mut self, key: &'static str, what: &str, found: &mut Findings) -> Option<Node<'v>> {
        let node = self.get(key);
        if node.is_none() {
            found.fault(&self.at.key(key), "is missing", format!("add {what}"));
        }
        node
    }

    /// The keys that nobody asked for.
    pub(crate) fn unknown(&self) -> impl Iterator<Item = (&'v str, Node<'v>)> {
        let unknown = |key: &str| !self.known.contains(&key);
        self.map
            .iter()
            .filter(move |(key, _)| unknown(key))
            .map(|(key, value)| (key.as_str(), Node { value, at: self.at.key(key) }))
    }

    /// Warns of every key that nobody asked for.
    pub(crate) fn warn_unknown(&self, found: &mut Findings) {
        for (key, node) in self.unknown() {
            found.warn(&node.at, format!("the key {} has no meaning here and is ignored", quoted(key)));
        }
    }
}

/// The number when it is whole and not negative.
pub(crate) fn whole_number(number: &serde_json::Number) -> Option<u64> {
    const LARGEST: f64 = 9_007_199_254_740_992.0; // 2^53: beyond it a double no longer counts by ones
    let from_float =
        |value: f64| (value.fract() == 0.0 && (0.0..=LARGEST).contains(&value)).then_some(value as u64);
    number.as_u64().or_else(|| number.as_f64().and_then(from_float))
}

/// Control characters, and characters that hide text or turn the direction in which it is shown.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
