//! The plugin coordinator as the chassis runs it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use chassis::health::Condition;
use chassis::{Delivery, HealthBoard, Parts, Permit, Reply, Request, Service, Shutdown};
use envelope::payload::event::EventKind;
use envelope::payload::spec::{AclOutcome, AclStatus};
use envelope::{Coordinator, Envelope, ErrorBody, ErrorCode, InstallUid, PluginId, Principal, topic};
use store::Migrator;

use crate::adoption::{Adoption, Retained};
use crate::conduct::{self, Admission, Conduct};
use crate::context::{Acls, Context};
use crate::engine::docker::DockerEngine;
use crate::handler;
use crate::health::{HealthReports, Taken};
use crate::housekeeping::{self, Images, SqlitePulled};
use crate::peers::OnTheBus;
use crate::policy::Policy;
use crate::record::Desired;
use crate::registrations::SqliteRegistrations;
use crate::registry::{OciRegistry, RegistrySettings};
use crate::report::Reporter;
use crate::settings::Settings;
use crate::supervisor::Supervisor;

/// How long a request waits for a registry that is just taking over what runs.
const UNTIL_WHOLE: Duration = Duration::from_secs(20);

static MIGRATIONS: Migrator = sqlx::migrate!();

/// The plugin coordinator.
pub struct PluginCoordinator {
    ctx: Context,
    supervisor: Supervisor,
    adoption: Adoption,
    health: HealthBoard,
    /// The topics on which other coordinators tell of the conduct of plugins.
    tellers: Vec<String>,
}

#[async_trait]
impl Service for PluginCoordinator {
    const COORDINATOR: Coordinator = Coordinator::Plugin;
    type Settings = Settings;

