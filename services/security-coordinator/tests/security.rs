//! The security coordinator's own program against a real broker with the real roles.
#![expect(clippy::panic, reason = "a test fails by panicking, and says why")]

mod security {
    mod keys;
    mod stage;
    mod tokens;
}
