//! Creates the secrets of an installation once, and starts the broker with its identities in place.

mod file;
mod layout;

mod login;
mod secret;
mod seed;
mod tls;

mod operator;
mod secrets;

mod administer;
mod rotate;

mod broker;
mod identities;

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
    /// Renews every generated secret while the framework runs, in three stages; see deploy/rotate.sh.
    Rotate(rotate::Arguments),
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
    /// Whether to listen for TLS connections too: 1 or 0.
    #[arg(long, env = "BIGSKIES_TLS", default_value = "0", value_parser = ["0", "1", ""])]
    tls: String,
    /// What is added to the configuration then.
    #[arg(long, default_value = "/etc/mosquitto-tls.conf")]
    tls_config: PathBuf,
    /// Where both together are kept.
    #[arg(long, default_value = "/data/mosquitto.conf")]
    whole_config: PathBuf,
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
        Command::Rotate(arguments) => rotate_secrets(&arguments),
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

fn rotate_secrets(arguments: &rotate::Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(rotate::run(arguments))?)
}

fn start_broker(arguments: &BrokerArguments) -> Result<(), broker::BrokerError> {
    for line in broker::ensure_identities(&arguments.identities, &arguments.seed)? {
        eprintln!("bigskies-init: {line}");
    }
    let config = if arguments.tls == "1" {
        broker::join_config(&arguments.config, &arguments.tls_config, &arguments.whole_config)?;
        &arguments.whole_config
    } else {
        &arguments.config
    };
    match broker::become_broker(&arguments.program, config)? {}
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
