//! The security coordinator as the chassis runs it.

use std::sync::Arc;

use async_trait::async_trait;
use chassis::service::{Parts, Shutdown};
use chassis::{Delivery, HealthBoard, Permit, Reply, Request, Service};
use envelope::{Coordinator, ErrorBody, ErrorCode, Operation};
use store::Migrator;

use crate::authority::Authority;
use crate::clock::{Clock, SystemClock};
use crate::settings::Settings;
use crate::{handler, refresh, rotation};

pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// The security coordinator.
pub struct SecurityCoordinator {
    authority: Authority,
    health: HealthBoard,
}

impl SecurityCoordinator {
    /// Makes it with a clock of the caller's. Everything that is kept is on its way to the topics, and this
    /// process's own verifier is ready, when this returns.
    ///
    /// # Errors
    /// The key file does not fit the keys that are kept, or the database failed.
    pub async fn with_clock(
        settings: &Settings,
        parts: &Parts,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let authority = Authority::open(settings, parts, clock).await?;
        refresh::restore(&authority).await?;
        Ok(Self { authority, health: parts.health.clone() })
    }
}

#[async_trait]
impl Service for SecurityCoordinator {
    const COORDINATOR: Coordinator = Coordinator::Security;
    type Settings = Settings;

    fn migrations() -> &'static Migrator {
        &MIGRATIONS
    }

    async fn build(settings: Settings, parts: Parts) -> anyhow::Result<Arc<Self>> {
        Ok(Arc::new(Self::with_clock(&settings, &parts, Arc::new(SystemClock)).await?))
    }

    fn watches(&self) -> Vec<String> {
        Vec::new()
    }

    async fn observe(&self, delivery: Delivery) {
        tracing::debug!(topic = delivery.topic, "a message that nothing was asked for is ignored");
    }

    async fn handle(&self, permit: Permit, request: Request) -> Result<Reply, ErrorBody> {
        match permit.operation() {
            Operation::Issue => handler::issue::handle(&self.authority, &permit, &request).await,
            Operation::Revoke => handler::revoke::handle(&self.authority, &permit, &request).await,
            Operation::Introspect => handler::introspect::handle(&self.authority, &permit, &request).await,
            Operation::Rotate => handler::rotate::handle(&self.authority, &permit, &request).await,
            Operation::RevokeToken => handler::revoke_token::handle(&self.authority, &permit, &request).await,
            Operation::Token => handler::token::handle(&self.authority, &permit, &request).await,
            other => Err(ErrorBody::new(
                ErrorCode::UnknownOperation,
                format!("The security coordinator has no operation {other}."),
            )),
        }
    }

    async fn run(self: Arc<Self>, shutdown: Shutdown) {
        let announcing = rotation::announce(&self.authority, shutdown.clone());
        tokio::join!(refresh::run(&self.authority, &self.health, shutdown), announcing);
    }
}
