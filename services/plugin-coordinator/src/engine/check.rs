//! What is refused before an engine sees it. Names and references become parts of request paths, so a
//! hostile one could otherwise address another object.

use super::error::{EngineError, Verb};
use super::image_ref::is_reference;
use super::label;
use super::spec::{Change, ContainerSpec, Labels, Limits, MountSource, UploadFile};

/// The name or id of a container, network or volume: `[A-Za-z0-9][A-Za-z0-9_.-]+`, at most 200 bytes.
/// Hexadecimal digits alone are a whole id or nothing: the engine would take them for the beginning of one.
pub(super) fn name(doing: Verb, name: &str) -> Result<(), EngineError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    let first = name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    let part_of_id = name.len() != 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
    if first && !part_of_id && (2..=200).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    invalid(
        doing,
        name,
        "the name must be 2 to 200 letters, digits and _ . - that begin with a letter or a digit and are not all hexadecimal",
    )
}

/// The reference or id of an image.
pub(super) fn reference(doing: Verb, reference: &str) -> Result<(), EngineError> {
    if is_reference(reference) {
        return Ok(());
    }
    invalid(doing, reference, "this is not the reference of an image")
}

/// An absolute path in a container, not the root, that needs no interpretation.
pub(super) fn path(doing: Verb, on: &str, path: &str) -> Result<(), EngineError> {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    let whole = path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain));
    if whole && path.len() <= 1024 && !path.contains(|c: char| c == ':' || c.is_control()) {
        return Ok(());
    }
    invalid(doing, on, &format!("the path {path:?} must be absolute, without . and .. and colons"))
}

/// Files to put into a container.
pub(super) fn uploads(on: &str, files: &[UploadFile]) -> Result<(), EngineError> {
    for file in files {
        path(Verb::Upload, on, &file.path)?;
        if file.mode > 0o7777 {
            return invalid(Verb::Upload, on, "the mode of a file has more than permission bits");
        }
    }
    Ok(())
}

/// What is to be put right of a container.
pub(super) fn change(on: &str, change: &Change) -> Result<(), EngineError> {
    match change {
        Change::Resume => Ok(()),
        Change::Rename(to) => name(Verb::Adjust, to),
        Change::Connect(attachment) => name(Verb::Adjust, &attachment.network),
        Change::Disconnect(network) => name(Verb::Adjust, network),
        Change::Bound(limits) => bounds(Verb::Adjust, on, limits),
    }
}

/// A whole container specification.
pub(super) fn spec(spec: &ContainerSpec) -> Result<(), EngineError> {
    let doing = Verb::Create;
    let on = &spec.name;
    name(doing, on)?;
    reference(doing, &spec.image)?;
    for mount in &spec.mounts {
        path(doing, on, &mount.target)?;
        match &mount.source {
            MountSource::Volume(volume) => name(doing, volume)?,
            MountSource::HostFolder(folder) => path(doing, on, folder)?,
        }
    }
    for tmpfs in &spec.tmpfs {
        path(doing, on, &tmpfs.target)?;
    }
    for device in spec.devices.iter().flat_map(|device| [&device.path, &device.container_path]) {
        path(doing, on, device)?;
        if !device.starts_with("/dev/") {
            return invalid(doing, on, &format!("the device {device:?} does not lie in /dev"));
        }
    }
    for attachment in &spec.networks {
        name(doing, &attachment.network)?;
        if matches!(attachment.network.as_str(), "host" | "none" | "default" | "bridge") {
            return invalid(doing, on, "only networks of the project's own can be used");
        }
    }
    for key in spec.env.keys() {
        if key.is_empty() || key.contains(['=', '\0']) {
            return invalid(doing, on, "an environment variable has no proper name");
        }
    }
    if spec.env.values().any(|value| value.contains('\0')) {
        return invalid(doing, on, "an environment variable holds a zero byte");
    }
    if spec.ports.iter().any(|port| port.container_port == 0) {
        return invalid(doing, on, "port 0 of a container cannot be published");
    }
    bounds(doing, on, &spec.limits)
}

