//! The program against a real broker and a coordinator that does what the test tells it to.
#![expect(clippy::panic, reason = "a test fails by panicking, and says why")]

mod asking;
mod failing;
mod looking;
mod stage;
