//! Where a registry may lead us: by a redirect, by an address for tokens, and by what its names resolve to.
//!
//! Never from TLS to none. Never to this machine, unless the registry is on it. Never to the machine's link or to
//! the addresses where clouds keep the credentials of a machine, whoever asks. Addresses are judged when a name
//! has been resolved and the connection goes to exactly those that were judged, so a name that changes its mind
//! in between gains nothing. Names that an operator has written into the configuration lead where they lead.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Action, Attempt};

/// Redirects that are followed.
const MOST_REDIRECTS: usize = 5;

/// Where clouds answer with a machine's credentials, beside the link-local ones.
const METADATA: [IpAddr; 3] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// What the registries of one client may reach.
#[derive(Debug, Clone)]
pub(super) struct Reach {
    /// Whether they are on this machine's loopback themselves.
    pub(super) loopback: bool,
    /// `host` or `host:port` in lower case, as an operator has written them down.
    pub(super) configured: BTreeSet<String>,
}

/// A name that leads where no registry may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Astray {
    name: String,
    address: IpAddr,
}

impl fmt::Display for Astray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = crate::engine::text::line(&self.name, 100);
        write!(f, "{} under the name {name}, where no registry may lead", self.address)
    }
}

impl Error for Astray {}

/// The name that led a request astray, if that is why it failed.
pub(super) fn led_astray<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Astray> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(astray) = error.downcast_ref() {
            return Some(astray);
        }
        cause = error.source();
    }
    None
}

impl Reach {
    /// Whether an address may be connected to.
    fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let never = match address {
            IpAddr::V4(v4) => {
                v4.is_link_local() || v4.is_broadcast() || v4.is_multicast() || v4.octets()[0] == 0
            }
            IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast(),
        };
        !never && !METADATA.contains(&address) && (self.loopback || !address.is_loopback())
    }

    /// Whether an operator has written down this very address.
    fn is_configured(&self, host: &str, port: Option<u16>) -> bool {
        let host = host.to_ascii_lowercase();
        match port {
            Some(port) => self.configured.contains(&format!("{host}:{port}")),
            None => self.configured.contains(&host),
        }
    }

    /// Whether an operator has written down this name: when it is resolved its port is not known.
    fn names(&self, host: &str) -> bool {
        let same =
            |written: &String| written.split(':').next().is_some_and(|name| name.eq_ignore_ascii_case(host));
        self.configured.iter().any(same)
    }

    /// Whether a request may go to `url` as far as that can be told before its name is resolved.
    fn admits(&self, url: &Url) -> bool {
        let Some(host) = url.host_str().map(|host| host.trim_end_matches('.')) else { return false };
        if self.is_configured(host, url.port()) {
            return true;
        }
        match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) => self.allows(address),
            Err(_) => {
                let here = host.is_empty() || host == "localhost" || host.ends_with(".localhost");
                self.loopback || !here
            }
        }
    }

    /// Whether a look-up may begin at the address of a registry.
    pub(super) fn may_begin_at(&self, base: &Url) -> bool {
        self.admits(base)
    }

    /// Whether a registry may send us on.
    pub(super) fn may_lead_to(&self, from: &Url, to: &Url) -> bool {
        let secure = to.scheme() == "https" || (to.scheme() == "http" && from.scheme() == "http");
        let anonymous = to.username().is_empty() && to.password().is_none();
        secure && anonymous && self.admits(to)
    }

    /// Follows a redirect where it may lead.
    pub(super) fn redirect(&self, attempt: Attempt<'_>) -> Action {
        let first = attempt.previous().first();
        let allowed = first.is_some_and(|first| self.may_lead_to(first, attempt.url()));
        if !allowed || attempt.previous().len() > MOST_REDIRECTS {
            return attempt.error("not allowed");
        }
        attempt.follow()
    }

    /// What may be connected to of what a name resolved to: all of it or nothing. A name that leads to good and
    /// bad addresses at once is up to no good.
    fn judge(&self, name: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Astray> {
        let astray = found.iter().find(|address| !self.allows(address.ip()));
        match astray.filter(|_| !self.names(name)) {
            Some(address) => Err(Astray { name: name.to_owned(), address: address.ip() }),
            None => Ok(found),
        }
    }
}

