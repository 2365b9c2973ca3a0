//! As much of HTTP/1.1 as it takes to stand between a client and the engine.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::UnixStream;

/// The largest head of a request, and the largest body of one that is answered here.
const MOST_HEAD: usize = 64 * 1024;
const MOST_BODY: usize = 4 * 1024 * 1024;

/// A request, of which the body is still to be read.
#[derive(Debug)]
pub(super) struct Request {
    /// `GET` and so on.
    pub(super) method: String,
    /// The path after the version of the interface, such as `/containers/json`.
    pub(super) path: String,
    /// What stands after the question mark, decoded.
    pub(super) query: BTreeMap<String, String>,
    target: String,
    headers: Vec<(String, String)>,
}

/// What is answered here.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Answer {
    /// Null is no body.
    pub(super) fn new(status: u16, body: Value) -> Self {
        let body = match &body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        Self { status, body }
    }

    /// A success whose body is written already.
    pub(super) fn bytes(body: Vec<u8>) -> Self {
        Self { status: 200, body }
    }

    /// A failure in the engine's form.
    pub(super) fn refused(status: u16, message: &str) -> Self {
        Self::new(status, serde_json::json!({"message": message}))
    }
}

impl Request {
    /// The next request of a connection; none when it has ended.
    pub(super) async fn read(client: &mut BufReader<UnixStream>) -> Result<Option<Self>> {
        let Some(first) = line(client).await? else { return Ok(None) };
        let mut words = first.split(' ');
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            bail!("no request: {first:?}");
        };
        let (mut headers, mut length) = (Vec::new(), first.len());
        while let Some(header) = line(client).await?.filter(|header| !header.is_empty()) {
            length += header.len();
            ensure!(length < MOST_HEAD, "the head of a request is longer than {MOST_HEAD} bytes");
            let (name, value) = header.split_once(':').with_context(|| format!("no header: {header:?}"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = query.split('&').filter_map(|pair| pair.split_once('='));
        Ok(Some(Self {
            method: method.to_owned(),
            path: unversioned(path).to_owned(),
            query: query.map(|(name, value)| (name.to_owned(), decoded(value))).collect(),
            target: target.to_owned(),
            headers,
        }))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Its body, for what is answered here.
    pub(super) async fn body(&self, client: &mut BufReader<UnixStream>) -> Result<Vec<u8>> {
        ensure!(self.header("transfer-encoding").is_none(), "a body in pieces is not read: {}", self.target);
        let length = self.header("content-length").map_or(Ok(0), str::parse::<usize>)?;
        ensure!(length <= MOST_BODY, "a body of {length} bytes is not read: {}", self.target);
        let mut body = vec![0; length];
        client.read_exact(&mut body).await?;
        Ok(body)
    }

    /// Passes it on to the real engine, with what was `read` of its body and everything that follows. The connection is over then, so that no later
    /// request on it goes there unseen.
    pub(super) async fn pass(
        &self,
        read: &[u8],
        client: &mut BufReader<UnixStream>,
        engine: &Path,
    ) -> Result<()> {
        let mut real = UnixStream::connect(engine).await.context("the engine cannot be reached")?;
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let upgrades = self.header("upgrade").is_some();
        for (name, value) in self.headers.iter().filter(|(name, _)| upgrades || name != "connection") {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(if upgrades { "\r\n" } else { "connection: close\r\n\r\n" });
        real.write_all(head.as_bytes()).await?;
        real.write_all(read).await?;
        copy_bidirectional(client, &mut real).await?;
        Ok(())
    }

    /// Asks the real engine for the same, without a body, and returns what it answers.
    pub(super) async fn ask(&self, engine: &Path) -> Result<Value> {
        let mut real = UnixStream::connect(engine).await.context("the engine cannot be reached")?;
        // In this version an answer comes in one piece, and the connection ends with it.
        let head = format!("{} {} HTTP/1.0\r\nhost: engine\r\n\r\n", self.method, self.target);
        real.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        real.read_to_end(&mut answer).await?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").context("no head in an answer")?;
        serde_json::from_slice(&answer[end + 4..])
            .with_context(|| format!("{} was not answered with JSON", self.target))
    }
}

/// Answers; the connection stays for the next request.
pub(super) async fn answer(client: &mut BufReader<UnixStream>, answer: &Answer) -> Result<()> {
    let body = &answer.body;
    let kind = "content-type: application/json\r\napi-version: 1.41";
    let length = match answer.status {
        204 | 304 => String::new(),
        _ => format!("content-length: {}\r\n", body.len()),
    };
    let mut all = format!("HTTP/1.1 {} Simulated\r\n{kind}\r\n{length}\r\n", answer.status).into_bytes();
    all.extend_from_slice(body);
    client.write_all(&all).await?;
    client.flush().await?;
    Ok(())
}

/// The next line without its end; none at the end of the connection.
async fn line(client: &mut BufReader<UnixStream>) -> Result<Option<String>> {
    let mut bytes = Vec::new();
    (&mut *client).take(MOST_HEAD as u64).read_until(b'\n', &mut bytes).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    Ok(Some(String::from_utf8(bytes)?.trim_end_matches(['\r', '\n']).to_owned()))
}

/// `/containers/json` of `/v1.41/containers/json`.
fn unversioned(path: &str) -> &str {
    let Some(rest) = path.strip_prefix("/v") else { return path };
    match rest.split_once('/') {
        Some((version, _)) if version.starts_with(|c: char| c.is_ascii_digit()) => &rest[version.len()..],
        _ => path,
    }
}

/// What is written with percent signs.
fn decoded(text: &str) -> String {
    let (bytes, mut found, mut at) = (text.as_bytes(), Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        let code = text.get(at + 1..at + 3).filter(|_| *byte == b'%');
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(code) => {
                found.push(code);
                at += 3;
            }
            None => {
                found.push(if *byte == b'+' { b' ' } else { *byte });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&found).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_left_out_of_a_path_and_a_query_is_decoded() {
        assert_eq!(unversioned("/v1.41/containers/json"), "/containers/json");
        assert_eq!(unversioned("/volumes/x"), "/volumes/x");
        assert_eq!(decoded("%7B%22label%22%3A%5B%22a%3Db%22%5D%7D"), r#"{"label":["a=b"]}"#);
        assert_eq!(decoded("100%"), "100%");
    }
}
