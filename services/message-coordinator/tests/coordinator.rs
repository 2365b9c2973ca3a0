//! The message coordinator on a real broker: what plugins can do follows their specs, whatever happens.
#![expect(clippy::panic, reason = "a test fails by panicking, and says why")]

#[path = "coordinator/adversity.rs"]
mod adversity;
#[path = "coordinator/drift.rs"]
mod drift;
#[path = "coordinator/life.rs"]
mod life;
#[path = "coordinator/site.rs"]
mod site;
