//! The filter algebra against a search that knows nothing of it.
//!
//! A filter is a small machine that reads a topic level by level. Both machines of a pair are walked together
//! over every level that could tell them apart: the words of both, one word of neither, and one of neither
//! that begins with `$`. What the walk reaches is exact, for topics of any length.

use std::collections::BTreeSet;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use manifest::{TopicFilter, TopicName};

/// Levels that are worth meeting.
const LEVELS: [&str; 10] = ["", "a", "b", "+", "#", "$", "$x", "bigskies", "plugin", "$share"];

/// Two filters and a topic, of small words or any text.
pub fn check(bytes: &[u8]) {
    let _ = tried(&mut Unstructured::new(bytes));
}

fn tried(u: &mut Unstructured<'_>) -> Result<()> {
    let (one, other, topic) = (text(u)?, text(u)?, text(u)?);
    let topic = TopicName::parse(&topic).ok();
    let (Ok(one), Ok(other)) = (TopicFilter::parse(&one), TopicFilter::parse(&other)) else { return Ok(()) };
    if let Some(topic) = &topic {
        check_topic(&one, &other, topic);
    }
    check_pair(&one, &other);
    check_pair(&one, &one);
    Ok(())
}

fn text(u: &mut Unstructured<'_>) -> Result<String> {
    if u.ratio(1, 8)? {
        return Ok(u.arbitrary::<&str>()?.to_owned());
    }
    let many = u.int_in_range(1..=6)?;
    let levels = (0..many).map(|_| u.choose(&LEVELS).copied()).collect::<Result<Vec<_>>>()?;
    Ok(levels.join("/"))
}

fn check_topic(one: &TopicFilter, other: &TopicFilter, topic: &TopicName) {
    let (in_one, in_other) = (one.matches(topic), other.matches(topic));
    let levels: Vec<&str> = topic.levels().collect();
    for (filter, inside) in [(one, in_one), (other, in_other)] {
        let machine = Machine::of(filter);
        let end =
            levels.iter().enumerate().fold(State::At(0), |at, (n, level)| machine.step(at, level, n == 0));
        assert_eq!(inside, machine.accepts(end), "{filter} matches {topic}");
    }
    assert!(TopicFilter::from(topic.clone()).matches(topic));
    assert_eq!(one.covers(&topic.clone().into()), in_one, "{one} covers {topic}");
    assert_eq!(one.overlaps(&topic.clone().into()), in_one, "{one} overlaps {topic}");
    assert!(!(in_one && in_other) || one.overlaps(other), "{topic} is in {one} and {other}");
    assert!(!in_other || in_one || !one.covers(other), "{topic} is in {other} and not in {one}");
}

fn check_pair(one: &TopicFilter, other: &TopicFilter) {
    let (covers, overlaps) = searched(&Machine::of(one), &Machine::of(other));
    assert_eq!(one.covers(other), covers, "{one} covers {other}");
    assert_eq!(one.overlaps(other), overlaps, "{one} overlaps {other}");
    assert_eq!(other.overlaps(one), overlaps, "{other} overlaps {one}");
}

/// Where a machine is after some levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// So many levels of the filter have matched.
    At(usize),
    /// Below a final `#`: everything matches.
    Anything,
    /// Nothing can match any more.
    Dead,
}

struct Machine<'f> {
    levels: Vec<&'f str>,
}

impl<'f> Machine<'f> {
    fn of(filter: &'f TopicFilter) -> Self {
        Self { levels: filter.levels().collect() }
    }

    fn step(&self, at: State, level: &str, first: bool) -> State {
        let State::At(place) = at else { return at };
        let reserved = first && level.starts_with('$');
        match self.levels.get(place) {
            Some(&"#" | &"+") if reserved => State::Dead,
            Some(&"#") => State::Anything,
            Some(own) if *own == "+" || *own == level => State::At(place + 1),
            _ => State::Dead,
        }
    }

    fn accepts(&self, at: State) -> bool {
        match at {
            State::At(place) => place == self.levels.len() || (place > 0 && self.levels[place] == "#"),
            State::Anything => true,
            State::Dead => false,
        }
    }
}

/// Whether `one` has every topic of `other`, and whether they have one in common.
fn searched(one: &Machine<'_>, other: &Machine<'_>) -> (bool, bool) {
    let mut levels: BTreeSet<&str> = one.levels.iter().chain(&other.levels).copied().collect();
    levels.retain(|level| !["+", "#"].contains(level));
    let fresh: String = "x".repeat(1 + levels.iter().map(|level| level.len()).max().unwrap_or(0));
    let reserved = format!("${fresh}");
    levels.extend([fresh.as_str(), reserved.as_str()]);

    let mut seen = BTreeSet::new();
    let mut open = vec![(State::At(0), State::At(0), true, false)];
    let (mut covers, mut overlaps) = (true, false);
    while let Some((in_one, in_other, first, empty)) = open.pop() {
        // A topic has at least one character, so one empty level alone is none.
        if !first && !empty {
            let (a, b) = (one.accepts(in_one), other.accepts(in_other));
            covers &= a || !b;
            overlaps |= a && b;
        }
        for level in &levels {
            let next = (
                one.step(in_one, level, first),
                other.step(in_other, level, first),
                false,
                first && level.is_empty(),
            );
            if next.1 != State::Dead && seen.insert(next) {
                open.push(next);
            }
        }
    }
    (covers, overlaps)
}
