//! What a session may not listen to is told in the coordinator's health until it may. The rights of a coordinator's
//! login may come after it, as when the message coordinator was updated last.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::health::{Condition, HealthBoard};

/// The filters of one session that the broker refuses.
pub(crate) struct Listening {
    /// The part of the coordinator's health that tells of them.
    part: &'static str,
    health: HealthBoard,
    refused: Mutex<BTreeMap<String, String>>,
}

impl Listening {
    pub(crate) fn new(part: &'static str, health: HealthBoard) -> Self {
        Self { part, health, refused: Mutex::default() }
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
