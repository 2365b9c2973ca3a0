//! The whole framework for one run of tests: brought up through the project's own files, beside whatever else
//! runs on this machine, and taken down with everything that came of it.
//!
//! What a test needs and cannot get fails it and says what to run.
#![expect(clippy::panic, reason = "a test fails by panicking, and says why")]

mod bring_up;
pub mod bystander;
pub mod command;
pub mod engine;
pub mod images;
pub mod ledger;
pub mod listener;
pub mod operator;
pub mod requester;
mod sweep;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use envelope::{Coordinator, PluginId};
use tempfile::TempDir;
use testkit::{Client, ClientOptions, Version, eventually};

use crate::repository::root;
use crate::stack::command::Run;

/// The framework's image of this name, with the tag that `deploy/build-images.sh` gives it.
pub fn image_of(name: &str) -> String {
    format!("bigskies/{name}:{}", env!("CARGO_PKG_VERSION"))
}

/// User and password of the registry that wants a login.
pub const REGISTRY_LOGIN: (&str, &str) = ("observer", "p+w/d~ä?");

/// How long coordinators may take to be healthy, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// The services of the compose file that are coordinators, with whom they are.
pub const COORDINATORS: [(&str, Coordinator); 3] = [
    ("plugin-coordinator", Coordinator::Plugin),
    ("security-coordinator", Coordinator::Security),
    ("message-coordinator", Coordinator::Message),
];

/// A running framework. [`Stack::clear`] ends it.
pub struct Stack {
    /// What all its names begin with.
    pub project: String,
    /// The id that its plugins' containers are labelled with.
    pub installation: String,
    /// Where the broker listens on this machine.
    pub mqtt_port: u16,
    /// Where the broker listens for encrypted connections, on loopback.
    pub tls_port: u16,
    environment: BTreeMap<String, String>,
    registry_port: u16,
    login_registry_port: u16,
    held_registry_port: u16,
    folder: TempDir,
}

impl Stack {
    /// Brings the framework up and waits until all coordinators are healthy. What earlier runs left behind
    /// because they were killed is swept away first.
    ///
    /// # Errors
    /// Something is missing, and the error says what to run; or it did not come up. Nothing is left then.
    pub async fn up() -> Result<Self> {
        bring_up::up().await
    }

    /// Ends everything that belongs to the framework of this process: services, plugins, data, networks, images.
    ///
    /// # Errors
    /// Something could not be removed.
    pub async fn clear() -> Result<()> {
        bring_up::clear().await
    }

    /// `docker compose` for this framework.
    pub fn compose<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Run {
        bring_up::compose(&self.environment, arguments)
    }

