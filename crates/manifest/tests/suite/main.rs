//! The crate as others see it.

#![allow(clippy::panic, reason = "a test may say why it cannot go on")]

mod samples;

mod filter_algebra;

mod container_faults;
mod faults;
mod grants;
mod never_granted;
mod reading;

mod schema;

mod hostile;
