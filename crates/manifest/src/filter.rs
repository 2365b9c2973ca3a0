//! MQTT topic names and topic filters (MQTT 5.0 section 4.7), and the questions that rights depend on.
//!
//! A filter stands for the set of topics that it matches. [`TopicFilter::covers`] asks whether one set
//! lies inside another, [`TopicFilter::overlaps`] whether two sets have a topic in common: a right is
//! granted by the first and refused by the second.

mod algebra;

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most bytes of a topic or filter (MQTT 5.0 section 1.5.4).
pub const MAX_BYTES: usize = 65_535;

/// Why a text is not a topic name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Nothing there (MQTT 5.0, 4.7.3-1).
    #[error("is empty; a topic has at least one character")]
    Empty,
    /// Longer than the wire format can carry (MQTT 5.0, 4.7.3-3).
    #[error("has {0} bytes; at most {MAX_BYTES} are possible")]
    TooLong(usize),
    /// A character that brokers refuse (MQTT 5.0, 1.5.4-2 and the note after it).
    #[error("contains the character U+{:04X}, which brokers refuse; leave it out", u32::from(*.0))]
    Character(char),
    /// A wildcard, in a place where an exact topic is needed (MQTT 5.0, 4.7.1-1).
    #[error("contains {0:?}; a topic that is published to has no wildcards")]
    Wildcard(char),
    /// It begins like a shared subscription (MQTT 5.0, section 4.8.2), which could not be told from one when
    /// the topic is used as a filter.
    #[error("begins with \"$share/\", which is kept for shared subscriptions")]
    Shared,
}

/// Why a text is not a topic filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Nothing there (MQTT 5.0, 4.7.3-1).
    #[error("is empty; a topic filter has at least one character")]
    Empty,
    /// Longer than the wire format can carry (MQTT 5.0, 4.7.3-3).
    #[error("has {0} bytes; at most {MAX_BYTES} are possible")]
    TooLong(usize),
    /// A character that brokers refuse (MQTT 5.0, 1.5.4-2 and the note after it).
    #[error("contains the character U+{:04X}, which brokers refuse; leave it out", u32::from(*.0))]
    Character(char),
    /// `#` that is not alone in the last level (MQTT 5.0, 4.7.1-1).
    #[error("has a \"#\" that is not alone in the last level; \"#\" may only end a filter, after a \"/\"")]
    Hash,
    /// `+` that is not alone in its level (MQTT 5.0, 4.7.1-2).
    #[error("has a \"+\" that is not alone in its level; \"+\" stands for one whole level")]
    Plus,
    /// A shared subscription (MQTT 5.0, section 4.8.2): brokers match it as a whole text, so that no rule
    /// for plain filters holds for it.
    #[error("is a shared subscription; write the filter itself, without \"$share/\" and the group")]
    Shared,
}

/// An exact topic, as a message carries it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("minLength" = 1, "pattern" = "^[^+#]+$"))]
pub struct TopicName(String);

/// A topic filter: `+` stands for one level, a final `#` for any number of levels, none included.
///
/// A wildcard in the first level does not match topics that begin with `$` (MQTT 5.0, 4.7.2-1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend(
    "minLength" = 1,
    "pattern" = "^(?!\\$share/)(?:(?:\\+|[^+#/]*)/)*(?:#|\\+|[^+#/]*)$"
))]
pub struct TopicFilter(String);

