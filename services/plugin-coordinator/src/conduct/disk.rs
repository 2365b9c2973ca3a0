//! How much of the disk a plugin may use.

use manifest::Manifest;

use crate::engine::DiskUsage;

/// Why a plugin is stopped for what it uses, if it is. Its bound is its manifest's, else `otherwise`.
pub(super) fn over(usage: &DiskUsage, manifest: &Manifest, otherwise: u64) -> Option<String> {
    let (used, bound) = (usage.total(), manifest.resources.disk.unwrap_or(otherwise));
    (used > bound).then(|| format!("disk: uses {} of {}", size(used), size(bound)))
}

/// Bytes for people, rounded up, so that what is over a bound never reads as the bound itself for want of digits.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.into_iter().find(|(_, unit)| bytes >= *unit) {
        None => format!("{bytes} bytes"),
        Some((name, unit)) if bytes.is_multiple_of(unit) => format!("{} {name}", bytes / unit),
        Some((name, unit)) => {
            let hundredths = (u128::from(bytes) * 100).div_ceil(u128::from(unit));
            format!("{}.{:02} {name}", hundredths / 100, hundredths % 100)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifest(resources: serde_json::Value) -> Manifest {
        let value = json!({"id": "one", "name": "One", "version": "1.0.0", "resources": resources});
        manifest::parse_value(value, &manifest::framework_version()).expect("a manifest").manifest
    }

    fn usage(written: u64, volume: u64) -> DiskUsage {
        DiskUsage { container: "a".into(), start: None, written, volumes: [("v".to_owned(), volume)].into() }
    }

    #[test]
    fn what_is_written_and_volumes_count_together_against_the_manifests_bound_or_the_usual_one() {
        let usual = manifest(json!({}));
        assert_eq!(over(&usage(1 << 30, 1 << 30), &usual, 2 << 30), None);
        let why = over(&usage((1 << 30) + 1, 1 << 30), &usual, 2 << 30);
        assert_eq!(why.as_deref(), Some("disk: uses 2.01 GiB of 2 GiB"));
        let small = manifest(json!({"disk": "1m"}));
        let why = over(&usage(3 << 19, 0), &small, 2 << 30);
        assert_eq!(why.as_deref(), Some("disk: uses 1.50 MiB of 1 MiB"));
        assert!(over(&usage(u64::MAX, u64::MAX), &small, 0).is_some());
    }

    #[test]
    fn sizes_are_rounded_up() {
        for (bytes, text) in [(0, "0 bytes"), (1023, "1023 bytes"), (1025, "1.01 KiB"), (3 << 30, "3 GiB")] {
            assert_eq!(size(bytes), text);
        }
    }
}
