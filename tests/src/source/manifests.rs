//! Cargo manifests, the compose file and decision records.

/// Whether a package forbids unsafe code: by inheriting the workspace's lints, or by itself.
pub fn forbids_unsafe(manifest: &str) -> bool {
    let lines: Vec<String> = manifest
        .lines()
        .map(|line| line.split_whitespace().collect::<String>())
        .filter(|l| !l.is_empty())
        .collect();
    let table = |heading: &str, line: &str| {
        let mut inside =
            lines.iter().skip_while(|l| *l != heading).skip(1).take_while(|l| !l.starts_with('['));
        inside.any(|l| l == line)
    };
    table("[lints]", "workspace=true") || table("[lints.rust]", "unsafe_code=\"forbid\"")
}

/// The names of a compose file's services.
pub fn compose_services(compose: &str) -> Vec<String> {
    let inside = compose
        .lines()
        .skip_while(|line| line.trim_end() != "services:")
        .skip(1)
        .take_while(|line| line.is_empty() || line.starts_with([' ', '#']));
    let name = |line: &str| {
        let name = line.strip_prefix("  ")?.trim_end().strip_suffix(':')?;
        (!name.starts_with([' ', '#'])).then(|| name.to_owned())
    };
    inside.filter_map(name).collect()
}

/// Which of the three headings a decision record lacks, or has without a text below it.
pub fn lacking_heading(record: &str) -> Option<&'static str> {
    ["## Context", "## Decision", "## Consequences"].into_iter().find(|heading| {
        let mut lines = record.lines().skip_while(|line| line.trim_end() != *heading).skip(1);
        let mut text = lines.by_ref().take_while(|line| !line.starts_with("## "));
        !text.any(|line| !line.trim().is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_code_is_forbidden_by_the_workspace_or_by_the_package_itself() {
        assert!(forbids_unsafe("[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n"));
        assert!(forbids_unsafe("[lints.rust]\nunsafe_code = \"forbid\"\n"));
        assert!(!forbids_unsafe("[package]\nname = \"a\"\n[lints.clippy]\nworkspace = true\n"));
        assert!(!forbids_unsafe("[lints.rust]\nunsafe_code = \"warn\"\n"));
    }

    #[test]
    fn services_are_the_keys_below_services_and_no_others() {
        let compose = "name: x\nservices:\n  # a comment:\n  one:\n    image: i\n    environment:\n      A: b\n\n  two:\n    command: []\nnetworks:\n  three:\n";
        assert_eq!(compose_services(compose), ["one", "two"]);
    }

    #[test]
    fn a_record_without_a_heading_or_with_an_empty_one_is_told() {
        let record = "# 1. T\n## Context\na\n## Decision\nb\n## Consequences\nc\n";
        assert_eq!(lacking_heading(record), None);
        assert_eq!(lacking_heading(&record.replace("\nb", "")), Some("## Decision"));
        assert_eq!(lacking_heading("# 1. T\n## Context\na\n"), Some("## Decision"));
    }
}
