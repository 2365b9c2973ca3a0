//! Files in and out of containers, as tar archives. What comes out was packed by the engine from a
//! stranger's files: nothing in it is followed, and its size is bounded while it is read.

use std::collections::{BTreeSet, HashMap};
use std::io::{Cursor, Read};
use std::time::Duration;

use bollard::body_full;
use bollard::models::{ContainerCreateBody, HostConfig, Mount};
use bollard::query_parameters::{
    ContainerArchiveInfoOptions, CreateContainerOptions, DownloadFromContainerOptions,
    UploadToContainerOptions,
};
use futures_util::StreamExt;
use tar::{Archive, Builder, EntryType, Header};
use uuid::Uuid;

use super::connection::{Connection, bounded};
use super::{CHANGE, DockerEngine, LOOK, fault, lifecycle, observe};
use crate::engine::error::{EngineError, Verb};
use crate::engine::{Owner, UploadFile, label};

/// What an archive holds beside the file: headers, extended attributes and padding.
const BESIDE: u64 = 256 << 10;

/// Reading one file of an image.
const READ: Duration = Duration::from_secs(60);

pub(super) async fn read_file(
    engine: DockerEngine,
    image: String,
    path: String,
    max_bytes: u64,
) -> Result<Option<Vec<u8>>, EngineError> {
    let on = image.clone();
    // A task of its own: the container is removed also when the caller does not wait for the end.
    let task = tokio::spawn(async move {
        let connection = engine.connection();
        let installation = &engine.shared.installation;
        let container = throw_away(connection, Verb::ReadFile, &image, installation, Vec::new()).await?;
        let bytes =
            download(connection, Verb::ReadFile, &container, &path, max_bytes.saturating_add(BESIDE)).await;
        let removed = lifecycle::remove(connection, Verb::ReadFile, &container).await;
        let not_plain =
            |found| EngineError::NotPlain { doing: Verb::ReadFile, on: image, path, found, limit: max_bytes };
        let bytes = match bytes {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return removed.map(|_| None),
            Err(error) if is_endless_link(&error) => return Err(not_plain("a link that leads to itself")),
            Err(error) => return Err(error),
        };
        let file = plain_file(&bytes, max_bytes).map_err(not_plain)?;
        removed.map(|_| Some(file))
    });
    task.await.unwrap_or_else(|error| {
        Err(EngineError::Broken { doing: Verb::ReadFile, on, source: Box::new(error) })
    })
}

pub(super) async fn read_back(
    connection: &Connection,
    container: &str,
    path: &str,
    max_bytes: u64,
) -> Result<Option<Vec<u8>>, EngineError> {
    let doing = Verb::ReadBack;
    let not_plain = |found| EngineError::NotPlain {
        doing,
        on: container.to_owned(),
        path: path.to_owned(),
        found,
        limit: max_bytes,
    };
    match download(connection, doing, container, path, max_bytes.saturating_add(BESIDE)).await {
        Ok(Some(bytes)) => plain_file(&bytes, max_bytes).map(Some).map_err(not_plain),
        Ok(None) => Ok(None),
        Err(error) if is_endless_link(&error) => Err(not_plain("a link that leads to itself")),
        Err(error) => Err(error),
    }
}

/// Whether the engine gave up following a link. It says so with the status of a failure of its own, and would say it
/// again each time.
fn is_endless_link(error: &EngineError) -> bool {
    let words = ["too many links", "too many levels of symbolic links"];
    matches!(error, EngineError::Refused { message, .. } if words.iter().any(|w| message.contains(w)))
}

/// A container that is never started, for its files and for what is mounted into it.
pub(super) async fn throw_away(
    connection: &Connection,
    doing: Verb,
    image: &str,
    installation: &str,
    mounts: Vec<Mount>,
) -> Result<String, EngineError> {
    let options = CreateContainerOptions {
        name: Some(format!("bigskies-throw-away-{}", Uuid::new_v4().simple())),
        ..Default::default()
    };
    let labels = [(label::THROW_AWAY, installation), (label::INSTALLATION, ""), (label::START, "")];
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        // The engine wants a command; this one is never run.
        entrypoint: Some(vec!["never-run".into()]),
        labels: Some(labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
        network_disabled: Some(true),
        host_config: Some(HostConfig {
            network_mode: Some("none".into()),
            cap_drop: Some(vec!["ALL".into()]),
            mounts: Some(mounts),
            ..Default::default()
        }),
        ..Default::default()
    };
    let made = connection
        .call(
            doing,
            image,
            CHANGE,
            |docker| async move { docker.create_container(Some(options), body).await },
        )
        .await?;
    Ok(made.id)
}

