//! The wire vocabulary of BIG SKIES: what coordinators, plugins and operators say to each other.
//!
//! No I/O happens here. Whatever crosses the broker is a type of this crate, and no other crate
//! spells a topic out.

pub mod id;
