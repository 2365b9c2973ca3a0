//! UDP: each client address has a socket of its own towards the plugin, so that answers find their way back.
//! It is closed when nothing has gone through for a while.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::sessions::{Activity, Sessions};
use crate::target::Target;

/// The largest datagram there is (RFC 768, RFC 791).
const LARGEST: usize = 65_535;
/// What waits in each session for the plugin's name to be looked up: datagrams, and bytes in all of them. More
/// are dropped.
const WAITING: usize = 256;
const WAITING_BYTES: usize = 192 << 10;
/// For how long an address of the plugin is taken for granted: its container may be another meanwhile.
const FRESH: Duration = Duration::from_secs(5);
/// A pause after the system refused to receive, so that this does not become a busy loop.
const PAUSE: Duration = Duration::from_millis(100);

/// Clients with a way to one port of the plugin.
pub(crate) type Clients = Sessions<(u16, SocketAddr), Inbox>;

/// What a client has sent and the plugin was not yet given.
#[derive(Debug, Clone)]
pub(crate) struct Inbox {
    datagrams: mpsc::Sender<Vec<u8>>,
    bytes: Arc<AtomicUsize>,
}

impl Inbox {
    /// Adds a datagram, or loses it, as datagrams may be.
    fn put(&self, datagram: &[u8]) {
        if self.bytes.load(Ordering::Relaxed).saturating_add(datagram.len()) > WAITING_BYTES {
            return;
        }
        self.bytes.fetch_add(datagram.len(), Ordering::Relaxed);
        if self.datagrams.try_send(datagram.to_vec()).is_err() {
            self.bytes.fetch_sub(datagram.len(), Ordering::Relaxed);
        }
    }
}

/// Takes datagrams until it is dropped.
pub(crate) async fn serve(near: UdpSocket, target: Target, port: u16, idle: Duration, open: Arc<Clients>) {
    let near = Arc::new(near);
    let mut datagram = vec![0; LARGEST];
    loop {
        let (length, client) = match near.recv_from(&mut datagram).await {
            Ok(received) => received,
            Err(_) => {
                // Such as an earlier answer that could not be delivered.
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let key = (port, client);
        let inbox = match open.get(&key).filter(|inbox| !inbox.datagrams.is_closed()) {
            Some(inbox) => inbox,
            None => {
                let (datagrams, waiting) = mpsc::channel(WAITING);
                let inbox = Inbox { datagrams, bytes: Arc::default() };
                let activity = open.open(key, inbox.clone());
                let (near, target, bytes) = (near.clone(), target.clone(), inbox.bytes.clone());
                let session = Session { near, client, target, port, idle, bytes };
                let open = open.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        // It ends when it was idle, or the plugin cannot be found: the next datagram begins
                        // another.
                        _ = session.run(waiting, &activity) => {}
                        () = activity.ended() => {}
                    }
                    open.close(&key, &activity);
                });
                inbox
            }
        };
        inbox.put(&datagram[..length]);
    }
}

struct Session {
    near: Arc<UdpSocket>,
    client: SocketAddr,
    target: Target,
    port: u16,
    idle: Duration,
    bytes: Arc<AtomicUsize>,
}

impl Session {
    async fn run(&self, mut waiting: mpsc::Receiver<Vec<u8>>, activity: &Activity) -> io::Result<()> {
        let far = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        let (mut address, mut found) = (None, Instant::now());
        let mut answer = vec![0; LARGEST];
        loop {
            let rest = self.idle.saturating_sub(activity.idle());
            tokio::select! {
                datagram = waiting.recv() => {
                    let Some(datagram) = datagram else { return Ok(()) };
                    self.bytes.fetch_sub(datagram.len(), Ordering::Relaxed);
                    if address.is_none() || found.elapsed() > FRESH {
                        let now = self.target.find(self.port).await.map_err(io::Error::other)?;
                        found = Instant::now();
                        if address != Some(now) {
                            // Only from there will answers be taken.
                            far.connect(now).await?;
                            address = Some(now);
                        }
                    }
                    activity.touch();
                    // Nobody listens there yet: the client will ask again.
                    let _ = far.send(&datagram).await;
                }
                length = far.recv(&mut answer), if address.is_some() => {
                    // An error is the plugin's refusal of an earlier datagram.
                    if let Ok(length) = length {
                        activity.touch();
                        let _ = self.near.send_to(&answer[..length], self.client).await;
                    }
                }
                () = tokio::time::sleep(rest) => {
                    if activity.idle() >= self.idle {
                        return Ok(());
                    }
                }
            }
        }
    }
}
