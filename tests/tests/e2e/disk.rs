//! The disk under a coordinator's data runs full: it says so, does nothing that it cannot record, and loses nothing.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use envelope::topic::coordinator;
use envelope::{Coordinator, Operation};
use serde_json::json;
use testkit::eventually;
use tests::stack::listener::json as payload;
use tests::stack::operator::retained;

use super::outages::{start, stop};
use super::runner::Case;
use super::world::{Shared, World, sameness};

const PATIENCE: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;
/// How large the small disk is.
const SIZE_MIB: u32 = 8;
/// Requests that find no room, at most: what little is left takes a few.
const SOME: usize = 200;

pub fn cases() -> Vec<Case> {
    crate::alone![a_full_disk_is_told_and_no_request_is_lost]
}

/// A small disk in the place of a folder, with what the folder holds. It ends with this value, and takes what was
/// written to it along unless [`SmallDisk::keep`] was called.
struct SmallDisk {
    folder: PathBuf,
    mounted: bool,
}

impl SmallDisk {
    fn over(folder: PathBuf, saved: &Path) -> Self {
        copy(&folder, saved);
        let options = format!("size={SIZE_MIB}m");
        command("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", &folder.to_string_lossy()]);
        let disk = Self { folder, mounted: true };
        copy(saved, &disk.folder);
        disk
    }

    /// Writes until nothing more can be written.
    fn fill(&self) {
        let mut filler = File::create(self.filler()).expect("there is room for a name");
        let chunk = vec![b'x'; MIB / 16];
        loop {
            match filler.write(&chunk) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("{}: {error}", self.folder.display()),
            }
        }
    }

    fn free(&self) {
        fs::remove_file(self.filler()).expect("it is there");
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    /// Puts what was written to the folder that was there before.
    fn keep(mut self, saved: &Path) {
        copy(&self.folder, saved);
        self.end();
        copy(saved, &self.folder);
    }

    fn end(&mut self) {
        if std::mem::replace(&mut self.mounted, false) {
            command("umount", &["--lazy", &self.folder.to_string_lossy()]);
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.end();
    }
}

/// Makes one folder hold what another holds, with owners and rights.
fn copy(from: &Path, to: &Path) {
    let script = r#"mkdir -p "$2" && find "$2" -mindepth 1 -delete && cp -a "$1/." "$2/""#;
    command("sh", &["-c", script, "sh", &from.to_string_lossy(), &to.to_string_lossy()]);
}

fn command(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect("it can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

/// What the plugin coordinator says of itself: its status, and all that is wrong.
async fn health(world: &World) -> String {
    let told = retained(&world.stack, &[coordinator::health(Coordinator::Plugin)]).await;
    told.first().map(|message| payload(message)["payload"].to_string()).unwrap_or_default()
}

async fn says(world: &World, parts: &[&str]) {
    eventually(PATIENCE, || async {
        let said = health(world).await;
        if parts.iter().all(|part| said.contains(part)) { Ok(()) } else { Err(said) }
    })
    .await;
}

async fn a_full_disk_is_told_and_no_request_is_lost(world: Shared) {
    let (hello, _held) = world.hello_id().await;
    let source = world.hello().await.to_owned();
    let mut operator = world.operator().await;
    world.install_and_start(&mut operator, &hello, &source).await;
    let before = sameness(&world.running(&hello).await);
    let folder = world.folder_of("plugin-data").await;
    let saved = world.stack.folder().join("saved-plugin-data");

    stop(&world, "plugin-coordinator").await;
    let disk = SmallDisk::over(folder, &saved);
    start(&world, "plugin-coordinator").await;
    // Before it is full.
    says(&world, &["degraded", "are free on the disk under /data", "free some space"]).await;

    disk.fill();
    let mut asked = Vec::new();
    while asked.len() < SOME && !health(&world).await.contains("/data/plugin.db") {
        asked.push(operator.send(Operation::List, json!({})).await);
    }
    says(&world, &["unhealthy", "/data/plugin.db", "full"]).await;
    let restart = operator.send(Operation::Restart, json!({"plugin_id": hello})).await;
    says(&world, &["unhealthy", "/data/plugin.db", "full"]).await;
    assert_eq!(sameness(&world.running(&hello).await), before, "nothing is done that is not recorded");

    disk.free();
    for list in asked {
        assert_eq!(operator.answer(&list).await.data()["plugins"][0]["plugin_id"], *hello.as_str());
    }
    assert_eq!(operator.answer(&restart).await.data()["phase"], "running");
    assert_ne!(sameness(&world.running(&hello).await), before);

    let after = sameness(&world.running(&hello).await);
    stop(&world, "plugin-coordinator").await;
    disk.keep(&saved);
    start(&world, "plugin-coordinator").await;
    world.stack.healthy().await;
    assert_eq!(sameness(&world.running(&hello).await), after);
    world.remove(&mut operator, &hello, &source).await;
}
