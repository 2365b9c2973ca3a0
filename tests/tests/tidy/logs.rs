//! No container of the deployment can fill the disk with its log. Those of plugins are made by the plugin coordinator,
//! whose contract with the engine holds the same.

use tests::repository::text;

/// The services of a compose file, with their lines. A service's name stands two spaces in.
fn services(compose: &str) -> Vec<(&str, Vec<&str>)> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    let section = compose.split("\nservices:\n").nth(1).unwrap_or_default();
    for line in section.lines().take_while(|line| line.is_empty() || line.starts_with([' ', '#'])) {
        let name = line.strip_prefix("  ").and_then(|rest| rest.strip_suffix(':'));
        match (name.filter(|name| !name.starts_with([' ', '#'])), found.last_mut()) {
            (Some(name), _) => found.push((name, Vec::new())),
            (None, Some((_, lines))) => lines.push(line.trim()),
            (None, None) => {}
        }
    }
    found
}

/// Services whose log has no bound.
fn unbounded(compose: &str) -> Vec<&str> {
    let bounded = |lines: &[&str]| lines.iter().any(|l| matches!(*l, "<<: *hardened" | "<<: *coordinator"));
    let overridden = |lines: &[&str]| lines.iter().any(|line| line.starts_with("logging:"));
    let faulty = |(_, lines): &(&str, Vec<&str>)| !bounded(lines) || overridden(lines);
    services(compose).into_iter().filter(faulty).map(|(name, _)| name).collect()
}

#[test]
fn the_log_of_every_service_is_bounded() {
    let compose = text("docker-compose.yml").expect("readable");
    let common = compose.split("\nx-hardened:").nth(1).and_then(|rest| rest.split("\n\n").next());
    let common = common.expect("what is common to all services");
    assert!(common.contains("driver: json-file") && common.contains("max-size: 10m, max-file:"), "{common}");
    let coordinators = compose.split("\nx-coordinator:").nth(1).and_then(|rest| rest.lines().nth(1));
    assert_eq!(coordinators.map(str::trim), Some("<<: *hardened"));
    assert!(services(&compose).len() >= 9, "{:?}", services(&compose));
    assert_eq!(unbounded(&compose), Vec::<&str>::new());
}

#[test]
fn a_service_without_a_bound_is_seen() {
    let compose = "x: 1\nservices:\n  a:\n    <<: *hardened\n  # A comment:\n  b:\n    image: b\n  c:\n    \
                   <<: *coordinator\n    logging:\n      driver: none\n\nnetworks:\n  d: {}\n";
    assert_eq!(unbounded(compose), ["b", "c"]);
}
