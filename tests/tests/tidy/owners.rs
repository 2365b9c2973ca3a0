//! Each heavy crate has one owner, so that its types, its errors and its upgrades are one crate's affair.

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, MetadataCommand};
use tests::repository::{files, root, text};
use tests::source::mentions;

/// A crate, as it is called in Rust; who may depend on it; where in the sources it may be named.
struct Owned {
    crates: &'static [&'static str],
    owners: &'static [&'static str],
    /// Beginnings of paths; the tests of its owners may name it too.
    places: &'static [&'static str],
}

const OWNED: &[Owned] = &[
    Owned {
        crates: &["rumqttc-v5-next", "rumqttc-v4-next", "rumqttc"],
        owners: &["bus", "testkit", "hello-rust"],
        places: &["crates/bus/src/", "crates/testkit/src/", "plugins/examples/hello-rust/src/"],
    },
    Owned {
        crates: &["bollard"],
        owners: &["plugin-coordinator"],
        places: &["services/plugin-coordinator/src/engine/docker"],
    },
    Owned {
        crates: &["oci-client", "reqwest"],
        owners: &["plugin-coordinator"],
        places: &["services/plugin-coordinator/src/registry"],
    },
    Owned {
        crates: &["jsonwebtoken"],
        // The attacks forge tokens with it.
        owners: &["token", "hello-rust", "tests"],
        places: &["crates/token/src/", "plugins/examples/hello-rust/src/", "tests/tests/attacks"],
    },
    Owned {
        crates: &["sqlx"],
        // The search for secrets reads what is sealed in databases.
        owners: &["store", "plugin-coordinator", "message-coordinator", "security-coordinator", "tests"],
        places: &["crates/store/src/", "services/", "tests/tests/e2e/secrets.rs"],
    },
    Owned {
        crates: &["opentelemetry", "opentelemetry_sdk", "tracing-opentelemetry", "tracing-subscriber"],
        owners: &["telemetry"],
        places: &["crates/telemetry/src/"],
    },
    Owned { crates: &["config"], owners: &["chassis"], places: &["crates/chassis/src/config"] },
    Owned { crates: &["proc-macro2", "cargo_metadata"], owners: &["tests"], places: &["tests/"] },
];

#[test]
fn only_the_owners_of_a_heavy_crate_depend_on_it() {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata runs");
    let mut faults = Vec::new();
    let mut used = BTreeSet::new();
    for package in &metadata.packages {
        for dependency in &package.dependencies {
            let owned = OWNED.iter().filter(|owned| owned.crates.contains(&dependency.name.as_str()));
            for owned in owned {
                used.insert(dependency.name.clone());
                if !owned.owners.contains(&package.name.as_str()) {
                    faults.push(format!(
                        "{} depends on {}, which {:?} own",
                        package.name, dependency.name, owned.owners
                    ));
                }
                if dependency.kind == DependencyKind::Build {
                    faults.push(format!("{} builds with {}", package.name, dependency.name));
                }
            }
        }
    }
    assert_eq!(faults, [""; 0]);
    assert!(
        used.contains("bollard") && used.contains("rumqttc-v5-next"),
        "the owners are not looked at: {used:?}"
    );
}

#[test]
fn a_heavy_crate_is_named_only_where_its_adapter_lives() {
    let mut faults = Vec::new();
    let sources = files("", |path| path.ends_with(".rs")).expect("readable");
    for path in &sources {
        let source = text(path).expect("readable");
        faults.extend(named_elsewhere(path, &source));
    }
    assert_eq!(faults, [""; 0]);
    assert!(sources.len() > 100, "the sources are not looked at");
}

#[test]
fn a_heavy_crate_named_in_the_wrong_place_is_found() {
    let source = "use bollard::Docker;";
    assert_eq!(named_elsewhere("services/plugin-coordinator/src/handler/start.rs", source).len(), 1);
    assert_eq!(named_elsewhere("services/plugin-coordinator/src/engine/docker/create.rs", source).len(), 0);
    assert_eq!(named_elsewhere("crates/cli/src/main.rs", "fn f() { rumqttc::v5::x() }").len(), 1);
}

fn named_elsewhere(path: &str, source: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for owned in OWNED {
        let of_tests = path.starts_with("tests/") || path.contains("/tests/");
        if owned.places.iter().any(|place| path.starts_with(place)) || of_tests {
            continue;
        }
        let names: Vec<String> = owned.crates.iter().map(|name| name.replace('-', "_")).collect();
        // `config` and the like are names of modules too; a crate that no owner depends on cannot be meant.
        let names: Vec<&str> = names.iter().map(String::as_str).filter(|name| *name != "config").collect();
        let found = mentions(source, &names).expect("it is Rust");
        faults.extend(found.into_iter().map(|name| format!("{path} names {name}")));
    }
    faults
}
