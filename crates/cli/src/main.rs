//! `bigskies`, the operator's command line.
//!
//! It speaks MQTT and nothing else: requests go to
//! `bigskies/operator/{user}/request/{coordinator}/{operation}` and their answers come back to it, so
//! it works from anywhere the broker can be reached, with the rights of the login that it uses.
//!
//! # Login
//! The file `.bigskies/operator.env`, looked for in the current folder and those above it; over it
//! the environment (`MQTT_HOST`, `MQTT_PORT`, `MQTT_USERNAME`, `MQTT_PASSWORD`,
//! `MQTT_TLS_CA`); over both the options `--host`, `--port`, `--username`, `--password-file`, `--tls-ca`.
//! With CA certificates the connection is encrypted, the broker must have a certificate that they vouch for
//! and that names the host, and the port is 8883 unless another is given. A path in the login file is seen
//! from that file's folder.
//!
//! # Questions
//! Only somebody at a terminal is asked, and never with `--json`. Elsewhere a command says which option
//! takes the place of the answer.
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
//! | 1 | the request failed or is not allowed: the error says why; or a proof found a fault |
//! | 2 | the command line, or a file named on it, cannot be used |
//! | 3 | no login, the broker cannot be reached, or it refused the login |
//! | 4 | no answer in time, or nobody listens |
//! | 5 | the plugin asks for more than its own namespace, and that is not approved |
//! | 130 | interrupted |

mod approval;
mod args;
mod command;
mod failure;
mod health;
mod login;
mod progress;
mod prompt;
mod render;
mod request;
mod screen;
mod session;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    command::run(args::Args::parse())
}
