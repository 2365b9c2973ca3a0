//! Carries the published ports of one plugin that has no way out: the engine publishes the ports of this
//! program's container, and this program hands on what arrives to the plugin, on the network that both are
//! on.
//!
//! It is told what to do by its arguments alone, holds no secret, writes no file, and opens no connection to
//! anything but the plugin: see [`target`]. Whatever a client does, its memory, its open files and its threads
//! are bounded: see [`sessions`].

pub mod arguments;
pub mod subnet;
pub mod target;

pub mod sessions;

mod tcp;
mod udp;

mod forwarder;

pub use arguments::{Arguments, Protocol, Route, Usage};
pub use forwarder::{Bounds, Forwarder, ListenError};
pub use subnet::Subnets;
pub use target::{Target, TargetError};