fn bounds(doing: Verb, on: &str, limits: &Limits) -> Result<(), EngineError> {
    // To the engine 0 means no limit at all.
    if limits.memory_bytes == Some(0)
        || limits.nano_cpus == Some(0)
        || limits.pids == Some(0)
        || limits.nofile == Some(0)
    {
        return invalid(doing, on, "a limit of 0 is no limit; leave it out or give a number");
    }
    let most = u64::try_from(i64::MAX).unwrap_or(u64::MAX);
    if limits.memory_bytes.max(limits.nano_cpus) > Some(most) {
        return invalid(doing, on, "a limit is too large");
    }
    Ok(())
}

/// The labels of a container: an image's labels are a stranger's, and must not pass for those that the
/// port goes by.
pub(super) fn labels(spec: &ContainerSpec) -> Labels {
    let mut labels = spec.labels.clone();
    for own in [label::INSTALLATION, label::START, label::THROW_AWAY] {
        labels.entry(own.to_owned()).or_default();
    }
    labels
}

/// Size at which an output file is rotated; 0 is the default.
pub(super) const fn log_bytes(spec: &ContainerSpec) -> u64 {
    if spec.log_max_bytes == 0 { 10 << 20 } else { spec.log_max_bytes }
}

/// Output files that are kept; 0 is the default.
pub(super) const fn log_files(spec: &ContainerSpec) -> u32 {
    if spec.log_max_files == 0 { 3 } else { spec.log_max_files }
}

fn invalid(doing: Verb, on: &str, message: &str) -> Result<(), EngineError> {
    Err(EngineError::Invalid {
        doing,
        on: super::text::line(on, 200),
        message: super::text::line(message, 400),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Attachment, Device, Limits, Mount};

    #[test]
    fn names_that_could_change_a_request_path_are_refused() {
        for good in ["xy", "bigskies-plugin-a.b_c", "0g", &"0f".repeat(32)] {
            assert!(name(Verb::Inspect, good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "x",
            "cafe",
            "../json",
            "a/b",
            "a?b",
            "a#b",
            "-ab",
            ".ab",
            "a b",
            "aä",
            "a\n",
            &"a".repeat(201),
        ] {
            assert!(name(Verb::Inspect, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn paths_are_absolute_and_plain() {
        for good in ["/a", "/a/b.c", "/a b"] {
            assert!(path(Verb::Upload, "x", good).is_ok(), "{good}");
        }
        for bad in ["", "/", "a", "/a/", "//a", "/a/../b", "/./a", "/a:b", "/a\0", "/a\n"] {
            assert!(path(Verb::Upload, "x", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_specification_is_refused_for_each_thing_that_would_mean_something_else_to_the_engine() {
        let good = ContainerSpec { name: "good".into(), image: "sha256:00".into(), ..Default::default() };
        assert!(spec(&good).is_ok());
        type Change = fn(&mut ContainerSpec);
        fn device(path: &str, container_path: &str) -> Vec<Device> {
            vec![Device { path: path.into(), container_path: container_path.into(), read_only: false }]
        }
        let bad: [(&str, Change); 10] = [
            ("the host's network", |s| {
                s.networks = vec![Attachment { network: "host".into(), aliases: vec![] }]
            }),
            ("another container's network", |s| {
                s.networks = vec![Attachment { network: "container:x".into(), aliases: vec![] }]
            }),
            ("no limit", |s| s.limits = Limits { pids: Some(0), ..Default::default() }),
            ("a huge limit", |s| s.limits = Limits { memory_bytes: Some(u64::MAX), ..Default::default() }),
            ("a device elsewhere", |s| s.devices = device("/etc/passwd", "/dev/null")),
            ("a device in another place", |s| s.devices = device("/dev/null", "/etc/passwd")),
            ("options in a bind", |s| {
                s.mounts = vec![Mount {
                    source: MountSource::HostFolder("/a:/b".into()),
                    target: "/c".into(),
                    read_only: true,
                }];
            }),
            ("two variables in one", |s| {
                s.env.insert("A=b".into(), String::new());
            }),
            ("a zero byte", |s| {
                s.env.insert("A".into(), "\0".into());
            }),
            ("an image path", |s| s.image = "../x".into()),
        ];
        for (what, change) in bad {
            let mut changed = good.clone();
            change(&mut changed);
            assert!(matches!(spec(&changed), Err(EngineError::Invalid { .. })), "{what}");
        }
    }
}
