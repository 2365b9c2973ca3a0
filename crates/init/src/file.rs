//! Files and folders that exist once, whole, with their owner: what is there and right is not touched.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, fchown};
use std::path::{Path, PathBuf};

/// Who owns a file and what its owner may do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Numeric user id.
    pub uid: u32,
    /// Numeric group id.
    pub gid: u32,
}

impl Owner {
    /// The owner that something has.
    pub fn of(metadata: &Metadata) -> Self {
        Self { uid: metadata.uid(), gid: metadata.gid() }
    }
}

/// A step on a file that failed.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} {}: check that the volume is mounted, writable and not full", path.display())]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl FileError {
    /// Wraps an input/output error with what was tried, and on what.
    pub fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
        let path = path.to_owned();
        move |source| FileError { action, path, source }
    }
}

/// No file here is larger; a larger one is not ours.
const MAX_BYTES: u64 = 64 << 20;

/// The content of a file; `None` when there is none.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FileError::at("open", path)(error)),
    };
    let mut content = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut content).map_err(FileError::at("read", path))?;
    Ok(Some(content))
}

/// Sees to a folder that only its owner can enter (mode 0700). The folder above must exist.
pub fn ensure_folder(path: &Path, owner: Owner) -> Result<(), FileError> {
    match fs::create_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(FileError::at("create the folder", path)(error)),
    }
    let metadata = fs::metadata(path).map_err(FileError::at("look at", path))?;
    if metadata.mode() & 0o7777 != 0o700 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
            .map_err(FileError::at("set the mode of", path))?;
    }
    if Owner::of(&metadata) != owner {
        chown(path, Some(owner.uid), Some(owner.gid)).map_err(FileError::at("give away", path))?;
    }
    Ok(())
}

/// Sees to a file with exactly this content, owner and mode. Returns whether anything had to change.
/// Without an owner the file belongs to whoever writes it.
///
/// A reader sees the old content or the new one, never a part, also when the machine stops half-way.
pub fn ensure_file(path: &Path, content: &[u8], owner: Option<Owner>, mode: u32) -> Result<bool, FileError> {
    if is_right(path, content, owner, mode)? {
        return Ok(false);
    }
    let new = beside(path, ".tmp");
    match fs::remove_file(&new) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(FileError::at("remove the left-over", &new)(error)),
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .map_err(FileError::at("create", &new))?;
    file.write_all(content).map_err(FileError::at("write", &new))?;
    file.set_permissions(fs::Permissions::from_mode(mode)).map_err(FileError::at("set the mode of", &new))?;
    let metadata = file.metadata().map_err(FileError::at("look at", &new))?;
    if let Some(owner) = owner.filter(|owner| *owner != Owner::of(&metadata)) {
        fchown(&file, Some(owner.uid), Some(owner.gid)).map_err(FileError::at("give away", &new))?;
    }
    file.sync_all().map_err(FileError::at("save", &new))?;
    rename(&new, path)?;
    Ok(true)
}

/// Moves a file over another, for good also when the machine stops right after.
pub fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(FileError::at("put into place", to))?;
    let folder = to.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(FileError::at("save the folder of", to))
}

/// The path of a file next to this one, with more at the end of its name.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn is_right(path: &Path, content: &[u8], owner: Option<Owner>, mode: u32) -> Result<bool, FileError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(FileError::at("look at", path)(error)),
    };
    Ok(metadata.is_file()
        && metadata.mode() & 0o7777 == mode
        && owner.is_none_or(|owner| owner == Owner::of(&metadata))
        && read(path)?.is_some_and(|present| present == content))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me(folder: &Path) -> Option<Owner> {
        Some(Owner::of(&fs::metadata(folder).expect("the test's own folder")))
    }

    #[test]
    fn a_file_that_is_right_is_not_written_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("password");
        let owner = me(folder.path());
        assert!(ensure_file(&path, b"secret", owner, 0o400).expect("first"));
        let inode = fs::metadata(&path).expect("metadata").ino();
        assert!(!ensure_file(&path, b"secret", owner, 0o400).expect("second"));
        assert_eq!(inode, fs::metadata(&path).expect("metadata").ino());
    }

    #[test]
    fn a_file_with_other_content_or_mode_is_replaced_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("password");
        let owner = me(folder.path());
        fs::write(&path, "half").expect("write");
        assert!(ensure_file(&path, b"secret", owner, 0o400).expect("other content"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("mode");
        assert!(ensure_file(&path, b"secret", owner, 0o400).expect("other mode"));
        assert_eq!(fs::metadata(&path).expect("metadata").mode() & 0o777, 0o400);
        assert_eq!(fs::read(&path).expect("read"), b"secret");
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_replaced_and_its_target_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("elsewhere");
        let path = folder.path().join("password");
        fs::write(&target, "theirs").expect("write");
        std::os::unix::fs::symlink(&target, &path).expect("link");
        assert!(ensure_file(&path, b"secret", me(folder.path()), 0o600).expect("ensure"));
        assert_eq!(fs::read(&target).expect("read"), b"theirs");
        assert!(fs::symlink_metadata(&path).expect("metadata").is_file());
    }

    #[test]
    fn a_left_over_of_an_interrupted_run_does_no_harm() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("password");
        fs::write(beside(&path, ".tmp"), "half").expect("write");
        assert!(ensure_file(&path, b"secret", me(folder.path()), 0o600).expect("ensure"));
        assert_eq!(fs::read(&path).expect("read"), b"secret");
        assert!(!beside(&path, ".tmp").exists());
    }
}
