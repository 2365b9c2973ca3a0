//! Where a volume comes from, and what of a host no plugin can have.

use aws_lc_rs::digest::{SHA256, digest};
use envelope::PluginId;

use super::{PLUGIN_FOLDERS, Refusal, VolumeSource};
use crate::fault::quoted;
use crate::path::{clean, is_within, touched};

/// What a container never sees of its host: whoever reaches one of these owns the host, the engine, the
/// framework or another plugin. A host folder that contains one is refused as well.
const CLOSED: [&str; 8] = [
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/var/run",
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/bigskies",
];
/// The source, and a remark when it is made into something else than was written.
pub(super) fn check(text: &str, owners: &[&PluginId]) -> Result<(VolumeSource, Option<String>), Refusal> {
    if !text.contains(['/', '\\']) && !text.starts_with(['.', '~']) {
        return match is_volume_name(text) {
            true => Ok((VolumeSource::Named { name: text.to_owned() }, None)),
            false => Err((
                format!("{} is not a name for a volume", quoted(text)),
                "use 2 to 64 of A-Z a-z 0-9 . _ -, with a letter or digit first",
            )),
        };
    }
    let path = clean(text).map_err(|why| {
        let fix = "use the name of a volume, or the plugin's own folder /var/lib/bigskies/plugins/{id}";
        (format!("the source {} {why}", quoted(text)), fix)
    })?;
    for owner in owners {
        let own = format!("{PLUGIN_FOLDERS}/{owner}");
        if path == own {
            return Ok((VolumeSource::OwnFolder { path: own }, None));
        }
        if let Some(deeper) = path.strip_prefix(&format!("{own}/")) {
            // A plugin can plant a link inside its folder, and a bind of the link would mount what the
            // link points to.
            let name = volume_name(path, deeper);
            let remark = format!("lies inside the plugin's folder and becomes the volume \"{name}\"");
            return Ok((VolumeSource::Named { name }, Some(remark)));
        }
    }
    // No plugin needs a socket of its host, and the engine's own may have any path.
    if path.rsplit('/').any(|part| part.to_ascii_lowercase().ends_with(".sock")) {
        let reason = format!("the source {} is a socket of the host", quoted(path));
        return Err((reason, "leave it out; no plugin can have the container engine or a host service"));
    }
    match touched(path, &CLOSED) {
        // Device rules only; those who read hardware through libudev need it.
        _ if is_within(path, "/run/udev") => {}
        None => {}
        Some("/dev") if path != "/" => {
            let reason = format!("the source {} is a device of the host", quoted(path));
            return Err((reason, "list it under the manifest's own key \"devices\" instead"));
        }
        Some("/var/lib/bigskies") if is_within(path, "/var/lib/bigskies") => {
            let reason = format!("the source {} belongs to the framework or to another plugin", quoted(path));
            return Err((reason, "use the plugin's own folder /var/lib/bigskies/plugins/{id}"));
        }
        Some(closed) => {
            let reason = format!("the source {} would show {closed} of the host", quoted(path));
            return Err((reason, "name the one folder that the plugin needs, outside of it"));
        }
    }
    Ok((VolumeSource::HostFolder { path: path.to_owned() }, None))
}

fn is_volume_name(text: &str) -> bool {
    (2..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// A readable name with a part that no other path has.
fn volume_name(path: &str, deeper: &str) -> String {
    let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let readable: String = deeper.chars().map(word).take(40).collect();
    let hash = digest(&SHA256, path.as_bytes());
    let tag: String = hash.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{tag}", readable.trim_matches('-')).trim_start_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<VolumeSource, String> {
        let id = PluginId::parse("the-id").expect("id");
        let alias = PluginId::parse("mine").expect("id");
        check(text, &[&id, &alias]).map(|(source, _)| source).map_err(|(reason, _)| reason)
    }

    #[test]
    fn what_lies_deeper_in_the_own_folder_becomes_a_volume_of_its_own() {
        let name = |path: &str| match checked(&format!("{PLUGIN_FOLDERS}/{path}")) {
            Ok(VolumeSource::Named { name }) => name,
            other => format!("{other:?}"),
        };
        let names = [name("mine/a/b"), name("mine/a-b"), name("the-id/a-b"), name("mine/é")];
        for (index, name) in names.iter().enumerate() {
            assert!(is_volume_name(name), "{name}");
            assert!(!names[..index].contains(name), "{names:?}");
        }
        assert!(names[0].starts_with("a-b-"), "{names:?}");
    }

    #[test]
    fn what_would_own_the_host_is_refused() {
        for (text, reason) in [
            ("/", "would show /proc"),
            ("/var", "would show /var/run"),
            ("/var/lib", "would show"),
            ("/var/run/docker.sock", "is a socket"),
            ("/srv/docker.sock", "is a socket"),
            ("/home/me/podman.SOCK", "is a socket"),
            ("/run", "would show /run"),
            ("/run/containerd", "would show /run"),
            ("/proc/1/root", "would show /proc"),
            ("/sys", "would show /sys"),
            ("/dev/sda", "is a device"),
            ("/var/lib/docker/volumes", "would show /var/lib/docker"),
            ("/var/lib/bigskies", "belongs to the framework"),
            ("/var/lib/bigskies/plugins", "belongs to the framework"),
            ("/var/lib/bigskies/plugins/other", "belongs to the framework"),
            ("/var/lib/bigskies/plugins/mine/../other", "contains \"..\""),
            ("/var/lib/bigskies/plugins/mine2", "belongs to the framework"),
            ("./data", "is not absolute"),
            ("../data", "is not absolute"),
            ("data/x", "is not absolute"),
            ("~", "is not absolute"),
            ("C:\\data", "is not absolute"),
            ("a\\b", "is not absolute"),
        ] {
            let error = checked(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
