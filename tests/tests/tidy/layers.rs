//! Dependencies point one way.

use std::collections::BTreeMap;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use tests::repository::{root, text};
use tests::source::forbids_unsafe;

/// The crates from the lowest layer to the highest. One may depend on those below its own layer.
const LAYERS: [&[&str]; 6] = [
    &["envelope"],
    &["manifest", "bus", "seal", "store", "telemetry"],
    &["acl", "token"],
    &["chassis"],
    &[
        "plugin-coordinator",
        "message-coordinator",
        "security-coordinator",
        "bigskies",
        "bigskies-init",
        "forwarder",
    ],
    &["tests"],
];
/// For tests of every layer; it knows nothing of the project, so that it can stand for other people's software.
const FOR_TESTS: &str = "testkit";
/// A plugin as a stranger would write it: from the SDK document alone.
const STRANGERS: &[&str] = &["hello-rust"];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata runs")
}

/// What is wrong with a dependency of `package` on a crate of the workspace.
fn wrong(package: &str, dependency: &str, kind: DependencyKind) -> Option<String> {
    let layer = |name: &str| LAYERS.iter().position(|layer| layer.contains(&name));
    if dependency == FOR_TESTS {
        let allowed = kind == DependencyKind::Development || package == "tests";
        return (!allowed).then(|| format!("{package} uses {FOR_TESTS} outside of its tests"));
    }
    match (layer(package), layer(dependency)) {
        (Some(own), Some(its)) if its < own => None,
        (Some(_), Some(_)) => {
            Some(format!("{package} depends on {dependency}, which is not in a layer below it"))
        }
        (_, None) => Some(format!("{package} depends on {dependency}, which is in no layer")),
        (None, _) => {
            Some(format!("{package} depends on {dependency} and may depend on nothing of the project"))
        }
    }
}

fn ours(packages: &[Package]) -> BTreeMap<&str, &Package> {
    packages.iter().map(|package| (package.name.as_str(), package)).collect()
}

#[test]
fn dependencies_point_from_a_layer_to_the_layers_below_it() {
    let metadata = metadata();
    let ours = ours(&metadata.packages);
    let mut faults = Vec::new();
    for (name, package) in &ours {
        let inside =
            package.dependencies.iter().filter(|dependency| ours.contains_key(dependency.name.as_str()));
        faults.extend(inside.filter_map(|dependency| wrong(name, &dependency.name, dependency.kind)));
    }
    assert_eq!(faults, [""; 0]);
}

#[test]
fn every_crate_is_in_a_layer() {
    let metadata = metadata();
    let listed: Vec<&str> =
        LAYERS.concat().into_iter().chain([FOR_TESTS]).chain(STRANGERS.iter().copied()).collect();
    for name in ours(&metadata.packages).keys() {
        assert!(listed.contains(name), "{name} is in no layer; list it in tests/tests/tidy/layers.rs");
    }
    for name in listed {
        assert!(ours(&metadata.packages).contains_key(name), "{name} does not exist any more");
    }
}

#[test]
fn a_dependency_that_points_up_or_aside_is_found() {
    let found = |package, dependency, kind| wrong(package, dependency, kind).is_some();
    let (normal, development) = (DependencyKind::Normal, DependencyKind::Development);
    assert!(found("envelope", "manifest", normal));
    assert!(found("plugin-coordinator", "message-coordinator", development));
    assert!(found("bus", "store", normal));
    assert!(found("bus", "testkit", normal));
    assert!(found("testkit", "envelope", normal));
    assert!(found("hello-rust", "envelope", normal));
    assert!(found("chassis", "something-new", normal));
    assert!(!found("chassis", "bus", normal));
    assert!(!found("bus", "testkit", development));
}

#[test]
fn every_crate_forbids_unsafe_code_and_has_the_version_of_the_framework() {
    let workspace = text("Cargo.toml").expect("readable");
    assert!(workspace.contains("[workspace.lints.rust]\nunsafe_code = \"forbid\""));
    for package in metadata().packages {
        let manifest = std::fs::read_to_string(&package.manifest_path).expect("readable");
        assert!(forbids_unsafe(&manifest), "{} does not forbid unsafe code", package.name);
        assert_eq!(package.version.to_string(), "1.0.0", "{}", package.name);
        assert_eq!(package.edition.as_str(), "2024", "{}", package.name);
        assert_eq!(package.license.as_deref(), Some("Apache-2.0"), "{}", package.name);
        assert_eq!(package.publish, Some(Vec::new()), "{}", package.name);
        assert!(package.description.is_some(), "{} has no description", package.name);
    }
    assert_eq!(manifest::framework_version().to_string(), "1.0.0");
}
