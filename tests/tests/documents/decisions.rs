//! The decision records.

use std::collections::BTreeMap;

use cargo_metadata::{Metadata, MetadataCommand};
use tests::repository::{files, root, text};
use tests::source::lacking_heading;

const FOLDER: &str = "docs/decisions";

fn records() -> BTreeMap<String, String> {
    let paths = files(FOLDER, |path| path.ends_with(".md")).expect("the folder is there");
    paths.into_iter().map(|path| (path.clone(), text(&path).expect("readable"))).collect()
}

#[test]
fn every_decision_record_has_a_number_of_its_own_and_the_three_headings() {
    let mut numbers = BTreeMap::new();
    for (path, record) in records() {
        let name = path.trim_start_matches(FOLDER).trim_start_matches('/');
        let (number, title) = name.split_once('-').expect("a number, a dash and a title");
        assert!(
            number.len() == 4 && number.bytes().all(|b| b.is_ascii_digit()),
            "{path}: begin it with four digits"
        );
        assert!(
            title.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b)),
            "{path}"
        );
        let heading = format!("# {}. ", number.trim_start_matches('0'));
        assert!(record.starts_with(&heading), "{path}: begin it with {heading:?} and its title");
        assert_eq!(lacking_heading(&record), None, "{path}");
        if let Some(other) = numbers.insert(number.to_owned(), path.clone()) {
            assert_eq!(other, path, "two records have the number {number}");
        }
    }
    assert!(numbers.contains_key("0001"));
}

#[test]
fn every_dependency_from_a_registry_has_its_reason() {
    let record = text("docs/decisions/0003-dependencies.md").expect("the record is there");
    let metadata: Metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata runs");
    let mut missing: Vec<&str> = metadata
        .packages
        .iter()
        .flat_map(|package| package.dependencies.iter())
        .filter(|dependency| dependency.path.is_none())
        .map(|dependency| dependency.name.as_str())
        .filter(|name| !record.contains(&format!("`{name}`")))
        .collect();
    missing.sort_unstable();
    missing.dedup();
    assert_eq!(missing, [""; 0], "say in the record why these are needed");
}
