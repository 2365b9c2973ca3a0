//! How much room a file system has.

use std::io;
use std::path::Path;

use rustix::fs::StatVfsMountFlags;

/// Below this nothing of a database can be relied on to be written: its smallest steps are pages of 4 KiB and, in
/// the file beside it that is shared between connections, 32 KiB.
const NOTHING: u64 = 64 * 1024;

/// The room of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes that we may still take.
    pub free: u64,
    /// All its bytes.
    pub total: u64,
    /// Whether it is mounted so that nothing can be written.
    pub read_only: bool,
}

impl Room {
    /// Looks at the file system that holds `path`, a folder or a file.
    ///
    /// # Errors
    /// There is no such path, or its file system does not answer.
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = rustix::fs::statvfs(path)?;
        Ok(Self {
            free: found.f_bavail.saturating_mul(found.f_frsize),
            total: found.f_blocks.saturating_mul(found.f_frsize),
            read_only: found.f_flag.contains(StatVfsMountFlags::RDONLY),
        })
    }

    /// Whether nothing more can be relied on to be written.
    pub(crate) fn is_full(self) -> bool {
        self.free < NOTHING
    }
}

/// Bytes for people, rounded down: what is free never reads as more than it is.
pub fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.into_iter().find(|(_, unit)| bytes >= *unit) {
        None => format!("{bytes} bytes"),
        Some((name, unit)) => {
            let tenths = u128::from(bytes) * 10 / u128::from(unit);
            match tenths % 10 {
                0 => format!("{} {name}", tenths / 10),
                rest => format!("{}.{rest} {name}", tenths / 10),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_of_a_folder_is_seen_and_that_of_nothing_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let room = Room::of(folder.path()).expect("it is there");
        assert!(room.total > 0 && room.free <= room.total && !room.read_only, "{room:?}");
        assert!(Room::of(&folder.path().join("nothing")).is_err());
    }

    #[test]
    fn sizes_are_rounded_down() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (3 << 29, "1.5 GiB"),
            (u64::MAX, "17179869183.9 GiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
