//! All routes of one plugin together.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

use crate::arguments::{Arguments, Protocol, Route};
use crate::target::Target;
use crate::tcp::{self, Connections};
use crate::udp::{self, Clients};

/// What clients may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// TCP connections at a time, over all routes.
    pub connections: usize,
    /// UDP clients at a time, over all routes.
    pub clients: usize,
    /// For how long a UDP client that says and hears nothing is remembered. At least two minutes, as RFC 4787
    /// section 4.3 asks of whoever stands between two ends.
    pub idle: Duration,
}

impl Default for Bounds {
    /// With all of them at their worst a forwarder needs about 50 MiB.
    fn default() -> Self {
        Self { connections: 512, clients: 128, idle: Duration::from_secs(120) }
    }
}

/// A port cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("port {}/{} cannot be listened on", route.listen, route.protocol)]
pub struct ListenError {
    /// Which.
    pub route: Route,
    /// Why.
    #[source]
    pub source: io::Error,
}

enum Listener {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

/// Routes whose ports are open.
pub struct Forwarder {
    target: Target,
    bounds: Bounds,
    listeners: Vec<(Route, SocketAddr, Listener)>,
}

impl Forwarder {
    /// Opens every port.
    ///
    /// # Errors
    /// One cannot be opened.
    pub async fn listen(arguments: &Arguments, target: Target, bounds: Bounds) -> Result<Self, ListenError> {
        let mut listeners = Vec::new();
        for route in &arguments.routes {
            let (address, listener) =
                open(route).await.map_err(|source| ListenError { route: *route, source })?;
            listeners.push((*route, address, listener));
        }
        Ok(Self { target, bounds, listeners })
    }

    /// Where each route listens.
    pub fn addresses(&self) -> impl Iterator<Item = (Route, SocketAddr)> {
        self.listeners.iter().map(|(route, address, _)| (*route, *address))
    }

    /// Forwards until it is dropped; then its ports are closed.
    pub async fn run(self) {
        let connections = Arc::new(Connections::new(self.bounds.connections));
        let clients = Arc::new(Clients::new(self.bounds.clients));
        let mut routes = JoinSet::new();
        for (route, _, listener) in self.listeners {
            let target = self.target.clone();
            match listener {
                Listener::Tcp(listener) => {
                    routes.spawn(tcp::serve(listener, target, route.port, connections.clone()))
                }
                Listener::Udp(socket) => {
                    routes.spawn(udp::serve(socket, target, route.port, self.bounds.idle, clients.clone()))
                }
            };
        }
        while routes.join_next().await.is_some() {}
    }
}

async fn open(route: &Route) -> io::Result<(SocketAddr, Listener)> {
    let at = (Ipv4Addr::UNSPECIFIED, route.listen);
    Ok(match route.protocol {
        Protocol::Tcp => {
            let listener = TcpListener::bind(at).await?;
            (listener.local_addr()?, Listener::Tcp(listener))
        }
        Protocol::Udp => {
            let socket = UdpSocket::bind(at).await?;
            (socket.local_addr()?, Listener::Udp(socket))
        }
    })
}
