//! The filter algebra against brute force: every topic up to a depth over a small alphabet.
//!
//! The topics have words that no filter has, and one level more than any filter, so that what holds for
//! them holds for all topics.

use manifest::{TopicFilter, TopicName};
use proptest::prelude::*;

const WORDS_OF_FILTERS: [&str; 6] = ["", "a", "b", "$x", "+", "+"];
const WORDS_OF_TOPICS: [&str; 6] = ["", "a", "b", "other", "$x", "$other"];
const DEPTH: usize = 4;

/// Matching as MQTT 5.0 section 4.7 words it, by recursion over both.
fn matches_by_the_book(filter: &[&str], topic: &[&str], first: bool) -> bool {
    match (filter, topic) {
        ([], []) => true,
        (["#"], []) => !first,
        (["#"], [level, ..]) => !(first && level.starts_with('$')),
        (["+", filter @ ..], [level, topic @ ..]) => {
            !(first && level.starts_with('$')) && matches_by_the_book(filter, topic, false)
        }
        ([word, filter @ ..], [level, topic @ ..]) => {
            word == level && matches_by_the_book(filter, topic, false)
        }
        _ => false,
    }
}

fn all_topics() -> Vec<TopicName> {
    let mut texts: Vec<String> = WORDS_OF_TOPICS.map(str::to_owned).to_vec();
    let mut longest = texts.clone();
    for _ in 0..DEPTH {
        longest =
            longest.iter().flat_map(|text| WORDS_OF_TOPICS.map(|word| format!("{text}/{word}"))).collect();
        texts.extend(longest.iter().cloned());
    }
    texts.iter().filter_map(|text| TopicName::parse(text).ok()).collect()
}

fn filters() -> impl Strategy<Value = TopicFilter> {
    let words = prop::collection::vec(prop::sample::select(&WORDS_OF_FILTERS[..]), 0..=DEPTH - 1);
    let last = prop::sample::select(vec!["#", "#", "+", "a", "b", ""]);
    (words, last).prop_filter_map("empty", |(mut words, last)| {
        words.push(last);
        TopicFilter::parse(&words.join("/")).ok()
    })
}

fn levels(text: &str) -> Vec<&str> {
    text.split('/').collect()
}

/// The topics that `filter` matches, as the algebra says.
fn matched(filter: &TopicFilter, topics: &[TopicName]) -> Vec<bool> {
    topics.iter().map(|topic| filter.matches(topic)).collect()
}

#[test]
fn matching_covering_and_overlapping_are_what_brute_force_finds() {
    let topics = all_topics();
    assert!(topics.len() > 9000);
    let config = ProptestConfig { cases: 150, ..ProptestConfig::default() };
    proptest!(config, |(a in filters(), b in filters())| {
        let (in_a, in_b) = (matched(&a, &topics), matched(&b, &topics));
        for (topic, matches) in topics.iter().zip(&in_a) {
            let book = matches_by_the_book(&levels(a.as_str()), &levels(topic.as_str()), true);
            prop_assert_eq!(*matches, book, "{} matches {}", a, topic);
        }
        let both = in_a.iter().zip(&in_b);
        let covers = both.clone().all(|(in_a, in_b)| *in_a || !*in_b);
        let overlaps = both.clone().any(|(in_a, in_b)| *in_a && *in_b);
        prop_assert_eq!(a.covers(&b), covers, "{} covers {}", a, b);
        prop_assert_eq!(a.overlaps(&b), overlaps, "{} overlaps {}", a, b);
        prop_assert_eq!(b.overlaps(&a), overlaps, "{} overlaps {}", b, a);
    });
}

#[test]
fn short_filters_are_compared_pair_by_pair() {
    let topics: Vec<TopicName> =
        all_topics().into_iter().filter(|topic| topic.levels().count() <= 3).collect();
    let words = ["", "a", "$x", "+", "#"];
    let mut texts: Vec<String> = words.map(str::to_owned).to_vec();
    texts.extend(words.iter().flat_map(|a| words.map(|b| format!("{a}/{b}"))));
    let filters: Vec<TopicFilter> = texts.iter().filter_map(|text| TopicFilter::parse(text).ok()).collect();
    let sets: Vec<Vec<bool>> = filters.iter().map(|filter| matched(filter, &topics)).collect();
    for (a, in_a) in filters.iter().zip(&sets) {
        for (b, in_b) in filters.iter().zip(&sets) {
            let both = in_a.iter().zip(in_b);
            assert_eq!(a.covers(b), both.clone().all(|(a, b)| *a || !*b), "{a} covers {b}");
            assert_eq!(a.overlaps(b), both.clone().any(|(a, b)| *a && *b), "{a} overlaps {b}");
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,12}|[a+#/$\u{0}]{0,12}") {
        if let Ok(filter) = TopicFilter::parse(&text) {
            prop_assert_eq!(filter.as_str(), &text);
            prop_assert!(filter.covers(&filter) && filter.overlaps(&filter));
        }
        if let Ok(topic) = TopicName::parse(&text) {
            prop_assert!(TopicFilter::from(topic.clone()).matches(&topic));
            prop_assert_eq!(TopicFilter::parse(&text), Ok(TopicFilter::from(topic)));
        }
    }
}
