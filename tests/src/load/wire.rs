//! As much of MQTT 5 as a plugin of the crowd speaks. A thousand ordinary clients would take more of the processors
//! than the framework that they are to put under load.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection. Dropping it cuts it.
#[derive(Debug)]
pub struct Wire {
    stream: BufReader<TcpStream>,
    packet: u16,
}

impl Wire {
    /// Connects with a clean session.
    ///
    /// # Errors
    /// The broker refuses, or is not there.
    pub async fn connect(port: u16, id: &str, user: &str, password: &str) -> Result<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(("127.0.0.1", port))).await??;
        stream.set_nodelay(true)?;
        let mut wire = Self { stream: BufReader::with_capacity(512, stream), packet: 0 };
        // MQTT, version 5, clean start with user and password, a minute between two messages at most, no properties.
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5, 0b1100_0010, 0, 60, 0];
        for text in [id, user, password] {
            put(&mut body, text.as_bytes())?;
        }
        wire.send(0x10, &body).await?;
        let (kind, body) = wire.receive().await?;
        ensure!(
            kind >> 4 == 2 && body.get(1) == Some(&0),
            "the broker answers to the connection: {kind:#x} {body:?}"
        );
        Ok(wire)
    }

    /// Subscribes with QoS 1.
    ///
    /// # Errors
    /// The broker refuses.
    pub async fn subscribe(&mut self, filter: &str) -> Result<()> {
        let mut body = self.next().to_vec();
        body.push(0);
        put(&mut body, filter.as_bytes())?;
        body.push(1);
        self.send(0x82, &body).await?;
        let body = self.answer(9).await?;
        ensure!(body.last().is_some_and(|code| *code < 0x80), "the broker refuses {filter}: {body:?}");
        Ok(())
    }

    /// Publishes with QoS 1, and returns the broker's reason code: 0 somebody is subscribed, 0x10 nobody.
    ///
    /// # Errors
    /// The connection ends before the answer.
    pub async fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<u8> {
        let mut body = Vec::with_capacity(payload.len() + topic.len() + 8);
        put(&mut body, topic.as_bytes())?;
        body.extend_from_slice(&self.next());
        body.push(0);
        body.extend_from_slice(payload);
        self.send(0x32, &body).await?;
        let body = self.answer(4).await?;
        Ok(body.get(2).copied().unwrap_or_default())
    }

    fn next(&mut self) -> [u8; 2] {
        self.packet = self.packet.checked_add(1).unwrap_or(1);
        self.packet.to_be_bytes()
    }

    /// The answer of that kind to the last packet; what the plugin is told meanwhile is acknowledged.
    async fn answer(&mut self, wanted: u8) -> Result<Vec<u8>> {
        loop {
            let (kind, body) = self.receive().await?;
            match kind >> 4 {
                found if found == wanted => {
                    ensure!(
                        body.get(..2) == Some(&self.packet.to_be_bytes()),
                        "an answer to another packet: {body:?}"
                    );
                    return Ok(body);
                }
                3 => self.acknowledge(kind, &body).await?,
                14 => bail!("the broker ends the connection: {body:?}"),
                _ => {}
            }
        }
    }

    async fn acknowledge(&mut self, kind: u8, body: &[u8]) -> Result<()> {
        let quality = kind >> 1 & 3;
        if quality != 1 {
            return Ok(());
        }
        let topic = body.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length)));
        let id =
            topic.and_then(|length| body.get(length + 2..length + 4)).context("a message is cut short")?;
        let id = id.to_vec();
        self.send(0x40, &id).await
    }

    async fn send(&mut self, kind: u8, body: &[u8]) -> Result<()> {
        let mut packet = vec![kind];
        let mut length = body.len();
        loop {
            #[expect(clippy::cast_possible_truncation, reason = "seven bits")]
            let part = (length % 128) as u8;
            length /= 128;
            packet.push(if length > 0 { part | 0x80 } else { part });
            if length == 0 {
                break;
            }
        }
        packet.extend_from_slice(body);
        timeout(PATIENCE, self.stream.write_all(&packet)).await.context("the broker takes nothing")??;
        Ok(())
    }

    async fn receive(&mut self) -> Result<(u8, Vec<u8>)> {
        let received = timeout(PATIENCE, async {
            let kind = self.stream.read_u8().await?;
            let (mut length, mut shift) = (0_usize, 0);
            loop {
                let part = self.stream.read_u8().await?;
                length |= usize::from(part & 0x7f) << shift;
                shift += 7;
                if part < 0x80 || shift > 21 {
                    break;
                }
            }
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body).await?;
            std::io::Result::Ok((kind, body))
        });
        Ok(received.await.context("the broker does not answer")??)
    }
}

fn put(body: &mut Vec<u8>, text: &[u8]) -> Result<()> {
    body.extend_from_slice(&u16::try_from(text.len())?.to_be_bytes());
    body.extend_from_slice(text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use testkit::{Broker, Client, Version};

    use super::*;

    #[tokio::test]
    async fn it_is_understood_by_a_broker_and_hears_whether_somebody_listens() {
        let broker = Broker::start().await;
        let mut wire = Wire::connect(broker.port(), "one", "x", "y").await.expect("connects");
        wire.subscribe("one/control/#").await.expect("subscribes");
        assert_eq!(wire.publish("one/health", b"well").await.expect("publishes"), 0x10);
        let mut other =
            Client::connect(broker.port(), ("x", "y"), "two", Version::V5).await.expect("connects");
        other.subscribe("one/health").await.expect("subscribes");
        other.publish("one/control/x", "do", 1, false).await.expect("publishes");
        assert_eq!(wire.publish("one/health", &[b'x'; 200]).await.expect("publishes"), 0);
        let heard = other.recv(Duration::from_secs(10)).await.expect("is delivered");
        assert_eq!(heard.payload.len(), 200);
    }
}
