//! The other plugin: it runs all the time, and nothing that happens to others may touch it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use envelope::topic::{coordinator, plugin};
use envelope::{Operation, PluginId};
use serde_json::{Value, json};
use testkit::{Client, Message, Version};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::Stack;
use super::command::Run;
use super::images::Script;
use super::listener::json as payload;
use super::requester::Requester;

/// Without a message for so long its health is interrupted; it sends one each second, on a busy machine.
const SILENCE: Duration = Duration::from_secs(8);
/// How long it may be on its way back after its engine was killed.
const RETURN: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

/// The other plugin, and what is heard of it.
pub struct Bystander {
    id: PluginId,
    heard: Arc<Mutex<Heard>>,
    task: JoinHandle<()>,
}

/// What was heard since somebody last asked.
#[derive(Debug)]
struct Heard {
    last: Instant,
    longest: Duration,
    odd: Option<String>,
}

/// What must not change: its container, and since when it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sameness {
    container: Value,
    started: Value,
}

impl Bystander {
    /// Installs it under this name, starts it, and listens.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(stack: &Stack, name: &str) -> Result<Self> {
        let id = PluginId::parse(name).context("an id")?;
        let source = Script::throw_away(name).push(stack).await?;
        let manifest = json!({"id": id, "name": "The other plugin", "version": "1.0.0"});
        let mut requester = Requester::connect(stack).await?;
        let install = json!({"plugin_id": id, "source": source, "manifest": manifest});
        requester.must(Operation::Install, install).await?;
        requester.must(Operation::Start, json!({"plugin_id": id})).await?;
        let now = Instant::now();
        let heard = Arc::new(Mutex::new(Heard { last: now, longest: Duration::ZERO, odd: None }));
        let client = listen(stack, &id).await?;
        let (user, password) = stack.operator();
        let options = stack.client(Version::V5).login(user, password);
        let (noted, about) = (heard.clone(), id.clone());
        let task = tokio::spawn(async move {
            let mut client = client;
            loop {
                while let Some(message) = client.recv(RETURN).await {
                    noted.lock().unwrap_or_else(PoisonError::into_inner).note(&about, &message);
                }
                if let Ok(again) = options.clone().connect().await
                    && subscribe(&again, &about).await.is_ok()
                {
                    client = again;
                }
                sleep(PAUSE).await;
            }
        });
        Ok(Self { id, heard, task })
    }

    /// Which plugin it is.
    pub fn id(&self) -> &PluginId {
        &self.id
    }

    /// Restarts it, which must be noticed.
    ///
    /// # Errors
    /// It has no container.
    pub async fn disturb(&self, stack: &Stack) -> Result<()> {
        for container in stack.containers_of(&self.id, "plugin").await? {
            Run::docker(["restart", &container]).ok().await?;
        }
        Ok(())
    }

    /// Removes it.
    ///
    /// # Errors
    /// It is not removed.
    pub async fn leave(self, stack: &Stack) -> Result<()> {
        let mut requester = Requester::connect(stack).await?;
        requester.must(Operation::Remove, json!({"plugin_id": self.id, "remove_volumes": true})).await?;
        Ok(())
    }

    /// How it is now; what is heard from now on counts.
    ///
    /// # Errors
    /// It has no container, or none that runs.
    pub async fn look(&self, stack: &Stack) -> Result<Sameness> {
        let fresh = Heard { last: Instant::now(), longest: Duration::ZERO, odd: None };
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        self.sameness(stack).await
    }

    async fn sameness(&self, stack: &Stack) -> Result<Sameness> {
        let found = stack.plugin_container(&self.id).await?.context("the other plugin has no container")?;
        ensure!(found["State"]["Running"] == true, "the other plugin does not run: {}", found["State"]);
        Ok(Sameness { container: found["Id"].clone(), started: found["State"]["StartedAt"].clone() })
    }

    /// Whether nothing has touched it since it was looked at.
    ///
    /// # Errors
    /// Something has: what.
    pub async fn untouched(&self, stack: &Stack, before: &Sameness, alone: bool) -> Result<()> {
        let after = self.sameness(stack).await?;
        ensure!(after == *before, "the other plugin was {before:?} and is {after:?}");
        if !alone {
            return Ok(());
        }
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(odd) = &heard.odd {
            anyhow::bail!("the other plugin was {odd}");
        }
        let longest = heard.longest.max(heard.last.elapsed());
        ensure!(longest < SILENCE, "the other plugin was not heard for {longest:?}");
        Ok(())
    }

    /// Whether it is back, in the same container, after its engine was killed.
    ///
    /// # Errors
    /// It is not, for too long.
    pub async fn returned(&self, stack: &Stack, before: &Sameness) -> Result<()> {
        let end = Instant::now() + RETURN;
        loop {
            match self.sameness(stack).await {
                Ok(after) => {
                    ensure!(after.container == before.container, "the other plugin has a new container");
                    return Ok(());
                }
                Err(error) => ensure!(Instant::now() < end, "{error:#} for {RETURN:?}"),
            }
            sleep(PAUSE).await;
        }
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Heard {
    fn note(&mut self, id: &PluginId, message: &Message) {
        if message.topic == plugin::health(id) {
            let now = Instant::now();
            self.longest = self.longest.max(now - self.last);
            self.last = now;
            return;
        }
        let state = &payload(message)["payload"];
        let (phase, health) = (&state["phase"], &state["health"]);
        // After a restart of the coordinator its health is not known until it is heard again.
        if phase != "running" || (health != "healthy" && health != "unknown") {
            self.odd = Some(format!("{phase} and {health}"));
        }
    }
}

async fn listen(stack: &Stack, id: &PluginId) -> Result<Client> {
    let client = stack.operator_client(Version::V5).await?;
    subscribe(&client, id).await?;
    Ok(client)
}

async fn subscribe(client: &Client, id: &PluginId) -> Result<()> {
    for topic in [plugin::health(id), coordinator::state(id)] {
        client.subscribe(&topic).await?;
    }
    Ok(())
}
