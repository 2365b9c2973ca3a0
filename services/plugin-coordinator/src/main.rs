//! The plugin coordinator's process.

use std::process::ExitCode;

fn main() -> ExitCode {
    chassis::run::<plugin_coordinator::PluginCoordinator>()
}
