//! The plugin manifest (plugin.json): parsing, validation, and the algebra of MQTT topic filters.
//!
//! A manifest is a stranger's text. [`parse`] either gives a [`Manifest`] whose every value is checked, with
//! warnings for what is odd, or all [`Faults`] at once, each with its place, its reason and what to write
//! instead. No I/O happens here.

pub mod filter;

mod document;
mod fault;
mod read;

mod config_schema;
mod device;
mod docker;
mod names;
mod namespace;
mod path;
mod permission;
mod resources;

mod manifest;

mod grant;
pub mod rating;

mod schema;

pub use config_schema::{ConfigFault, MAX_CONFIG_BYTES};
pub use device::{Device, DeviceAccess};
pub use docker::{
    CONFIG_VARIABLE, Docker, NETWORK, OWN_VARIABLES, PLUGIN_FOLDERS, Port, Protocol, User, Volume,
    VolumeSource,
};
pub use document::{MAX_BYTES, MAX_DEPTH};
pub use envelope::payload::grant::Risk;
pub use fault::{Fault, Faults, MAX_LISTED, Warning};
pub use filter::{FilterError, TopicError, TopicFilter, TopicName};
pub use grant::{Grant, approval_digest};
pub use manifest::{
    Capabilities, Dependencies, HealthCheck, Manifest, Mqtt, Parsed, Topics, UiElement, parse, parse_value,
};
pub use names::{RESERVED_NAMES, dns_name, is_reserved_name};
pub use namespace::{Access, Namespace, Never, Verdict};
pub use permission::{Permission, PermissionError, Resource, Verb};
pub use rating::rating;
pub use resources::{ResourceKind, Resources};
pub use schema::schema;
pub use semver::Version;

/// The framework's own version, against which `min_framework_version` is compared.
pub fn framework_version() -> Version {
    Version::parse(env!("CARGO_PKG_VERSION")).expect("cargo accepts semantic versions only")
}