impl Resolve for Reach {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = Arc::new(self.clone());
        Box::pin(async move {
            let name = name.as_str();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name, 0)).await?.collect();
            let found = reach.judge(name.trim_end_matches('.'), found)?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public() -> Reach {
        Reach { loopback: false, configured: BTreeSet::from(["registry".to_owned()]) }
    }

    fn local() -> Reach {
        Reach { loopback: true, configured: BTreeSet::new() }
    }

    fn leads(reach: &Reach, from: &str, to: &str) -> bool {
        reach.may_lead_to(&from.parse().expect("a URL"), &to.parse().expect("a URL"))
    }

    #[test]
    fn a_registry_cannot_lead_to_this_machine_or_out_of_tls() {
        let hub = "https://registry.example/v2/";
        for to in
            ["https://cdn.example/x", "https://registry.example/y", "https://10.0.0.1/", "https://registry/"]
        {
            assert!(leads(&public(), hub, to), "{to}");
        }
        for to in [
            "http://cdn.example/",
            "https://127.0.0.1/",
            "https://localhost/",
            "https://a.localhost/",
            "https://169.254.169.254/",
            "https://[::1]/",
            "https://[fe80::1]/",
            "https://[fd00:ec2::254]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:169.254.169.254]/",
            "https://100.100.100.200/",
            "https://0/",
            "https://0x7f.1/",
            "https://2130706433/",
            "https://user@cdn.example/",
            "ftp://cdn.example/",
            "file:///etc/passwd",
            "https://localhost./",
        ] {
            assert!(!leads(&public(), hub, to), "{to}");
        }
        let aliased = Reach { loopback: false, configured: BTreeSet::from(["127.0.0.1:5000".to_owned()]) };
        assert!(leads(&aliased, hub, "https://127.0.0.1:5000/x"));
        assert!(!leads(&aliased, hub, "https://127.0.0.1:5001/x"));
        let own = "http://127.0.0.1:5000/v2/";
        for to in ["http://127.0.0.1:5001/", "https://cdn.example/", "http://localhost/"] {
            assert!(leads(&local(), own, to), "{to}");
        }
        for to in ["http://169.254.169.254/", "http://[fe80::1]/", "http://0.0.0.0/"] {
            assert!(!leads(&local(), own, to), "{to}");
        }
    }

    #[test]
    fn what_a_name_resolves_to_is_judged_as_a_whole() {
        let at = |ip: &str| SocketAddr::new(ip.parse().expect("an address"), 443);
        let good = vec![at("203.0.113.7"), at("2001:db8::1"), at("10.1.2.3")];
        assert_eq!(public().judge("cdn.example", good.clone()), Ok(good));
        for bad in
            ["127.0.0.1", "::1", "169.254.169.254", "fe80::1", "fd00:ec2::254", "0.0.0.0", "::ffff:7f00:1"]
        {
            let found = public().judge("cdn.example", vec![at("203.0.113.7"), at(bad)]);
            assert!(found.is_err_and(|astray| astray.address == at(bad).ip()), "{bad}");
            assert!(public().judge("Registry", vec![at(bad)]).is_ok(), "an operator wrote it down");
        }
        assert!(local().judge("localhost", vec![at("127.0.0.1"), at("::1")]).is_ok());
        assert!(local().judge("localhost", vec![at("169.254.169.254")]).is_err());
    }

    #[tokio::test]
    async fn a_name_is_resolved_to_what_may_be_connected_to() {
        let resolve = |reach: Reach| async move { reach.resolve("localhost".parse().expect("a name")).await };
        let error = resolve(public()).await.err().expect("it is this machine");
        assert!(led_astray(error.as_ref()).is_some(), "{error}");
        assert!(resolve(local()).await.expect("it is on it").next().is_some());
    }
}
