//! A correction of what the client library misreads.
//!
//! Mosquitto ends a connection with `E0 01 <reason>`: a DISCONNECT whose property length is left
//! out, which MQTT 5 allows (3.14.2.2.1: "if the Remaining Length is less than 2, a value of 0 is
//! used"). The library takes it for a half packet, waits for the rest, and sees the connection
//! close without a reason: take-overs, kicks and shutdowns would look alike. This stream completes
//! the packet to `E0 02 <reason> 00` and passes everything else on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// First byte of a DISCONNECT.
const DISCONNECT: u8 = 0xE0;

/// A stream whose DISCONNECT is always complete.
#[derive(Debug)]
pub(crate) struct Completed<S> {
    inner: S,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Following the packets, up to the DISCONNECT, which is the last.
    Following(Follower),
    /// Collecting the beginning of the DISCONNECT.
    Holding(Vec<u8>),
    /// Handing it on.
    Emitting(Vec<u8>),
    /// After it.
    Done,
}

impl<S> Completed<S> {
    pub(crate) const fn new(inner: S) -> Self {
        Self { inner, state: State::Following(Follower::Type) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Completed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match &mut this.state {
                State::Following(follower) => {
                    let before = buffer.filled().len();
                    ready!(Pin::new(&mut this.inner).poll_read(cx, buffer))?;
                    let new = &buffer.filled()[before..];
                    let Some(at) = follower.find_disconnect(new) else {
                        return Poll::Ready(Ok(()));
                    };
                    this.state = State::Holding(new[at..].to_vec());
                    buffer.set_filled(before + at);
                    if at > 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                State::Holding(held) => {
                    if is_decided(held) {
                        this.state = State::Emitting(completed(std::mem::take(held)));
                        continue;
                    }
                    let mut space = [0; 64];
                    let mut more = ReadBuf::new(&mut space);
                    ready!(Pin::new(&mut this.inner).poll_read(cx, &mut more))?;
                    if more.filled().is_empty() {
                        this.state = State::Emitting(std::mem::take(held));
                    } else {
                        held.extend_from_slice(more.filled());
                    }
                }
                State::Emitting(bytes) => {
                    let count = bytes.len().min(buffer.remaining());
                    buffer.put_slice(&bytes[..count]);
                    bytes.drain(..count);
                    if bytes.is_empty() {
                        this.state = State::Done;
                    }
                    return Poll::Ready(Ok(()));
                }
                State::Done => return Pin::new(&mut this.inner).poll_read(cx, buffer),
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Completed<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

/// Whether enough of the packet is there to know its form.
fn is_decided(held: &[u8]) -> bool {
    match held {
        [_, 1, ..] => held.len() >= 3,
        [_, _, ..] => true,
        _ => false,
    }
}

fn completed(mut held: Vec<u8>) -> Vec<u8> {
    if let [DISCONNECT, length @ 1, _reason, ..] = held.as_mut_slice() {
        *length = 2;
        held.insert(3, 0);
    }
    held
}

/// Knows where packets begin (MQTT 5, 2.1.1), without looking into them.
#[derive(Debug)]
enum Follower {
    /// Before the first byte of a packet.
    Type,
    /// Before a byte of its length; `bits` of `length` are known.
    Length { length: u64, bits: u32 },
    /// Inside, so many bytes before its end.
    Body(u64),
}

impl Follower {
    /// Follows the bytes; tells where in them a DISCONNECT begins.
    fn find_disconnect(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self {
                Self::Type if byte == DISCONNECT => return Some(at),
                Self::Type => {
                    *self = Self::Length { length: 0, bits: 0 };
                    at += 1;
                }
                Self::Length { length, bits } => {
                    // More than four bytes are malformed, and the library ends the connection.
                    let length = *length | u64::from(byte & 0x7F) << (*bits).min(56);
                    *self = match (byte & 0x80, length) {
                        (0, 0) => Self::Type,
                        (0, length) => Self::Body(length),
                        _ => Self::Length { length, bits: bits.saturating_add(7) },
                    };
                    at += 1;
                }
                Self::Body(rest) => {
                    let here = (bytes.len() - at) as u64;
                    if here < *rest {
                        *rest -= here;
                        return None;
                    }
                    at += usize::try_from(*rest).unwrap_or(usize::MAX);
                    *self = Self::Type;
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;

    use super::*;

    /// What comes out when the bytes arrive in pieces of these sizes.
    fn read(bytes: &[u8], pieces: &[usize]) -> Vec<u8> {
        let mut script = tokio_test::io::Builder::new();
        let mut rest = bytes;
        for &size in pieces {
            let (piece, later) = rest.split_at(size.clamp(1, rest.len().max(1)).min(rest.len()));
            if !piece.is_empty() {
                script.read(piece);
            }
            rest = later;
        }
        if !rest.is_empty() {
            script.read(rest);
        }
        let mut stream = Completed::new(script.build());
        let mut out = Vec::new();
        tokio_test::block_on(stream.read_to_end(&mut out)).expect("a scripted stream");
        out
    }

    #[test]
    fn a_short_disconnect_is_completed() {
        assert_eq!(read(&[0xE0, 1, 0x8E], &[]), [0xE0, 2, 0x8E, 0]);
        assert_eq!(read(&[0xE0, 1, 0x8E], &[1, 1, 1]), [0xE0, 2, 0x8E, 0]);
        assert_eq!(read(&[0xD0, 0, 0xE0, 1, 0x8B], &[3]), [0xD0, 0, 0xE0, 2, 0x8B, 0]);
    }

    #[test]
    fn everything_else_passes_unchanged() {
        let long = [&[0x30, 0x80, 0x01][..], &[0xE0; 128], &[0xE0, 2, 0x8E, 0]].concat();
        for bytes in [&[0xE0, 0][..], &[0xE0, 2, 0x98, 0], &[0xE0], &[0xE0, 1], &long] {
            assert_eq!(read(bytes, &[2]), bytes);
        }
    }

    proptest! {
        #[test]
        fn the_sizes_of_the_pieces_make_no_difference(
            bytes in proptest::collection::vec(prop_oneof![Just(0xE0), Just(1), any::<u8>()], 0..200),
            pieces in proptest::collection::vec(1_usize..20, 0..40),
        ) {
            prop_assert_eq!(read(&bytes, &pieces), read(&bytes, &[]));
        }
    }
}
