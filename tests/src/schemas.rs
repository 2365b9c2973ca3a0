//! The JSON Schemas (draft 2020-12) of everything that crosses the broker, generated from the Rust types.

mod document;
mod list;
mod text;

pub(crate) use document::pretty;
pub use document::{Document, What};
pub use list::all;
pub use text::{meanings, readme};
