//! Which strings may go to a broker.
//!
//! A broker answers a malformed packet by closing the connection, and an unacknowledged publish of
//! a durable session is sent again on the next one: a bad string would repeat for ever. So it is
//! refused here, before it is queued.

use thiserror::Error;

/// Why a string cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum BadText {
    #[error("it is empty")]
    Empty,
    #[error("it is longer than 65535 bytes")]
    TooLong,
    #[error("it contains the control or non-character U+{0:04X}")]
    Forbidden(u32),
    #[error("it has more than {LEVELS} levels")]
    TooDeep,
    #[error("it contains a wildcard (+ or #)")]
    Wildcard,
    #[error("its wildcards are misplaced: + must fill a level, # must be the last one")]
    Filter,
}

/// Mosquitto closes the connection of a client that names a topic with more levels.
const LEVELS: usize = 200;

/// Checks a string by the rules of MQTT 5, 1.5.4, of which brokers also enforce the "should not"s.
pub(crate) fn check(text: &str) -> Result<(), BadText> {
    if text.len() > usize::from(u16::MAX) {
        return Err(BadText::TooLong);
    }
    match text.chars().map(u32::from).find(|&c| is_forbidden(c)) {
        Some(code) => Err(BadText::Forbidden(code)),
        None => Ok(()),
    }
}

/// Checks the name of a topic (MQTT 5, 4.7).
pub(crate) fn check_topic(topic: &str) -> Result<(), BadText> {
    check_levels(topic)?;
    if topic.contains(['+', '#']) {
        return Err(BadText::Wildcard);
    }
    Ok(())
}

/// Whether a message can be published on `topic`: a name (MQTT 5, 4.7) that no broker ends the connection for.
#[must_use]
pub fn is_topic(topic: &str) -> bool {
    check_topic(topic).is_ok()
}

/// Checks a topic filter (MQTT 5, 4.7.1).
pub(crate) fn check_filter(filter: &str) -> Result<(), BadText> {
    check_levels(filter)?;
    if rumqttc::valid_filter(filter) { Ok(()) } else { Err(BadText::Filter) }
}

fn check_levels(text: &str) -> Result<(), BadText> {
    if text.is_empty() {
        return Err(BadText::Empty);
    }
    check(text)?;
    if text.split('/').count() > LEVELS {
        return Err(BadText::TooDeep);
    }
    Ok(())
}

const fn is_forbidden(code: u32) -> bool {
    matches!(code, 0..=0x1F | 0x7F..=0x9F | 0xFDD0..=0xFDEF) || code & 0xFFFE == 0xFFFE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_that_brokers_answer_by_hanging_up_are_refused() {
        assert_eq!(check_topic("bigskies/plugin/a/health"), Ok(()));
        assert_eq!(check_topic(""), Err(BadText::Empty));
        assert_eq!(check_topic("a/\u{1}"), Err(BadText::Forbidden(1)));
        assert_eq!(check_topic("a/\0"), Err(BadText::Forbidden(0)));
        assert_eq!(check_topic("a/\u{FFFE}"), Err(BadText::Forbidden(0xFFFE)));
        assert_eq!(check_topic("a/+"), Err(BadText::Wildcard));
        assert_eq!(check_topic(&"a/".repeat(200)), Err(BadText::TooDeep));
        assert_eq!(check_topic(&"a".repeat(65536)), Err(BadText::TooLong));
    }

    #[test]
    fn filters_may_have_wildcards_in_their_places_only() {
        for good in ["#", "+", "a/+/b/#", "$share/g/a/#", "$SYS/broker/log/#"] {
            assert_eq!(check_filter(good), Ok(()), "{good}");
        }
        for bad in ["a#", "a/#/b", "a+/b"] {
            assert_eq!(check_filter(bad), Err(BadText::Filter), "{bad}");
        }
    }
}
