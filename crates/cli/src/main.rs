//! `bigskies`, the operator's command line.
//!
//! It speaks MQTT and nothing else: requests go to
//! `bigskies/operator/{user}/request/{coordinator}/{operation}` and their answers come back to it, so
//! it works from anywhere the broker can be reached, with the rights of the login that it uses.
//!
//! # Login
//! The file `.bigskies/operator.env`, looked for in the current folder and those above it; over it
//! the environment (`MQTT_HOST`, `MQTT_PORT`, `MQTT_USERNAME`, `MQTT_PASSWORD`); over both the
//! options `--host`, `--port`, `--username`, `--password-file`.
//!
//! # Output
//! Results go to stdout, everything else (progress, notes, errors) to stderr. With `--json` a result
//! is the exact data of the coordinator's answer, and an error is one line
//! `{"error": {"code", "message", "details"}}`. Text that others wrote is shown with its control
//! characters made visible. Colours and moving progress appear on a terminal only; `NO_COLOR` is
//! respected.
//!
//! # Exit codes
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | the request failed: the error says why |
//! | 2 | the command line, or a file named on it, cannot be used |
//! | 3 | no login, the broker cannot be reached, or it refused the login |
//! | 4 | no answer in time, or nobody listens |
//! | 5 | the plugin asks for more than its own namespace and needs an approval |
//! | 130 | interrupted |

mod args;
mod command;
mod failure;
mod health;
mod login;
mod progress;
mod render;
mod request;
mod screen;
mod session;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    command::run(args::Args::parse())
}
