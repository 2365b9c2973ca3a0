//! How a verb fails.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// A cause from below.
pub type Cause = Box<dyn Error + Send + Sync>;

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // named as the verbs of the port
pub enum Verb {
    Info,
    Pull,
    Image,
    RemoveImage,
    ReadFile,
    ReadBack,
    HostEntry,
    EnsureNetwork,
    Network,
    RemoveNetwork,
    EnsureVolume,
    RemoveVolume,
    Create,
    SetOwner,
    Upload,
    Adjust,
    Start,
    Stop,
    Kill,
    Remove,
    Inspect,
    List,
    Logs,
    UsedPorts,
    DiskUsage,
    Events,
    Sweep,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "asking the container engine for its version",
            Self::Pull => "pulling image",
            Self::Image => "looking up image",
            Self::RemoveImage => "removing image",
            Self::ReadFile => "reading a file of image",
            Self::ReadBack => "reading a file of container",
            Self::HostEntry => "looking at a path of the host",
            Self::EnsureNetwork => "making network",
            Self::Network => "looking up network",
            Self::RemoveNetwork => "removing network",
            Self::EnsureVolume => "making volume",
            Self::RemoveVolume => "removing volume",
            Self::Create => "creating container",
            Self::SetOwner => "setting the owner of a folder in container",
            Self::Upload => "putting files into container",
            Self::Adjust => "putting right container",
            Self::Start => "starting container",
            Self::Stop => "stopping container",
            Self::Kill => "killing container",
            Self::Remove => "removing container",
            Self::Inspect => "inspecting container",
            Self::List => "listing the containers of installation",
            Self::Logs => "reading the log of container",
            Self::UsedPorts => "listing published ports",
            Self::DiskUsage => "measuring the disk used by the containers of installation",
            Self::Events => "following the containers of installation",
            Self::Sweep => "removing throw-away containers of installation",
        })
    }
}

/// Why a verb failed. `on` is the container, image, network, volume or installation; the engine's own
/// words are bounded and have no control characters.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nothing answers at the engine's socket, or the connection broke.
    #[error(
        "{doing} {on}: the container engine cannot be reached; check that it runs and that its socket is mounted"
    )]
    Unreachable {
        /// What was being done.
        doing: Verb,
        /// On what.
        on: String,
        /// What the connection said.
        #[source]
        source: Cause,
    },
    /// The engine did not answer in time; it may still do what was asked.
    #[error("{doing} {on}: the container engine did not answer within {} s", after.as_secs())]
    Timeout {
        /// What was being done.
        doing: Verb,
        /// On what.
        on: String,
        /// How long was waited.
        after: Duration,
    },
    /// Something that is needed does not exist.
    #[error("{doing} {on}: {message}")]
    NotFound {
        /// What was being done.
        doing: Verb,
        /// On what.
        on: String,
        /// What is missing, in the engine's words.
        message: String,
    },
    /// Something else holds the name, or is in a state in which this cannot be done.
    #[error("{doing} {on}: {message}")]
    Conflict {
        /// What was being done.
        doing: Verb,
        /// On what.
        on: String,
        /// What is in the way.
        message: String,
    },
    /// The engine said no.
    #[error("{doing} {on}: the container engine refused: {message}")]
    Refused {
        /// What was being done.
        doing: Verb,
        /// On what.
        on: String,
        /// HTTP status; 0 for an error in the middle of an answer.
        status: u16,
        /// The engine's words.
        message: String,
    },
    /// What was asked can never be done, and was not sent to the engine.
    #[error("{doing} {on}: {message}")]
    Invalid {
        /// What was being done.
        doing: Verb,
        /// On what.
        on: String,
        /// What is wrong with it.
        message: String,
    },
    /// Something in an image or a container is not what it must be, such as a link in place of a file.
    #[error("{doing} {on}: {path} is {found}, a regular file of at most {limit} bytes is needed")]
    NotPlain {
        /// What was being done.
        doing: Verb,
        /// On what.
        on: String,
        /// The path in the image.
        path: String,
        /// What lies there.
        found: &'static str,
        /// The most bytes that are read.
        limit: u64,
    },
    /// The engine's answer is not understood.
    #[error("{doing} {on}: the container engine's answer is not understood")]
    Broken {
        /// What was being done.
        doing: Verb,
        /// On what.
        on: String,
        /// Where it stopped making sense.
        #[source]
        source: Cause,
    },
}

impl EngineError {
    /// Whether the same call can succeed later without anything being changed.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } => true,
            Self::Refused { status, .. } => *status == 0 || *status >= 500,
            Self::NotFound { .. }
            | Self::Conflict { .. }
            | Self::Invalid { .. }
            | Self::NotPlain { .. }
            | Self::Broken { .. } => false,
        }
    }

    /// Whether the engine itself is away.
    pub const fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// Why a container did not start. It is left as it was, to be removed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port of the host is in use.
    #[error("{}", port_taken(*port, message))]
    PortTaken {
        /// Which, when the engine says so.
        port: Option<u16>,
        /// The engine's words.
        message: String,
    },
    /// The image's command does not exist or cannot be executed.
    #[error("the image's command cannot be run (exit code {code}): {message}")]
    BadCommand {
        /// 127 when it does not exist, 126 when it cannot be executed.
        code: i64,
        /// The engine's words.
        message: String,
    },
    /// One of its networks is gone.
    #[error("a network of the container does not exist: {message}")]
    MissingNetwork {
        /// The engine's words.
        message: String,
    },
    /// The engine has lost track of the container's process, as it can when it was killed: this container can never be
    /// started again, another one can.
    #[error("the engine cannot start this container any more: {message}")]
    Stuck {
        /// The engine's words.
        message: String,
    },
    /// Anything else.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

fn port_taken(port: Option<u16>, message: &str) -> String {
    match port {
        Some(port) => format!("port {port} of the host is already in use: {message}"),
        None => format!("a port of the host is already in use: {message}"),
    }
}

impl StartError {
    /// Whether the same start can succeed later without anything being changed.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::PortTaken { .. } => true,
            Self::BadCommand { .. } | Self::MissingNetwork { .. } | Self::Stuck { .. } => false,
            Self::Engine(error) => error.is_retryable(),
        }
    }

    /// Whether it is the fault of this very container, so that another one of the same kind may be started. A network
    /// that is missing for one that was made just now (`new`) is missing for the next one, too.
    pub const fn is_of_the_container(&self, new: bool) -> bool {
        match self {
            Self::Stuck { .. } => true,
            Self::MissingNetwork { .. } => !new,
            Self::PortTaken { .. } | Self::BadCommand { .. } | Self::Engine(_) => false,
        }
    }
}
