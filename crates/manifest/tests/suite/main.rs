//! The crate as others see it.

#![allow(clippy::panic, reason = "a test may say why it cannot go on")]

mod samples;

mod filter_algebra;

mod config;
mod container_faults;
mod faults;
mod grants;
mod limits;
mod never_granted;
mod rating;
mod reading;

mod schema;

mod hostile;
