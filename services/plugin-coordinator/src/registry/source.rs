//! An image as an operator writes it.

use std::net::Ipv4Addr;

use super::RegistryError;
use crate::engine::text;

/// `host/repository:tag` or `host/repository@sha256:…`, as Docker reads it: without a host it is Docker
/// Hub's, without a tag `latest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// Host and repository as written, without tag and digest.
    pub(super) written: String,
    /// `host` or `host:port` as written, or `docker.io`.
    pub(super) host: String,
    /// The repository at that host.
    pub(super) path: String,
    /// The tag, unless there is a digest.
    pub(super) tag: String,
    /// The digest.
    pub(super) digest: Option<String>,
}

impl Source {
    pub(super) fn parse(source: &str) -> Result<Self, RegistryError> {
        parse(source).map_err(|reason| RegistryError::InvalidReference {
            source_text: text::line(source, 200),
            reason,
        })
    }
}

fn parse(source: &str) -> Result<Source, &'static str> {
    if source.len() > 512 {
        return Err("it is too long");
    }
    let (rest, digest) = match source.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (source, None),
    };
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return Err("its digest is not sha256: and 64 lower-case hexadecimal digits");
    }
    let (written, tag) = match rest.rsplit_once(':') {
        Some((written, tag)) if !tag.contains('/') => (written, Some(tag)),
        _ => (rest, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err("its tag is not made of letters, digits and _ . -");
    }
    let (host, path) = match written.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path.to_owned()),
        Some(_) => ("docker.io", written.to_owned()),
        None => ("docker.io", format!("library/{written}")),
    };
    let host = if host == "index.docker.io" { "docker.io" } else { host };
    if !is_host(host) {
        return Err("its registry is not a host name with an optional port");
    }
    if !path.split('/').all(is_component) {
        return Err("its repository is not made of lower-case letters, digits and single separators . _ - /");
    }
    Ok(Source {
        written: written.to_owned(),
        host: host.to_owned(),
        path,
        tag: tag.unwrap_or("latest").to_owned(),
        digest: digest.map(str::to_owned),
    })
}

/// Whether a text is a digest that we can check.
pub(super) fn is_digest(text: &str) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.strip_prefix("sha256:").is_some_and(|digits| digits.len() == 64 && digits.bytes().all(hex))
}

fn is_tag(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    (1..=128).contains(&text.len()) && !text.starts_with(['.', '-']) && text.bytes().all(inner)
}

fn is_host(text: &str) -> bool {
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    let digits =
        |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse().is_ok_and(|port: u16| port > 0);
    name.len() <= 253 && name.split('.').all(label) && port.is_none_or(digits)
}

fn is_component(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = text.bytes().next().is_some_and(plain) && text.bytes().last().is_some_and(plain);
    ends && text.bytes().all(|b| plain(b) || b"._-".contains(&b)) && !text.contains("..")
}

/// Whether a `host` or `host:port` is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let name = host.split(':').next().unwrap_or(host);
    name == "localhost" || name.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn an_image_is_read_as_docker_reads_it() {
        for (source, host, path, tag) in [
            ("busybox", "docker.io", "library/busybox", "latest"),
            ("me/tool:1.2", "docker.io", "me/tool", "1.2"),
            ("docker.io/me/tool", "docker.io", "me/tool", "latest"),
            ("index.docker.io/me/tool", "docker.io", "me/tool", "latest"),
            ("docker-registry/image:tag", "docker.io", "docker-registry/image", "tag"),
            ("127.0.0.1:5000/a/b__c:1", "127.0.0.1:5000", "a/b__c", "1"),
            ("localhost/a", "localhost", "a", "latest"),
            ("ghcr.io/a/b-c.d:v1", "ghcr.io", "a/b-c.d", "v1"),
        ] {
            let parsed = Source::parse(source).expect(source);
            assert_eq!(
                (parsed.host.as_str(), parsed.path.as_str(), parsed.tag.as_str()),
                (host, path, tag),
                "{source}"
            );
            assert_eq!(parsed.digest, None);
        }
        let parsed = Source::parse(&format!("ghcr.io/a/b:1@{DIGEST}")).expect("with a digest");
        assert_eq!((parsed.written.as_str(), parsed.digest.as_deref()), ("ghcr.io/a/b", Some(DIGEST)));
    }

    #[test]
    fn what_is_no_image_is_refused() {
        for source in [
            "",
            ":",
            "/",
            "a/",
            "/a",
            "a//b",
            "A",
            "a b",
            "a:",
            "a:b:c",
            "a:-x",
            "a@sha256:1",
            "a@md5:00",
            "a..b",
            "../a",
            "a/../b",
            "a_",
            "-a",
            "http://host/a",
            "host:0/a",
            "host:99999/a",
            "host:+1/a",
            "[::1]:5000/a",
            "ho_st.x/a",
            "-h.x/a",
            "user@host/a",
            "a?b",
            "a#b",
            "a%2f",
            "ä",
            "a\n",
        ] {
            let parsed = Source::parse(source);
            assert!(matches!(parsed, Err(RegistryError::InvalidReference { .. })), "{source:?}: {parsed:?}");
        }
        assert!(Source::parse(&"a".repeat(600)).is_err());
    }

    #[test]
    fn loopback_is_this_machine_only() {
        for host in ["localhost", "localhost:5000", "127.0.0.1", "127.1.2.3:80"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example.org", "128.0.0.1", "127.0.0.1.example.org", "docker.io", "0.0.0.0"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
