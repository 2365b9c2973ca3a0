//! Small images for tests, made from this machine's own programs and pushed to a registry: no image
//! has to be there before.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

/// Something in an image beside the programs.
#[derive(Debug, Clone)]
pub enum Entry {
    File(&'static str, Vec<u8>),
    Program(String, Vec<u8>),
    Folder(&'static str, u32, u64),
    Link(&'static str, &'static str),
    Odd(&'static str, EntryType),
}

/// An image to push.
#[derive(Debug, Clone, Default)]
pub struct PushedImage {
    /// The image's `config` object: `Cmd`, `Labels`, `User` …
    pub config: Value,
    /// Whether a shell and some tools are in it.
    pub with_shell: bool,
    /// What else is in it.
    pub entries: Vec<Entry>,
}

/// Pushes an image and returns its digest.
pub async fn push(reference: &str, image: &PushedImage, login: Option<(&str, &str)>) -> String {
    let mut layers = vec![ImageLayer::oci_v1(layer(&image.entries), None)];
    if image.with_shell {
        layers.insert(0, ImageLayer::oci_v1(shell().clone(), None));
    }
    let diff_ids: Vec<String> = layers.iter().map(ImageLayer::sha256_digest).collect();
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": image.config,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = Config::oci_v1(config.to_string(), None);
    let reference: Reference = reference.parse().expect("a reference");
    let client = Client::new(ClientConfig { protocol: ClientProtocol::Http, ..Default::default() });
    let auth = match login {
        Some((user, password)) => RegistryAuth::Basic(user.into(), password.into()),
        None => RegistryAuth::Anonymous,
    };
    client.push(&reference, &layers, config, &auth, None).await.expect("the push works");
    let (_, digest) = client.pull_manifest(&reference, &auth).await.expect("the manifest is there");
    digest
}

/// The processor of this machine, as images call it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A layer with a shell, some tools, and the libraries that these load.
fn shell() -> &'static Vec<u8> {
    static SHELL: OnceLock<Vec<u8>> = OnceLock::new();
    SHELL.get_or_init(|| {
        let mut files: BTreeSet<String> = BTreeSet::new();
        for program in ["sh", "sleep", "cat", "stat", "id"] {
            files.extend(with_libraries(&format!("/bin/{program}")));
        }
        let mut archive = Builder::new(Vec::new());
        for file in files {
            let bytes = std::fs::read(Path::new(&file)).expect("a program of this machine");
            append(&mut archive, &file, EntryType::Regular, 0o755, 0, &bytes);
        }
        archive.into_inner().expect("an archive in memory")
    })
}

/// A program of this machine and the libraries that it loads.
fn with_libraries(program: &str) -> BTreeSet<String> {
    let output = Command::new("ldd").arg(program).output().expect("ldd of Debian's package libc-bin");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let libraries = output.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned);
    libraries.chain([program.to_owned()]).collect()
}

/// Perl as every Debian has it (package perl-base), for programs that listen and connect.
pub fn perl() -> Vec<Entry> {
    let mut files: Vec<String> = with_libraries("/usr/bin/perl").into_iter().collect();
    let modules = std::fs::read_dir("/usr/lib").expect("a folder").filter_map(Result::ok);
    let mut folders: Vec<_> =
        modules.map(|entry| entry.path().join("perl-base")).filter(|p| p.is_dir()).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").filter_map(Result::ok) {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path => files.push(path.display().to_string()),
            }
        }
    }
    let program = |path: String| {
        let bytes = std::fs::read(&path).expect("a file of this machine");
        Entry::Program(path, bytes)
    };
    files.into_iter().map(program).collect()
}

fn layer(entries: &[Entry]) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    append(&mut archive, "/tmp/", EntryType::Directory, 0o1777, 0, b"");
    for entry in entries {
        match entry {
            Entry::Program(path, bytes) => append(&mut archive, path, EntryType::Regular, 0o755, 0, bytes),
            Entry::File(path, bytes) => append(&mut archive, path, EntryType::Regular, 0o644, 0, bytes),
            Entry::Folder(path, mode, owner) => {
                append(&mut archive, path, EntryType::Directory, *mode, *owner, b"")
            }
            Entry::Odd(path, kind) => append(&mut archive, path, *kind, 0o644, 0, b""),
            Entry::Link(path, target) => {
                let mut header = Header::new_gnu();
                header.set_entry_type(EntryType::Symlink);
                header.set_size(0);
                archive
                    .append_link(&mut header, path.trim_start_matches('/'), target)
                    .expect("an archive in memory");
            }
        }
    }
    archive.into_inner().expect("an archive in memory")
}

fn append(archive: &mut Builder<Vec<u8>>, path: &str, kind: EntryType, mode: u32, owner: u64, bytes: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_size(bytes.len() as u64);
    if matches!(kind, EntryType::Char | EntryType::Block) {
        header.set_device_major(1).and_then(|()| header.set_device_minor(5)).expect("small numbers");
    }
    archive.append_data(&mut header, path.trim_start_matches('/'), bytes).expect("an archive in memory");
}
