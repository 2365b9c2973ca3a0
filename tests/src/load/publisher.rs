//! The process of a plugin of the crowd: it connects with the login that its container was given, listens to its
//! control topics, and says each second that it is healthy.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use envelope::payload::health::{Health, HealthStatus};
use envelope::topic::plugin;
use envelope::{Envelope, MessageType, PluginId};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::book::{Book, SAID};
use super::engine::Environment;
use super::wire::Wire;

/// How often it says its health.
pub const EACH: Duration = Duration::from_secs(1);
/// Messages after which the number in them is another.
const SAME: u64 = 30;
const PAUSE: Duration = Duration::from_millis(500);

/// What goes wrong with a plugin, for seeing that it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It says nothing any more.
    Silent,
    /// What it says is lost on the way to the broker.
    Lost,
}

/// All processes of the crowd.
#[derive(Debug, Clone)]
pub struct Crowd {
    port: u16,
    /// What is known of them.
    pub book: Arc<Book>,
    faults: Arc<Mutex<BTreeSet<(PluginId, Fault)>>>,
}

impl Crowd {
    /// Nobody runs yet; the broker listens at `port`.
    pub fn new(port: u16) -> Self {
        Self { port, book: Arc::default(), faults: Arc::default() }
    }

    /// From now on this is wrong with a plugin.
    pub fn plant(&self, id: &PluginId, fault: Fault) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).insert((id.clone(), fault));
    }

    /// Nothing is wrong with any any more.
    pub fn mend(&self) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn has(&self, id: &PluginId, fault: Fault) -> bool {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).contains(&(id.clone(), fault))
    }

    /// Lives until it is dropped.
    pub async fn live(self, environment: Environment) {
        let mut said = 0;
        loop {
            let Err(error) = self.connected(&environment, &mut said).await;
            eprintln!("load: a plugin of the crowd: {error:#}");
            self.book.disconnected();
            sleep(PAUSE).await;
        }
    }

    /// One connection, until it ends.
    async fn connected(&self, environment: &Environment, said: &mut u64) -> Result<Infallible> {
        let of = |name: &str| environment.get(name).with_context(|| format!("it was given no {name}"));
        let id = PluginId::parse(of("PLUGIN_ID")?)?;
        let (user, password) = (of("MQTT_USERNAME")?.as_str(), of("MQTT_PASSWORD")?.as_str());
        let wire = Wire::connect(self.port, id.as_str(), user, password).await;
        let mut wire = wire.with_context(|| format!("{id} cannot connect"))?;
        wire.subscribe(&plugin::control(&id)).await?;
        let topic = plugin::health(&id);
        let mut payload = message(&id, *said / SAME);
        let mut ticks = interval(EACH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.has(&id, Fault::Silent) {
                continue;
            }
            *said += 1;
            let is_new = said.is_multiple_of(SAME);
            self.book.sends(&id, is_new.then_some(*said / SAME));
            if self.has(&id, Fault::Lost) {
                continue;
            }
            if is_new {
                payload = message(&id, *said / SAME);
            }
            let odd = match wire.publish(&topic, &payload).await {
                Ok(0) => None,
                Ok(0x10) => Some("nobody listened".to_owned()),
                Ok(code) => Some(format!("the broker refused it with {code:#x}")),
                Err(error) => {
                    self.book.answered(&id, Some(format!("it was not taken: {error:#}")));
                    return Err(error);
                }
            };
            self.book.answered(&id, odd);
        }
    }
}

fn message(id: &PluginId, number: u64) -> Vec<u8> {
    let health = Health {
        component: "load".to_owned(),
        status: HealthStatus::Healthy,
        message: format!("{SAID}{number}"),
        details: Default::default(),
    };
    Envelope::new(MessageType::Status, format!("plugin:{id}"), health).encode()
}
