//! Every delivery of every answer: however often an answer is delivered, it is the same bytes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use acl::fixed::first_operator;
use anyhow::Result;
use envelope::topic;
use testkit::{Client, ClientOptions, Version};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::book::{Book, Fault};
use crate::stack::Stack;
use crate::stack::listener::json;

/// What is looked at.
pub(super) const SAME: &str = "an answer is the same bytes however often it is delivered";

const PAUSE: Duration = Duration::from_millis(200);
/// How long is listened at a time.
const LISTEN: Duration = Duration::from_secs(60);

/// The first delivery of each answer, by the id of its request.
#[derive(Debug, Default, Clone)]
pub(super) struct First(HashMap<String, Vec<u8>>);

impl First {
    /// Notes a delivery, and tells when it is not what was delivered before.
    pub(super) fn note(&mut self, id: &str, bytes: &[u8]) -> Result<(), Fault> {
        let first = self.0.entry(id.to_owned()).or_insert_with(|| bytes.to_vec());
        if first == bytes {
            return Ok(());
        }
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Err(Fault::new(SAME, shown(first), shown(bytes)))
    }
}

/// Hears all answers.
pub(super) struct Answers {
    first: Arc<Mutex<First>>,
    task: JoinHandle<()>,
}

impl Answers {
    /// Listens from now on.
    ///
    /// # Errors
    /// The broker does not let it.
    pub(super) async fn listen(stack: &Stack, book: Arc<Book>) -> Result<Self> {
        let (user, password) = stack.operator();
        let options = stack.client(Version::V5).login(user, password).durable();
        let mut client = connect(&options).await?;
        let first: Arc<Mutex<First>> = Arc::default();
        let noted = Arc::clone(&first);
        let task = tokio::spawn(async move {
            loop {
                while let Some(message) = client.recv(LISTEN).await {
                    let Some(id) = json(&message)["correlation_id"].as_str().map(str::to_owned) else {
                        continue;
                    };
                    let told =
                        noted.lock().unwrap_or_else(PoisonError::into_inner).note(&id, &message.payload);
                    match told {
                        Ok(()) => book.held(SAME),
                        Err(fault) => book.violated(fault),
                    }
                }
                if !client.is_connected()
                    && let Ok(again) = connect(&options).await
                {
                    client = again;
                }
                sleep(PAUSE).await;
            }
        });
        Ok(Self { first, task })
    }

    /// What was delivered up to now.
    pub(super) fn first(&self) -> First {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(options: &ClientOptions) -> Result<Client> {
    let client = options.clone().connect().await?;
    if !client.session_present() {
        client.subscribe(&topic::operator::responses(&first_operator())).await?;
    }
    Ok(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_bytes_for_the_same_request_are_noticed() {
        let mut first = First::default();
        assert!(first.note("1", b"a").is_ok());
        assert!(first.note("1", b"a").is_ok());
        assert!(first.note("2", b"b").is_ok());
        assert!(first.note("1", b"b").is_err());
    }
}
