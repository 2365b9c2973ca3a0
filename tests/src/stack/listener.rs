//! A client that keeps what it heard, so that nothing is missed between two questions.

use std::time::Duration;

use serde_json::Value;
use testkit::{Client, Message};
use tokio::time::Instant;

/// Messages that the last lines of a failure show.
const SHOWN: usize = 12;

/// A connected client with everything that it heard and nobody took yet.
#[derive(Debug)]
pub struct Listener {
    client: Client,
    heard: Vec<Message>,
}

impl Listener {
    /// Keeps what `client` hears.
    pub fn new(client: Client) -> Self {
        Self { client, heard: Vec::new() }
    }

    /// The same, subscribed to these filters.
    ///
    /// # Panics
    /// The broker refuses one.
    pub async fn on<F: AsRef<str>>(client: Client, filters: impl IntoIterator<Item = F>) -> Self {
        for filter in filters {
            let filter = filter.as_ref();
            if let Err(refusal) = client.subscribe(filter).await {
                panic!("cannot subscribe to {filter}: {refusal}");
            }
        }
        Self::new(client)
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Takes the first message that `wanted` accepts, waiting for it.
    ///
    /// # Panics
    /// None came in time: with what was heard.
    pub async fn wait(
        &mut self,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&Message) -> bool,
    ) -> Message {
        match self.find(patience, wanted).await {
            Some(message) => message,
            None => panic!("{what} was not heard within {patience:?}; heard: {}", self.shown()),
        }
    }

    /// Takes the first message that `wanted` accepts, if one comes in time.
    pub async fn find(&mut self, patience: Duration, wanted: impl Fn(&Message) -> bool) -> Option<Message> {
        if let Some(place) = self.heard.iter().position(&wanted) {
            return Some(self.heard.remove(place));
        }
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let message = self.client.recv(left).await?;
            if wanted(&message) {
                return Some(message);
            }
            self.heard.push(message);
        }
    }

    /// What was heard and not taken.
    pub fn heard(&self) -> &[Message] {
        &self.heard
    }

    /// Forgets what was heard and not taken.
    pub fn forget(&mut self) {
        self.heard.clear();
    }

    fn shown(&self) -> String {
        let last = self.heard.len().saturating_sub(SHOWN);
        let lines = self.heard[last..].iter().map(|m| {
            let text: String = m.text().chars().take(300).collect();
            format!("\n  {} {text}", m.topic)
        });
        if self.client.is_connected() {
            lines.collect()
        } else {
            lines.chain(["\n  (the connection ended)".to_owned()]).collect()
        }
    }
}

/// A message's payload as JSON; null when it is none.
pub fn json(message: &Message) -> Value {
    serde_json::from_slice(&message.payload).unwrap_or_default()
}
