//! What requests, responses, events and retained topics carry.

pub mod account;
pub mod audit;
pub mod event;
pub mod grant;
pub mod health;
pub mod lifecycle;
pub mod login;
pub mod spec;
pub mod state;
pub mod token;
pub mod watch;
