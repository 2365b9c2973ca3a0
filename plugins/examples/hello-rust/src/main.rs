//! A plugin that shows all that a plugin does, and nothing else: it tells its health, answers
//! control messages, verifies the token it is given, and stops when it is told to.
//!
//! `hello-rust` runs the plugin; `hello-rust health` asks the running one how it is, for Docker.

mod backoff;
mod control;
mod health;
mod log;
mod plugin;
mod probe;
mod session;
mod settings;
mod token;
mod topics;

use std::process::ExitCode;

use serde_json::json;

use crate::settings::Settings;

/// Exit code for a command line that makes no sense (`EX_USAGE`).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let variable = |name: &str| std::env::var(name).ok();
    match std::env::args().nth(1).as_deref() {
        None => run(Settings::load(variable, |path| std::fs::read_to_string(path))),
        Some("health") => probe::ask(&settings::plugin_id(variable)),
        Some(other) => {
            eprintln!("hello-rust: unknown argument {other:?}; use none to run, or `health`");
            ExitCode::from(USAGE)
        }
    }
}

fn run(settings: Settings) -> ExitCode {
    // One thread is plenty for a plugin that mostly waits.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            log::error("cannot start", json!({"error": error.to_string()}));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(session::run(settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error("stopped by an error", json!({"error": error}));
            ExitCode::FAILURE
        }
    }
}
