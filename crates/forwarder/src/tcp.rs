//! TCP: each connection of a client is one to the plugin. Each side can end its half of it while the other
//! goes on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::sessions::{Activity, Sessions};
use crate::target::{PATIENCE, Target};

/// Bytes that are read at a time in each direction.
const PIECE: usize = 16 << 10;
/// A pause after the system had no room for another connection, so that this does not become a busy loop.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections that are open, by their number.
pub(crate) type Connections = Sessions<u64, ()>;

/// Takes connections until it is dropped.
pub(crate) async fn serve(listener: TcpListener, target: Target, port: u16, open: Arc<Connections>) {
    let mut next = u64::from(port) << 48;
    loop {
        let near = match listener.accept().await {
            Ok((near, _)) => near,
            Err(error) => {
                eprintln!("no connection can be taken: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        next += 1;
        let (number, target, open) = (next, target.clone(), open.clone());
        let activity = open.open(number, ());
        tokio::spawn(async move {
            tokio::select! {
                // A client that leaves, a plugin that does not run: both sides see an end.
                _ = carry(near, &target, port, &activity) => {}
                () = activity.ended() => {}
            }
            open.close(&number, &activity);
        });
    }
}

async fn carry(mut near: TcpStream, target: &Target, port: u16, activity: &Activity) -> io::Result<()> {
    let address = target.find(port).await.map_err(io::Error::other)?;
    let connect = tokio::time::timeout(PATIENCE, TcpStream::connect(address));
    let mut far = connect.await.map_err(io::Error::other)??;
    // What a small message waits for is up to both ends, not to us in the middle.
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (near_read, near_write) = near.split();
    let (far_read, far_write) = far.split();
    tokio::try_join!(one_way(near_read, far_write, activity), one_way(far_read, near_write, activity))?;
    Ok(())
}

/// Carries what one side says to the other, and then that it has said everything.
async fn one_way(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, activity: &Activity) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = from.read(&mut piece).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        activity.touch();
        to.write_all(&piece[..length]).await?;
        activity.touch();
    }
}
