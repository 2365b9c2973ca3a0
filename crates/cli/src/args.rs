//! The command line as it is typed: names, help texts, and checks that need no broker.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use envelope::PluginId;
use envelope::payload::login::Access;

const AFTER_HELP: &str = "\
Login:
  .bigskies/operator.env, looked for here and in the folders above, which `make up` leaves behind;
  over it the environment MQTT_HOST MQTT_PORT MQTT_USERNAME MQTT_PASSWORD;
  over both the options --host --port --username --password-file.

Exit codes:
  0    done
  1    the request failed: the error says why
  2    the command line, or a file named on it, cannot be used
  3    no login, the broker cannot be reached, or it refused the login
  4    no answer in time, or nobody listens
  5    the plugin asks for more than its own namespace and needs an approval
  130  interrupted

Examples:
  bigskies status
  bigskies plugin install registry.example.org/focuser:1.0.0 --id focuser
  bigskies plugin start focuser
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
    /// Port of the broker
    #[arg(long, global = true, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// The login, such as operator.operator
    #[arg(long, global = true, value_name = "LOGIN")]
    pub(crate) username: Option<String>,
    /// A file with the password, which never stands on the command line
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
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
    /// Look at what plugins may do at the broker
    #[command(subcommand)]
    Acl(Acl),
    /// Look at the tokens of plugins
    #[command(subcommand)]
    Token(Token),
    /// Print a script that completes this command line in a shell
    #[command(
        after_help = "For bash: bigskies completions bash > ~/.local/share/bash-completion/completions/bigskies"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Plugin {
    /// Register a plugin and pull its image
    Install(Install),
    /// Run a plugin and wait until it is ready
    Start(Id),
    /// Stop a plugin; its image, data and registration stay
    Stop(Id),
    /// Stop a plugin and start it again
    Restart(Id),
    /// Uninstall a plugin; its data stays unless --volumes is given
    Remove(Remove),
    /// List all plugins and how they are
    #[command(visible_alias = "ls")]
    List,
    /// Show everything about one plugin
    Inspect(Id),
    /// Show the last lines that a plugin wrote
    Logs(Logs),
    /// Send a plugin a control command
    Control(Control),
}

#[derive(Debug, Group)]
pub(crate) struct Id {
    /// The plugin's id
    #[arg(value_parser = PluginId::parse)]
    pub(crate) id: PluginId,
}

#[derive(Debug, Group)]
#[command(after_help = "\
The manifest is taken from --manifest, else from the image's label org.bigskies.plugin.manifest, else
from /plugin.json in the image. When the plugin asks for more than its own namespace, the command
exits 5 and lists what for; repeat it with --approve and the digest shown to approve exactly that.")]
pub(crate) struct Install {
    /// The image: registry/name:tag or registry/name@sha256:…
    pub(crate) source: String,
    /// The plugin's id; with --manifest the id in that file is the default
    #[arg(long, value_parser = PluginId::parse)]
    pub(crate) id: Option<PluginId>,
    /// The manifest (plugin.json), for an image that does not carry its own
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
    /// The plugin's configuration (JSON), delivered to it as /config/plugin.json
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Approve exactly what an earlier install listed under this digest
    #[arg(long, value_name = "DIGEST")]
    pub(crate) approve: Option<String>,
}

#[derive(Debug, Group)]
pub(crate) struct Remove {
    /// The plugin's id
    #[arg(value_parser = PluginId::parse)]
    pub(crate) id: PluginId,
    /// Delete the plugin's data too
    #[arg(long)]
    pub(crate) volumes: bool,
    /// Do not ask before data is deleted
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Logs {
    /// The plugin's id
    #[arg(value_parser = PluginId::parse)]
    pub(crate) id: PluginId,
    /// How many lines from the end, 1 to 1000
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000),
          default_value_t = envelope::payload::lifecycle::LogsRequest::DEFAULT_TAIL)]
    pub(crate) tail: u32,
}

#[derive(Debug, Group)]
#[command(after_help = "\
The message goes to bigskies/plugin/{id}/control/{command}. It is an envelope of type \"command\"
around the payload; with --raw it is the payload's bytes as they stand.")]
pub(crate) struct Control {
    /// The plugin's id
    #[arg(value_parser = PluginId::parse)]
    pub(crate) id: PluginId,
    /// The command: one or more topic levels, such as move or filter/select
    #[arg(value_parser = control_command)]
    pub(crate) command: String,
    /// What goes with it: JSON, or else text; an empty object when left out
    pub(crate) payload: Option<String>,
    /// Send the payload without an envelope
    #[arg(long)]
    pub(crate) raw: bool,
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
}

/// A time such as `90`, `90s`, `10m`, `1h`; bare numbers are seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "is no time; write it like 30s, 10m or 1h, up to 24h".to_owned();
    let (number, unit) = match text.as_bytes().last() {
        Some(b's') => (&text[..text.len() - 1], 1),
        Some(b'm') => (&text[..text.len() - 1], 60),
        Some(b'h') => (&text[..text.len() - 1], 3600),
        _ => (text, 1),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match number.checked_mul(unit) {
        Some(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err(wrong()),
    }
}

/// Levels below `control/`, none of them empty or a wildcard.
fn control_command(text: &str) -> Result<String, String> {
    let good = |level: &str| {
        !level.is_empty() && !level.contains(['+', '#']) && !level.chars().any(char::is_control)
    };
    if text.len() <= 256 && text.split('/').all(good) {
        Ok(text.to_owned())
    } else {
        Err("is no control command; write one or more names joined by /, without + and #".to_owned())
    }
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
    fn times_have_a_unit_or_are_seconds() {
        for (text, seconds) in [("90", 90), ("30s", 30), ("10m", 600), ("24h", 86_400)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "s", "0", "-1", "1d", "25h", "99999999999999999999", "18446744073709551615h", "1é"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_control_command_cannot_leave_its_levels_or_become_a_filter() {
        assert!(control_command("filter/select").is_ok());
        for text in ["", "/", "a//b", "a/", "#", "a/+", "a\n", &"x".repeat(300)] {
            assert!(control_command(text).is_err(), "{text:?}");
        }
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
}
