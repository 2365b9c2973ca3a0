//! A small file system that a test has to itself: to fill it, and to make it read-only.
//!
//! It is mounted in a mount namespace of the test's own, for which no right is needed where the kernel gives
//! namespaces to every user. The test runs twice: once to make the namespace, and in it, in a process of its own.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const VARIABLE: &str = "TESTKIT_ROOM";
const FILLER: &str = "filler";

/// The file system.
#[derive(Debug)]
pub struct Room {
    folder: PathBuf,
}

impl Room {
    /// The file system of this test, of so many KiB, when this is the process that has it. None when that process has
    /// ended well: then the test is done. `test` is the test's whole name, as `--exact` takes it.
    ///
    /// # Panics
    /// There is no such test, it failed, or nothing can be mounted here.
    pub fn of_its_own(test: &str, kib: u32) -> Option<Self> {
        if let Some(folder) = std::env::var_os(VARIABLE) {
            return Some(Self { folder: folder.into() });
        }
        let folder = tempfile::tempdir().expect("a folder");
        let script = format!(
            "mount -t tmpfs -o size={kib}k room \"${VARIABLE}\" && exec \"$0\" --exact {test} --nocapture"
        );
        let output = Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-ec", &script])
            .arg(std::env::current_exe().expect("this program"))
            .env(VARIABLE, folder.path())
            .output()
            .expect("unshare runs; it is in the package util-linux");
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{test} in a mount namespace of its own ended with {}: {text}",
            output.status
        );
        None
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Takes all the room that is left.
    ///
    /// # Panics
    /// There is room without an end.
    pub fn fill(&self) {
        let mut filler =
            fs::File::options().create(true).append(true).open(self.folder.join(FILLER)).expect("it is ours");
        let is_full = (0..1 << 20).any(|_| filler.write_all(&[0x5a; 1024]).is_err());
        assert!(is_full, "there is more room than there should be");
    }

    /// Gives the room back that was taken.
    ///
    /// # Panics
    /// None was.
    pub fn clear(&self) {
        fs::remove_file(self.folder.join(FILLER)).expect("it was filled");
    }

    /// Makes it read-only, or writable again. No file may be open to be written.
    ///
    /// # Panics
    /// One is.
    pub fn read_only(&self, read_only: bool) {
        let option = if read_only { "remount,ro" } else { "remount,rw" };
        let done = Command::new("mount").args(["-o", option]).arg(&self.folder).status().expect("mount runs");
        assert!(done.success(), "mount -o {option} ended with {done}");
    }
}
