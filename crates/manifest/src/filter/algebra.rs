//! Matching, subset and intersection of topic filters.
//!
//! All three walk the levels once. They are exact for the infinite set of possible topics, which the
//! property tests check against brute force.

use super::{TopicFilter, TopicName};

impl TopicFilter {
    /// Whether a message on `topic` reaches a subscription to this filter.
    pub fn matches(&self, topic: &TopicName) -> bool {
        if topic.as_str().starts_with('$') && self.begins_with_wildcard() {
            return false;
        }
        let mut levels = topic.levels();
        for own in self.levels() {
            if own == "#" {
                return true;
            }
            match levels.next() {
                Some(level) if own == "+" || own == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }

    /// Whether every topic that `other` matches is matched by this filter too.
    pub fn covers(&self, other: &Self) -> bool {
        if other.is_reserved() && self.begins_with_wildcard() {
            return false;
        }
        let mut theirs = other.essence();
        for own in self.essence() {
            if own == "#" {
                return true;
            }
            match theirs.next() {
                Some("#") | None => return false,
                Some(level) if own == "+" || own == level => {}
                Some(_) => return false,
            }
        }
        theirs.next().is_none()
    }

    /// Whether some topic is matched by both filters.
    pub fn overlaps(&self, other: &Self) -> bool {
        if (other.is_reserved() && self.begins_with_wildcard())
            || (self.is_reserved() && other.begins_with_wildcard())
        {
            return false;
        }
        let (mut ours, mut theirs) = (self.essence(), other.essence());
        loop {
            match (ours.next(), theirs.next()) {
                (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
                (Some(a), Some(b)) if a == b || a == "+" || b == "+" => {}
                _ => return false,
            }
        }
    }

    fn begins_with_wildcard(&self) -> bool {
        self.as_str().starts_with(['+', '#'])
    }

    /// The levels, such that a final `#` may stand for no level at all. In `#` and `/#` it may not, because
    /// nothing and the empty text are no topics: they are the same as `+/#` and `/+/#`.
    fn essence(&self) -> impl Iterator<Item = &str> {
        let levels: &str = match self.as_str() {
            "#" => "+/#",
            "/#" => "/+/#",
            text => text,
        };
        levels.split('/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text).expect("a filter")
    }

    fn check(question: fn(&TopicFilter, &TopicFilter) -> bool, yes: &[(&str, &str)], no: &[(&str, &str)]) {
        for (a, b) in yes {
            assert!(question(&filter(a), &filter(b)), "{a} {b}");
        }
        for (a, b) in no {
            assert!(!question(&filter(a), &filter(b)), "{a} {b}");
        }
    }

    #[test]
    fn the_examples_of_mqtt_5_section_4_7_hold() {
        let matches = |f: &str, t: &str| filter(f).matches(&TopicName::parse(t).expect("a topic"));
        let player = "sport/tennis/player1";
        for (f, t) in [
            ("sport/tennis/player1/#", player),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"),
            ("sport/#", "sport"),
            ("sport/tennis/+", player),
            ("sport/+", "sport/"),
            ("+/+", "/finance"),
            ("/+", "/finance"),
            ("$SYS/#", "$SYS/a"),
            ("$SYS/monitor/+", "$SYS/monitor/Clients"),
            ("a/$b/+", "a/$b/c"),
        ] {
            assert!(matches(f, t), "{f} {t}");
        }
        for (f, t) in [
            ("sport/tennis/+", "sport/tennis/player1/ranking"),
            ("sport/+", "sport"),
            ("+", "/finance"),
            ("#", "$SYS/a"),
            ("+/monitor/Clients", "$SYS/monitor/Clients"),
            ("ACCOUNTS", "Accounts"),
            ("a", "a/"),
        ] {
            assert!(!matches(f, t), "{f} {t}");
        }
    }

    #[test]
    fn covering_is_a_true_subset_test() {
        check(
            TopicFilter::covers,
            &[
                ("#", "+/#"),
                ("+/#", "#"),
                ("a/#", "a"),
                ("a/#", "a/+/#"),
                ("+/b", "a/b"),
                ("$x/#", "$x/+"),
                ("+", "+"),
                ("/+/#", "/#"),
                ("+/+/#", "/#"),
            ],
            &[
                ("a/+/#", "a/#"),
                ("+", "#"),
                ("#", "$x"),
                ("+/#", "$x/a"),
                ("a/+", "a/#"),
                ("a/b", "a/+"),
                ("x/#", "xy/#"),
            ],
        );
    }

    #[test]
    fn filters_overlap_when_one_topic_is_in_both() {
        check(
            TopicFilter::overlaps,
            &[("#", "a"), ("a/#", "a"), ("+/b", "a/+"), ("a/+/c", "a/b/#"), ("$x/#", "$x/a"), ("a/#", "+")],
            &[
                ("#", "$x"),
                ("+/a", "$x/a"),
                ("a/b", "a/c"),
                ("a/+", "a"),
                ("a/+/#", "a"),
                ("a/b", "a/b/c"),
                ("/#", "+"),
            ],
        );
    }
}