    /// A script of `deploy`, for this framework.
    pub fn script<'a>(&self, name: &str, arguments: impl IntoIterator<Item = &'a str>) -> Run {
        Run::new(root().join("deploy").join(name), arguments).env(&self.environment)
    }

    /// The operator's command line, as the images' build leaves it. It finds no login by itself.
    pub fn command_line<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Run {
        Run::new(root().join(".cache/bin/bigskies"), arguments).within(self.folder())
    }

    /// Login and password of the first operator, as they are now.
    ///
    /// # Panics
    /// They are not where `init` leaves them.
    pub fn operator(&self) -> (String, String) {
        bring_up::operator_login(&self.operator_folder().join("operator.env"))
            .unwrap_or_else(|e| panic!("{e:#}"))
    }

    /// The folder in which `init` leaves what operators need: `operator.env` and `ca.crt`.
    pub fn operator_folder(&self) -> PathBuf {
        self.folder.path().join("operator")
    }

    /// The temporary folder of this run.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder in which the plugin coordinator looks for logins of registries.
    pub fn registry_logins(&self) -> PathBuf {
        self.operator_folder().join("registry")
    }

    /// The registry without a login, as images on it begin.
    pub fn registry(&self) -> String {
        format!("127.0.0.1:{}", self.registry_port)
    }

    /// The registry that wants [`REGISTRY_LOGIN`].
    pub fn login_registry(&self) -> String {
        format!("127.0.0.1:{}", self.login_registry_port)
    }

    /// The registry without a login once more, as coordinators see it. The engine comes to this port of this
    /// machine for it, where nobody answers: a test that does can hold up what is pulled.
    pub fn held_registry(&self) -> String {
        format!("127.0.0.1:{}", self.held_registry_port)
    }

    /// The name of a service's container.
    pub fn container(&self, service: &str) -> String {
        format!("{}-{service}-1", self.project)
    }

    /// A client of its broker, to be connected with a login.
    pub fn client(&self, version: Version) -> ClientOptions {
        let id = format!("test-{}", uuid::Uuid::new_v4().simple());
        Client::at(self.mqtt_port, id).version(version)
    }

    /// A client with the operator's login.
    ///
    /// # Errors
    /// The broker refuses it.
    pub async fn operator_client(&self, version: Version) -> Result<Client> {
        let (user, password) = self.operator();
        let connected = self.client(version).login(user, password).connect().await;
        connected.context("the operator cannot connect to the broker")
    }

    /// The container of a plugin, as `docker inspect` shows it, if there is one.
    ///
    /// # Errors
    /// The engine cannot be asked.
    pub async fn plugin_container(&self, id: &PluginId) -> Result<Option<serde_json::Value>> {
        let found = self.containers_of(id, "plugin").await?;
        anyhow::ensure!(found.len() < 2, "{id} has more than one container: {found:?}");
        match found.first() {
            Some(container) => engine::inspect(container).await,
            None => Ok(None),
        }
    }

    /// The ids of a plugin's containers with this role: `plugin`, or `forwarder` for what carries its ports.
    ///
    /// # Errors
    /// The engine cannot be asked.
    pub async fn containers_of(&self, id: &PluginId, role: &str) -> Result<Vec<String>> {
        engine::containers(&[
            format!("label=org.bigskies.installation={}", self.installation),
            format!("label=org.bigskies.plugin_id={id}"),
            format!("label=org.bigskies.role={role}"),
        ])
        .await
    }

    /// A file of a service, as its container has it.
    ///
    /// # Errors
    /// There is no such file, or the engine cannot be asked.
    pub async fn file_of(&self, service: &str, path: &str) -> Result<Vec<u8>> {
        let place = self.folder().join(format!("copied-{}", uuid::Uuid::new_v4().simple()));
        let from = format!("{}:{path}", self.container(service));
        Run::docker(["cp", &from, &place.display().to_string()]).ok().await?;
        let content = std::fs::read(&place)?;
        std::fs::remove_file(&place)?;
        Ok(content)
    }

    /// The broker's own file of identities.
    ///
    /// # Errors
    /// It cannot be copied, or the broker is writing it.
    pub async fn identities(&self) -> Result<serde_json::Value> {
        let text = self.file_of("mqtt-broker", "/data/dynamic-security.json").await?;
        let whole: serde_json::Value =
            serde_json::from_slice(&text).context("the broker is writing its identities")?;
        anyhow::ensure!(whole["clients"].is_array(), "the broker's identities have no clients");
        Ok(whole)
    }

    /// Waits until each of these coordinators says itself that it is healthy.
    ///
    /// # Panics
    /// One is not healthy in time: with what they said last.
    pub async fn healthy(&self) {
        eventually(PATIENCE, || async {
            for (service, _) in COORDINATORS {
                let said = self.health_of(service).await;
                if said != "healthy" {
                    return Err(format!("{service}: {said}\n{}", self.log_tail(service).await));
                }
            }
            Ok(())
        })
        .await;
    }

    /// What a coordinator's `health` command says.
    pub async fn health_of(&self, service: &str) -> String {
        let (container, program) = (self.container(service), format!("/{service}"));
        let asked = Run::docker(["exec", &container, &program, "health"]).output().await;
        asked.map_or_else(|error| error.to_string(), |output| output.text.trim().to_owned())
    }

    /// The last lines of a service's log.
    pub async fn log_tail(&self, service: &str) -> String {
        let run = Run::docker(["logs", "--tail", "15", &self.container(service)]).output().await;
        run.map_or_else(|error| error.to_string(), |output| output.text)
    }
}
