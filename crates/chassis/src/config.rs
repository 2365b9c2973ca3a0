//! Configuration: defaults, then a file, then the environment, each over the one before.
//!
//! Every fault is named at once: a key that does not exist, a value of the wrong kind, a value that makes no
//! sense. Secrets are never in the configuration itself; it names the files that hold them.

mod load;
mod settings;

pub use load::{ConfigError, Fault, Loaded, load};
pub use settings::{BrokerLogin, BrokerSettings, Common, RequestSettings, Section};
