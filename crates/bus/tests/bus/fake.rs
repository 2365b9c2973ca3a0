//! A broker that misbehaves on purpose, in as few packets as it takes.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What is done about one PUBLISH.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// Acknowledged.
    Acknowledge,
    /// The connection is closed without a word.
    HangUp,
    /// The connection is closed with this reason.
    Disconnect(u8),
}

/// Listens on loopback, accepts every login, and treats each PUBLISH by the next answer, the last
/// one for ever. From the second connection on it says that it kept the session, or that it did
/// not. Tells the first byte of each PUBLISH.
pub async fn broker(keeps_session: bool, answers: &[Answer]) -> (u16, mpsc::UnboundedReceiver<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let (told, publishes) = mpsc::unbounded_channel();
    let mut answers = answers.to_vec();
    answers.reverse();
    tokio::spawn(async move {
        let mut known = false;
        while let Ok((mut stream, _)) = listener.accept().await {
            // An end of the stream is what these tests are about.
            let _ = serve(&mut stream, known && keeps_session, &mut answers, &told).await;
            known = true;
        }
    });
    (port, publishes)
}

async fn serve(
    stream: &mut TcpStream,
    session_present: bool,
    answers: &mut Vec<Answer>,
    told: &mpsc::UnboundedSender<u8>,
) -> std::io::Result<()> {
    packet(stream).await?;
    stream.write_all(&[0x20, 3, u8::from(session_present), 0, 0]).await?;
    loop {
        let (kind, body) = packet(stream).await?;
        if kind >> 4 == 14 {
            return Ok(());
        }
        if kind >> 4 != 3 {
            continue;
        }
        let _ = told.send(kind);
        let answer = if answers.len() > 1 { answers.pop() } else { answers.first().copied() };
        match answer.expect("at least one answer") {
            Answer::Acknowledge => {
                let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
                stream.write_all(&[0x40, 2, body[2 + topic], body[3 + topic]]).await?;
            }
            Answer::HangUp => return Ok(()),
            Answer::Disconnect(reason) => return stream.write_all(&[0xE0, 1, reason]).await,
        }
    }
}

async fn packet(stream: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await?;
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = stream.read_u8().await?;
        length |= usize::from(byte & 0x7F) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok((kind, body))
}
