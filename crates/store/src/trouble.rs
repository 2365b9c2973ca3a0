//! What is wrong with a database, for people: what cannot be done, on which file, why, and what to do next.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use sqlx::migrate::MigrateError;

use crate::room::{Room, size};

/// Primary result codes of SQLite (<https://www.sqlite.org/rescode.html>); the low byte of the extended ones.
mod code {
    pub(super) const BUSY: u32 = 5;
    pub(super) const LOCKED: u32 = 6;
    pub(super) const READONLY: u32 = 8;
    pub(super) const IOERR: u32 = 10;
    pub(super) const CORRUPT: u32 = 11;
    pub(super) const FULL: u32 = 13;
    pub(super) const CANTOPEN: u32 = 14;
    pub(super) const NOTADB: u32 = 26;
    /// A page that should be there ends early.
    pub(super) const IOERR_SHORT_READ: u32 = 522;
    /// The file system says itself that it is damaged.
    pub(super) const IOERR_CORRUPTFS: u32 = 8458;
}

/// The kinds of trouble that a coordinator or its operator treats differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// There is no room, on the disk or within the database's own bound.
    Full,
    /// Nothing may be written: the file system or the file is read-only.
    ReadOnly,
    /// What is in the file is no database any more.
    Damaged,
    /// The file cannot be opened: it, or its folder, is missing or somebody else's.
    Unusable,
    /// Somebody else had it for too long.
    Busy,
    /// Anything else.
    Failed,
}

/// What is wrong with a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    kind: Kind,
    path: PathBuf,
    found: String,
    room: Option<Room>,
}

impl Trouble {
    /// What `error` says of the database at `path`. Looks at its file system where the error leaves open what it is.
    pub fn of(error: &sqlx::Error, path: &Path) -> Self {
        // The file need not be there: its folder is on the same file system.
        let folder = path.parent().unwrap_or(path);
        let room = Room::of(path).or_else(|_| Room::of(folder)).ok();
        Self { kind: kind(error, room), path: path.to_owned(), found: said(error), room }
    }

    /// The same of a migration that failed, when that is for one of these reasons.
    pub(crate) fn of_migration(error: &MigrateError, path: &Path) -> Option<Self> {
        let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else {
            return None;
        };
        Some(Self::of(error, path)).filter(|trouble| trouble.kind != Kind::Failed)
    }

    /// A check found damage.
    pub(crate) fn damaged(path: &Path, found: String) -> Self {
        Self { kind: Kind::Damaged, path: path.to_owned(), found, room: None }
    }

    /// Which kind of trouble it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl std::error::Error for Trouble {}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, path, found, room } = self;
        let path = path.display();
        match (kind, room) {
            (Kind::Full, Some(room)) if !room.is_full() => write!(
                f,
                "the database {path} cannot be written: it has reached its bound (database_max_bytes), or a quota of \
                 the disk, where {} are free ({found}). Raise the bound. Nothing that was accepted is lost, and it \
                 goes on by itself when there is room",
                size(room.free)
            ),
            (Kind::Full, room) => {
                let free = room.map(|room| format!(", {} are free", size(room.free))).unwrap_or_default();
                write!(
                    f,
                    "the database {path} cannot be written: its disk is full{free} ({found}). Free some space, for \
                     instance with docker image prune. Nothing that was accepted is lost, and it goes on by itself \
                     when there is room"
                )
            }
            (Kind::ReadOnly, _) => write!(
                f,
                "the database {path} cannot be written: its disk, folder or file is read-only ({found}). Mount the \
                 disk writable (the kernel's log says whether it failed), or give the file back to its user. Nothing \
                 that was accepted is lost, and it goes on by itself when it can be written"
            ),
            (Kind::Damaged, _) => write!(
                f,
                "the database {path} is damaged ({found}). It is kept as it is. Stop the coordinator, move {path}, \
                 {path}-wal and {path}-shm away together, put a good copy in their place if there is one, and start \
                 it again: without a copy it begins with an empty database and takes over what runs"
            ),
            (Kind::Unusable, _) => write!(
                f,
                "the database {path} cannot be opened ({found}). Check that its folder exists, and that folder and \
                 file belong to the coordinator's user"
            ),
            (Kind::Busy, _) => write!(
                f,
                "the database {path} did not answer in time ({found}). Check that no other program has it open, and \
                 that its disk answers"
            ),
            (Kind::Failed, _) => write!(f, "the database {path} failed ({found})"),
        }
    }
}

fn kind(error: &sqlx::Error, room: Option<Room>) -> Kind {
    let by_room = |otherwise| match room {
        Some(room) if room.read_only => Kind::ReadOnly,
        Some(room) if room.is_full() => Kind::Full,
        _ => otherwise,
    };
    match error {
        sqlx::Error::Database(error) => {
            let extended = error.code().and_then(|code| code.parse::<u32>().ok()).unwrap_or_default();
            match (extended & 0xff, extended) {
                (code::FULL, _) => Kind::Full,
                (code::READONLY, _) => Kind::ReadOnly,
                (code::CORRUPT | code::NOTADB, _) | (_, code::IOERR_SHORT_READ | code::IOERR_CORRUPTFS) => {
                    Kind::Damaged
                }
                (code::BUSY | code::LOCKED, _) => Kind::Busy,
                (code::CANTOPEN, _) => by_room(Kind::Unusable),
                // What cannot be written for want of room, or may not be, is not always told apart by SQLite.
                (code::IOERR, _) => by_room(Kind::Failed),
                _ => Kind::Failed,
            }
        }
        sqlx::Error::Io(error) => match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Full,
            io::ErrorKind::ReadOnlyFilesystem => Kind::ReadOnly,
            io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound | io::ErrorKind::IsADirectory => {
                Kind::Unusable
            }
            _ => by_room(Kind::Failed),
        },
        sqlx::Error::PoolTimedOut => Kind::Busy,
        _ => Kind::Failed,
    }
}

/// What was said, with everything below it.
fn said(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(error: io::ErrorKind) -> Trouble {
        Trouble::of(&sqlx::Error::Io(error.into()), Path::new("/nowhere/plugin.db"))
    }

    #[test]
    fn every_kind_of_trouble_names_the_file_and_what_to_do() {
        for (error, kind, next) in [
            (io::ErrorKind::StorageFull, Kind::Full, "Free some space"),
            (io::ErrorKind::ReadOnlyFilesystem, Kind::ReadOnly, "Mount the disk writable"),
            (io::ErrorKind::PermissionDenied, Kind::Unusable, "belong to the coordinator's user"),
        ] {
            let trouble = of(error);
            assert_eq!(trouble.kind(), kind);
            let text = trouble.to_string();
            assert!(text.contains("/nowhere/plugin.db") && text.contains(next), "{text}");
        }
        let trouble = Trouble::of(&sqlx::Error::PoolTimedOut, Path::new("/nowhere/plugin.db"));
        assert_eq!(trouble.kind(), Kind::Busy);
        let text = Trouble::damaged(Path::new("/nowhere/plugin.db"), "page 7".to_owned()).to_string();
        for part in ["/nowhere/plugin.db-wal", "page 7", "It is kept", "takes over what runs"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
