//! The roles on a real broker: what they allow is done, what they do not is refused, in MQTT 3.1.1 and 5.
#![expect(clippy::panic, reason = "a test fails by panicking, and says why")]

#[path = "bus/commands.rs"]
mod commands;
#[path = "bus/fixed.rs"]
mod fixed;
#[path = "bus/oracle.rs"]
mod oracle;
#[path = "bus/plugin.rs"]
mod plugin;
#[path = "bus/site.rs"]
mod site;
