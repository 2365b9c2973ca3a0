//! Words that do not belong into any file of the project.

use std::path::Path;

/// Lines of `text` with one of the `words`, capitals or not: the line's number from 1, and the word.
pub fn foreign_words<'w>(text: &str, words: &[&'w str]) -> Vec<(usize, &'w str)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.to_lowercase();
        found.extend(words.iter().filter(|word| line.contains(*word)).map(|word| (number + 1, *word)));
    }
    found
}

/// What the paths of the repository say that they should not: a `mod.rs`, an entry at the top that the project
/// does not list.
pub fn slips(paths: &[&str], top: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for path in paths {
        if Path::new(path).file_name().is_some_and(|name| name == "mod.rs") {
            found.push(format!("{path}: put it beside its folder, under the folder's name"));
        }
        let first = path.split('/').next().unwrap_or_default();
        if !first.starts_with('.') && !top.contains(&first) {
            found.push(format!("{first}: does not belong at the top"));
        }
    }
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_in_any_spelling() {
        assert_eq!(foreign_words("a\nIn Folder-X here\n", &["folder-x", "y"]), [(2, "folder-x")]);
    }

    #[test]
    fn a_mod_rs_and_a_stray_entry_are_found() {
        let paths = ["crates/a/src/mod.rs", "notes.txt", ".ci/run", "crates/a/src/lib.rs"];
        let found = slips(&paths, &["crates"]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("crates/a/src/mod.rs") && found[1].starts_with("notes.txt"));
    }
}
