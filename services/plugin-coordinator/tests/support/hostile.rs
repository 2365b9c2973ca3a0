//! A server that answers what no registry should.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// What is answered.
pub enum Answer {
    /// Status line, headers, body.
    Text(&'static str, Vec<(&'static str, String)>, String),
    /// A body without an end.
    Endless,
    /// Nothing at all.
    Silence,
}

type Choice = dyn Fn(&str, &str, SocketAddr) -> Answer + Send + Sync;

/// A running server; it ends with this value.
pub struct Hostile {
    pub address: SocketAddr,
    written: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
    task: AbortHandle,
}

impl Hostile {
    pub async fn start(choose: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_with_headers(move |path, _, _| choose(path)).await
    }

    pub async fn start_with_headers(
        choose: impl Fn(&str, &str, SocketAddr) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let written = Arc::new(AtomicU64::new(0));
        let choose: Arc<Choice> = Arc::new(choose);
        let count = written.clone();
        let asked = Arc::new(AtomicU64::new(0));
        let connections = asked.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                // A client that leaves in the middle is what is tested.
                tokio::spawn(serve(stream, choose.clone(), address, count.clone()));
            }
        });
        Self { address, written, asked, task: task.abort_handle() }
    }

    /// Connections that were made so far.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Bytes of bodies that were written so far.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    choose: Arc<Choice>,
    address: SocketAddr,
    written: Arc<AtomicU64>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    match choose(path, &head, address) {
        Answer::Text(status, headers, body) => {
            let headers: String =
                headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let answer = format!(
                "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await
        }
        Answer::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await?;
            loop {
                stream.write_all(&[b' '; 65_536]).await?;
                written.fetch_add(65_536, Ordering::Relaxed);
            }
        }
        Answer::Silence => {
            let _ = stream.read_u8().await;
            Ok(())
        }
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    let digest = digest(&SHA256, bytes);
    format!("sha256:{}", digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}
