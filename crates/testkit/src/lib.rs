//! Real parts for tests: brokers, registries, engines, and waiting without sleeping.
//!
//! For development only. Whatever a test needs and cannot get fails the test and says what to run;
//! nothing here skips. Processes run on loopback with their files in a temporary folder, and end
//! with the value that stands for them.
#![expect(clippy::panic, reason = "a test fails by panicking, and says why")]

mod broker;
mod certificate;
mod client;
mod engine;
mod eventually;
mod identities;
mod process;
mod registry;
mod room;

pub use broker::{Broker, BrokerOptions};
pub use client::{Client, ClientOptions, Message, Publish, Refusal, Version};
pub use engine::engine;
pub use eventually::eventually;
pub use identities::Identities;
pub use process::free_port;
pub use registry::{Registry, htpasswd};
pub use room::Room;
