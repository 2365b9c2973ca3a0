//! What requests, responses, events and retained topics carry.

pub mod event;
pub mod health;
pub mod lifecycle;
pub mod login;
pub mod spec;
pub mod state;
pub mod token;
