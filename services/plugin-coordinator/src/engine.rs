//! The container engine, as this project sees it: a small port of the project's own verbs.
//!
//! Owns the verbs, what they take ([`spec`]), what they show ([`view`]) and how they fail ([`error`]).
//! The only implementation that talks to a real engine is [`docker`]; no type of its client library
//! leaves that module. [`fake`] is an engine in memory for tests and for simulation.
//!
//! Every verb is idempotent: what is already done is `Ok`, what is missing is `Ok(None)` or
//! [`Removal::Missing`]. Every verb is bounded by a timeout of its own. Dropping the future of a verb
//! abandons the wait, and leaves nothing behind that [`Engine::list`] or [`Engine::sweep`] does not find.

pub mod account;
mod check;
pub mod docker;
pub mod error;
pub mod fake;
pub mod image_ref;
pub mod label;
pub mod spec;
pub mod text;
pub mod view;

use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;

pub use docker::DockerEngine;
pub use error::{EngineError, StartError, Verb};
pub use image_ref::ImageRef;
pub use spec::{
    Attachment, Change, ContainerSpec, Device, Limits, Mount, MountSource, NetworkSpec, Owner, PortBinding,
    Protocol, RegistryLogin, Tmpfs, UploadFile,
};
pub use view::{
    Container, ContainerId, DiskUsage, EngineEvent, EngineInfo, EventAction, Exit, Health, HostEntry, Image,
    LogTail, Network, PublishedPort, PullProgress, Removal, State,
};

/// What every verb answers.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;

/// The events of one subscription. It ends with one error when the connection is lost; what happened
/// until the next subscription is lost for good, so the caller then lists everything.
pub type Events = BoxStream<'static, Result<EngineEvent>>;

/// A container engine. Containers are named by id or by name, wherever a `container` is asked for.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// Which engine answers, and how much room it has.
    async fn info(&self) -> Result<EngineInfo>;

    /// Pulls an image by its digest, telling `progress` whenever something moved. An error that the
    /// engine reports in the middle is an error. Dropping the future cancels the pull.
    async fn pull(
        &self,
        image: &ImageRef,
        login: Option<&RegistryLogin>,
        progress: &mut (dyn FnMut(PullProgress) + Send),
    ) -> Result<()>;

    /// An image that the engine holds, by id, tag or digest.
    async fn image(&self, reference: &str) -> Result<Option<Image>>;

    /// Removes an image, unless a container (running or not) is made from it.
    async fn remove_image(&self, reference: &str) -> Result<Removal>;

    /// A regular file inside an image, read without running anything. `None` when there is none.
    /// Links, devices, folders and files over `max_bytes` are refused: the image is a stranger's.
    async fn read_file(&self, image: &str, path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>>;

    /// A regular file in a container, running or not. `None` when there is none, or no such container. Links,
    /// devices, folders and files over `max_bytes` are refused: what runs in it may have put anything there.
    async fn read_back(&self, container: &str, path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>>;

    /// What lies at an absolute path of the engine's host, the last part not followed if it is a link. Its parent
    /// must not be the root. Any `image` will do; nothing of it is run.
    async fn host_entry(&self, image: &str, path: &str) -> Result<HostEntry>;

    /// Makes a bridge network, or makes sure that the existing one has the wanted rights. One of that
    /// name with other rights is a [`EngineError::Conflict`].
    async fn ensure_network(&self, spec: &NetworkSpec) -> Result<()>;

    /// The network of that name.
    async fn network(&self, name: &str) -> Result<Option<Network>>;

    /// Removes a network, unless a container is attached to it.
    async fn remove_network(&self, name: &str) -> Result<Removal>;

    /// Makes a volume; an existing one is left as it is.
    async fn ensure_volume(&self, name: &str, labels: &spec::Labels) -> Result<()>;

    /// Removes a volume with all its data, unless a container (running or not) mounts it.
    async fn remove_volume(&self, name: &str) -> Result<Removal>;

    /// Makes a container, hardened as [`ContainerSpec`] says, and does not start it. Its image and its
    /// networks must be there. A container of
    /// that name with the same [`label::START`] is the answer; any other is a [`EngineError::Conflict`].
    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId>;

    /// Gives the folder that is mounted at `target` in a created container to `owner`; what lies in it
    /// is left alone. Comes after `create`, which may copy the image's folder, and its owner, into an
    /// empty volume.
    async fn set_owner(&self, container: &str, target: &str, owner: Owner) -> Result<()>;

    /// Puts files into a created container; missing parent folders are made (root's, 0755).
    async fn upload(&self, container: &str, files: &[UploadFile]) -> Result<()>;

    /// Starts a created or exited container; running already is fine, and held is a [`EngineError::Conflict`].
    async fn start(&self, container: &str) -> Result<(), StartError>;

    /// Puts one thing of a container right; one that is right already is fine. That the engine did not keep it is
    /// a [`EngineError::Refused`].
    async fn adjust(&self, container: &str, change: &Change) -> Result<()>;

    /// Sends the stop signal, waits `grace`, then kills. `None` when there is no such container.
    async fn stop(&self, container: &str, grace: Duration) -> Result<Option<Exit>>;

    /// Kills at once. `None` when there is no such container.
    async fn kill(&self, container: &str) -> Result<Option<Exit>>;

    /// Kills and removes a container with its anonymous volumes; named volumes stay.
    async fn remove(&self, container: &str) -> Result<Removal>;

    /// One container as it is now.
    async fn inspect(&self, container: &str) -> Result<Option<Container>>;

    /// Every container, running or not, with that installation in [`label::INSTALLATION`], by name.
    async fn list(&self, installation: &str) -> Result<Vec<Container>>;

    /// The last lines that a container wrote to stdout and stderr, at most `tail_lines` and `max_bytes`.
    async fn logs(&self, container: &str, tail_lines: u32, max_bytes: usize) -> Result<LogTail>;

    /// Ports that running containers publish, whoever owns these. Other programs of the host are not
    /// seen: a port can still be taken at the start.
    async fn used_ports(&self) -> Result<Vec<PublishedPort>>;

    /// How much of the disk each running container with that installation in [`label::INSTALLATION`] uses, by name.
    /// Costly: the engine reads all its volumes.
    async fn disk_usage(&self, installation: &str) -> Result<Vec<DiskUsage>>;

    /// What happens to the containers of an installation from now on: an event after this call has
    /// returned is in the stream, however late that is polled.
    async fn events(&self, installation: &str) -> Result<Events>;

    /// Removes throw-away containers of this installation that an abandoned [`Engine::read_file`] left
    /// behind, and answers how many. To be called when no other call is running, so at start.
    async fn sweep(&self) -> Result<usize>;
}
