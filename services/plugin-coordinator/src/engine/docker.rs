//! The port on a Docker engine. The only module that knows its client library.
//!
//! A connection is made at the first call and again after one broke, never at construction. The version
//! of the interface is negotiated at that moment: the newest that both sides know.

mod adjust;
mod archive;
mod connection;
mod create;
mod disk;
mod fault;
mod follow;
mod host;
mod image;
mod lifecycle;
mod network;
mod observe;
mod volume;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::error::{StartError, Verb};
use super::spec::Labels;
use super::{
    Change, Container, ContainerId, ContainerSpec, DiskUsage, Engine, EngineInfo, Events, Exit, HostEntry,
    Image, ImageRef, LogTail, Network, NetworkSpec, Owner, PublishedPort, PullProgress, RegistryLogin,
    Removal, Result, UploadFile, check,
};
use connection::Connection;

/// Most calls only look something up.
const LOOK: Duration = Duration::from_secs(30);

/// Calls that move data on the engine's disk.
const CHANGE: Duration = Duration::from_secs(120);

/// A Docker engine at a local socket; clones share the connection.
#[derive(Debug, Clone)]
pub struct DockerEngine {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connection: Connection,
    /// The owner of the throw-away containers made here.
    installation: String,
    /// Where free room is measured: a caller in a container does not see the engine's own folder.
    storage: Option<PathBuf>,
    /// Old engines make two networks of one name when asked twice at once.
    networks: tokio::sync::Mutex<()>,
}

impl DockerEngine {
    /// The engine at a socket, such as `/var/run/docker.sock`. Nothing is opened yet.
    pub fn new(socket: impl Into<String>, installation: impl Into<String>) -> Self {
        Self::with_storage(socket, installation, None)
    }

    /// The same, measuring free room at `storage` when that is there: a path on the file system that holds the
    /// engine's images and volumes, such as a volume of a caller in a container, who does not see the engine's own
    /// folder.
    pub fn with_storage(
        socket: impl Into<String>,
        installation: impl Into<String>,
        storage: Option<PathBuf>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                connection: Connection::new(socket.into()),
                installation: installation.into(),
                storage,
                networks: tokio::sync::Mutex::new(()),
            }),
        }
    }

    fn connection(&self) -> &Connection {
        &self.shared.connection
    }
}

#[async_trait]
impl Engine for DockerEngine {
    async fn info(&self) -> Result<EngineInfo> {
        observe::info(self.connection(), self.shared.storage.as_deref()).await
    }

    async fn pull(
        &self,
        image: &ImageRef,
        login: Option<&RegistryLogin>,
        progress: &mut (dyn FnMut(PullProgress) + Send),
    ) -> Result<()> {
        image::pull(self.connection(), image, login, progress).await
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>> {
        check::reference(Verb::Image, reference)?;
        image::look_up(self.connection(), reference).await
    }

    async fn remove_image(&self, reference: &str) -> Result<Removal> {
        check::reference(Verb::RemoveImage, reference)?;
        image::remove(self.connection(), reference).await
    }

    async fn read_file(&self, image: &str, path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>> {
        check::reference(Verb::ReadFile, image)?;
        check::path(Verb::ReadFile, image, path)?;
        archive::read_file(self.clone(), image.to_owned(), path.to_owned(), max_bytes).await
    }

    async fn read_back(&self, container: &str, path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>> {
        check::name(Verb::ReadBack, container)?;
        check::path(Verb::ReadBack, container, path)?;
        archive::read_back(self.connection(), container, path, max_bytes).await
    }

    async fn host_entry(&self, image: &str, path: &str) -> Result<HostEntry> {
        check::reference(Verb::HostEntry, image)?;
        check::path(Verb::HostEntry, path, path)?;
        host::entry(self.clone(), image.to_owned(), path.to_owned()).await
    }

    async fn ensure_network(&self, spec: &NetworkSpec) -> Result<()> {
        check::name(Verb::EnsureNetwork, &spec.name)?;
        let _one_at_a_time = self.shared.networks.lock().await;
        network::ensure(self.connection(), spec).await
    }

    async fn network(&self, name: &str) -> Result<Option<Network>> {
        check::name(Verb::Network, name)?;
        network::look_up(self.connection(), Verb::Network, name).await
    }

    async fn remove_network(&self, name: &str) -> Result<Removal> {
        check::name(Verb::RemoveNetwork, name)?;
        network::remove(self.connection(), name).await
    }

    async fn ensure_volume(&self, name: &str, labels: &Labels) -> Result<()> {
        check::name(Verb::EnsureVolume, name)?;
        volume::ensure(self.connection(), name, labels).await
    }

    async fn remove_volume(&self, name: &str) -> Result<Removal> {
        check::name(Verb::RemoveVolume, name)?;
        volume::remove(self.connection(), name).await
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId> {
        check::spec(spec)?;
        create::create(self.connection(), spec).await
    }

    async fn set_owner(&self, container: &str, target: &str, owner: Owner) -> Result<()> {
        check::name(Verb::SetOwner, container)?;
        check::path(Verb::SetOwner, container, target)?;
        archive::set_owner(self.connection(), container, target, owner).await
    }

    async fn upload(&self, container: &str, files: &[UploadFile]) -> Result<()> {
        check::name(Verb::Upload, container)?;
        check::uploads(container, files)?;
        archive::upload(self.connection(), container, files).await
    }

    async fn start(&self, container: &str) -> Result<(), StartError> {
        check::name(Verb::Start, container)?;
        lifecycle::start(self.connection(), container).await
    }

    async fn adjust(&self, container: &str, change: &Change) -> Result<()> {
        check::name(Verb::Adjust, container)?;
        check::change(container, change)?;
        adjust::adjust(self.connection(), container, change).await
    }

    async fn stop(&self, container: &str, grace: Duration) -> Result<Option<Exit>> {
        check::name(Verb::Stop, container)?;
        lifecycle::stop(self.connection(), container, grace).await
    }

    async fn kill(&self, container: &str) -> Result<Option<Exit>> {
        check::name(Verb::Kill, container)?;
        lifecycle::kill(self.connection(), container).await
    }

    async fn remove(&self, container: &str) -> Result<Removal> {
        check::name(Verb::Remove, container)?;
        lifecycle::remove(self.connection(), Verb::Remove, container).await
    }

    async fn inspect(&self, container: &str) -> Result<Option<Container>> {
        check::name(Verb::Inspect, container)?;
        observe::inspect(self.connection(), Verb::Inspect, container).await
    }

    async fn list(&self, installation: &str) -> Result<Vec<Container>> {
        observe::list(self.connection(), installation).await
    }

    async fn logs(&self, container: &str, tail_lines: u32, max_bytes: usize) -> Result<LogTail> {
        check::name(Verb::Logs, container)?;
        follow::logs(self.connection(), container, tail_lines, max_bytes).await
    }

    async fn used_ports(&self) -> Result<Vec<PublishedPort>> {
        observe::used_ports(self.connection()).await
    }

    async fn disk_usage(&self, installation: &str) -> Result<Vec<DiskUsage>> {
        disk::usage(self.connection(), installation).await
    }

    async fn events(&self, installation: &str) -> Result<Events> {
        follow::events(self.clone(), installation.to_owned()).await
    }

    async fn sweep(&self) -> Result<usize> {
        archive::sweep(self.connection(), &self.shared.installation).await
    }
}