pub(super) async fn sweep(connection: &Connection, installation: &str) -> Result<usize, EngineError> {
    let left = observe::with_label(connection, Verb::Sweep, label::THROW_AWAY, installation).await?;
    for container in &left {
        lifecycle::remove(connection, Verb::Sweep, container).await?;
    }
    Ok(left.len())
}

/// The beginning of the archive of a path, at most `most` bytes and some; `None` when nothing is there.
async fn download(
    connection: &Connection,
    doing: Verb,
    container: &str,
    path: &str,
    most: u64,
) -> Result<Option<Vec<u8>>, EngineError> {
    let docker = connection.docker(doing, container).await?;
    let options = DownloadFromContainerOptions { path: path.to_owned() };
    let mut pieces = docker.download_from_container(container, Some(options));
    let all = bounded(doing, container, READ, async {
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece?);
            if bytes.len() as u64 > most {
                break;
            }
        }
        Ok(bytes)
    })
    .await;
    if let Err(error) = &all {
        connection.forget_if_broken(error);
    }
    fault::found(all)
}

/// The one regular file of an archive, or what is there in its place.
fn plain_file(archive: &[u8], max_bytes: u64) -> Result<Vec<u8>, &'static str> {
    const BROKEN: &str = "not readable";
    let mut archive = Archive::new(Cursor::new(archive));
    let mut entries = archive.entries().map_err(|_| BROKEN)?;
    let entry = entries.next().ok_or(BROKEN)?.map_err(|_| BROKEN)?;
    match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous => {}
        EntryType::Directory => return Err("a folder"),
        EntryType::Symlink => return Err("a symbolic link"),
        EntryType::Link => return Err("a hard link"),
        EntryType::Char | EntryType::Block => return Err("a device"),
        EntryType::Fifo => return Err("a pipe"),
        _ => return Err("something else"),
    }
    let size = entry.size();
    if size > max_bytes {
        return Err("a larger file");
    }
    let mut bytes = Vec::new();
    entry.take(max_bytes).read_to_end(&mut bytes).map_err(|_| BROKEN)?;
    if bytes.len() as u64 == size { Ok(bytes) } else { Err(BROKEN) }
}

pub(super) async fn upload(
    connection: &Connection,
    container: &str,
    files: &[UploadFile],
) -> Result<(), EngineError> {
    let mut archive = Builder::new(Vec::new());
    for parent in missing_parents(connection, container, files).await? {
        let mut header = header(EntryType::Directory, 0o755, Owner { uid: 0, gid: 0 }, 0);
        append(&mut archive, &mut header, &format!("{parent}/"), &[]);
    }
    for file in files {
        let mut header = header(EntryType::Regular, file.mode, file.owner, file.bytes.len() as u64);
        append(&mut archive, &mut header, &file.path, &file.bytes);
    }
    put(connection, Verb::Upload, container, archive).await
}

/// Folders above the files that are not there yet, each after the one that it lies in. An existing one
/// must not be in the archive, which would change its owner.
async fn missing_parents(
    connection: &Connection,
    container: &str,
    files: &[UploadFile],
) -> Result<BTreeSet<String>, EngineError> {
    let mut known: HashMap<String, bool> = HashMap::new();
    for file in files {
        let ends = file.path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
        for parent in ends.map(|at| &file.path[..at]) {
            if known.contains_key(parent) {
                continue;
            }
            let above = parent.rsplit_once('/').map_or("", |(above, _)| above);
            // Below a missing one everything is missing.
            let missing = known.get(above) == Some(&true) || !exists(connection, container, parent).await?;
            known.insert(parent.to_owned(), missing);
        }
    }
    Ok(known.into_iter().filter(|(_, missing)| *missing).map(|(parent, _)| parent).collect())
}

async fn exists(connection: &Connection, container: &str, path: &str) -> Result<bool, EngineError> {
    let options = ContainerArchiveInfoOptions { path: path.to_owned() };
    let answer = connection
        .call(Verb::Upload, container, LOOK, |docker| async move {
            docker.get_container_archive_info(container, Some(options)).await
        })
        .await;
    Ok(fault::found(answer)?.is_some())
}

