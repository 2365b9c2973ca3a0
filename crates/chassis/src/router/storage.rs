//! How the database is: what is told of it when it cannot be written, and what keeps its file small and in order.

use envelope::Timestamp;
use store::{Kind, Trouble};

use super::Router;
use crate::health::Condition;
use crate::service::Service;

/// Ticks between two looks for principals with too many requests in the journal, and for room to give back.
const CROWDS: u64 = 6;

/// Ticks between two reads of the whole file: an hour.
const CHECKS: u64 = 360;

/// The part of the coordinator's health that says whether the database can be written.
const STORE: &str = "store";

/// The part that says whether it is damaged. That does not pass by itself.
const DAMAGE: &str = "database";

impl<S: Service> Router<S> {
    /// Notes until when nothing waited in the broker, and forgets requests that are old enough or too many. While something waits to
    /// be recorded the database is not well, even when so little can be written.
    pub(super) async fn tick(&self, ticks: u64, last_up: Option<Timestamp>, waits: bool) {
        match self.keep(ticks, last_up).await {
            Ok(()) if waits => {}
            Ok(()) => self.is_written_again(),
            Err(error) => self.says_trouble(&error),
        }
        if ticks % CHECKS == CHECKS - 1
            && let Err(trouble) = self.store.check().await
        {
            self.tells(&trouble);
        }
    }

    async fn keep(&self, ticks: u64, last_up: Option<Timestamp>) -> Result<(), store::Error> {
        let now = Timestamp::now();
        if let Some(at) = last_up {
            self.note_up(at).await?;
        }
        self.store.journal().forget(now).await?;
        if ticks.is_multiple_of(CROWDS) {
            self.store.journal().forget_crowds().await?;
            self.store.give_back().await?;
        }
        Ok(())
    }

    /// Something was written.
    pub(super) fn is_written_again(&self) {
        self.health.set(STORE, Condition::Good);
    }

    /// Says in the coordinator's health what is wrong with the database. What could not be written waits, or comes
    /// again: nothing that was acknowledged is lost.
    pub(super) fn says_trouble(&self, error: &store::Error) {
        tracing::debug!(%error, "the database failed");
        self.tells(&self.store.trouble(error));
    }

    fn tells(&self, trouble: &Trouble) {
        let part = if trouble.kind() == Kind::Damaged { DAMAGE } else { STORE };
        self.health.set(part, Condition::Unhealthy(trouble.to_string()));
    }
}
