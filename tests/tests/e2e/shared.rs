//! What other programs of tests take over from the end-to-end tests.

pub mod runner;
#[expect(dead_code, reason = "the end-to-end tests use all of it")]
pub mod world;
