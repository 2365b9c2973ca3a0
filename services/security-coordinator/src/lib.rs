//! The security coordinator: the only one that signs.
//!
//! It makes and keeps the signing keys, publishes their public halves and what is revoked, and sees to it
//! that every started plugin has a valid token on its own topic until it is stopped. It decides nothing about
//! what a plugin may do: the permissions come with the request to issue.

mod settings;

mod clock;
mod private;

mod keys;
mod revocations;
mod tokens;

mod authority;
mod handler;
mod refresh;
mod rotation;

mod service;

pub use clock::{Clock, SystemClock};
pub use service::SecurityCoordinator;
pub use settings::Settings;
