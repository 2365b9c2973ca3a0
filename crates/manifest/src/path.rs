//! Absolute paths of a host or container, as text: nothing here looks at a file system.

/// Longest path in bytes.
pub(crate) const MAX_BYTES: usize = 1024;

/// Takes an absolute path that says what it means: no empty, `.` or `..` component, nothing unprintable.
/// A final `/` is dropped. The error is a reason, for a [`crate::Fault`].
pub(crate) fn clean(text: &str) -> Result<&str, &'static str> {
    if text.is_empty() {
        return Err("is empty");
    }
    if text.len() > MAX_BYTES {
        return Err("is longer than 1024 bytes");
    }
    if text.chars().any(crate::read::is_hidden) {
        return Err("contains characters that cannot be seen");
    }
    let Some(rest) = text.strip_prefix('/') else {
        return Err("is not absolute");
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() {
        return if text == "/" { Ok(text) } else { Err("contains an empty component") };
    }
    for component in rest.split('/') {
        match component {
            "" => return Err("contains an empty component"),
            "." => return Err("contains \".\""),
            ".." => return Err("contains \"..\", which leads out of the folder"),
            _ => {}
        }
    }
    Ok(&text[..=rest.len()])
}

/// Whether `path` is `folder` or lies below it. Both are clean.
pub(crate) fn is_within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || folder == "/")
}

/// The first of `folders` that `path` is, lies below, or contains.
pub(crate) fn touched<'f>(path: &str, folders: &[&'f str]) -> Option<&'f str> {
    folders.iter().copied().find(|folder| is_within(path, folder) || is_within(folder, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_that_say_what_they_mean_are_clean() {
        for (text, want) in [
            ("/", Ok("/")),
            ("/a", Ok("/a")),
            ("/a/", Ok("/a")),
            ("/a/b.c/..d", Ok("/a/b.c/..d")),
            ("", Err("is empty")),
            ("a/b", Err("is not absolute")),
            ("~/a", Err("is not absolute")),
            ("//", Err("contains an empty component")),
            ("/a//b", Err("contains an empty component")),
            ("/a//", Err("contains an empty component")),
            ("/a/./b", Err("contains \".\"")),
            ("/a/..", Err("contains \"..\", which leads out of the folder")),
            ("/../a", Err("contains \"..\", which leads out of the folder")),
            ("/a\0b", Err("contains characters that cannot be seen")),
        ] {
            assert_eq!(clean(text), want, "{text:?}");
        }
        assert!(clean(&format!("/{}", "x".repeat(1024))).is_err());
    }

    #[test]
    fn a_folder_is_not_its_namesakes() {
        assert!(is_within("/a/b", "/a") && is_within("/a", "/a") && is_within("/a", "/"));
        assert!(!is_within("/ab", "/a") && !is_within("/a", "/a/b"));
        assert_eq!(touched("/var", &["/proc", "/var/run"]), Some("/var/run"));
        assert_eq!(touched("/variable", &["/proc", "/var/run"]), None);
    }
}
