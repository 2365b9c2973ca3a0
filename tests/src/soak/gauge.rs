//! How much memory, how many files and how much of the disk each service uses.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::stack::Stack;
use crate::stack::command::Run;

/// Services that are measured, with the volume that each writes to.
pub(super) const SERVICES: [(&str, &str); 4] = [
    ("plugin-coordinator", "plugin-data"),
    ("message-coordinator", "message-data"),
    ("security-coordinator", "security-data"),
    ("mqtt-broker", "broker-data"),
];

/// What a service used at a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) at: Duration,
    pub(super) service: &'static str,
    /// Resident memory in KiB.
    pub(super) memory: u64,
    /// Open files.
    pub(super) files: u64,
    /// KiB of its volume.
    pub(super) disk: u64,
}

/// Measures services.
pub(super) struct Gauge {
    containers: Vec<String>,
    folders: Vec<PathBuf>,
}

impl Gauge {
    /// Finds out where the services keep what they keep.
    ///
    /// # Errors
    /// The engine does not tell.
    pub(super) async fn new(stack: &Stack) -> Result<Self> {
        let containers = SERVICES.iter().map(|(service, _)| stack.container(service)).collect();
        let mut folders = Vec::new();
        for (_, volume) in SERVICES {
            let volume = format!("{}_{volume}", stack.project);
            let folder = Run::docker(["volume", "inspect", "--format", "{{.Mountpoint}}", &volume]).line();
            folders.push(PathBuf::from(folder.await?));
        }
        Ok(Self { containers, folders })
    }

    /// Measures every service that runs.
    ///
    /// # Errors
    /// The engine cannot be asked.
    pub(super) async fn sample(&self, at: Duration) -> Result<Vec<Sample>> {
        let inspect = ["container", "inspect", "--format", "{{.State.Pid}}"];
        let asked = Run::docker(inspect.into_iter().chain(self.containers.iter().map(String::as_str)));
        let mut samples = Vec::new();
        for ((process, (service, _)), folder) in asked.lines().await?.iter().zip(SERVICES).zip(&self.folders)
        {
            let process: u32 = process.parse().with_context(|| format!("{process} is no process"))?;
            // 0 when it does not run; and it may have ended meanwhile.
            let Some((memory, files)) = used(process).filter(|_| process != 0) else { continue };
            samples.push(Sample { at, service, memory, files, disk: bytes(folder) / 1024 });
        }
        Ok(samples)
    }
}

/// Resident memory in KiB and open files of a process and those that it started.
fn used(process: u32) -> Option<(u64, u64)> {
    let of = PathBuf::from(format!("/proc/{process}"));
    let status = fs::read_to_string(of.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let mut memory: u64 = line.split_whitespace().next()?.parse().ok()?;
    let mut files = fs::read_dir(of.join("fd")).ok()?.count() as u64;
    let children = fs::read_to_string(of.join(format!("task/{process}/children"))).unwrap_or_default();
    for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
        let (more_memory, more_files) = used(child).unwrap_or_default();
        memory += more_memory;
        files += more_files;
    }
    Some((memory, files))
}

fn bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(about) if about.is_dir() => bytes(&entry.path()),
        Ok(about) => about.len(),
        Err(_) => 0,
    };
    entries.flatten().map(of).sum()
}
