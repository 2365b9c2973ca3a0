//! The message coordinator: the only one that administers the broker.
//!
//! It turns the spec of each plugin into roles, gives each start a login, and keeps the broker to that: the
//! broker's own file is a cache of what stands in this coordinator's database. It asks no container engine
//! and signs nothing.

mod settings;

pub mod accounts;
pub mod logins;
pub mod specs;

pub mod broker;

pub mod desired;
pub mod reconcile;

mod inbox;
mod keeper;
mod report;

mod proof;
mod watch;

mod handler;
mod service;

pub use service::MessageCoordinator;
pub use settings::Settings;
