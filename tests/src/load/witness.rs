//! Who listens to what coordinators tell of the crowd.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use envelope::topic::coordinator;
use envelope::{Coordinator, PluginId};
use testkit::Version;
use tokio::task::JoinHandle;

use super::book::Book;
use super::engine::MARK;
use crate::stack::Stack;
use crate::stack::listener::json;

/// Nothing at all is told for so long: it listens on.
const QUIET: Duration = Duration::from_secs(3600);

/// Events of these kinds are about what happened to a plugin; progress and outcome only tell of requests.
const TELLING: [&str; 6] = ["phase", "health", "refused", "drift", "deaf", "flood"];

/// It listens until it is dropped.
pub struct Witness(JoinHandle<()>);

impl Witness {
    /// Listens, and writes into `book`.
    ///
    /// # Errors
    /// The broker does not let it.
    pub async fn listen(stack: &Stack, book: Arc<Book>) -> Result<Self> {
        let mut client = stack.operator_client(Version::V5).await?;
        let kinds = TELLING.map(|kind| coordinator::event(Coordinator::Plugin, kind));
        for filter in [coordinator::states()].into_iter().chain(kinds) {
            client.subscribe(&filter).await.with_context(|| format!("cannot subscribe to {filter}"))?;
        }
        Ok(Self(tokio::spawn(async move {
            while let Some(message) = client.recv(QUIET).await {
                let payload = &json(&message)["payload"];
                let id = payload["plugin_id"].as_str().and_then(|id| PluginId::parse(id).ok());
                let Some(id) = id.filter(|id| id.as_str().starts_with(MARK)) else { continue };
                match payload["event"].as_str() {
                    Some(kind) => book.happened(kind),
                    None => book.told(&id, payload),
                }
            }
            eprintln!("load: the witness does not hear anything any more");
        })))
    }

    /// Whether it still listens.
    pub fn listens(&self) -> bool {
        !self.0.is_finished()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.abort();
    }
}
