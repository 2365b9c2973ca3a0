//! Images whose `/plugin.json` is not what a file should be: the coordinator reads it from an archive that the engine
//! makes of a stranger's image.

use std::fs;
use std::path::Path;
use std::time::Duration;

use envelope::{ErrorCode, Operation};
use serde_json::json;
use tests::stack::command::Run;
use tests::stack::engine;
use tests::stack::images::Script;

use crate::e2e::runner::Case;
use crate::e2e::world::{Shared, World, id, minimal, sameness};

pub fn cases() -> Vec<Case> {
    crate::beside![
        the_manifest_is_a_link_to_the_hosts_passwords,
        whoever_follows_a_link_reads_the_host_without_the_defence,
        the_manifest_is_a_link_up_and_out,
        the_manifest_is_a_link_to_itself,
        the_manifest_is_a_device_without_an_end,
        whoever_reads_a_device_never_ends_without_the_defence,
        the_manifest_is_a_pipe_that_nobody_writes_to,
        whoever_reads_a_pipe_waits_without_the_defence,
        the_manifest_is_a_folder,
        whoever_looks_into_a_folder_reads_what_is_in_it_without_the_defence,
        the_manifest_is_sixty_megabytes_of_nothing,
        the_manifest_is_a_sparse_entry_that_unpacks_to_300_megabytes,
        whoever_unpacks_a_sparse_entry_gets_300_megabytes_without_the_defence,
    ]
}

/// An archive of one entry (POSIX.1-1988, section 10.1.1), which no honest tool would make of a manifest.
fn entry(kind: u8, link: &str, device: (u32, u32), content: &[u8]) -> Vec<u8> {
    let mut archive = block(kind, "plugin.json", link, device, content);
    archive.resize(archive.len() + 1024, 0);
    archive
}

/// The header of an entry and its content.
fn block(kind: u8, name: &str, link: &str, device: (u32, u32), content: &[u8]) -> Vec<u8> {
    let mut header = [0u8; 512];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    put(329, format!("{:07o}\0", device.0).as_bytes());
    put(337, format!("{:07o}\0", device.1).as_bytes());
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(512), 0);
    archive
}

/// Installs an image with this archive in it, which must be refused without a word of what it points to.
async fn is_refused(world: &World, name: &str, archive: Vec<u8>) {
    let plugin = id(name);
    let source = Script::healthy(name).archive(archive).push(&world.stack).await.expect("the image builds");
    let mut operator = world.operator().await;
    let answer = operator.ask(Operation::Install, json!({"plugin_id": plugin, "source": source})).await;
    let code = answer.answer["error"]["code"].as_str().unwrap_or_default().to_owned();
    let refused = [ErrorCode::ManifestMissing, ErrorCode::ManifestInvalid, ErrorCode::EngineRefused];
    assert!(refused.iter().any(|refused| refused.as_str() == code), "{:#}", answer.answer);
    assert!(!answer.answer.to_string().contains("root:"), "{:#}", answer.answer);
    world.assert_nothing_is_left(&plugin, &source).await;
    operator.ask(Operation::List, json!({})).await.data();
}

async fn the_manifest_is_a_link_to_the_hosts_passwords(world: Shared) {
    is_refused(&world, "attacks-link", entry(b'2', "/etc/passwd", (0, 0), b"")).await;
}

async fn whoever_follows_a_link_reads_the_host_without_the_defence(_: Shared) {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("plugin.json");
    std::os::unix::fs::symlink("/etc/passwd", &place).expect("a link");
    assert!(read(&place).contains("root:"), "a copy of the image on the host, read by its path");
}

fn read(place: &Path) -> String {
    fs::read_to_string(place).expect("readable")
}

async fn the_manifest_is_a_link_up_and_out(world: Shared) {
    let up = "../../../../../../../../proc/1/environ";
    is_refused(&world, "attacks-link-up", entry(b'2', up, (0, 0), b"")).await;
}

async fn the_manifest_is_a_link_to_itself(world: Shared) {
    is_refused(&world, "attacks-link-loop", entry(b'2', "plugin.json", (0, 0), b"")).await;
}

async fn the_manifest_is_a_device_without_an_end(world: Shared) {
    is_refused(&world, "attacks-device", entry(b'3', "", (1, 5), b"")).await;
}

async fn whoever_reads_a_device_never_ends_without_the_defence(_: Shared) {
    use std::io::Read as _;
    let zero = fs::File::open("/dev/zero").expect("the same device on this machine");
    let read = std::io::copy(&mut zero.take(64 << 20), &mut std::io::sink()).expect("readable");
    assert_eq!(read, 64 << 20, "it gives as much as one asks for");
}

