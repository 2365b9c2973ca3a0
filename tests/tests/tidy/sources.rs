//! What no source may contain.

use tests::repository::{files, text};
use tests::source::{foreign_words, literals_outside_tests, macros};

/// Beginnings of topics. The envelope crate alone writes them.
const TOPICS: [&str; 3] = ["bigskies/", "$SYS/", "$CONTROL/"];
/// The crate that spells topics out, and plugins, which are written from the SDK document alone.
const SPELL_TOPICS: [&str; 2] = ["crates/envelope/", "plugins/examples/"];
/// What begins like a topic and is none: the name that a registry is told.
const NO_TOPICS: [(&str, &str); 1] = [("services/plugin-coordinator/src/registry/oci.rs", "bigskies/")];

/// Sources that are not tests.
fn sources() -> Vec<String> {
    let program = |path: &str| {
        path.ends_with(".rs")
            && !path.starts_with("tests/")
            && !path.contains("/tests/")
            && !path.ends_with("/tests.rs")
            && !path.starts_with("crates/testkit/")
    };
    files("", program).expect("readable")
}

#[test]
fn no_crate_but_the_envelope_spells_a_topic_out() {
    let mut faults = Vec::new();
    let sources = sources();
    for path in sources.iter().filter(|path| !SPELL_TOPICS.iter().any(|place| path.starts_with(place))) {
        let mut found = literals_outside_tests(&text(path).expect("readable"), &TOPICS).expect("it is Rust");
        found.retain(|f| !NO_TOPICS.contains(&(path.as_str(), f.text.as_str())));
        faults.extend(found.into_iter().map(|f| format!("{path}:{}: {:?}", f.line, f.text)));
    }
    assert_eq!(faults, [""; 0], "make these topics with envelope::topic");
    assert!(sources.len() > 100, "the sources are not looked at");
}

#[test]
fn the_search_for_topics_finds_those_of_the_envelope_crates_own_tests_when_they_are_code() {
    let source = text("crates/envelope/src/topic.rs").expect("readable");
    let source = source.replace("#[cfg(test)]", "").replace("#[test]", "");
    let found = literals_outside_tests(&source, &TOPICS).expect("it is Rust");
    assert!(found.iter().any(|f| f.text.starts_with("bigskies/plugin/")), "{found:?}");
}

#[test]
fn nothing_is_left_to_be_done_later() {
    let mut faults = Vec::new();
    for path in files("", |path| path.ends_with(".rs")).expect("readable") {
        let found =
            macros(&text(&path).expect("readable"), &["todo", "unimplemented", "dbg"]).expect("it is Rust");
        faults.extend(found.into_iter().map(|f| format!("{path}:{}: {}", f.line, f.text)));
    }
    assert_eq!(faults, [""; 0]);
}

#[test]
fn no_file_names_the_machine_it_was_written_on_or_the_tools_it_was_written_with() {
    // Taken apart here, so that this file is not found.
    let words = [["/wo", "rk/"], ["clau", "de"], ["anthro", "pic"], ["chat", "gpt"], ["copi", "lot"]];
    let words: Vec<String> = words.iter().map(|parts| parts.concat()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut faults = Vec::new();
    for path in files("", |path| path != "Cargo.lock").expect("readable") {
        // What is not text has no words.
        let Ok(text) = text(&path) else { continue };
        faults.extend(
            foreign_words(&text, &words).into_iter().map(|(line, word)| format!("{path}:{line}: {word}")),
        );
    }
    assert_eq!(faults, [""; 0]);
}

#[test]
fn no_test_is_marked_to_be_skipped() {
    let mark = ["#[ig", "nore"].concat();
    let marked = files("", |path| path.ends_with(".rs")).expect("readable");
    let marked: Vec<String> =
        marked.into_iter().filter(|path| text(path).expect("readable").contains(&mark)).collect();
    assert_eq!(marked, [""; 0]);
}
