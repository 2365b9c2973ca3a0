//! Who connects to the broker, who is not let in, and whose client id is taken: from the broker's log.
//!
//! The log is prose and the client ids in it are hostile text, so what is made of it are hints, with one
//! exception: that a plugin lost its own client id to the login of another plugin, when both were seen. That
//! login is taken away until its plugin starts again. A coordinator's or an operator's never is.

mod client_id;
mod line;
mod listen;
mod owners;
mod pace;
mod table;
mod tell;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use chassis::Parts;
use chassis::config::BrokerLogin;
use envelope::Timestamp;
use envelope::payload::watch::SessionsResponse;

use crate::keeper::Keeper;
use table::Table;
use tell::Teller;

pub(crate) use owners::owner_of;

/// Watches the broker's log.
pub(crate) struct Watch {
    broker: BrokerLogin,
    instance: String,
    table: Mutex<Table>,
    teller: tokio::sync::Mutex<Teller>,
}

impl Watch {
    /// Something that has seen nothing yet; [`Watch::work`] listens.
    pub(crate) fn new(parts: &Parts) -> Self {
        Self {
            broker: parts.broker.clone(),
            instance: parts.instance.to_string(),
            table: Mutex::default(),
            teller: tokio::sync::Mutex::new(Teller::new(parts)),
        }
    }

    /// The connections that were seen to begin.
    pub(crate) fn sessions(&self) -> SessionsResponse {
        self.table().list()
    }

    /// Listens for ever.
    pub(crate) async fn work(&self, keeper: &Keeper) {
        listen::listen(self, keeper).await;
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a line says.
    async fn take(&self, line: line::Line, keeper: &Keeper) -> Vec<String> {
        let changes = self.table().take(line, Timestamp::now(), Instant::now());
        let mut dropping = Vec::new();
        let mut teller = self.teller.lock().await;
        for change in changes {
            match change {
                table::Change::Dropping { client_id } => dropping.push(client_id),
                change => teller.tell(change, keeper).await,
            }
        }
        dropping
    }

    /// Tells what has waited long enough.
    async fn tick(&self, keeper: &Keeper) {
        let overdue = self.table().overdue(Instant::now());
        let mut teller = self.teller.lock().await;
        if let Some(change) = overdue {
            teller.tell(change, keeper).await;
        }
        teller.tick(keeper).await;
    }
}
