//! What Rust sources, manifests and documents are searched for.
//!
//! Each function takes a text and gives what it found there, so that a test can plant a violation and see it
//! found.

mod manifests;
mod rust;
mod words;

pub use manifests::{compose_services, forbids_unsafe, lacking_heading};
pub use rust::{Finding, SourceError, literals_outside_tests, macros, mentions};
pub use words::{foreign_words, slips};
