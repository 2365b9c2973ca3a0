//! The command line as it is typed: names, help texts, and checks that need no broker.

mod audit;
mod operations;
mod operator;
mod parse;
mod plugin;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use envelope::PluginId;
use envelope::payload::login::Access;

pub(crate) use audit::Audit;
pub(crate) use operations::{Cancel, Operations};
pub(crate) use operator::{AddOperator, NewPasswordFrom, Operator, SetOperator};
use parse::duration;
pub(crate) use plugin::{Approve, Config, Control, Id, Install, Logs, Plugin, Remove, RevokeGrant, Update};

const AFTER_HELP: &str = "\
Login:
  .bigskies/operator.env, looked for here and in the folders above, which `make up` leaves behind;
  over it the environment MQTT_HOST MQTT_PORT MQTT_USERNAME MQTT_PASSWORD MQTT_TLS_CA;
  over both the options --host --port --username --password-file --tls-ca.

Exit codes:
  0    done
  1    the request failed or is not allowed: the error says why; or a proof found a fault
  2    the command line, or a file named on it, cannot be used
  3    no login, the broker cannot be reached, or it refused the login
  4    no answer in time, or nobody listens
  5    the plugin asks for more than its own namespace, and that is not approved
  130  interrupted

Examples:
  bigskies status
  bigskies plugin install registry.example.org/focuser:1.0.0 --id focuser
  bigskies plugin start focuser
  bigskies plugin update focuser registry.example.org/focuser:1.1.0
  bigskies plugin grants focuser
  bigskies operations
  bigskies operator add ann --role viewer
  bigskies audit --plugin focuser --since 2h
  bigskies --json plugin list | jq -r '.plugins[].plugin_id'";

/// Runs an observatory's plugins: installs them, starts and stops them, and tells how they are.
#[derive(Debug, Parser)]
#[command(name = "bigskies", version, after_help = AFTER_HELP, propagate_version = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Default, Group)]
#[command(next_help_heading = "Options for every command")]
pub(crate) struct Common {
    /// Print data for programs instead of text for people
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print results and errors only: no progress, no notes
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// How long to wait, such as 30s, 10m or 1h; each operation has its own default
    #[arg(long, global = true, value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Host name or address of the broker
    #[arg(long, global = true)]
    pub(crate) host: Option<String>,
    /// Port of the broker; 1883, or 8883 when the connection is encrypted
    #[arg(long, global = true, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// The login, such as operator.operator
    #[arg(long, global = true, value_name = "LOGIN")]
    pub(crate) username: Option<String>,
    /// A file with the password, which never stands on the command line
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Encrypt the connection; the certificates (PEM) by which the broker is trusted
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the coordinators and the plugins at a glance
    Status,
    /// Install, run and look at plugins
    #[command(subcommand)]
    Plugin(Plugin),
    /// Show what happens: phases, progress, health, refusals, each with its cause
    Events(Events),
    /// Show the operations on plugins: those that run, then those that have ended
    Operations(Operations),
    /// End an operation that runs; what it has done so far is undone
    Cancel(Cancel),
    /// Show who asked for what, and what came of it
    Audit(Audit),
    /// Look at the accounts of operators, and make, change and delete them
    #[command(subcommand)]
    Operator(Operator),
    /// Look at what plugins may do at the broker, and try it
    #[command(subcommand)]
    Acl(Acl),
    /// Show who is connected to the broker, and from where
    Sessions,
    /// Look at the tokens of plugins, and make them invalid
    #[command(subcommand)]
    Token(Token),
    /// Change the keys that tokens are signed with
    #[command(subcommand)]
    Key(Key),
    /// Print a script that completes this command line in a shell
    #[command(
        after_help = "For bash: bigskies completions bash > ~/.local/share/bash-completion/completions/bigskies"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Group)]
#[command(after_help = "\
Events are not kept: only what happens from now on can be shown. Without --follow the command ends
after 10 s, or the time given with --timeout.")]
pub(crate) struct Events {
    /// Go on until interrupted
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only what is about this plugin
    #[arg(long, value_name = "ID", value_parser = PluginId::parse)]
    pub(crate) plugin: Option<PluginId>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Acl {
    /// Tell whether a plugin may publish or subscribe to a topic, and by which rule
    Explain {
        /// The plugin's id
        #[arg(value_parser = PluginId::parse)]
        id: PluginId,
        /// What it would do
        access: AccessArg,
        /// The topic, or for subscribe the filter
        topic: String,
    },
    /// Try at the broker that no plugin can reach what is not its own; exits 1 when one can
    Proof,
}

/// [`Access`] as it is typed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum AccessArg {
    /// Send to the topic
    Publish,
    /// Hear what is sent to the topic
    Subscribe,
}

