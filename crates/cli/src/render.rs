//! Text for people: harmless, aligned, calm.
//!
//! Renderers return plain `String`s in which [`ink`] has left invisible marks; only the
//! [`crate::screen`] knows whether they become colours. Everything that somebody else wrote goes
//! through [`clean`] or [`clean_lines`] first, which also leaves no such mark in it.

mod clean;
mod fields;
mod ink;
mod measure;
mod table;

pub(crate) use clean::{clean, clean_lines};
pub(crate) use fields::Fields;
pub(crate) use ink::{Ink, finish, ink};
pub(crate) use measure::{ago, bytes, lasting, lasting_exactly, shorten};
pub(crate) use table::Table;

use envelope::payload::health::HealthStatus;
use envelope::payload::state::{Phase, PluginHealth};

/// Every line of `text` with `indent` before it.
pub(crate) fn indented(text: &str, indent: &str) -> String {
    text.lines().map(|line| format!("{indent}{line}").trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// A phase in its colour.
pub(crate) fn phase(phase: Phase) -> String {
    let colour = match phase {
        Phase::Running => Ink::Good,
        Phase::Failed => Ink::Bad,
        Phase::Starting | Phase::Stopping | Phase::Removing => Ink::Warn,
        Phase::Stopped => Ink::Faint,
    };
    ink(colour, phase.as_str())
}

/// A plugin's health in its colour.
pub(crate) fn plugin_health(health: PluginHealth) -> String {
    let colour = match health {
        PluginHealth::Healthy => Ink::Good,
        PluginHealth::Degraded | PluginHealth::Stale => Ink::Warn,
        PluginHealth::Unhealthy => Ink::Bad,
        PluginHealth::Unknown => Ink::Faint,
    };
    ink(colour, health.as_str())
}

/// A coordinator's health in its colour.
pub(crate) fn health_status(status: HealthStatus) -> String {
    let colour = match status {
        HealthStatus::Healthy => Ink::Good,
        HealthStatus::Degraded => Ink::Warn,
        HealthStatus::Unhealthy => Ink::Bad,
    };
    ink(colour, status.as_str())
}