    fn migrations() -> &'static Migrator {
        &MIGRATIONS
    }

    async fn build(settings: Settings, parts: Parts) -> anyhow::Result<Arc<Self>> {
        let installation = std::fs::read_to_string(&settings.installation_file)
            .with_context(|| format!("reading {}", settings.installation_file.display()))?;
        let installation = installation.trim().to_owned();
        anyhow::ensure!(
            uuid::Uuid::parse_str(&installation).is_ok(),
            "{} holds no installation id; it is made once, when the framework is set up",
            settings.installation_file.display()
        );
        let engine = DockerEngine::with_storage(
            settings.engine_socket.display().to_string(),
            installation.clone(),
            Some(settings.engine_storage.clone()),
        );
        let registry = OciRegistry::new(RegistrySettings {
            logins: Some(settings.registry_config.clone()),
            aliases: settings.aliases().into_iter().collect(),
            insecure: settings.insecure().into_iter().collect(),
            max_image_bytes: Some(settings.max_image_bytes),
            ..RegistrySettings::default()
        });
        let told = Box::new(Retained { login: parts.broker.clone() });
        let registrations = Arc::new(SqliteRegistrations::new(parts.store.clone(), parts.replies.clone()));
        let ctx = Context {
            policy: Policy::new(settings.clone(), installation),
            reporter: Reporter::new(parts.publisher.clone(), settings.node.clone()),
            registrations,
            engine: Arc::new(engine),
            registry: Arc::new(registry),
            peers: Arc::new(OnTheBus { caller: parts.caller, bus: parts.bus, login: parts.broker }),
            health: HealthReports::default(),
            acls: Acls::default(),
            conduct: Conduct::new(&settings),
            images: Images::new(Arc::new(SqlitePulled(parts.store.clone()))),
            settings,
        };
        let supervisor = Supervisor::new(ctx.clone());
        let adoption = Adoption { ctx: ctx.clone(), store: parts.store.clone(), told };
        Ok(Arc::new(Self { ctx, supervisor, adoption, health: parts.health, tellers: conduct::topics() }))
    }

    fn watches(&self) -> Vec<String> {
        let own = [topic::coordinator::acls(), topic::plugin::all_health()];
        own.into_iter().chain(conduct::topics()).collect()
    }

    async fn link_changed(&self, up: bool) {
        self.ctx.health.listening(up);
        self.ctx.conduct.link_changed(up);
    }

    async fn keys_replaced(&self) {
        tracing::warn!("the security coordinator has new keys only: tokens are asked for again");
        self.supervisor.tokens_are_void();
    }

    async fn observe(&self, delivery: Delivery) {
        if let Some(id) = topic::coordinator::acl_id(&delivery.topic) {
            let status = if delivery.payload.is_empty() {
                None
            } else {
                match serde_json::from_slice::<Envelope<AclStatus>>(&delivery.payload) {
                    Ok(message) => Some(message.payload),
                    Err(error) => {
                        return tracing::warn!(topic = delivery.topic, %error, "cannot be decoded");
                    }
                }
            };
            // A thousand come at once after a start: the registry is asked for the few that say absent.
            if let Some(status) = status.as_ref().filter(|status| status.outcome == AclOutcome::Absent) {
                self.hear_absent(&id, status.uid).await;
            }
            self.ctx.acls.set(id.clone(), status);
            self.supervisor.wake_known(&id);
            return;
        }
        if let Some(id) = self.ctx.health.owner(&delivery.topic)
            && let Admission::Over(told) = self.ctx.conduct.knock(&id, &delivery.topic)
        {
            if let Some(message) = told {
                let cause = "messages over the bound of a plugin";
                self.ctx.reporter.notice(EventKind::Flood, &id, message, cause);
            }
            return;
        }
        if delivery.retain {
            // What is retained was said before we listened; it proves nothing about now.
            return;
        }
        if self.tellers.contains(&delivery.topic) {
            return self.ctx.conduct.hears(&delivery.topic, &delivery.payload);
        }
        match self.ctx.health.take(&delivery.topic, &delivery.payload) {
            Taken::Report(id, true) => self.supervisor.wake_known(&id),
            Taken::Report(_, false) | Taken::Foreign => {}
            Taken::Refused(id, why) => {
                let message = format!("A message on the health topic of {id} {why}; it is ignored.");
                self.ctx.reporter.notice(EventKind::Refused, &id, message, "a message on its health topic");
            }
        }
    }

    async fn handle(&self, permit: Permit, request: Request) -> Result<Reply, ErrorBody> {
        if !self.supervisor.is_whole(UNTIL_WHOLE).await {
            return Err(ErrorBody::new(
                ErrorCode::Busy,
                "The plugin registry is new, and does not know yet which plugins run: it waits for the container engine \
                 or the broker. See `bigskies status`, and ask again.",
            ));
        }
        handler::handle(&self.ctx, &self.supervisor, &permit, &request).await
    }

    async fn has_begun(&self, request_id: &str) -> Option<bool> {
        match self.ctx.registrations.all_running().await {
            Ok(running) => Some(running.iter().any(|operation| operation.request_id == request_id)),
            Err(error) => {
                tracing::error!(error = telemetry::chain(&error), "the plugin registry failed");
                None
            }
        }
    }

    async fn flooding(&self, principal: &Principal) {
        if let Principal::Plugin(id) = principal {
            self.ctx.conduct.asks_too_often(id);
        }
    }

    async fn run(self: Arc<Self>, shutdown: Shutdown) {
        self.health.set("container engine", Condition::Degraded("has not answered yet".to_owned()));
        tokio::select! {
            () = self.supervisor.run(self.health.clone(), &self.adoption, shutdown) => {}
            () = self.ctx.conduct.run(&self.ctx, &self.supervisor) => {}
            () = housekeeping::run(&self.ctx, &self.health) => {}
        }
    }
}

impl PluginCoordinator {
    /// The message coordinator tells that an installation is absent. Of a plugin that is gone what is retained is
    /// cleared once more: it did not hear that, being away just then, or we did not say it, being killed just then. Of
    /// one that is there what should be is said once more: it took that for old, because the registry was put back to a
    /// time before a removal.
    async fn hear_absent(&self, id: &PluginId, uid: InstallUid) {
        match self.ctx.registrations.both(id).await {
            Ok((None, None)) => self.ctx.reporter.forget(id),
            Ok((Some(record), _)) => {
                let should_be_absent = matches!(record.desired, Desired::Absent { .. });
                if record.uid != uid || !should_be_absent {
                    self.ctx.reporter.says_spec_again(id);
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(plugin_id = %id, error = telemetry::chain(&error), "is not known"),
        }
    }
}
