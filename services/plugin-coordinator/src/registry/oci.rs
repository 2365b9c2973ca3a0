//! The port on registries that speak the OCI distribution protocol: what an image says of itself, in two
//! or three small requests, each bounded in size, all together bounded in time.

mod challenge;
mod document;
mod reach;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use tokio::sync::OnceCell;

use super::source::{Source, is_digest, is_loopback};
use super::{Logins, Registry, RegistryError, Resolved};
use crate::engine::RegistryLogin;
use document::{Configuration, Document};
use reach::Reach;
use session::Session;

/// The most bytes of a manifest, or of a list of them.
const MOST_MANIFEST: u64 = 1 << 20;

/// The most bytes of an image's configuration, which holds the labels.
const MOST_CONFIGURATION: u64 = 2 << 20;

/// How a registry is spoken to.
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// A docker `config.json` with logins.
    pub logins: Option<PathBuf>,
    /// Registries (`host` or `host:port`) that are spoken to without TLS. This machine's own always are.
    pub insecure: BTreeSet<String>,
    /// `host:port` as operators and the engine write it, to the one where this program reaches it: what
    /// is loopback to the engine is not in a container.
    pub aliases: BTreeMap<String, String>,
    /// The most bytes that the layers of an image may have, compressed.
    pub max_image_bytes: Option<u64>,
    /// The processor that images must be for, as registries write it; this program's own when `None`.
    pub architecture: Option<String>,
    /// How long a look-up may take.
    pub timeout: Duration,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            logins: None,
            insecure: BTreeSet::new(),
            aliases: BTreeMap::new(),
            max_image_bytes: None,
            architecture: None,
            timeout: Duration::from_secs(20),
        }
    }
}

/// Registries on the network. Clients are made at the first look-up, and shared.
#[derive(Debug)]
pub struct OciRegistry {
    settings: RegistrySettings,
    logins: Logins,
    with_tls: OnceCell<Client>,
    without_tls: OnceCell<Client>,
    on_loopback: OnceCell<Client>,
}

impl OciRegistry {
    /// Registries with these settings. Nothing is opened yet.
    pub fn new(settings: RegistrySettings) -> Self {
        let logins = Logins::new(settings.logins.clone());
        let (with_tls, without_tls, on_loopback) = Default::default();
        Self { settings, logins, with_tls, without_tls, on_loopback }
    }

    async fn session<'a>(&'a self, source: &'a Source) -> Result<Session<'a>, RegistryError> {
        let local = is_loopback(&source.host);
        let plain = local || self.settings.insecure.contains(&source.host);
        let cell = match (local, plain) {
            (true, _) => &self.on_loopback,
            (false, true) => &self.without_tls,
            (false, false) => &self.with_tls,
        };
        let reach = Reach { loopback: local, configured: self.configured() };
        let client = cell.get_or_try_init(|| client(plain, reach.clone())).await?;
        let usual = if source.host == "docker.io" { "registry-1.docker.io" } else { &source.host };
        let host = self.settings.aliases.get(&source.host).map_or(usual, String::as_str);
        let scheme = if plain { "http" } else { "https" };
        let base = format!("{scheme}://{host}/v2/{}/", source.path);
        let base: Url = base.parse().map_err(|_| RegistryError::InvalidReference {
            source_text: source.written.clone(),
            reason: "no address can be made of it",
        })?;
        if !reach.may_begin_at(&base) {
            return Err(RegistryError::Broken {
                host: source.host.clone(),
                what: "us to an address that is no registry's (it is of this machine's link, or a cloud's metadata)"
                    .to_owned(),
            });
        }
        let login = self.logins.for_host(&source.host).await?;
        Ok(Session::new(client, source, base, reach, login))
    }

    /// Registries that an operator has written down: where they lead is the operator's business.
    fn configured(&self) -> BTreeSet<String> {
        let written = self.settings.insecure.iter().chain(self.settings.aliases.values());
        written.map(|host| host.to_ascii_lowercase()).collect()
    }

