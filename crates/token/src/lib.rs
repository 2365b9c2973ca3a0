//! JSON Web Tokens of plugins: signing keys, issuing and the one verifier.
//!
//! Every coordinator verifies through [`Verifier`], so that there is one place that decides what a
//! token must look like; only the security coordinator holds a [`SigningKey`]. The shapes on the
//! wire (claims, key sets, revocations) are those of `envelope::payload::token`.
//!
//! Nothing here reads a clock, a file or the network: time is an argument, in seconds since 1970.

mod key;
mod refusal;
pub mod scope;
mod strict;
mod verify;

pub use envelope::payload::token::{AUDIENCE, ISSUER, subject};
pub use key::{KeyError, SignError, SigningKey, thumbprint};
pub use refusal::{Part, Refusal};
pub use verify::{Expect, KeyFault, Verifier};

/// The `typ` of every token (RFC 9068 section 2.1).
pub const TYPE: &str = "at+jwt";

/// Largest token that is looked at, in bytes; anything longer is refused before it is decoded.
pub const MAX_BYTES: usize = 8 * 1024;

/// How far the clocks of issuer and verifier may be apart, in seconds.
pub const LEEWAY_SECONDS: i64 = 30;

/// Longest life of a token that a verifier accepts, in seconds: one day.
pub const MAX_LIFETIME_SECONDS: i64 = 24 * 60 * 60;
