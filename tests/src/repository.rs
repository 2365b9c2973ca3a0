//! The files of the repository, and those among them that are generated.
//!
//! A generated file is compared with what it should be. It is written only when `BIGSKIES_BLESS=1` asks for it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The variable that makes the tests write what they otherwise compare.
pub const BLESS: &str = "BIGSKIES_BLESS";

/// Folders that hold nothing of the project's own.
const FOREIGN: [&str; 4] = ["target", ".git", ".cache", ".bigskies"];

/// Why a file of the repository is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// It cannot be read or written.
    #[error("{path} cannot be read or written")]
    Io {
        /// Below the root.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It differs from what it is generated from.
    #[error(
        "{path} differs from what it is generated from, first in line {line}; run: {BLESS}=1 cargo test -p tests"
    )]
    Drift {
        /// Below the root.
        path: String,
        /// The first line that differs, from 1.
        line: usize,
    },
    /// A document lacks the marks between which a part of it is generated.
    #[error("{path} lacks the lines {begin:?} and {end:?}, between which a part of it is generated")]
    NoBlock {
        /// Below the root.
        path: String,
        /// The line before the part.
        begin: String,
        /// The line after it.
        end: String,
    },
}

/// The repository's top folder.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// The text of a file, by its path below the root.
///
/// # Errors
/// It cannot be read, or is not UTF-8.
pub fn text(path: &str) -> Result<String, RepositoryError> {
    fs::read_to_string(root().join(path))
        .map_err(|source| RepositoryError::Io { path: path.to_owned(), source })
}

/// The paths below the root of all files in `folder` and below it, sorted, for which `wanted` holds. What is
/// built or fetched is left out.
///
/// # Errors
/// A folder cannot be read.
pub fn files(folder: &str, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, RepositoryError> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |source| RepositoryError::Io { path: folder.clone(), source };
        for entry in fs::read_dir(root().join(&folder)).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() && !FOREIGN.contains(&name.as_str()) {
                folders.push(path);
            } else if kind.is_file() && wanted(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Compares a generated file with what it should be, or writes it when that is asked for.
///
/// # Errors
/// It differs, or cannot be read or written.
pub fn hold(path: &str, wanted: &str) -> Result<(), RepositoryError> {
    let there = match fs::read_to_string(root().join(path)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(RepositoryError::Io { path: path.to_owned(), source }),
    };
    if there == wanted {
        return Ok(());
    }
    if std::env::var_os(BLESS).is_some_and(|value| value == "1") {
        let file = root().join(path);
        let folder = file.parent().map_or(Ok(()), fs::create_dir_all);
        return folder
            .and_then(|()| fs::write(&file, wanted))
            .map_err(|source| RepositoryError::Io { path: path.to_owned(), source });
    }
    let same = there.lines().zip(wanted.lines()).take_while(|(one, other)| one == other).count();
    Err(RepositoryError::Drift { path: path.to_owned(), line: same + 1 })
}

/// Compares, or writes, the part of a document between its marks for `name`.
///
/// # Errors
/// The marks are missing, or as for [`hold`].
pub fn hold_block(path: &str, name: &str, wanted: &str) -> Result<(), RepositoryError> {
    let document = text(path)?;
    let with = replaced(&document, name, wanted).ok_or_else(|| {
        let (begin, end) = marks(name);
        RepositoryError::NoBlock { path: path.to_owned(), begin, end }
    })?;
    hold(path, &with)
}

fn marks(name: &str) -> (String, String) {
    (format!("<!-- generated: {name} -->"), format!("<!-- end: {name} -->"))
}

/// The document with `wanted` between the marks for `name`.
fn replaced(document: &str, name: &str, wanted: &str) -> Option<String> {
    let (begin, end) = marks(name);
    let (before, rest) = document.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n\n{}\n\n{end}{after}", wanted.trim()))
}

/// The content of the first fenced block in `language` after `heading`.
pub fn fenced<'d>(document: &'d str, heading: &str, language: &str) -> Option<&'d str> {
    let (_, chapter) = document.split_once(heading)?;
    let (_, block) = chapter.split_once(&format!("```{language}\n"))?;
    block.split_once("```").map(|(content, _)| content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_part_between_the_marks_is_generated() {
        let document = "a\n<!-- generated: x -->\nold\n<!-- end: x -->\nb\n";
        let new = replaced(document, "x", "new\n").expect("has the marks");
        assert_eq!(new, "a\n<!-- generated: x -->\n\nnew\n\n<!-- end: x -->\nb\n");
        assert_eq!(replaced(&new, "x", "new").as_ref(), Some(&new));
        assert_eq!(replaced(document, "y", "new"), None);
    }

    #[test]
    fn a_fenced_block_is_found_below_its_heading() {
        let document = "# A\n```json\n1\n```\n# B\n```json\n2\n```\n";
        assert_eq!(fenced(document, "# B", "json"), Some("2\n"));
        assert_eq!(fenced(document, "# B", "toml"), None);
    }

    #[test]
    fn what_is_built_or_fetched_is_not_the_projects_own() {
        let all = files("", |_| true).expect("readable");
        assert!(all.contains(&"Cargo.toml".to_owned()));
        assert!(!all.iter().any(|path| path.starts_with("target/") || path.starts_with(".git/")));
    }
}
