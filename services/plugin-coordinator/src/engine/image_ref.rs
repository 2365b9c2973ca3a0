//! A reference to an image by digest: what is pulled and what runs.

use std::fmt;
use std::str::FromStr;

/// `repository@sha256:…`: an image that cannot change under its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageRef {
    repository: String,
    digest: String,
}

/// Why a text is not an [`ImageRef`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageRefError {
    /// There is no `@sha256:` and 64 hexadecimal digits at the end.
    #[error(
        "the image reference has no sha256 digest; write it as repository@sha256:<64 hexadecimal digits>"
    )]
    NoDigest,
    /// The part before the digest is not a repository name.
    #[error(
        "the image reference has a bad repository name; allowed are letters, digits and . _ - / with a port after the host"
    )]
    BadRepository,
}

impl ImageRef {
    /// The repository with its registry's host, without tag and digest.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// `sha256:` and 64 lower-case hexadecimal digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The registry's `host` or `host:port`; `docker.io` where the repository names none.
    pub fn host(&self) -> &str {
        match self.repository.split_once('/') {
            Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
            _ => "docker.io",
        }
    }
}

impl FromStr for ImageRef {
    type Err = ImageRefError;

    fn from_str(text: &str) -> Result<Self, ImageRefError> {
        let (repository, digest) = text.split_once('@').ok_or(ImageRefError::NoDigest)?;
        let hex = digest.strip_prefix("sha256:").ok_or(ImageRefError::NoDigest)?;
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if hex.len() != 64 || !hex.bytes().all(is_hex) {
            return Err(ImageRefError::NoDigest);
        }
        // A tag before the digest is dropped: the digest decides.
        let repository = match repository.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => name,
            _ => repository,
        };
        if !is_reference(repository) {
            return Err(ImageRefError::BadRepository);
        }
        Ok(Self { repository: repository.to_owned(), digest: digest.to_owned() })
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repository, self.digest)
    }
}

/// Whether a text can stand in the path of an engine request as an image's reference: it becomes part
/// of a URL there, so nothing that could lead to another path is let through.
pub(crate) fn is_reference(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-/:@".contains(&b);
    !text.is_empty()
        && text.len() <= 512
        && text.bytes().all(allowed)
        && text.split('/').all(|part| part.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn parse(text: &str) -> Result<ImageRef, ImageRefError> {
        text.replace("HEX", HEX).parse()
    }

    #[test]
    fn a_reference_keeps_repository_and_digest_and_drops_the_tag() {
        for (text, repository, host) in [
            ("busybox@sha256:HEX", "busybox", "docker.io"),
            ("a/b:1.2@sha256:HEX", "a/b", "docker.io"),
            ("127.0.0.1:5000/a/b:1@sha256:HEX", "127.0.0.1:5000/a/b", "127.0.0.1:5000"),
            ("localhost/a@sha256:HEX", "localhost/a", "localhost"),
        ] {
            let parsed = parse(text).expect(text);
            assert_eq!(parsed.repository(), repository, "{text}");
            assert_eq!(parsed.host(), host, "{text}");
            assert_eq!(parsed.to_string(), format!("{repository}@sha256:{HEX}"));
        }
    }

    #[test]
    fn a_reference_without_a_whole_digest_is_refused() {
        for text in [
            "busybox",
            "busybox:1",
            "busybox@sha256:12",
            "busybox@sha512:HEX",
            "busybox@sha256:HEXX",
            "a@sha256:é",
        ] {
            assert_eq!(parse(text), Err(ImageRefError::NoDigest), "{text}");
        }
        assert_eq!(
            format!("a@sha256:{}", HEX.to_uppercase()).parse::<ImageRef>(),
            Err(ImageRefError::NoDigest)
        );
    }

    #[test]
    fn a_repository_that_could_leave_its_path_is_refused() {
        for name in ["", "/a", "a//b", "../x", "a/../b", "a?b", "a#b", "a b", "a%2e", "a/.b", "ä"] {
            let text = format!("{name}@sha256:HEX");
            assert_eq!(parse(&text), Err(ImageRefError::BadRepository), "{text}");
        }
    }
}
