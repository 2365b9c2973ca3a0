//! What lies at a path of the host, seen through the engine: a caller in a container does not see the host's
//! files.

use bollard::models::{Mount, MountBindOptions, MountType};
use bollard::query_parameters::ContainerArchiveInfoOptions;

use super::{DockerEngine, LOOK, archive, fault, lifecycle};
use crate::engine::HostEntry;
use crate::engine::error::{EngineError, Verb};

/// Where the folder is mounted in the throw-away container.
const SEEN_AT: &str = "/seen";

/// Bits of a file's mode as the engine tells it (`os.FileMode` of Go).
const FOLDER: u32 = 1 << 31;
const LINK: u32 = 1 << 27;
/// Device, pipe, socket, character device, irregular.
const ODD: u32 = 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19;

pub(super) async fn entry(
    engine: DockerEngine,
    image: String,
    path: String,
) -> Result<HostEntry, EngineError> {
    let doing = Verb::HostEntry;
    let Some((parent, name)) = path.rsplit_once('/').filter(|(parent, _)| !parent.is_empty()) else {
        let message = "what lies in the root of the host is not looked at".to_owned();
        return Err(EngineError::Invalid { doing, on: path, message });
    };
    let mount = Mount {
        typ: Some(MountType::BIND),
        source: Some(parent.to_owned()),
        target: Some(SEEN_AT.into()),
        read_only: Some(true),
        bind_options: Some(MountBindOptions { non_recursive: Some(true), ..Default::default() }),
        ..Default::default()
    };
    let seen = format!("{SEEN_AT}/{name}");
    let on = path.clone();
    // A task of its own: the container is removed also when the caller does not wait for the end.
    let task = tokio::spawn(async move {
        let connection = engine.connection();
        let made = archive::throw_away(connection, doing, &image, &engine.shared.installation, vec![mount]);
        let container = match made.await {
            Ok(container) => container,
            // In this form a mount does not make what is missing.
            Err(EngineError::Refused { status: 400, message, .. }) if message.contains("does not exist") => {
                return Ok(HostEntry::Missing);
            }
            Err(error) => return Err(error),
        };
        let options = ContainerArchiveInfoOptions { path: seen };
        let answer = connection
            .call(doing, &path, LOOK, |docker| {
                let container = container.clone();
                async move { docker.get_container_archive_info(&container, Some(options)).await }
            })
            .await;
        let removed = lifecycle::remove(connection, doing, &container).await;
        let entry = fault::found(answer)?.map_or(HostEntry::Missing, |found| kind(found.file_mode));
        removed.map(|_| entry)
    });
    task.await.unwrap_or_else(|error| Err(EngineError::Broken { doing, on, source: Box::new(error) }))
}

const fn kind(mode: u32) -> HostEntry {
    match mode {
        mode if mode & LINK != 0 => HostEntry::Link,
        mode if mode & FOLDER != 0 => HostEntry::Folder,
        mode if mode & ODD != 0 => HostEntry::Other,
        _ => HostEntry::File,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_read_from_the_mode_as_go_writes_it() {
        for (mode, entry) in [
            (0x8000_01ed, HostEntry::Folder),
            (0x8010_01ff, HostEntry::Folder),
            (0x0800_01ff, HostEntry::Link),
            (0x0000_01a4, HostEntry::File),
            (0x0100_01ed, HostEntry::Other),
            (0x0420_01b6, HostEntry::Other),
        ] {
            assert_eq!(kind(mode), entry, "{mode:x}");
        }
    }
}
