//! Where things are, and what they are called.

use std::fs;

use tests::repository::{files, root, text};
use tests::source::{compose_services, slips};

/// What lies at the top, beside files that begin with a dot and what is built.
const TOP: [&str; 16] = [
    "Cargo.toml",
    "Cargo.lock",
    "deny.toml",
    "rustfmt.toml",
    "Makefile",
    "docker-compose.yml",
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "crates",
    "services",
    "plugins",
    "schemas",
    "tests",
];
const TOP_FOLDERS: [&str; 3] = ["deploy", "docs", "target"];

fn top() -> Vec<&'static str> {
    TOP.into_iter().chain(TOP_FOLDERS).collect()
}

#[test]
fn every_file_is_where_a_reader_looks_for_it() {
    let mut paths = files("", |_| true).expect("readable");
    // Folders at the top that are empty, or that are left out above, count too.
    for entry in fs::read_dir(root()).expect("readable") {
        paths.push(entry.expect("readable").file_name().to_string_lossy().into_owned());
    }
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    assert_eq!(slips(&paths, &top()), [""; 0]);
}

#[test]
fn what_every_public_project_has_is_there() {
    let license = text("LICENSE").expect("readable");
    assert!(license.contains("Apache License") && license.contains("END OF TERMS AND CONDITIONS"));
    for path in ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", ".ci/run", "docker-compose.yml"]
    {
        assert!(!text(path).expect("readable").trim().is_empty(), "{path} is empty");
    }
    assert!(text("CHANGELOG.md").expect("readable").contains("## 1.0.0"));
}

#[test]
fn no_plugin_can_have_the_name_of_a_service() {
    let services = compose_services(&text("docker-compose.yml").expect("readable"));
    assert!(services.contains(&"mqtt-broker".to_owned()) && services.len() >= 5, "{services:?}");
    for service in services {
        assert!(
            manifest::is_reserved_name(&service),
            "{service} is not reserved; add it to manifest::RESERVED_NAMES"
        );
    }
    assert!(!manifest::is_reserved_name("focuser"));
}

#[test]
fn every_image_of_ours_has_the_version_of_the_framework() {
    let compose = text("docker-compose.yml").expect("readable");
    let images: Vec<&str> =
        compose.lines().filter_map(|line| line.trim().strip_prefix("image: bigskies/")).collect();
    assert!(images.len() >= 5, "{images:?}");
    for image in images {
        assert!(image.ends_with(":1.0.0"), "{image}");
    }
}
