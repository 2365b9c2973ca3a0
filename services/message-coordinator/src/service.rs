//! The coordinator as the chassis runs it: what it watches, what it answers, and the loop that compares.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chassis::health::Condition;
use chassis::{Delivery, HealthBoard, Parts, Permit, Publisher, Replies, Reply, Request, Service, Shutdown};
use envelope::topic::coordinator;
use envelope::{Coordinator, ErrorBody, ErrorCode, Operation};
use store::Migrator;
use tokio::time::Instant;

use crate::broker::{Admin, Version};
use crate::handler;
use crate::inbox::{Heard, Inbox, decode};
use crate::keeper::{Keeper, PassError};
use crate::proof::{Prover, is_canary};
use crate::report::{Cause, Report};
use crate::settings::Settings;
use crate::watch::Watch;
use seal::Seal;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// How soon a pass that failed is tried again at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// The message coordinator.
pub struct MessageCoordinator {
    settings: Settings,
    keeper: Keeper,
    inbox: Inbox,
    report: Report,
    prover: Prover,
    replies: Replies,
    watch: Watch,
    health: HealthBoard,
}

#[async_trait]
impl Service for MessageCoordinator {
    const COORDINATOR: Coordinator = Coordinator::Message;
    type Settings = Settings;

    fn migrations() -> &'static Migrator {
        &MIGRATIONS
    }

    async fn build(settings: Settings, parts: Parts) -> anyhow::Result<Arc<Self>> {
        let seal = Seal::read(&settings.key_file)?;
        let admin = Admin::connect(&parts.broker, parts.instance.as_str());
        let keeper = Keeper::load(admin, seal, &parts).await?;
        let publisher: Publisher = parts.publisher.clone();
        parts.health.set(ADMINISTRATION, Condition::Unhealthy("there is no connection yet".into()));
        let prover = Prover::new(&parts, settings.proof_interval());
        let watch = Watch::new(&parts);
        Ok(Arc::new(Self {
            settings,
            keeper,
            inbox: Inbox::default(),
            report: Report::new(publisher),
            prover,
            replies: parts.replies,
            watch,
            health: parts.health,
        }))
    }

    fn watches(&self) -> Vec<String> {
        vec![coordinator::specs()]
    }

    async fn observe(&self, delivery: Delivery) {
        let Some(id) = coordinator::spec_id(&delivery.topic) else { return };
        if is_canary(&id) {
            let message = format!("A spec of {id} is not taken: the id is not a plugin's, it is a canary's.");
            return self.report.refused(&id, message, &Cause::new("a message on the spec's topic"));
        }
        if delivery.payload.is_empty() {
            return self.inbox.put(id.clone(), Heard::Cleared(id));
        }
        match decode(&id, &delivery.payload, delivery.retain) {
            Ok(heard) => self.inbox.put(id, heard),
            Err(error) => {
                let message =
                    format!("What was published as the spec of the plugin {id} is not taken: {error}.");
                self.report.refused(&id, message, &Cause::new("a message on the spec's topic"));
            }
        }
    }

    async fn handle(&self, permit: Permit, request: Request) -> Result<Reply, ErrorBody> {
        match permit.operation() {
            Operation::Provision => handler::provision::handle(&self.keeper, &permit, &request).await,
            Operation::Deprovision => handler::deprovision::handle(&self.keeper, &permit, &request).await,
            Operation::Operators => Ok(handler::operators::handle(&self.keeper)),
            Operation::AddOperator => handler::add_operator::handle(&self.keeper, &permit, &request).await,
            Operation::ChangeOperator => {
                handler::change_operator::handle(&self.keeper, &permit, &request).await
            }
            Operation::RemoveOperator => {
                handler::remove_operator::handle(&self.keeper, &permit, &request).await
            }
            Operation::Explain => handler::explain::handle(&self.keeper, &request),
            Operation::Proof => handler::proof::handle(&self.prover, &self.replies, &request),
            Operation::Sessions => handler::sessions::handle(&self.watch, &request),
            other => Err(ErrorBody::new(
                ErrorCode::UnknownOperation,
                format!("The message coordinator has no operation {other}."),
            )),
        }
    }

    async fn run(self: Arc<Self>, shutdown: Shutdown) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            _ = async {
                tokio::join!(self.work(), self.prover.work(&self.keeper), self.watch.work(&self.keeper))
            } => {}
        }
    }
}

