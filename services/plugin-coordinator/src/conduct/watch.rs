//! Looks at plugins in the background, and has done what was decided.

use std::time::Duration;

use envelope::PluginId;
use envelope::payload::event::EventKind;
use tokio::time::Instant;

use super::hearing::Look;
use super::orders::Restart;
use super::{disk, orders};
use crate::context::Context;
use crate::engine::DiskUsage;
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
            self.restart_ill(ctx, supervisor).await;
            let next = {
                let state = self.state();
                [state.hearing.next(), state.pulse.next(Instant::now())].into_iter().flatten().min()
            };
            let due = next.map_or(IDLE, |at| at.saturating_duration_since(Instant::now()));
            let wait = if done { due } else { due.min(PAUSE) };
            tokio::select! {
                biased;
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
            match orders::halt(ctx, supervisor, &id, &why).await {
                Ok(()) => {
                    self.state().condemned.remove(&id);
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
                Ok(true) => {
                    self.state().hearing.listens(&look);
                    if !look.listened {
                        self.remember(ctx, &look).await;
                    }
                }
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

    /// So that it is known also after a restart of this coordinator, when the broker may have been away as well.
    async fn remember(&self, ctx: &Context, look: &Look) {
        if let Err(error) = orders::listens(ctx, &look.id, look.life).await {
            // It is looked at as one that never listened, should this coordinator end now.
            tracing::warn!(plugin_id = %look.id, error = telemetry::chain(&error), "that it listens was not recorded");
        }
    }

    async fn deaf(&self, ctx: &Context, supervisor: &Supervisor, look: &Look) {
        if !self.state().pulse.may(Instant::now()) {
            return self.state().hearing.later(look, Instant::now());
        }
        match orders::restart(ctx, &look.id, look.life, DEAF).await {
            Ok(Restart::Refused) => self.state().hearing.later(look, Instant::now()),
            Ok(done) => {
                let cause = "nobody is subscribed to its control topics";
                self.restarts(ctx, supervisor, EventKind::Deaf, &look.id, (DEAF, cause), done);
            }
            Err(error) => {
                tracing::error!(plugin_id = %look.id, error = telemetry::chain(&error), "was not restarted");
                self.state().hearing.later(look, Instant::now());
            }
        }
    }
}

impl super::Conduct {
    /// Restarts those that need a new process and whose turn it is.
    pub(crate) async fn restart_ill(&self, ctx: &Context, supervisor: &Supervisor) {
        loop {
            // Taken apart, so that nothing is locked while the registry is asked.
            let turn = self.state().pulse.turn(Instant::now());
            let Some((id, life)) = turn else { return };
            let Some(why) = ctx.health.ill(&id, ctx.settings.unhealthy_bounds()) else { continue };
            match orders::restart(ctx, &id, life, &why).await {
                Ok(Restart::Refused) => {}
                Ok(done) => {
                    let cause = "its health, as the plugin coordinator hears it";
                    self.restarts(ctx, supervisor, EventKind::Health, &id, (&why, cause), done);
                }
                Err(error) => {
                    // Its worker sees that it is ill at its next look.
                    tracing::error!(plugin_id = %id, error = telemetry::chain(&error), "was not restarted");
                }
            }
        }
    }

    /// Tells what was decided about a plugin, and has it done.
    fn restarts(
        &self,
        ctx: &Context,
        supervisor: &Supervisor,
        kind: EventKind,
        id: &PluginId,
        (why, cause): (&str, &str),
        done: Restart,
    ) {
        let message = match done {
            Restart::Recorded => {
                self.state().pulse.restarts(Instant::now());
                format!("{id} {why}; it is restarted.")
            }
            Restart::GaveUp | Restart::Refused => format!(
                "{id} {why}. It was restarted {} times in a row and that did not help, so the watchdog is suspended: it is \
                 left running as it is until somebody asks for a start, a restart or an update, or it has been well \
                 for ten minutes.",
                ctx.settings.watchdog_restarts
            ),
        };
        ctx.reporter.notice(kind, id, message, cause);
        supervisor.wake_known(id);
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
        let start = record.start.as_ref().map(|start| start.id.to_string());
        // Measuring takes its time: what an earlier container used is not held against this one.
        let is_this = |usage: &&DiskUsage| usage.container == name && usage.start == start;
        let Some(usage) = usages.iter().find(is_this) else { continue };
        let Some(why) = disk::over(usage, &record.manifest(), ctx.settings.default_disk_bytes) else {
            continue;
        };
        if let Err(error) = orders::halt(ctx, supervisor, &record.id, &why).await {
            tracing::error!(plugin_id = %record.id, error = telemetry::chain(&error), "was not stopped");
        }
    }
}
