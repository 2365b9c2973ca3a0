//! The message coordinator on a real broker: what plugins can do follows their specs, whatever happens.
#![expect(clippy::panic, reason = "a test fails by panicking, and says why")]

#[path = "coordinator/accounts.rs"]
mod accounts;
#[path = "coordinator/adversity.rs"]
mod adversity;
#[path = "coordinator/drift.rs"]
mod drift;
#[path = "coordinator/life.rs"]
mod life;
#[path = "coordinator/proof.rs"]
mod proof;
#[path = "coordinator/site.rs"]
mod site;
#[path = "coordinator/watch.rs"]
mod watch;
