//! Whether the disk under the coordinator's data has room left: told in its health before it is full.
//!
//! A full disk loses nothing, but the coordinator takes no request until there is room again; a database without
//! room is told by whoever writes to it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use store::Room;
use store::room::size;

use crate::health::{Condition, HealthBoard};
use crate::service::Shutdown;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(10);

/// The part of the coordinator's health that it is.
const PART: &str = "disk";

/// Looks at the room of a file system.
pub type Look = Arc<dyn Fn(&Path) -> io::Result<Room> + Send + Sync>;

/// What is looked at, and how much of it has to stay free.
pub(crate) struct Disk {
    /// A folder on it.
    pub(crate) folder: PathBuf,
    /// Bytes.
    pub(crate) reserve: u64,
    /// How it is looked.
    pub(crate) look: Look,
}

impl Disk {
    /// The disk of a folder.
    pub(crate) fn of(folder: PathBuf, reserve: u64) -> Self {
        Self { folder, reserve, look: Arc::new(Room::of) }
    }

    /// Says how it is until `shutdown`.
    pub(crate) async fn watch(self, health: HealthBoard, shutdown: Shutdown) {
        loop {
            let room = (self.look)(&self.folder);
            if let Ok(room) = &room {
                health.figure("disk_free_bytes", room.free);
            }
            health.set(PART, condition(&self.folder, room, self.reserve));
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}

/// How a disk is that holds `folder`, when so many bytes should stay free.
pub fn condition(folder: &Path, room: io::Result<Room>, reserve: u64) -> Condition {
    let folder = folder.display();
    match room {
        Err(error) => Condition::Degraded(format!(
            "how much of the disk under {folder} is free cannot be seen: {error}"
        )),
        Ok(room) if room.read_only => Condition::Unhealthy(format!(
            "the disk under {folder} is mounted read-only; mount it writable, the kernel's log says whether it failed"
        )),
        Ok(room) if room.free < reserve => Condition::Degraded(format!(
            "{} are free on the disk under {folder}, and {} should be; free some space before nothing can be \
             recorded any more",
            size(room.free),
            size(reserve)
        )),
        Ok(_) => Condition::Good,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use envelope::payload::health::HealthStatus;
    use envelope::{Coordinator, InstanceId};

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_disk_is_told_with_what_is_free_and_what_should_be() {
        let of = |room| condition(Path::new("/data"), room, 256 * MIB);
        let room = |free| Room { free, total: 1 << 40, read_only: false };
        assert_eq!(of(Ok(room(256 * MIB))), Condition::Good);
        let why = match of(Ok(room(255 * MIB))) {
            Condition::Degraded(why) => why,
            other => format!("{other:?}"),
        };
        assert!(why.contains("255 MiB are free") && why.contains("256 MiB should be"), "{why}");
        let read_only = Room { read_only: true, ..room(1 << 40) };
        assert!(matches!(of(Ok(read_only)), Condition::Unhealthy(_)));
        assert!(matches!(of(Err(io::ErrorKind::NotFound.into())), Condition::Degraded(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn health_follows_the_disk() {
        let free = Arc::new(AtomicU64::new(0));
        let seen = free.clone();
        let look: Look = Arc::new(move |_| {
            Ok(Room { free: seen.load(Ordering::SeqCst), total: 1 << 40, read_only: false })
        });
        let health = HealthBoard::new(Coordinator::Security, InstanceId::parse("one").expect("id"));
        let (shutdown, disk) = (Shutdown::new(), Disk { folder: "/data".into(), reserve: MIB, look });
        let watch = tokio::spawn(disk.watch(health.clone(), shutdown.clone()));
        let becomes = async |status: HealthStatus| {
            let end = tokio::time::Instant::now() + 2 * LOOK;
            while health.health().status != status {
                assert!(tokio::time::Instant::now() < end, "it stays {:?}", health.health());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        becomes(HealthStatus::Degraded).await;
        assert!(health.health().message.starts_with("disk: 0 bytes are free"), "{:?}", health.health());
        assert_eq!(health.health().details["disk_free_bytes"], 0);
        free.store(MIB, Ordering::SeqCst);
        becomes(HealthStatus::Healthy).await;
        free.store(MIB - 1, Ordering::SeqCst);
        becomes(HealthStatus::Degraded).await;
        shutdown.cancel();
        watch.await.expect("it ends");
    }
}