impl From<AccessArg> for Access {
    fn from(access: AccessArg) -> Self {
        match access {
            AccessArg::Publish => Self::Publish,
            AccessArg::Subscribe => Self::Subscribe,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Show the claims of a plugin's current token, never the token itself
    Show(Id),
    /// Make one token, or all tokens that a plugin has, invalid at once
    Revoke(RevokeToken),
}

#[derive(Debug, Group)]
#[group(id = "which_token", required = true, multiple = false)]
pub(crate) struct RevokeToken {
    /// All tokens of this plugin; it gets a new one when it is started again
    #[arg(long, value_name = "ID", value_parser = PluginId::parse)]
    pub(crate) plugin: Option<PluginId>,
    /// The one token of this id (jti), as `token show` has it; its plugin gets another at once
    #[arg(long)]
    pub(crate) jti: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Sign with the next key from now on; tokens signed before stay valid
    Rotate,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn options_for_every_command_may_follow_the_command() {
        let args =
            Args::try_parse_from(["bigskies", "plugin", "start", "focuser", "--json", "--timeout", "5m"])
                .expect("parses");
        assert!(args.common.json);
        assert_eq!(args.common.timeout, Some(Duration::from_secs(300)));
    }

    #[test]
    fn a_bad_id_is_a_usage_error_that_says_what_is_allowed() {
        let error = Args::try_parse_from(["bigskies", "plugin", "start", "a/b"]).expect_err("bad id");
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("A-Z a-z 0-9"), "{error}");
    }

    fn parsed(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(format!("bigskies {line}").split_whitespace())
    }

    #[test]
    fn a_password_is_asked_for_read_or_made_and_never_typed_on_the_command_line() {
        for line in [
            "operator add ann --role viewer",
            "operator add ann --role admin --generate",
            "operator add ann --role operator --password-stdin",
            "operator set ann --new-password",
            "operator set ann --generate",
            "operator set ann --role viewer --disable",
            "operator set ann --enable --new-password --generate",
        ] {
            assert!(parsed(line).is_ok(), "{line}");
        }
        for line in [
            "operator add ann",
            "operator add ann --role root",
            "operator add a/b --role viewer",
            "operator add ann --role viewer --password secret",
            "operator add ann --role viewer --generate --password-stdin",
            "operator set ann",
            "operator set ann --generate --password-stdin",
            "operator set ann --disable --enable",
        ] {
            assert_eq!(parsed(line).expect_err("not possible").exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn exactly_one_kind_of_token_is_revoked() {
        assert!(parsed("token revoke --plugin focuser").is_ok());
        assert!(parsed("token revoke --jti j-1").is_ok());
        for line in ["token revoke", "token revoke --plugin focuser --jti j-1", "token revoke focuser"] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_configuration_is_given_or_taken_away_and_an_update_needs_no_image() {
        for line in [
            "plugin config focuser --file a.json",
            "plugin config focuser --clear",
            "plugin update focuser",
            "plugin update focuser r/i:2 --manifest plugin.json --config a.json --approve sha256:ab",
        ] {
            assert!(parsed(line).is_ok(), "{line}");
        }
        for line in [
            "plugin config focuser",
            "plugin config focuser --clear --file a.json",
            "plugin update",
            "plugin rollback",
        ] {
            assert_eq!(parsed(line).expect_err("not possible").exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn operations_are_chosen_by_plugin_and_ended_by_their_id() {
        for line in [
            "operations",
            "operations --plugin focuser --limit 0",
            "operations -n 1000",
            "cancel 01936f1c-7a00-7000-8000-00000000000b",
        ] {
            assert!(parsed(line).is_ok(), "{line}");
        }
        for line in ["operations --limit 1001", "operations focuser", "cancel", "cancel focuser"] {
            assert_eq!(parsed(line).expect_err("not possible").exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn an_audit_takes_conditions_that_make_sense() {
        for line in ["audit", "audit --plugin focuser --since 2h --limit 1000 --coordinator security"] {
            assert!(parsed(line).is_ok(), "{line}");
        }
        for line in
            ["audit --limit 0", "audit --limit 1001", "audit --coordinator core", "audit --since soon"]
        {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
