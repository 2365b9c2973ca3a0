//! What every coordinator is built on.
//!
//! A coordinator implements [`Service`] and is run by [`run`]: configuration, logs, store, both sessions with
//! the broker, request routing, retained topics, health, start and drain are here; what the coordinator
//! decides is its own.

pub mod config;
pub mod process;

pub mod service;

pub mod disk;
pub mod health;
pub mod publisher;

pub mod rate;

mod audit;
mod caller;
mod contained;
mod flood;
mod listening;
mod refusal;
mod replies;
mod router;
mod sessions;
mod turns;
mod watch;

pub use caller::{CallError, Caller};
pub use config::{Fault, Section};
pub use contained::{Panicked, contained, contained_blocking};
pub use health::HealthBoard;
pub use process::run;
pub use publisher::Publisher;
pub use replies::Replies;
pub use service::{Delivery, Parts, Permit, Reply, Request, Service, Shutdown};

/// The version of the framework, as manifests ask for it.
pub const FRAMEWORK_VERSION: &str = env!("CARGO_PKG_VERSION");
