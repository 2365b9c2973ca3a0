//! Creates the secrets of an installation once, and starts the broker with its identities in place.

mod broker;
mod file;
mod identities;
mod layout;
mod operator;
mod secret;
mod secrets;
mod seed;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Exit code for arguments or configuration that cannot be used.
const BAD_USAGE: u8 = 64;

/// Creates the secrets of an installation once, and starts the broker with its identities in place.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Creates every password and key that is not there yet; run again, it changes nothing.
    Secrets(secrets::Arguments),
    /// Prints the id of this installation, which marks its containers, networks and volumes.
    Installation(secrets::VolumesArguments),
    /// Sees to identities that the broker can start with, then becomes the broker.
    Broker(BrokerArguments),
}

#[derive(Debug, clap::Args)]
struct BrokerArguments {
    /// The broker's program.
    #[arg(long, default_value = "/usr/sbin/mosquitto")]
    program: PathBuf,
    /// The broker's configuration.
    #[arg(long, default_value = "/etc/mosquitto.conf")]
    config: PathBuf,
    /// The file of the dynamic security plugin that the configuration names.
    #[arg(long, default_value = "/data/dynamic-security.json")]
    identities: PathBuf,
    /// What to start with when that file cannot be used.
    #[arg(long, default_value = "/secrets/dynamic-security.seed.json")]
    seed: PathBuf,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nowhere to tell when even this cannot be written.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(BAD_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let outcome = match arguments.command {
        Command::Secrets(arguments) => secrets::ensure(&arguments).map_err(anyhow::Error::from),
        Command::Installation(arguments) => {
            secrets::print_installation(&arguments).map_err(anyhow::Error::from)
        }
        Command::Broker(arguments) => start_broker(&arguments).map_err(anyhow::Error::from),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bigskies-init: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_broker(arguments: &BrokerArguments) -> Result<(), broker::BrokerError> {
    for line in broker::ensure_identities(&arguments.identities, &arguments.seed)? {
        eprintln!("bigskies-init: {line}");
    }
    match broker::become_broker(&arguments.program, &arguments.config)? {}
}
