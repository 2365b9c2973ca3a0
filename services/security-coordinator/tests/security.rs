//! The security coordinator's own program against a real broker with the real roles.
#![expect(clippy::panic, reason = "a test fails by panicking, and says why")]

mod security {
    mod clock;
    mod keys;
    mod requests;
    mod rest;
    mod revocation;
    mod rotation;
    mod soak;
    mod stage;
    mod tokens;
}
