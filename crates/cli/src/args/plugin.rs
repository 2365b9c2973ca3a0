//! `plugin …` as it is typed.

use std::path::PathBuf;

use clap::{Args as Group, Subcommand};
use envelope::PluginId;
use envelope::payload::lifecycle::LogsRequest;

use super::parse::control_command;

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
    /// Replace a plugin's image; when the new version does not get ready, the old one is brought back
    Update(Update),
    /// Bring back what a plugin was before its last update: image, manifest, configuration and grants
    Rollback(Id),
    /// Replace a plugin's configuration, or take it away; a plugin that runs is restarted with the new one
    Config(Config),
    /// List all plugins and how they are
    #[command(visible_alias = "ls")]
    List,
    /// Show everything about one plugin
    Inspect(Id),
    /// Show the last lines that a plugin wrote
    Logs(Logs),
    /// Send a plugin a control command
    Control(Control),
    /// Show what a plugin may do beyond its own topics, who approved it, and what waits for approval
    Grants(Id),
    /// Approve what an installed plugin waits for
    Approve(Approve),
    /// Take one grant back; a plugin that runs is restarted without it, or stopped
    RevokeGrant(RevokeGrant),
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
from /plugin.json in the image. When the plugin asks for more than its own namespace, the list of it is
shown and, on a terminal, asked about. Elsewhere the command exits 5; repeat it with --approve and the
digest shown to approve exactly that.")]
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
#[command(after_help = "\
Without an image the one that was asked for before is looked up again, as its tag may have moved; with
--manifest alone it is the one that the manifest names. The new version is fetched and made ready before the
old one is stopped. Data stays, and so does the configuration unless --config is given. When the new version asks for
more than the old one has, the old one runs on, and what is asked for is shown and approved as for an install.")]
pub(crate) struct Update {
    /// The plugin's id
    #[arg(value_parser = PluginId::parse)]
    pub(crate) id: PluginId,
    /// The new image: registry/name:tag or registry/name@sha256:…
    pub(crate) source: Option<String>,
    /// The new manifest (plugin.json), for an image that does not carry its own
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
    /// A new configuration (JSON)
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Approve exactly what an earlier update listed under this digest
    #[arg(long, value_name = "DIGEST")]
    pub(crate) approve: Option<String>,
}

#[derive(Debug, Group)]
pub(crate) struct Config {
    /// The plugin's id
    #[arg(value_parser = PluginId::parse)]
    pub(crate) id: PluginId,
    /// The new configuration (JSON), delivered to the plugin as /config/plugin.json
    #[arg(long, value_name = "FILE", required_unless_present = "clear", conflicts_with = "clear")]
    pub(crate) file: Option<PathBuf>,
    /// Take the configuration away
    #[arg(long)]
    pub(crate) clear: bool,
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
          default_value_t = LogsRequest::DEFAULT_TAIL)]
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
Without a digest, what waits for approval is shown and, on a terminal, asked about. With it, exactly what
was listed under that digest is approved, and nobody is asked.")]
pub(crate) struct Approve {
    /// The plugin's id
    #[arg(value_parser = PluginId::parse)]
    pub(crate) id: PluginId,
    /// The digest of what is approved, as `plugin grants` shows it
    pub(crate) digest: Option<String>,
}

#[derive(Debug, Group)]
pub(crate) struct RevokeGrant {
    /// The plugin's id
    #[arg(value_parser = PluginId::parse)]
    pub(crate) id: PluginId,
    /// The grant, as `plugin grants` shows it, such as device:/dev/ttyUSB0
    pub(crate) grant: String,
}
