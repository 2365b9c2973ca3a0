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
mod conduct;
mod context;
mod health;
mod leftovers;
mod peers;
mod report;
mod step;
mod worker;

mod handler;
mod service;
mod supervisor;

pub use service::PluginCoordinator;
