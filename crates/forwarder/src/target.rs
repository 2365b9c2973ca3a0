//! The plugin that is forwarded to, found by its name each time.
//!
//! The plugin's container may be made anew under the same name with another address. While it does not run,
//! its name may be asked of a name server outside, who can answer what it likes: so an answer counts only when
//! the address lies on a network that this program is on, see [`Subnets`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::subnet::Subnets;

/// How long a look-up of the name, and then a connection, may take. From a network without a way out a name
/// server is waited for in vain for 10 s.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The plugin's name.
#[derive(Debug, Clone)]
pub struct Target {
    name: Arc<str>,
    subnets: Arc<Subnets>,
}

/// Why the plugin cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Its name has no address; most likely it does not run.
    #[error("{0} has no address on this network")]
    NotFound(Arc<str>),
    /// Its name leads elsewhere.
    #[error("{name} leads to {address}, which is on no network of this forwarder")]
    Elsewhere {
        /// The name.
        name: Arc<str>,
        /// The first address that it leads to.
        address: SocketAddr,
    },
}

impl Target {
    /// The plugin of that name, when it lies in `subnets`.
    pub fn new(name: impl Into<Arc<str>>, subnets: Subnets) -> Self {
        Self { name: name.into(), subnets: Arc::new(subnets) }
    }

    /// Where `port` of it is now.
    ///
    /// # Errors
    /// It has no address, or one that is on no network of ours.
    pub async fn find(&self, port: u16) -> Result<SocketAddr, TargetError> {
        let look_up = tokio::net::lookup_host((&*self.name, port));
        let found = match tokio::time::timeout(PATIENCE, look_up).await {
            Ok(Ok(found)) => found.collect::<Vec<_>>(),
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        if let Some(address) = found.iter().find(|address| self.subnets.allow(address.ip())) {
            return Ok(*address);
        }
        match found.first() {
            Some(address) => Err(TargetError::Elsewhere { name: self.name.clone(), address: *address }),
            None => Err(TargetError::NotFound(self.name.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const LOOPBACK: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(127, 0, 0, 0), Ipv4Addr::new(255, 0, 0, 0));

    #[tokio::test]
    async fn a_name_that_leads_off_the_networks_is_not_followed() {
        let here = Target::new("localhost", Subnets::Only(vec![LOOPBACK]));
        assert_eq!(here.find(7).await.expect("it is here"), SocketAddr::from(([127, 0, 0, 1], 7)));
        let elsewhere = Target::new("localhost", Subnets::Only(vec![]));
        assert!(matches!(elsewhere.find(7).await, Err(TargetError::Elsewhere { .. })));
        // Loopback is on no network.
        let connected = Target::new("127.0.0.1", Subnets::Connected);
        assert!(matches!(connected.find(7).await, Err(TargetError::Elsewhere { .. })));
    }
}
