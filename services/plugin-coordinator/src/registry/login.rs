//! Logins from a docker `config.json`, which an operator mounts. It is read at each use, so that a change
//! needs no restart. Programs that keep passwords for Docker (credential helpers) are not run.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::io::AsyncReadExt;

use super::RegistryError;
use crate::engine::RegistryLogin;

/// The most bytes of a file that are read.
const MOST_BYTES: u64 = 1 << 20;

/// The logins of a docker `config.json`.
#[derive(Debug, Clone, Default)]
pub struct Logins {
    path: Option<PathBuf>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: HashMap<String, Entry>,
    #[serde(default, rename = "credsStore")]
    store: String,
    #[serde(default, rename = "credHelpers")]
    helpers: HashMap<String, String>,
}

#[derive(Deserialize, Default)]
struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default, rename = "identitytoken")]
    identity_token: String,
}

impl Logins {
    /// The logins of that file; none where there is no file.
    pub const fn new(path: Option<PathBuf>) -> Self {
        Self { path }
    }

    /// The login for a registry's `host` or `host:port`.
    pub async fn for_host(&self, host: &str) -> Result<Option<RegistryLogin>, RegistryError> {
        let Some(path) = &self.path else {
            return Ok(None);
        };
        match read(path).await? {
            Some(bytes) => find(&bytes, host).map_err(|reason| fault(path, reason)),
            None => Ok(None),
        }
    }
}

async fn read(path: &Path) -> Result<Option<Vec<u8>>, RegistryError> {
    let read = async {
        let mut bytes = Vec::new();
        tokio::fs::File::open(path).await?.take(MOST_BYTES + 1).read_to_end(&mut bytes).await?;
        Ok::<_, std::io::Error>(bytes)
    };
    match read.await {
        Ok(bytes) if bytes.len() as u64 > MOST_BYTES => {
            Err(fault(path, format!("it has more than {MOST_BYTES} bytes")))
        }
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault(path, format!("it cannot be read ({error})"))),
    }
}

fn fault(path: &Path, reason: String) -> RegistryError {
    RegistryError::LoginFile { path: path.to_owned(), reason }
}

fn find(bytes: &[u8], host: &str) -> Result<Option<RegistryLogin>, String> {
    // Only the place of a fault is told: the words of the parser can quote a password.
    let file: File = serde_json::from_slice(bytes).map_err(|error| {
        format!("it is not a docker config.json (line {}, column {})", error.line(), error.column())
    })?;
    let entry = file
        .auths
        .into_iter()
        .find(|(key, _)| host_of(key) == host)
        .map(|(_, entry)| entry)
        .unwrap_or_default();
    if !entry.username.is_empty() {
        return Ok(Some(login(host, entry.username, entry.password)));
    }
    if !entry.auth.is_empty() {
        let decoded = STANDARD.decode(&entry.auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = decoded.as_deref().and_then(|decoded| decoded.split_once(':'));
        // Old versions of Docker fill up with zero bytes.
        let pair = pair.map(|(user, password)| (user, password.trim_end_matches('\0')));
        let (user, password) =
            pair.ok_or_else(|| format!("the auth of {host} is not user:password in base64"))?;
        return Ok(Some(login(host, user.to_owned(), password.to_owned())));
    }
    if !entry.identity_token.is_empty() {
        return Err(format!(
            "{host} has an identity token, which is not supported; use a user and a password"
        ));
    }
    let helper = file.helpers.into_iter().find(|(key, _)| host_of(key) == host).map(|(_, helper)| helper);
    if let Some(helper) = helper.or(Some(file.store)).filter(|helper| !helper.is_empty()) {
        return Err(format!(
            "passwords are kept by the program docker-credential-{helper}, which is not supported; add an entry for {host} with its auth"
        ));
    }
    Ok(None)
}

fn login(host: &str, username: String, password: String) -> RegistryLogin {
    RegistryLogin { host: host.to_owned(), username, password }
}

/// The host of a key, which Docker writes as a host or as a URL.
fn host_of(key: &str) -> &str {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    match key.split('/').next().unwrap_or(key) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, host: &str) -> Result<Option<(String, String)>, String> {
        Ok(find(file.as_bytes(), host)?.map(|login| (login.username, login.password)))
    }

    fn pair(user: &str, password: &str) -> Result<Option<(String, String)>, String> {
        Ok(Some((user.into(), password.into())))
    }

    #[test]
    fn logins_are_found_in_every_form_that_docker_writes() {
        let file = r#"{"auths": {
            "127.0.0.1:5000": {"auth": "dTpwOnc="},
            "https://index.docker.io/v1/": {"auth": "aHViOnB3AAA="},
            "https://ghcr.io": {"username": "u", "password": "p"},
            "empty.example": {}
        }, "HttpHeaders": {"x": "y"}}"#;
        assert_eq!(found(file, "127.0.0.1:5000"), pair("u", "p:w"));
        assert_eq!(found(file, "docker.io"), pair("hub", "pw"));
        assert_eq!(found(file, "ghcr.io"), pair("u", "p"));
        for none in ["127.0.0.1", "empty.example", "other.example", "io"] {
            assert_eq!(found(file, none), Ok(None), "{none}");
        }
        assert_eq!(found("{}", "docker.io"), Ok(None));
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        let helper = found(r#"{"credsStore": "desktop"}"#, "docker.io").expect_err("a helper");
        assert!(helper.contains("docker-credential-desktop") && helper.contains("docker.io"), "{helper}");
        let helper = found(r#"{"credHelpers": {"ghcr.io": "gh"}}"#, "ghcr.io").expect_err("a helper");
        assert!(helper.contains("docker-credential-gh"), "{helper}");
        assert_eq!(found(r#"{"credHelpers": {"ghcr.io": "gh"}}"#, "docker.io"), Ok(None));
        assert!(found(r#"{"auths": {"a.b": {"identitytoken": "x"}}}"#, "a.b").is_err());
        assert!(found(r#"{"auths": {"a.b": {"auth": "!"}}}"#, "a.b").is_err());
        assert!(found(r#"{"auths": {"a.b": {"auth": "bm9jb2xvbg=="}}}"#, "a.b").is_err());
    }

    #[test]
    fn a_fault_in_the_file_does_not_quote_it() {
        for file in [r#"{"auths": "hunter2"}"#, r#"{"auths": {"a.b": "hunter2"}}"#, r#"{"hunter2"#, "\u{0}"] {
            let error = found(file, "a.b").expect_err(file);
            assert!(!error.contains("hunter2") && error.contains("line 1"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_changed_file_is_seen_and_a_missing_one_has_no_logins() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.json");
        let logins = Logins::new(Some(path.clone()));
        assert!(logins.for_host("a.b").await.expect("no file").is_none());
        std::fs::write(&path, r#"{"auths": {"a.b": {"username": "u", "password": "p"}}}"#).expect("a file");
        assert!(logins.for_host("a.b").await.expect("a file").is_some());
        std::fs::write(&path, vec![b' '; 2 << 20]).expect("a file");
        let error = logins.for_host("a.b").await.expect_err("too large");
        assert!(matches!(error, RegistryError::LoginFile { .. }));
        assert!(Logins::new(None).for_host("a.b").await.expect("none").is_none());
    }
}