const ADMINISTRATION: &str = "broker administration";

impl MessageCoordinator {
    /// Works off specs as they come; compares everything on each connection, at an interval, and again after
    /// a failure.
    async fn work(&self) {
        let (mut ready, mut version) = (self.keeper.ready(), self.keeper.version());
        let mut due: Option<(Instant, &str)> = None;
        let mut pause = RETRY.0;
        let mut proven = false;
        if ready.borrow().is_some() {
            due = Some((Instant::now(), CONNECTED));
        }
        loop {
            let next = due;
            let result = tokio::select! {
                changed = ready.changed() => {
                    if changed.is_err() {
                        let ended = "the administration session has ended; restart this coordinator";
                        return self.health.set(ADMINISTRATION, Condition::Unhealthy(ended.into()));
                    }
                    let up = ready.borrow_and_update().is_some();
                    due = up.then(|| (Instant::now(), CONNECTED));
                    proven = false;
                    if !up {
                        let why = self.keeper.why_away();
                        self.health.set(ADMINISTRATION, Condition::Unhealthy(why));
                    }
                    continue;
                }
                changed = version.changed() => {
                    if changed.is_ok() {
                        self.judge_version(*version.borrow_and_update());
                    }
                    continue;
                }
                () = self.prover.leaked() => {
                    due = ready.borrow().is_some().then(|| (Instant::now(), LEAKED));
                    continue;
                }
                mut heard = self.inbox.take() => {
                    let result = self.keeper.hear(&mut heard).await;
                    if !heard.is_empty() {
                        tokio::time::sleep(pause).await;
                        self.inbox.put_back(heard);
                    }
                    result
                }
                () = self.keeper.owes() => {
                    if ready.borrow().is_some() {
                        due = Some((Instant::now(), OWED));
                    }
                    continue;
                }
                why = until(next) => {
                    let result = self.keeper.compare(&Cause::new(why)).await;
                    if result.is_ok() {
                        pause = RETRY.0;
                        due = Some((Instant::now() + self.settings.compare_interval(), INTERVAL));
                        self.health.set(ADMINISTRATION, Condition::Good);
                        if !std::mem::replace(&mut proven, true) {
                            self.prover.compared();
                        }
                    }
                    result
                }
            };
            if let Err(error) = result {
                self.failed(&error);
                due = Some((Instant::now() + pause, AGAIN));
                pause = (pause * 2).min(RETRY.1);
            }
        }
    }

    fn failed(&self, error: &PassError) {
        let why = telemetry::chain(error);
        tracing::warn!(error = why, "a pass failed and is tried again");
        let condition = match error {
            PassError::Steps(_) => Condition::Degraded(why),
            _ => Condition::Unhealthy(why),
        };
        self.health.set(ADMINISTRATION, condition);
    }

    fn judge_version(&self, version: Option<Version>) {
        let Some(version) = version else { return };
        self.health.figure("broker_version", version.to_string());
        let condition = if version < Version::SAFE {
            Condition::Degraded(format!(
                "Mosquitto {version} can lose every login when it is killed; use {} or later",
                Version::SAFE
            ))
        } else {
            Condition::Good
        };
        self.health.set("broker version", condition);
    }
}

const CONNECTED: &str = "compared on a connection to the broker";
const INTERVAL: &str = "compared at the interval";
const OWED: &str = "compared because a change is owed, or something found before may be settled now";
const AGAIN: &str = "compared after a failure";
const LEAKED: &str = "compared because a canary could do what no plugin may";

/// Waits until something is due; for ever when nothing is.
async fn until(due: Option<(Instant, &str)>) -> &str {
    match due {
        Some((at, why)) => {
            tokio::time::sleep_until(at).await;
            why
        }
        None => std::future::pending().await,
    }
}