    async fn look_up(&self, source: &Source) -> Result<Resolved, RegistryError> {
        let mut session = self.session(source).await?;
        let wanted = source.digest.as_deref().unwrap_or(&source.tag);
        let (document, found) = self.manifest(&mut session, source, wanted).await?;
        let manifest = match document {
            Document::Manifest(manifest) => manifest,
            Document::List(list) => {
                let digest = list.choose(source, self.architecture())?;
                match self.manifest(&mut session, source, &digest).await?.0 {
                    Document::Manifest(manifest) => manifest,
                    Document::List(_) => {
                        return Err(session.broken("a list of manifests inside of a list"));
                    }
                }
            }
        };
        let layers = manifest.layers(source, self.settings.max_image_bytes)?;
        let wanted = manifest.configuration();
        if !is_digest(wanted) {
            return Err(session.broken("a manifest without the digest of a configuration"));
        }
        let bytes = session.get(&format!("blobs/{wanted}"), "configuration", MOST_CONFIGURATION).await?;
        if sha256(&bytes) != wanted {
            return Err(session.broken("a configuration with another digest than its manifest says"));
        }
        let configuration =
            Configuration::parse(&bytes).ok_or_else(|| session.broken("a configuration that is none"))?;
        configuration.check(source, self.architecture())?;
        let reference =
            format!("{}@{found}", source.written).parse().map_err(|_| RegistryError::InvalidReference {
                source_text: source.written.clone(),
                reason: "the engine does not take it",
            })?;
        Ok(Resolved {
            reference,
            digest: found,
            total_bytes: layers.bytes,
            layers: layers.count,
            user: configuration.user(),
            labels: configuration.labels(source)?,
        })
    }

    /// A manifest by tag or digest, and the digest that it has.
    async fn manifest(
        &self,
        session: &mut Session<'_>,
        source: &Source,
        wanted: &str,
    ) -> Result<(Document, String), RegistryError> {
        let bytes = session.get(&format!("manifests/{wanted}"), "manifest", MOST_MANIFEST).await?;
        let found = sha256(&bytes);
        if is_digest(wanted) && found != wanted {
            return Err(session.broken("a manifest with another digest than was asked for"));
        }
        let document = Document::parse(&bytes).map_err(|what| session.broken(what))?;
        tracing::debug!(image = %source.written, digest = %found, "manifest read");
        Ok((document, found))
    }

    fn architecture(&self) -> &str {
        self.settings.architecture.as_deref().unwrap_or_else(|| own_architecture())
    }
}

#[async_trait]
impl Registry for OciRegistry {
    async fn resolve(&self, source: &str) -> Result<Resolved, RegistryError> {
        let source = Source::parse(source)?;
        match tokio::time::timeout(self.settings.timeout, self.look_up(&source)).await {
            Ok(answer) => answer,
            Err(_) => Err(RegistryError::Timeout { host: source.host, after: self.settings.timeout }),
        }
    }

    async fn login_for(&self, host: &str) -> Result<Option<RegistryLogin>, RegistryError> {
        self.logins.for_host(host).await
    }
}

/// Reading the certificates of authorities takes most of a second, so off the workers and only once.
async fn client(plain: bool, reach: Reach) -> Result<Client, RegistryError> {
    let build = move || {
        let builder = Client::builder()
            .user_agent(concat!("bigskies/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(8))
            .dns_resolver(Arc::new(reach.clone()))
            .redirect(Policy::custom(move |attempt| reach.redirect(attempt)));
        // No way to a registry beside this program leads through a proxy.
        if plain { builder.no_proxy() } else { builder.https_only(true) }.build()
    };
    match tokio::task::spawn_blocking(build).await {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(error)) => Err(RegistryError::NoClient { cause: Box::new(error) }),
        Err(error) => Err(RegistryError::NoClient { cause: Box::new(error) }),
    }
}

fn own_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

fn sha256(bytes: &[u8]) -> String {
    let digest = digest(&SHA256, bytes);
    let hex = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", hex.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_connects_to_no_name_that_resolves_to_this_machine_unless_its_registries_are_on_it() {
        let port = testkit::free_port();
        for (loopback, astray) in [(false, true), (true, false)] {
            let reach = Reach { loopback, configured: BTreeSet::new() };
            let client = client(true, reach).await.expect("a client");
            let answer = client.get(format!("http://localhost:{port}/")).send().await;
            let error = answer.expect_err("nothing answers there");
            assert_eq!(reach::led_astray(&error).is_some(), astray, "{error:?}");
        }
    }
}
