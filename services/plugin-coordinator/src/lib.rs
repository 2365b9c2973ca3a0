//! The plugin coordinator: the registry of plugins, their containers, their health.
//!
//! A handler records what is wanted and answers at once or later. One worker for each plugin moves it there:
//! observe, plan, one step, again. What was recorded is all that a restart needs to carry on.

pub mod settings;

pub mod operation;
pub mod record;
pub mod registrations;

pub mod engine;
pub mod registry;

pub mod plan;
pub mod policy;

mod admission;
mod adoption;
mod clock;
mod conduct;
mod context;
mod health;
#[cfg(feature = "drill")]
mod holds;
mod housekeeping;
mod leftovers;
mod peers;
mod places;
mod report;
mod step;
mod strays;
mod worker;

mod handler;
mod service;
#[cfg(test)]
mod simulation;
mod supervisor;

pub use service::PluginCoordinator;
