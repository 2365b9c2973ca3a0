//! The broker as its administrator sees it.

mod observe;
mod session;

use std::fmt;
use std::pin::Pin;
use std::str::FromStr;

use bus::{Bus, SubscribeError};

pub use observe::{ObserveError, Observed, everything, only, some};
pub use session::{Admin, AdminError};

/// A subscription that is not answered yet.
pub(crate) type Subscribing = Pin<Box<dyn Future<Output = Result<(), SubscribeError>> + Send>>;

/// Subscribes, for as long as it takes: this coordinator's rights are put right by itself, and it may be its own that
/// are not.
pub(crate) fn subscribe(bus: Bus, filters: Vec<String>) -> Subscribing {
    Box::pin(async move { bus.keep_subscribed(&filters).await })
}

/// The version of Mosquitto.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number.
    pub patch: u32,
}

impl Version {
    /// The first that replaces its file of logins whole; earlier ones can lose every login when they are
    /// killed while they write.
    pub const SAFE: Self = Self { major: 2, minor: 0, patch: 16 };

    /// The first that disconnects every client of a role whose rules are replaced.
    const DISCONNECTS: Self = Self { major: 2, minor: 1, patch: 0 };

    /// Whether the lines of its log about a connection that ends name the connection's address.
    pub fn tells_addresses(self) -> bool {
        self >= Self { major: 2, minor: 1, patch: 0 }
    }

    /// Whether replacing a role's rules disconnects the clients that have it. Of an unknown version it is
    /// assumed.
    pub fn disconnects_on_new_rules(version: Option<Self>) -> bool {
        version.is_none_or(|v| v >= Self::DISCONNECTS)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The text is not what Mosquitto says of its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not the version of a Mosquitto broker")]
pub struct NotAVersion;

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let numbers = text.trim().strip_prefix("mosquitto version ").ok_or(NotAVersion)?;
        let mut numbers = numbers.split(['.', '-', '+', ' ']).map(|n| n.parse().map_err(|_| NotAVersion));
        let mut next = || numbers.next().unwrap_or(Err(NotAVersion));
        Ok(Self { major: next()?, minor: next()?, patch: next()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_mosquitto_writes_them_and_compared_by_number() {
        let version = |text: &str| text.parse::<Version>();
        assert!(version("mosquitto version 2.0.11").expect("a version") < Version::SAFE);
        assert!(version("mosquitto version 2.0.21").expect("a version") > Version::SAFE);
        assert_eq!(version("mosquitto version 2.1.0-rc2").map(|v| v.to_string()).as_deref(), Ok("2.1.0"));
        for other in ["", "2.0.21", "mosquitto version", "mosquitto version 2.x", "emqx 5"] {
            assert_eq!(version(other), Err(NotAVersion), "{other}");
        }
        assert!(Version::disconnects_on_new_rules(None));
        assert!(Version::disconnects_on_new_rules(version("mosquitto version 2.1.2").ok()));
        assert!(!Version::disconnects_on_new_rules(version("mosquitto version 2.0.22").ok()));
    }
}
