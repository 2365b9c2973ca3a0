//! What a session listens to: asked for until it is granted, and told in the coordinator's health while it is not. The
//! rights of a coordinator's login may come after it, as when the message coordinator was updated last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::{Bus, SubscribeError};

use crate::health::{Condition, HealthBoard};
use crate::service::Shutdown;

/// How long after a refusal is asked again.
const AGAIN: Duration = Duration::from_secs(10);

/// The filters of one session that the broker refuses.
#[derive(Clone)]
pub(crate) struct Listening {
    /// The part of the coordinator's health that tells of them.
    part: &'static str,
    health: HealthBoard,
    refused: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Listening {
    pub(crate) fn new(part: &'static str, health: HealthBoard) -> Self {
        Self { part, health, refused: Arc::default() }
    }

    /// Subscribes for good. What is refused is asked for again; once it was granted, the session does so itself.
    pub(crate) async fn subscribe(self, bus: Bus, mut filters: Vec<String>, shutdown: Shutdown) {
        loop {
            let subscribed = tokio::select! {
                () = shutdown.cancelled() => return,
                subscribed = bus.subscribe(&filters) => subscribed,
            };
            let refused = match subscribed {
                Ok(()) => Vec::new(),
                Err(SubscribeError::Refused { filters }) => filters,
                Err(error) => {
                    return tracing::error!(error = telemetry::chain(&error), "a subscription failed");
                }
            };
            for granted in
                filters.iter().filter(|filter| refused.iter().all(|(refused, _)| refused != *filter))
            {
                self.granted(granted);
            }
            if refused.is_empty() {
                return;
            }
            for (filter, reason) in &refused {
                self.refused(filter, reason);
            }
            filters = refused.into_iter().map(|(filter, _)| filter).collect();
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }

    /// The broker does not let us listen to this.
    pub(crate) fn refused(&self, filter: &str, reason: &str) {
        let mut refused = self.all();
        if refused.insert(filter.to_owned(), reason.to_owned()).as_deref() != Some(reason) {
            tracing::error!(filter, reason, "the broker refuses a subscription");
        }
        self.tell(&refused);
    }

    /// The broker lets us listen to this.
    pub(crate) fn granted(&self, filter: &str) {
        let mut refused = self.all();
        refused.remove(filter);
        self.tell(&refused);
    }

    fn tell(&self, refused: &BTreeMap<String, String>) {
        let condition = match refused.first_key_value() {
            None => Condition::Good,
            Some((filter, reason)) => {
                let more = match refused.len() - 1 {
                    0 => String::new(),
                    more => format!(", and {more} more"),
                };
                Condition::Unhealthy(format!(
                    "the broker refuses the subscription to {filter}: {reason}{more}; it is asked again"
                ))
            }
        };
        self.health.set(self.part, condition);
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
