//! The framework on a container engine of its own, which is killed and stopped while plugins start. The engine has a
//! network of its own too: this program brings it up, runs itself once more in there, and ends it whatever comes of it.
#![expect(clippy::panic, reason = "a test fails by panicking, and says why")]

#[path = "e2e/shared.rs"]
mod e2e;

mod engine {
    pub mod own;

    mod restart;

    use super::e2e::runner::Case;

    /// All tests that end their engine.
    pub fn cases() -> Vec<Case> {
        restart::cases()
    }
}

fn main() -> std::process::ExitCode {
    if engine::own::is_here() || !e2e::runner::is_asked_for(&engine::cases()) {
        return e2e::runner::main(engine::cases());
    }
    engine::own::around_this_program()
}
