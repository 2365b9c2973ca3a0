//! The security coordinator's own program against a real broker with the real roles.

mod security {
    mod keys;
    mod stage;
    mod tokens;
}
