//! The program against a real broker and a coordinator that does what the test tells it to.
#![expect(clippy::panic, reason = "a test fails by panicking, and says why")]

mod accounts;
mod approving;
mod asking;
mod failing;
mod looking;
mod operating;
mod stage;
mod terminal;
mod tls;
mod updating;
mod watching;