async fn the_manifest_is_a_pipe_that_nobody_writes_to(world: Shared) {
    is_refused(&world, "attacks-pipe", entry(b'6', "", (0, 0), b"")).await;
}

async fn whoever_reads_a_pipe_waits_without_the_defence(_: Shared) {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("plugin.json");
    Run::new("mkfifo", [place.to_str().expect("text")]).ok().await.expect("a pipe");
    let mut reading = tokio::task::spawn_blocking({
        let place = place.clone();
        move || read(&place)
    });
    let waited = tokio::time::timeout(Duration::from_secs(1), &mut reading).await;
    assert!(waited.is_err(), "it was read");
    // Until somebody writes, which nobody does in a container that never runs.
    fs::write(&place, "{}").expect("there is a reader");
    assert_eq!(reading.await.expect("it ends"), "{}");
}

async fn the_manifest_is_a_folder(world: Shared) {
    is_refused(&world, "attacks-folder", entry(b'5', "", (0, 0), b"")).await;
}

/// Copying out of a container hands out a folder with all that is in it.
async fn whoever_looks_into_a_folder_reads_what_is_in_it_without_the_defence(_: Shared) {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("plugin.json");
    fs::create_dir(&place).expect("a folder");
    fs::write(place.join("another.json"), "{}").expect("a file");
    let tar = |what: &'static str| Run::new("tar", what.split(' ')).within(folder.path()).lines();
    tar("-cf copied.tar plugin.json").await.expect("an archive");
    let names = tar("-tf copied.tar").await.expect("it is one");
    assert_eq!(names, ["plugin.json/", "plugin.json/another.json"]);
}

/// A good manifest, and then spaces, which JSON allows.
fn sixty_megabytes(name: &str) -> Vec<u8> {
    let mut manifest = minimal(&id(name)).to_string().into_bytes();
    manifest.resize(60 << 20, b' ');
    manifest
}

async fn the_manifest_is_sixty_megabytes_of_nothing(world: Shared) {
    let manifest = sixty_megabytes("attacks-zeros");
    is_refused(&world, "attacks-zeros", entry(b'0', "", (0, 0), &manifest)).await;
}

/// More than the plugin coordinator may have of memory.
const SPARSE: usize = 300 << 20;

/// A good manifest and a hole behind it, in an archive of a few kilobytes: a sparse entry as GNU tar writes it into
/// extended headers (its format 1.0).
fn sparse(name: &str) -> Vec<u8> {
    let manifest = minimal(&id(name)).to_string();
    let records = [
        ("GNU.sparse.major", "1".to_owned()),
        ("GNU.sparse.minor", "0".to_owned()),
        ("GNU.sparse.name", "plugin.json".to_owned()),
        ("GNU.sparse.realsize", SPARSE.to_string()),
    ];
    let records: String = records.iter().map(|(key, value)| record(key, value)).collect();
    // The map of what is there: two pieces, the manifest at the beginning and nothing at the end.
    let mut content = format!("2\n0\n{}\n{SPARSE}\n0\n", manifest.len()).into_bytes();
    content.resize(content.len().next_multiple_of(512), 0);
    content.extend_from_slice(manifest.as_bytes());
    let mut archive = block(b'x', "PaxHeaders/plugin.json", "", (0, 0), records.as_bytes());
    archive.extend(block(b'0', "GNUSparseFile.0/plugin.json", "", (0, 0), &content));
    archive.resize(archive.len() + 1024, 0);
    archive
}

/// A record of an extended header (POSIX.1-2001, pax): its length, which counts itself, then key and value.
fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let length = (rest.len()..).find(|length| length.to_string().len() + rest.len() == *length);
    format!("{}{rest}", length.expect("there is one"))
}

async fn the_manifest_is_a_sparse_entry_that_unpacks_to_300_megabytes(world: Shared) {
    let coordinator = world.stack.container("plugin-coordinator");
    let seen = || async { engine::inspect(&coordinator).await.expect("an answer").expect("it is there") };
    let before = sameness(&seen().await);
    is_refused(&world, "attacks-sparse", sparse("attacks-sparse")).await;
    // It kept none of it: with all of it, it would have been ended for want of memory.
    assert_eq!(sameness(&seen().await), before, "the coordinator was ended");
}

async fn whoever_unpacks_a_sparse_entry_gets_300_megabytes_without_the_defence(_: Shared) {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = sparse("attacks-sparse");
    assert!(archive.len() < 5000, "{} bytes", archive.len());
    fs::write(folder.path().join("sparse.tar"), archive).expect("a file");
    Run::new("tar", ["-xf", "sparse.tar"]).within(folder.path()).ok().await.expect("it is an archive");
    let unpacked = fs::metadata(folder.path().join("plugin.json")).expect("it is there");
    assert_eq!(unpacked.len(), SPARSE as u64);
}
