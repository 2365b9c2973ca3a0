//! What plugin authors were promised, and the way to a first plugin.

use std::fs;

use tests::repository::{fenced, root, text};

#[test]
fn the_sdk_document_is_the_one_that_was_published() {
    let copy = fs::read(root().join("docs/PLUGIN_SDK.md")).expect("the copy is there");
    assert!(copy.starts_with(b"# BIG SKIES Framework - Plugin SDK"));
    // The published document is not part of a checkout; it is compared where it lies beside one.
    if let Ok(published) = fs::read(root().join("../shared/sdk/PLUGIN_SDK.md")) {
        assert!(
            copy == published,
            "docs/PLUGIN_SDK.md is not the published document any more; copy it again"
        );
    }
}

#[test]
fn the_manifest_for_a_first_plugin_has_no_fault_and_asks_for_nothing() {
    let document = text("docs/plugin-author.md").expect("the document is there");
    let sample = fenced(&document, "## The manifest", "json").expect("it has a manifest");
    let parsed = manifest::parse(sample.as_bytes(), &manifest::framework_version()).expect("no faults");
    assert_eq!(parsed.warnings, []);
    assert_eq!(parsed.manifest.grants(), []);
}

#[test]
fn every_variable_that_a_plugin_is_given_is_told_to_its_author() {
    let document = text("docs/plugin-author.md").expect("the document is there");
    for variable in manifest::OWN_VARIABLES.iter().chain([&manifest::CONFIG_VARIABLE]) {
        assert!(document.contains(&format!("`{variable}`")), "{variable}");
    }
}

#[test]
fn the_example_plugin_that_the_author_is_sent_to_is_there() {
    let document = text("docs/plugin-author.md").expect("the document is there");
    assert!(document.contains("plugins/examples/hello-rust"));
    for file in ["plugin.json", "Dockerfile", "README.md", "src/main.rs"] {
        assert!(root().join("plugins/examples/hello-rust").join(file).is_file(), "{file}");
    }
}
