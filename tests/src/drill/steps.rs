//! Which steps the operations take, as the coordinator tells of its progress: each must have rows.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use envelope::Coordinator;
use envelope::topic::coordinator;
use serde_json::Value;
use testkit::{Client, ClientOptions, Version};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::table;
use crate::stack::Stack;
use crate::stack::listener::json;

const PAUSE: Duration = Duration::from_millis(200);
/// How long is listened at a time.
const LISTEN: Duration = Duration::from_secs(60);

/// The steps that were taken while somebody listened.
pub struct Steps {
    taken: Arc<Mutex<BTreeSet<(String, String)>>>,
    task: JoinHandle<()>,
}

impl Steps {
    /// Listens from now on.
    ///
    /// # Errors
    /// The broker does not let it.
    pub async fn listen(stack: &Stack) -> Result<Self> {
        let (user, password) = stack.operator();
        let options = stack.client(Version::V5).login(user, password);
        let mut client = connect(&options).await?;
        let taken: Arc<Mutex<BTreeSet<(String, String)>>> = Arc::default();
        let noted = taken.clone();
        let task = tokio::spawn(async move {
            loop {
                while let Some(message) = client.recv(LISTEN).await {
                    let step = step(&json(&message)["payload"]);
                    noted.lock().unwrap_or_else(PoisonError::into_inner).extend(step);
                }
                if let Ok(again) = connect(&options).await {
                    client = again;
                }
                sleep(PAUSE).await;
            }
        });
        Ok(Self { taken, task })
    }

    /// Steps that were taken, and at which nobody is killed: `operation/step`.
    pub fn without_rows(&self) -> Vec<String> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = taken.iter().filter(|(operation, step)| !table::has_rows(operation, step));
        missing.map(|(operation, step)| format!("{operation}/{step}")).collect()
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(options: &ClientOptions) -> Result<Client> {
    let client = options.clone().connect().await?;
    client.subscribe(&coordinator::event(Coordinator::Plugin, "progress")).await?;
    Ok(client)
}

/// Operation and step of an event: its cause begins with the operation.
fn step(event: &Value) -> Option<(String, String)> {
    let (operation, _) = event["cause"].as_str()?.split_once(' ')?;
    Some((operation.to_owned(), event["details"]["step"].as_str()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operation_and_step_are_read_from_an_event_of_progress() {
        let event = json!({"cause": "start by operator:ada", "details": {"step": "begin"}});
        assert_eq!(step(&event), Some(("start".to_owned(), "begin".to_owned())));
        assert_eq!(step(&json!({"cause": "start"})), None);
    }
}
