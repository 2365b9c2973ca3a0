//! `docker.ports`: `[host address:][host port:]container port[/tcp|/udp]`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fault::{Findings, quoted};
use crate::read::Node;

const MAX_PORTS: usize = 64;
const FIX: &str = "write \"8080:8080\", \"127.0.0.1:8080:80/udp\" or \"8080\"";

/// How a port is spoken to.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Streams.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A port of the container that is published on the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Port {
    /// The host's address to publish on; loopback when the manifest names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
    /// The port on the host. A manifest that names one port only means the same on both sides.
    pub host_port: u16,
    /// The port in the container.
    pub container_port: u16,
    /// TCP or UDP.
    #[serde(default)]
    pub protocol: Protocol,
}

impl Port {
    /// The address to publish on: the manifest's, else loopback.
    pub fn host_address(&self) -> IpAddr {
        self.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// Whether other machines cannot reach it.
    pub fn is_loopback(&self) -> bool {
        self.host_address().to_canonical().is_loopback()
    }

    /// Whether both need the same port of the same host address.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        let (a, b) = (self.host_address().to_canonical(), other.host_address().to_canonical());
        self.host_port == other.host_port
            && self.protocol == other.protocol
            && (a == b || a.is_unspecified() || b.is_unspecified())
    }

    /// Takes the text of a manifest; the error is a reason.
    fn parse(text: &str) -> Result<Self, String> {
        let (address, protocol) = match text.rsplit_once('/') {
            None => (text, Protocol::Tcp),
            Some((address, protocol)) => match protocol.to_ascii_lowercase().as_str() {
                "tcp" => (address, Protocol::Tcp),
                "udp" => (address, Protocol::Udp),
                _ => return Err(format!("{} is neither tcp nor udp", quoted(protocol))),
            },
        };
        let (rest, container_port) = match address.rsplit_once(':') {
            None => (None, port(address)?),
            Some((rest, text)) => (Some(rest), port(text)?),
        };
        let (host_ip, host_port) = match rest {
            None => (None, container_port),
            Some(rest) => match rest.rsplit_once(':') {
                None => (None, port(rest)?),
                Some((ip, text)) => (Some(host_ip(ip)?), port(text)?),
            },
        };
        Ok(Self { host_ip, host_port, container_port, protocol })
    }
}

fn host_ip(text: &str) -> Result<IpAddr, String> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| format!("{} is not an IP address", quoted(text)))
}

fn port(text: &str) -> Result<u16, String> {
    if text.contains('-') {
        return Err(format!("{} is a range, and ports are published one by one", quoted(text)));
    }
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port > 0 => Ok(port),
        _ => Err(format!("{} is not a port number from 1 to 65535", quoted(text))),
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host_ip {
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:")?,
            Some(ip) => write!(f, "{ip}:")?,
            None => {}
        }
        write!(f, "{}:{}/{}", self.host_port, self.container_port, self.protocol)
    }
}

pub(super) fn read(node: &Node<'_>, found: &mut Findings) -> Vec<Port> {
    let mut ports: Vec<Port> = Vec::new();
    for item in node.list(found, MAX_PORTS) {
        let text = match item.value {
            serde_json::Value::Number(number) => {
                found.warn(&item.at, format!("is a number; it is taken as \"{number}\""));
                number.to_string()
            }
            _ => match item.text(found) {
                Some(text) => text.to_owned(),
                None => continue,
            },
        };
        match Port::parse(&text) {
            Err(reason) => found.fault(&item.at, reason, FIX),
            Ok(port) => match ports.iter().find(|other| other.conflicts_with(&port)) {
                Some(other) => {
                    let reason = format!("needs the same port of the host as {other}");
                    found.fault(&item.at, reason, "choose another host port, or leave one of them out");
                }
                None => ports.push(port),
            },
        }
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_docker_are_understood() {
        for (text, shown, loopback) in [
            ("8080:8080", "8080:8080/tcp", true),
            ("8080", "8080:8080/tcp", true),
            ("8081:80/UDP", "8081:80/udp", true),
            ("127.0.0.1:8080:80/udp", "127.0.0.1:8080:80/udp", true),
            ("127.8.0.1:1:1", "127.8.0.1:1:1/tcp", true),
            ("0.0.0.0:8080:80", "0.0.0.0:8080:80/tcp", false),
            ("[::1]:8080:80", "[::1]:8080:80/tcp", true),
            ("[::]:8080:80", "[::]:8080:80/tcp", false),
            ("::ffff:127.0.0.1:8080:80", "[::ffff:127.0.0.1]:8080:80/tcp", true),
            ("192.168.1.4:65535:1", "192.168.1.4:65535:1/tcp", false),
        ] {
            let port = Port::parse(text).expect(text);
            assert_eq!((port.to_string().as_str(), port.is_loopback()), (shown, loopback));
            assert_eq!(Port::parse(&port.to_string()).as_ref(), Ok(&port), "{text}");
        }
    }

    #[test]
    fn what_is_no_single_port_is_refused() {
        for (text, reason) in [
            ("8080-8090:80-90", "is a range"),
            ("8080-8090", "is a range"),
            ("", "not a port number"),
            ("0:80", "not a port number"),
            ("80:0", "not a port number"),
            ("65536:80", "not a port number"),
            ("+80:80", "not a port number"),
            (":80", "not a port number"),
            ("80:", "not a port number"),
            ("127.0.0.1::80", "not a port number"),
            ("localhost:80:80", "not an IP address"),
            ("999.0.0.1:80:80", "not an IP address"),
            ("80:80/sctp", "neither tcp nor udp"),
            ("80 :80", "not a port number"),
        ] {
            let error = Port::parse(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
