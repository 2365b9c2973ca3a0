//! Looks at plugins in the background, and has done what was decided.

use std::time::Duration;

use envelope::payload::event::EventKind;
use tokio::time::Instant;

use super::hearing::Look;
use super::{disk, orders};
use crate::context::Context;
use crate::supervisor::Supervisor;

/// A pause after the registry failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How often is looked even when nothing is due.
const IDLE: Duration = Duration::from_secs(60);
/// Why a deaf plugin is restarted; goes on after its name.
const DEAF: &str = "does not hear its control topics any more";

impl super::Conduct {
    /// Works until it is dropped.
    pub(crate) async fn run(&self, ctx: &Context, supervisor: &Supervisor) {
        tokio::join!(self.decide(ctx, supervisor), measure(ctx, supervisor));
    }

    async fn decide(&self, ctx: &Context, supervisor: &Supervisor) {
        loop {
            let done = self.halt_condemned(ctx, supervisor).await;
            self.listen(ctx, supervisor).await;
            let next = self.state().hearing.next();
            let due = next.map_or(IDLE, |at| at.saturating_duration_since(Instant::now()));
            let wait = if done { due } else { due.min(PAUSE) };
            tokio::select! {
                () = self.inner.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Stops those that are to be stopped. False when some have to be tried again.
    pub(crate) async fn halt_condemned(&self, ctx: &Context, supervisor: &Supervisor) -> bool {
        let condemned = self.state().condemned.clone();
        let mut all = true;
        for (id, why) in condemned {
            match orders::halt(ctx, &id, &why).await {
                Ok(_) => {
                    self.state().condemned.remove(&id);
                    supervisor.wake_known(&id);
                }
                Err(error) => {
                    tracing::error!(plugin_id = %id, error = telemetry::chain(&error), "was not stopped");
                    all = false;
                }
            }
        }
        all
    }

    /// Looks at those that are due whether they hear their control topics.
    pub(crate) async fn listen(&self, ctx: &Context, supervisor: &Supervisor) {
        let due = self.state().hearing.due(Instant::now());
        for look in due {
            if look.alive_since.is_some_and(|since| !ctx.health.has_come_since(&look.id, since)) {
                self.state().hearing.later(&look, Instant::now());
                continue;
            }
            match ctx.peers.ping(&look.names).await {
                Ok(true) => self.state().hearing.listens(&look),
                // It never did: it is one that takes no control messages.
                Ok(false) if !look.listened => {}
                Ok(false) => self.deaf(ctx, supervisor, &look).await,
                Err(error) => {
                    tracing::debug!(plugin_id = %look.id, error = telemetry::chain(&error), "not known");
                    self.state().hearing.later(&look, Instant::now());
                }
            }
        }
    }

    async fn deaf(&self, ctx: &Context, supervisor: &Supervisor, look: &Look) {
        match orders::restart(ctx, &look.id, look.life, DEAF).await {
            Ok(true) => {
                let message = format!("{} {DEAF}; it is restarted.", look.id);
                let cause = "nobody is subscribed to its control topics";
                ctx.reporter.notice(EventKind::Deaf, &look.id, message, cause);
                supervisor.wake_known(&look.id);
            }
            Ok(false) => self.state().hearing.later(look, Instant::now()),
            Err(error) => {
                tracing::error!(plugin_id = %look.id, error = telemetry::chain(&error), "was not restarted");
                self.state().hearing.later(look, Instant::now());
            }
        }
    }
}

async fn measure(ctx: &Context, supervisor: &Supervisor) {
    let every = Duration::from_secs(ctx.settings.disk_interval_seconds.into());
    loop {
        tokio::time::sleep(every).await;
        measure_once(ctx, supervisor).await;
    }
}

/// Stops every plugin that uses more of the disk than it may.
pub(crate) async fn measure_once(ctx: &Context, supervisor: &Supervisor) {
    let usages = match ctx.engine.disk_usage(ctx.policy.installation()).await {
        Ok(usages) => usages,
        Err(error) => {
            return tracing::warn!(error = telemetry::chain(&error), "the disk's use is not known");
        }
    };
    let records = match ctx.registrations.plugins().await {
        Ok(records) => records,
        Err(error) => {
            return tracing::error!(error = telemetry::chain(&error), "the plugin registry cannot be read");
        }
    };
    for record in records {
        let name = ctx.policy.container_name(&record.id);
        let Some(usage) = usages.iter().find(|usage| usage.container == name) else { continue };
        let Some(why) = disk::over(usage, &record.manifest(), ctx.settings.default_disk_bytes) else {
            continue;
        };
        match orders::halt(ctx, &record.id, &why).await {
            Ok(_) => supervisor.wake_known(&record.id),
            Err(error) => {
                tracing::error!(plugin_id = %record.id, error = telemetry::chain(&error), "was not stopped");
            }
        }
    }
}
