//! What every engine keeps, checked on the fake and on the real one, and what only one of them has.
#![expect(clippy::panic, reason = "a test fails by panicking, and says why")]

mod docker;
mod fake;
mod hardening;
#[path = "../support/hostile.rs"]
mod hostile;
mod network_block;
#[path = "../support/push.rs"]
mod push;
mod subject;
mod suite;
