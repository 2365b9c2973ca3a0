//! `docker.image`: where the plugin's image is.

use crate::fault::{Findings, quoted};
use crate::read::Node;

const MAX_BYTES: usize = 512;

pub(super) fn read(node: &Node<'_>, found: &mut Findings) -> Option<String> {
    let text = node.text(found)?;
    match check(text) {
        Ok(()) => Some(text.to_owned()),
        Err(why) => {
            let fix = "write \"registry/name:tag\" or \"registry/name@sha256:…\"";
            found.fault(&node.at, format!("{} {why}", quoted(text)), fix);
            None
        }
    }
}

/// `[host[:port]/]path[:tag][@digest]`, as far as it can be told without a registry.
fn check(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > MAX_BYTES {
        return Err("has no length that an image's name can have");
    }
    if text.contains("://") {
        return Err("begins like an address of the web");
    }
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    if digest.is_some_and(|d| !is_digest(d)) {
        return Err("has a digest other than sha256: and 64 hexadecimal digits");
    }
    let (folders, last) = match name.rsplit_once('/') {
        Some((folders, last)) => (Some(folders), last),
        None => (None, name),
    };
    let (last, tag) = match last.split_once(':') {
        Some((last, tag)) => (last, Some(tag)),
        None => (last, None),
    };
    if tag.is_some_and(|t| !is_tag(t)) {
        return Err("has a tag with other characters than A-Z a-z 0-9 . _ -");
    }
    let mut components: Vec<&str> = folders.into_iter().flat_map(|f| f.split('/')).collect();
    if components.first().is_some_and(|first| is_host(first)) {
        components.remove(0);
    }
    components.push(last);
    match components.into_iter().all(is_component) {
        true => Ok(()),
        false => Err("has other characters in its name than a-z 0-9 . _ - and /"),
    }
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b"0123456789abcdef".contains(&b)))
}

fn is_tag(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !text.starts_with(['.', '-'])
}

/// The first component is a host when it could not be a folder: it has a dot or a port, or is `localhost`.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let port_is_fine = port.is_none_or(|p| p.parse::<u16>().is_ok_and(|p| p > 0));
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let host_is_fine = match bare {
        Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let alphanumeric = |c: char| c.is_ascii_alphanumeric();
            host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b))
                && host.starts_with(alphanumeric)
                && host.ends_with(alphanumeric)
        }
    };
    let is_one = text == "localhost" || port.is_some() || host.contains('.') || bare.is_some();
    is_one && host_is_fine && port_is_fine
}

fn is_component(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
        && edge(text.chars().next())
        && edge(text.chars().last())
        && !text.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images_are_told_from_other_texts() {
        let digest = format!("a@sha256:{}", "0".repeat(64));
        for text in [
            "my-plugin:latest",
            "alpine",
            "library/alpine:3.20",
            "registry.example.com/my-plugin:1.0.0",
            "localhost:5000/a/b__c",
            "127.0.0.1:5000/a:B_.-1",
            "[::1]:5000/a",
            "localhost/a",
            digest.as_str(),
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        let long = "a".repeat(513);
        for text in [
            "",
            "-a",
            "A",
            "a b",
            "a:",
            "a:-x",
            "a:b:c",
            "/a",
            "a/",
            "a//b",
            "../a",
            "a/../b",
            "https://x/a",
            "a@sha256:00",
            "a@md5:0",
            "host:99999/a",
            "a\n",
            "a;rm",
            "é",
            ":5000/a",
            long.as_str(),
        ] {
            assert!(check(text).is_err(), "{text}");
        }
    }
}
