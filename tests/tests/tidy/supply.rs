//! What comes from elsewhere: from one registry, under licences that `deny.toml` allows, and none of the crates
//! that it bans.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{Metadata, MetadataCommand, PackageId};
use tests::repository::{root, text};

/// The programs run there.
const TARGET: &str = "x86_64-unknown-linux-gnu";
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// All packages that are built for [`TARGET`], as the lock file has them. Nothing is fetched: they are here
/// because this test was built.
fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(["--locked", "--filter-platform", TARGET].map(str::to_owned))
        .exec()
        .expect("cargo metadata runs")
}

/// The quoted texts between the line that begins with `begin` and the next line that is `]`.
fn listed<'t>(file: &'t str, begin: &str) -> Vec<&'t str> {
    let lines = file.lines().skip_while(|line| !line.starts_with(begin)).take_while(|line| *line != "]");
    lines.filter_map(|line| line.trim().strip_prefix('"')?.split('"').next()).collect()
}

/// The banned crates, each with those that may depend on it all the same.
fn banned(file: &str) -> BTreeMap<&str, Vec<&str>> {
    let entries = file.lines().filter_map(|line| line.trim().strip_prefix("{ crate = \""));
    entries
        .filter_map(|entry| {
            let (name, rest) = entry.split_once('"')?;
            let wrappers = rest.split_once("wrappers = [").map_or("", |(_, list)| list);
            let wrappers = wrappers.split(']').next().unwrap_or_default();
            Some((
                name,
                wrappers.split(',').map(|w| w.trim().trim_matches('"')).filter(|w| !w.is_empty()).collect(),
            ))
        })
        .collect()
}

/// Whether an SPDX expression (annex D of SPDX 2.3) can be fulfilled with these licences. `/` is the old way to
/// write OR. A licence with an exception must be listed as it stands.
fn allowed(expression: &str, licences: &[&str]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words: Vec<&str> = spaced.split_whitespace().rev().collect();
    let any = either(&mut words, licences);
    any && words.is_empty()
}

fn either(words: &mut Vec<&str>, licences: &[&str]) -> bool {
    let mut good = both(words, licences);
    while words.last() == Some(&"OR") {
        words.pop();
        good |= both(words, licences);
    }
    good
}

fn both(words: &mut Vec<&str>, licences: &[&str]) -> bool {
    let mut good = one(words, licences);
    while words.last() == Some(&"AND") {
        words.pop();
        good &= one(words, licences);
    }
    good
}

fn one(words: &mut Vec<&str>, licences: &[&str]) -> bool {
    match words.pop() {
        Some("(") => {
            let good = either(words, licences);
            good & (words.pop() == Some(")"))
        }
        Some(licence) => {
            let whole = match words.last() {
                Some(&"WITH") => {
                    words.pop();
                    format!("{licence} WITH {}", words.pop().unwrap_or_default())
                }
                _ => licence.to_owned(),
            };
            licences.contains(&whole.as_str())
        }
        None => false,
    }
}

#[test]
fn every_crate_comes_from_the_registry_under_a_licence_that_is_allowed() {
    let file = text("deny.toml").expect("readable");
    let licences = listed(&file, "allow = [");
    assert!(licences.contains(&"Apache-2.0"), "the licences are not read: {licences:?}");
    let metadata = metadata();
    let mut faults = Vec::new();
    let ours: BTreeSet<&PackageId> = metadata.workspace_members.iter().collect();
    let foreign = || metadata.packages.iter().filter(|package| !ours.contains(&package.id));
    for package in foreign() {
        let source = package.source.as_ref().map(ToString::to_string).unwrap_or_default();
        if source != REGISTRY {
            faults.push(format!("{} comes from {source:?}", package.name));
        }
        let licence = package.license.as_deref().unwrap_or("no licence");
        if !allowed(licence, &licences) {
            faults.push(format!("{} is under {licence}, which deny.toml does not allow", package.name));
        }
    }
    assert_eq!(faults, [""; 0]);
    assert!(foreign().count() > 100, "the packages are not looked at");
    for licence in &licences {
        // A list with words that nobody needs would one day let something in unseen.
        let without: Vec<&str> = licences.iter().copied().filter(|other| other != licence).collect();
        let needed = foreign().any(|p| !allowed(p.license.as_deref().unwrap_or_default(), &without));
        assert!(needed || is_common(licence), "deny.toml allows {licence}, which nothing needs");
    }
}

/// Most crates offer the choice of these two.
fn is_common(licence: &str) -> bool {
    ["Apache-2.0", "MIT"].contains(&licence)
}

#[test]
fn a_banned_crate_is_used_by_nobody_or_by_its_owner_alone() {
    let file = text("deny.toml").expect("readable");
    let banned = banned(&file);
    assert!(banned.contains_key("rsa") && banned["bollard"] == ["plugin-coordinator"], "{banned:?}");
    let metadata = metadata();
    let names: BTreeMap<&PackageId, &str> =
        metadata.packages.iter().map(|p| (&p.id, p.name.as_str())).collect();
    let resolve = metadata.resolve.as_ref().expect("cargo resolves");
    let mut faults = Vec::new();
    for node in &resolve.nodes {
        let user = names[&node.id];
        for dependency in &node.dependencies {
            let name = names[dependency];
            if banned.get(name).is_some_and(|wrappers| !wrappers.contains(&user)) {
                faults.push(format!("{user} depends on {name}"));
            }
        }
    }
    assert_eq!(faults, [""; 0], "deny.toml bans these");
}

#[test]
fn expressions_of_licences_are_read_as_spdx_says() {
    let mine = ["MIT", "Apache-2.0 WITH LLVM-exception", "ISC"];
    for good in [
        "MIT",
        "GPL-3.0 OR MIT",
        "MIT/GPL-3.0",
        "(MIT OR Unlicense) AND ISC",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(allowed(good, &mine), "{good}");
    }
    for bad in ["", "Apache-2.0", "MIT AND GPL-3.0", "(MIT", "MIT ISC", "ISC AND (GPL-3.0 OR Unlicense)"] {
        assert!(!allowed(bad, &mine), "{bad}");
    }
}
