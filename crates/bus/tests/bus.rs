//! The bus against a real broker.
#![expect(clippy::panic, reason = "a test fails by panicking, and says why")]

#[path = "bus/common.rs"]
mod common;
#[path = "bus/fake.rs"]
mod fake;
#[path = "bus/link.rs"]
mod link;
#[path = "bus/publish.rs"]
mod publish;
#[path = "bus/session.rs"]
mod session;
#[path = "bus/subscribe.rs"]
mod subscribe;
