//! Which folders of the host are what they seem.
//!
//! A bind of a link mounts what the link leads to, with the engine's eyes and not with those of whoever approved
//! the path. In its own folder a plugin can plant whatever it likes: so the source of its bind is exactly that
//! folder, and what lies deeper is a volume (see the crate `manifest`). What can be a link still is the folder
//! itself, and any part of another folder of the host that an operator approved: the engine is asked what lies
//! there, because this program most likely does not see the host's files.

use std::path::Path;

use envelope::{ErrorBody, ErrorCode};
use manifest::{Manifest, VolumeSource};

use crate::engine::{Engine, EngineError, HostEntry};

/// The paths of the host to look at before they are mounted, from the top. Whoever can plant a link in the root
/// of the host, or beside the folders of plugins, owns the host already.
pub(crate) fn to_look_at(manifest: &Manifest) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    for volume in &manifest.docker.volumes {
        match &volume.source {
            VolumeSource::Named { .. } => {}
            VolumeSource::OwnFolder { path } => paths.push(path.clone()),
            VolumeSource::HostFolder { path } => {
                let ends = path.match_indices('/').map(|(at, _)| at).skip(2).chain([path.len()]);
                paths.extend(ends.map(|end| path[..end].to_owned()).filter(|p| p.matches('/').count() > 1));
            }
        }
    }
    paths.sort();
    paths.dedup();
    paths
}

/// The first of the manifest's host paths that is not what it seems.
///
/// # Errors
/// The engine cannot be asked.
pub(crate) async fn deceiving(
    engine: &dyn Engine,
    image: &str,
    manifest: &Manifest,
) -> Result<Option<(String, HostEntry)>, EngineError> {
    let mut gone: Option<String> = None;
    for path in to_look_at(manifest) {
        // Below what does not exist nothing does.
        if gone.as_ref().is_some_and(|gone| path.starts_with(&format!("{gone}/"))) {
            continue;
        }
        match engine.host_entry(image, &path).await? {
            HostEntry::Folder | HostEntry::File => {}
            HostEntry::Missing => gone = Some(path),
            found @ (HostEntry::Link | HostEntry::Other) => return Ok(Some((path, found))),
        }
    }
    Ok(None)
}

/// What of the engine a host folder of the manifest would show: the folder, and what is in it. The manifest's own
/// reader knows where these usually are; where they are on this host, only the engine and the settings say.
pub(crate) fn shows_the_engine(
    manifest: &Manifest,
    data_root: &str,
    socket: &str,
) -> Option<(String, &'static str)> {
    let holds = |folder: &str, path: &str| {
        !folder.is_empty() && !path.is_empty() && Path::new(path).starts_with(folder)
    };
    manifest.docker.volumes.iter().find_map(|volume| match &volume.source {
        VolumeSource::HostFolder { path } if holds(path, socket) => {
            Some((path.clone(), "the container engine's socket"))
        }
        VolumeSource::HostFolder { path } if holds(path, data_root) || holds(data_root, path) => {
            Some((path.clone(), "the container engine's own files"))
        }
        _ => None,
    })
}

/// Why a plugin with such a folder is not let in.
pub(crate) fn never(manifest: &Manifest, path: &str, what: &str) -> ErrorBody {
    ErrorBody::new(
        ErrorCode::ManifestInvalid,
        format!(
            "{} cannot have {path} of this host: it holds {what}, and whoever has that has every plugin and the host. \
             Nobody can approve it. Let docker.volumes in the manifest name another folder.",
            manifest.id
        ),
    )
}

/// Why a plugin with such a path is not started.
pub(crate) fn refusal(manifest: &Manifest, path: &str, found: HostEntry) -> ErrorBody {
    let (what, fix) = match found {
        HostEntry::Link => (
            "a link, and what it leads to is not what was approved",
            "put a folder in its place, or let the manifest name the folder that it leads to",
        ),
        _ => ("neither a folder nor a file", "put a folder in its place"),
    };
    ErrorBody::new(
        ErrorCode::StartFailed,
        format!(
            "{} cannot have {path} of this host: it is {what}. To go on, {fix}; then start again.",
            manifest.id
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_an_approved_path_and_the_own_folder_are_looked_at() {
        let document = serde_json::json!({"id": "focuser", "name": "Focuser", "version": "1.0.0", "docker": {"volumes": [
            "data:/data", "/var/lib/bigskies/plugins/focuser:/own", "/srv/a/b:/b", "/images:/images",
        ]}});
        let manifest: Manifest = serde_json::from_value(document).expect("no faults");
        assert_eq!(to_look_at(&manifest), ["/srv/a", "/srv/a/b", "/var/lib/bigskies/plugins/focuser"]);
    }

    #[test]
    fn a_folder_that_shows_the_engine_is_found_wherever_the_engine_keeps_its_own() {
        let shows = |source: &str| {
            let document = serde_json::json!({"id": "focuser", "name": "Focuser", "version": "1.0.0",
                "docker": {"volumes": [format!("{source}:/x:ro")]}});
            let manifest: Manifest = serde_json::from_value(document).expect("no faults");
            shows_the_engine(&manifest, "/srv/docker", "/home/me/.docker/run/d").map(|(_, what)| what)
        };
        for source in ["/srv", "/srv/docker", "/srv/docker/volumes"] {
            assert_eq!(shows(source), Some("the container engine's own files"), "{source}");
        }
        for source in ["/home", "/home/me/.docker/run", "/home/me/.docker/run/d"] {
            assert_eq!(shows(source), Some("the container engine's socket"), "{source}");
        }
        for source in ["/srv/images", "/srv/docker2", "/home/me/.dockers", "data"] {
            assert_eq!(shows(source), None, "{source}");
        }
        let document = serde_json::json!({"id": "focuser", "name": "Focuser", "version": "1.0.0",
            "docker": {"volumes": ["/srv/images:/x"]}});
        let manifest: Manifest = serde_json::from_value(document).expect("no faults");
        assert_eq!(
            shows_the_engine(&manifest, "", ""),
            None,
            "an engine that does not say where it keeps them"
        );
    }
}