impl TopicName {
    /// Checks `text` and takes it.
    ///
    /// # Errors
    /// Says which rule of MQTT the text breaks.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        if text.is_empty() {
            return Err(TopicError::Empty);
        }
        if text.len() > MAX_BYTES {
            return Err(TopicError::TooLong(text.len()));
        }
        if let Some(bad) = text.chars().find(|c| refused(*c)) {
            return Err(TopicError::Character(bad));
        }
        if is_shared(text) {
            return Err(TopicError::Shared);
        }
        match text.chars().find(|c| "+#".contains(*c)) {
            Some(wildcard) => Err(TopicError::Wildcard(wildcard)),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its levels; always at least one, which may be empty text.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl TopicFilter {
    /// Checks `text` and takes it.
    ///
    /// # Errors
    /// Says which rule of MQTT the text breaks, or that it is a shared subscription.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.is_empty() {
            return Err(FilterError::Empty);
        }
        if text.len() > MAX_BYTES {
            return Err(FilterError::TooLong(text.len()));
        }
        if let Some(bad) = text.chars().find(|c| refused(*c)) {
            return Err(FilterError::Character(bad));
        }
        if is_shared(text) {
            return Err(FilterError::Shared);
        }
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            if level.contains('#') && (level != "#" || levels.peek().is_some()) {
                return Err(FilterError::Hash);
            }
            if level.contains('+') && level != "+" {
                return Err(FilterError::Plus);
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its levels, wildcards included; always at least one, which may be empty text.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Whether it stands for more than one topic.
    pub fn has_wildcard(&self) -> bool {
        self.0.contains(['+', '#'])
    }

    /// Whether it asks for topics of the broker's own, such as `$SYS` and `$CONTROL`.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }
}

fn is_shared(text: &str) -> bool {
    text == "$share" || text.starts_with("$share/")
}

/// U+0000 must not occur; other control characters and noncharacters should not, and the broker closes
/// the connection of a client that sends one.
fn refused(c: char) -> bool {
    let code = u32::from(c);
    c.is_control() || (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
}

impl From<TopicName> for TopicFilter {
    /// A topic name is a filter that matches itself alone.
    fn from(name: TopicName) -> Self {
        Self(name.0)
    }
}

macro_rules! text_type {
    ($type:ident, $error:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, $error> {
                Self::parse(&text)
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.0
            }
        }
    };
}

text_type!(TopicName, TopicError);
text_type!(TopicFilter, FilterError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_that_mqtt_allows_are_taken_as_they_are() {
        let longest = "x".repeat(MAX_BYTES);
        for text in
            ["#", "+", "/", "//", "+/+", "a/#", "/#", "+/#", "a/+/b", "$SYS/#", "a b", "é/ü", &longest]
        {
            assert_eq!(TopicFilter::parse(text).map(String::from).as_deref(), Ok(text));
        }
    }

    #[test]
    fn filters_that_mqtt_forbids_are_refused_with_the_rule() {
        use FilterError::*;
        let too_long = "x".repeat(MAX_BYTES + 1);
        let cases = [
            ("", Empty),
            (too_long.as_str(), TooLong(MAX_BYTES + 1)),
            ("a\0b", Character('\0')),
            ("a/\u{1b}[2J", Character('\u{1b}')),
            ("a\u{7f}", Character('\u{7f}')),
            ("a\u{85}", Character('\u{85}')),
            ("a\u{fffe}", Character('\u{fffe}')),
            ("#/a", Hash),
            ("a/#/b", Hash),
            ("a#", Hash),
            ("a/b#", Hash),
            ("##", Hash),
            ("#+", Hash),
            ("a+", Plus),
            ("a/+b/c", Plus),
            ("++", Plus),
            ("$share/group/a", Shared),
            ("$share/", Shared),
            ("$share", Shared),
        ];
        for (text, want) in cases {
            assert_eq!(TopicFilter::parse(text), Err(want), "{text:.40?}");
        }
    }

    #[test]
    fn topics_with_wildcards_or_control_characters_are_refused() {
        use TopicError::*;
        let cases = [
            ("", Empty),
            ("a/+", Wildcard('+')),
            ("#", Wildcard('#')),
            ("a\nb", Character('\n')),
            ("$share/a/b", Shared),
        ];
        for (text, want) in cases {
            assert_eq!(TopicName::parse(text), Err(want), "{text:?}");
        }
        assert_eq!(TopicName::parse("a//b").map(|t| t.levels().count()), Ok(3));
    }

    #[test]
    fn a_filter_on_the_wire_is_checked_like_any_other() {
        assert!(serde_json::from_str::<TopicFilter>("\"a/#\"").is_ok());
        assert!(serde_json::from_str::<TopicFilter>("\"a#\"").is_err());
        assert!(serde_json::from_str::<TopicName>("\"a/+\"").is_err());
    }
}
