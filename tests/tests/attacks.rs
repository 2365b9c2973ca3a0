//! What attackers do, against the whole framework on real parts: what they try, and that it fails.
//!
//! Beside each attack stands the same attack with its defence taken away, in a module `without_the_defence`:
//! there it must succeed, else it would prove nothing. docs/security.md lists them all.
#![expect(clippy::panic, reason = "a test fails by panicking, and says why")]

#[path = "e2e/shared.rs"]
mod e2e;

mod attacks {
    mod arena;
    mod bystander;
    mod replica;

    mod archives;
    mod binds;
    mod broker;
    mod containers;
    mod floods;
    mod greed;
    mod manifests;
    mod requests;
    mod sessions;
    mod terminal;
    mod tokens;

    use super::e2e::runner::Case;

    /// All attacks, and their counterparts.
    pub fn cases() -> Vec<Case> {
        let mut cases = broker::cases();
        cases.extend(sessions::cases());
        cases.extend(requests::cases());
        cases.extend(tokens::cases());
        cases.extend(manifests::cases());
        cases.extend(archives::cases());
        cases.extend(binds::cases());
        cases.extend(containers::cases());
        cases.extend(greed::cases());
        cases.extend(floods::cases());
        cases.extend(terminal::cases());
        cases
    }
}

fn main() -> std::process::ExitCode {
    e2e::runner::main(attacks::cases())
}
