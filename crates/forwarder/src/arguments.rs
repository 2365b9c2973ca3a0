//! What a forwarder is told: to whom it forwards, and which ports.

use std::fmt;

/// How it is called.
pub const USAGE: &str = "usage: bigskies-forwarder --to NAME (--tcp LISTEN:PORT | --udp LISTEN:PORT)...

Hands on what arrives at each port LISTEN to the port PORT of NAME, which is looked up for each connection.";

/// Routes that one forwarder may have; a manifest has no more ports.
pub const MOST_ROUTES: usize = 64;

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP (RFC 9293).
    Tcp,
    /// UDP (RFC 768).
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

/// One port that leads to one port of the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Route {
    /// The protocol.
    pub protocol: Protocol,
    /// The port that is listened on; 0 lets the system choose.
    pub listen: u16,
    /// The plugin's port.
    pub port: u16,
}

/// The arguments, without faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    /// The plugin's name on the network.
    pub to: String,
    /// Its ports.
    pub routes: Vec<Route>,
}

/// Why the arguments cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Usage {
    /// An argument that does not exist.
    #[error("there is no argument {0:?}")]
    Unknown(String),
    /// An argument without its value.
    #[error("{0} needs a value")]
    NoValue(&'static str),
    /// `--to` is missing, or there twice.
    #[error("--to must be given once")]
    NotOneTarget,
    /// What `--to` names is no name.
    #[error("{0:?} is not a name on a network: letters, digits and . _ -, at most 253")]
    BadName(String),
    /// A route that is none.
    #[error("{0:?} is not LISTEN:PORT with two port numbers")]
    BadRoute(String),
    /// Two routes that listen on the same port.
    #[error("port {0} is listened on twice")]
    Twice(u16),
    /// No route, or too many.
    #[error("1 to {MOST_ROUTES} of --tcp and --udp are needed")]
    RouteCount,
}

impl Arguments {
    /// Reads arguments, without the program's own name in front.
    ///
    /// # Errors
    /// They cannot be used.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, Usage> {
        let mut arguments = arguments.into_iter();
        let mut to = None;
        let mut routes: Vec<Route> = Vec::new();
        while let Some(argument) = arguments.next() {
            let (key, protocol) = match argument.as_str() {
                "--to" => ("--to", None),
                "--tcp" => ("--tcp", Some(Protocol::Tcp)),
                "--udp" => ("--udp", Some(Protocol::Udp)),
                _ => return Err(Usage::Unknown(shortened(&argument))),
            };
            let value = arguments.next().ok_or(Usage::NoValue(key))?;
            let Some(protocol) = protocol else {
                if to.replace(name(&value)?).is_some() {
                    return Err(Usage::NotOneTarget);
                }
                continue;
            };
            let route = route(protocol, &value)?;
            let same = |other: &Route| (other.protocol, other.listen) == (route.protocol, route.listen);
            if route.listen != 0 && routes.iter().any(same) {
                return Err(Usage::Twice(route.listen));
            }
            if routes.len() == MOST_ROUTES {
                return Err(Usage::RouteCount);
            }
            routes.push(route);
        }
        if routes.is_empty() {
            return Err(Usage::RouteCount);
        }
        Ok(Self { to: to.ok_or(Usage::NotOneTarget)?, routes })
    }
}

fn name(text: &str) -> Result<String, Usage> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if (1..=253).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(text.to_owned());
    }
    Err(Usage::BadName(shortened(text)))
}

fn route(protocol: Protocol, text: &str) -> Result<Route, Usage> {
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let parsed = text.split_once(':').and_then(|(listen, port)| Some((number(listen)?, number(port)?)));
    match parsed {
        Some((listen, port)) if port != 0 => Ok(Route { protocol, listen, port }),
        _ => Err(Usage::BadRoute(shortened(text))),
    }
}

/// An error quotes no more than this.
fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, Usage> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_name_and_its_ports_are_read() {
        let read = parse("--tcp 10000:8080 --to bigskies-start-1 --udp 10000:53").expect("without faults");
        assert_eq!(read.to, "bigskies-start-1");
        let route = |protocol, port| Route { protocol, listen: 10000, port };
        assert_eq!(read.routes, [route(Protocol::Tcp, 8080), route(Protocol::Udp, 53)]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (line, error) in [
            ("", Usage::RouteCount),
            ("--to x", Usage::RouteCount),
            ("--tcp 1:2", Usage::NotOneTarget),
            ("--to x --to y --tcp 1:2", Usage::NotOneTarget),
            ("--to x --tcp", Usage::NoValue("--tcp")),
            ("--to x --tcp 1", Usage::BadRoute("1".into())),
            ("--to x --tcp 1:0", Usage::BadRoute("1:0".into())),
            ("--to x --tcp 1:65536", Usage::BadRoute("1:65536".into())),
            ("--to x --tcp +1:2", Usage::BadRoute("+1:2".into())),
            ("--to x --tcp 1:2:3", Usage::BadRoute("1:2:3".into())),
            ("--to x --tcp 1:2 --tcp 1:3", Usage::Twice(1)),
            ("--to x/y --tcp 1:2", Usage::BadName("x/y".into())),
            ("--help", Usage::Unknown("--help".into())),
        ] {
            assert_eq!(parse(line), Err(error), "{line}");
        }
        let many = (0..65).map(|n| format!("--tcp {}:80", 10000 + n)).collect::<Vec<_>>().join(" ");
        assert_eq!(parse(&format!("--to x {many}")), Err(Usage::RouteCount));
    }

    proptest::proptest! {
        #[test]
        fn any_arguments_are_read_or_refused(list in proptest::collection::vec("\\PC{0,12}|--tcp|--to|[0-9]{1,6}:[0-9]{1,6}", 0..8)) {
            let _ = Arguments::parse(list);
        }
    }
}