pub(super) async fn set_owner(
    connection: &Connection,
    container: &str,
    target: &str,
    owner: Owner,
) -> Result<(), EngineError> {
    let doing = Verb::SetOwner;
    let broken = |found| EngineError::NotPlain {
        doing,
        on: container.to_owned(),
        path: target.to_owned(),
        found,
        limit: 0,
    };
    // Only the folder's own header, which comes first, is of interest.
    let Some(begin) = download(connection, doing, container, target, 8 << 10).await? else {
        let message = format!("nothing is mounted at {target}");
        return Err(EngineError::NotFound { doing, on: container.to_owned(), message });
    };
    let there = folder(&begin).ok_or_else(|| broken("no folder"))?;
    if there.owner == owner {
        return Ok(());
    }
    let mut archive = Builder::new(Vec::new());
    let mut header = header(EntryType::Directory, there.mode, owner, 0);
    header.set_mtime(there.modified);
    append(&mut archive, &mut header, &format!("{target}/"), &[]);
    put(connection, doing, container, archive).await
}

struct Folder {
    owner: Owner,
    mode: u32,
    modified: u64,
}

fn folder(begin: &[u8]) -> Option<Folder> {
    let mut archive = Archive::new(Cursor::new(begin));
    let entry = archive.entries().ok()?.next()?.ok()?;
    let header = entry.header();
    let small = |n: std::io::Result<u64>| n.ok().and_then(|n| u32::try_from(n).ok());
    (header.entry_type() == EntryType::Directory).then_some(())?;
    Some(Folder {
        owner: Owner { uid: small(header.uid())?, gid: small(header.gid())? },
        mode: header.mode().ok()? & 0o7777,
        modified: header.mtime().ok()?,
    })
}

fn header(kind: EntryType, mode: u32, owner: Owner, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner.uid.into());
    header.set_gid(owner.gid.into());
    header.set_size(size);
    header
}

fn append(archive: &mut Builder<Vec<u8>>, header: &mut Header, path: &str, bytes: &[u8]) {
    archive
        .append_data(header, path.trim_start_matches('/'), bytes)
        .expect("the path was checked, and writing to memory does not fail");
}

async fn put(
    connection: &Connection,
    doing: Verb,
    container: &str,
    archive: Builder<Vec<u8>>,
) -> Result<(), EngineError> {
    let bytes = archive.into_inner().expect("writing to memory does not fail");
    let options = UploadToContainerOptions {
        path: "/".into(),
        no_overwrite_dir_non_dir: Some("true".into()),
        ..Default::default()
    };
    connection
        .call(doing, container, CHANGE, |docker| async move {
            docker.upload_to_container(container, Some(options), body_full(bytes.into())).await
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(kind: EntryType, size: u64, bytes: &[u8]) -> Vec<u8> {
        let mut header = header(kind, 0o644, Owner { uid: 1, gid: 2 }, size);
        header.set_path("plugin.json").expect("a short path");
        if matches!(kind, EntryType::Symlink | EntryType::Link) {
            header.set_link_name("/etc/shadow").expect("a short path");
        }
        header.set_cksum();
        let mut archive = header.as_bytes().to_vec();
        archive.extend_from_slice(bytes);
        archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
        archive
    }

    #[test]
    fn a_regular_file_is_read_up_to_its_bound() {
        assert_eq!(plain_file(&archive(EntryType::Regular, 2, b"{}"), 2), Ok(b"{}".to_vec()));
        assert_eq!(plain_file(&archive(EntryType::Regular, 3, b"{ }"), 2), Err("a larger file"));
    }

    #[test]
    fn whatever_is_not_a_regular_file_is_refused() {
        for (kind, found) in [
            (EntryType::Symlink, "a symbolic link"),
            (EntryType::Link, "a hard link"),
            (EntryType::Char, "a device"),
            (EntryType::Block, "a device"),
            (EntryType::Fifo, "a pipe"),
            (EntryType::Directory, "a folder"),
            (EntryType::new(b'V'), "something else"),
        ] {
            assert_eq!(plain_file(&archive(kind, 0, b""), 10), Err(found));
        }
    }

    #[test]
    fn a_file_that_says_it_is_huge_or_ends_early_is_refused() {
        assert_eq!(plain_file(&archive(EntryType::Regular, 1 << 33, b"x"), 100), Err("a larger file"));
        assert_eq!(plain_file(&archive(EntryType::Regular, 5000, b"x"), 10_000), Err("not readable"));
        assert_eq!(plain_file(b"", 10), Err("not readable"));
        assert_eq!(plain_file(&[0xff; 2048], 10), Err("not readable"));
    }
}
