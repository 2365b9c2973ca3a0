//! What the whole workspace is held to: its schemas, its documents, its shape.
//!
//! The schemas and parts of the documents are generated from the types, here, and compared by the tests in
//! `tests/tests`. `BIGSKIES_BLESS=1 cargo test -p tests` writes them.

pub mod repository;

pub mod schemas;

pub mod examples;
pub mod reference;
pub mod topics;

pub mod graph;

pub mod source;

pub mod stack;

pub mod drill;

pub mod load;
pub mod soak;
