//! One worker for each plugin: observe, plan, take one step, again.

use std::collections::BTreeSet;
use std::time::Duration;

use envelope::payload::event::EventKind;
use envelope::{ErrorBody, PluginId, Timestamp, topic};
use tokio::time::Instant;
use tracing::Instrument;

use crate::context::Context;
use crate::engine::{Health, State};
use crate::plan::{Observed, Process, Step, View, plan};
use crate::policy::PLUGIN_LABEL;
use crate::step::{self, StepError, Subject};

/// How long a step may take in all; engine calls have shorter bounds of their own.
const STEP: Duration = Duration::from_secs(30 * 60);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often everything is looked at even when nothing wakes the worker.
const LOOK: Duration = Duration::from_secs(60);
/// How often a wait on another coordinator or the engine looks again.
const WAIT: Duration = Duration::from_secs(2);

/// How often it is made sure that a running plugin has its token: the security coordinator may have lost
/// what it knew.
const CONFIRM: Duration = Duration::from_secs(300);

/// What a pass leaves to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another pass at once.
    Again,
    /// Another pass when woken, or after so long.
    Wait(Duration),
    /// Nothing is left to look after.
    Retire,
}

/// A plugin's worker, with what it remembers between passes: nothing that a restart would miss.
pub(crate) struct Worker {
    ctx: Context,
    id: PluginId,
    /// When it was last confirmed that the running start has its token.
    confirmed: Option<Instant>,
    /// Failures of the same step in a row, and the last of them.
    trouble: u32,
    last: Option<ErrorBody>,
}

impl Worker {
    pub(crate) fn new(ctx: Context, id: PluginId) -> Self {
        Self { ctx, id, confirmed: None, trouble: 0, last: None }
    }

    /// One pass.
    pub(crate) async fn pass(&mut self) -> Next {
        let span = tracing::info_span!("reconcile.pass", plugin_id = %self.id, correlation_id = tracing::field::Empty, trace_id = tracing::field::Empty);
        match self.try_pass().instrument(span).await {
            Ok(next) => next,
            Err(error) if error.overtaken => Next::Again,
            Err(error) => {
                tracing::warn!(plugin_id = %self.id, error = error.body.message, "a pass failed");
                self.pause(error)
            }
        }
    }

    fn pause(&mut self, error: StepError) -> Next {
        let pause = (FIRST_PAUSE * (1 << self.trouble.min(6))).min(LONGEST_PAUSE);
        self.trouble = self.trouble.saturating_add(1);
        self.last = Some(error.body);
        Next::Wait(pause)
    }

    async fn try_pass(&mut self) -> Result<Next, StepError> {
        let ctx = self.ctx.clone();
        let record = ctx.registrations.plugin(&self.id).await?;
        let mut operation = ctx.registrations.running(&self.id).await?;
        if let Some(operation) = &operation {
            tracing::Span::current().record("correlation_id", operation.correlation_id.as_str());
            telemetry::join(&tracing::Span::current(), operation.traceparent.as_deref());
        }
        let manifest = record.as_ref().map(crate::record::Record::manifest);
        let (container, mut lowered) = match &record {
            Some(_) => self.observe().await,
            None => (Observed::Missing, None),
        };
        let forwarded = match (&record, &manifest, &container) {
            (Some(record), Some(manifest), Observed::Present { .. }) => {
                step::is_forwarded(&ctx, record, manifest).await
            }
            _ => true,
        };
        if let (Some(record), Some(manifest)) = (&record, &manifest) {
            let runs = matches!(container, Observed::Present { state: Process::Running, .. });
            ctx.conduct.sees(record, manifest, runs);
            lowered = ctx.conduct.lowers(record).or(lowered);
        }
        if !forwarded {
            lowered.get_or_insert_with(|| "its published ports cannot be reached".to_owned());
        }
        let mut health = None;
        if let (Some(record), Some(manifest)) = (&record, &manifest) {
            self.listen(manifest);
            let now = ctx.health.now(&self.id, lowered.as_deref());
            ctx.reporter.tell(record, manifest, operation.as_ref(), &now);
            health = Some(now);
        }
        let now = Timestamp::now();
        if operation.as_ref().is_some_and(|o| o.deadline <= now) {
            let subject = Subject { record, operation };
            step::expire(&ctx, subject, self.last.take()).await?;
            self.trouble = 0;
            return Ok(Next::Again);
        }
        let acl = ctx.acls.get(&self.id);
        let view = View {
            record: record.as_ref(),
            operation: operation.as_ref(),
            container,
            acl: acl.as_ref(),
            reported: ctx.health.has_reported(&self.id),
            forwarded,
            confirmed: self.confirmed.is_some_and(|at| at.elapsed() < CONFIRM),
            start_timeout: manifest.as_ref().map(manifest::Manifest::start_timeout).unwrap_or_default(),
            now,
        };
        let step = plan(&view);
        match step {
            Step::Retire => return Ok(Next::Retire),
            Step::Settled(until) => {
                self.trouble = 0;
                self.last = None;
                let stale = health.and_then(|h| h.stale_in);
                let due = until.map(|at| at.since(now) + Duration::from_millis(5));
                let wait = [stale, due].into_iter().flatten().min().unwrap_or(LOOK).min(LOOK);
                return Ok(Next::Wait(wait));
            }
            Step::AwaitReady(until) => {
                step::enter(&ctx, operation.as_mut(), step).await?;
                return Ok(Next::Wait(until.since(now).min(LOOK) + Duration::from_millis(5)));
            }
            Step::AwaitAcl | Step::AwaitAbsent | Step::AwaitEngine => {
                step::enter(&ctx, operation.as_mut(), step).await?;
                self.last = Some(waiting(step, &self.id));
                return Ok(Next::Wait(WAIT));
            }
            _ => {}
        }
        step::enter(&ctx, operation.as_mut(), step).await?;
        tracing::info!(step = step.name(), "takes a step");
        let subject = Subject { record, operation };
        let again = Subject { record: subject.record.clone(), operation: subject.operation.clone() };
        let result = match tokio::time::timeout(STEP, step::take(&ctx, step, subject)).await {
            Ok(result) => result,
            Err(_) => Err(StepError::passing(waiting(step, &self.id))),
        };
        match result {
            Ok(()) => {
                if step == Step::Confirm {
                    self.confirmed = Some(Instant::now());
                }
                self.trouble = 0;
                self.last = None;
                Ok(Next::Again)
            }
            Err(error) if error.overtaken => Ok(Next::Again),
            Err(error) if error.retryable => {
                tracing::warn!(step = step.name(), error = error.body.message, "will be tried again");
                Ok(self.pause(error))
            }
            Err(error) => {
                tracing::warn!(step = step.name(), error = error.body.message, "failed");
                // What the step recorded before it failed must not be undone.
                let record = ctx.registrations.plugin(&self.id).await?.or(again.record);
                let operation = ctx.registrations.running(&self.id).await?.or(again.operation);
                step::fail(&ctx, Subject { record, operation }, error.body).await?;
                self.trouble = 0;
                Ok(Next::Again)
            }
        }
    }

    /// Listens to the plugin's health: where the SDK document says under its id and its alias, and where its
    /// manifest says.
    fn listen(&self, manifest: &manifest::Manifest) {
        let usual: BTreeSet<String> = manifest.names().map(topic::plugin::health).collect();
        let mut topics = usual.clone();
        topics.insert(manifest.health_topic().as_str().to_owned());
        let names = manifest.names().cloned().collect();
        let mut new = self.ctx.health.expect(&self.id, names, topics, manifest.health_interval());
        // The usual ones are always heard.
        new.retain(|topic| !usual.contains(topic));
        if !new.is_empty() {
            self.ctx.peers.hear(new);
        }
    }

    /// The container as the engine shows it, and why health is lowered, if it is.
    async fn observe(&self) -> (Observed, Option<String>) {
        let name = self.ctx.policy.container_name(&self.id);
        let container = match self.ctx.engine.inspect(&name).await {
            Ok(Some(container)) => container,
            Ok(None) => return (Observed::Missing, None),
            Err(error) => {
                tracing::warn!(error = telemetry::chain(&error), "the engine cannot be asked");
                return (Observed::Unknown, None);
            }
        };
        let ours = container.label(crate::engine::label::INSTALLATION)
            == Some(self.ctx.policy.installation())
            && container.label(PLUGIN_LABEL) == Some(self.id.as_str());
        if !ours {
            let message =
                format!("The name {name} is taken by a container that is not ours; it is left alone.");
            self.ctx.reporter.notice(EventKind::Refused, &self.id, message, "a foreign container");
            return (Observed::Unknown, None);
        }
        let state = match container.state {
            State::Created => Process::Created,
            State::Running { .. } | State::Paused | State::Restarting => Process::Running,
            State::Exited { .. } | State::Dead => Process::Exited,
        };
        let start = container.label(crate::engine::label::START).and_then(|s| s.parse().ok());
        let lowered =
            (container.health == Health::Unhealthy).then(|| "the image's own HEALTHCHECK fails".to_owned());
        (Observed::Present { start, state }, lowered)
    }
}

fn waiting(step: Step, id: &PluginId) -> ErrorBody {
    use envelope::ErrorCode::{DependencyUnavailable, EngineUnavailable, TimedOut};
    let (code, whom) = match step {
        Step::AwaitAcl => (DependencyUnavailable, "the message coordinator has not applied its rights"),
        Step::AwaitAbsent => (DependencyUnavailable, "the message coordinator has not taken its rights away"),
        Step::AwaitEngine => (EngineUnavailable, "the container engine does not answer"),
        _ => (TimedOut, "the step took too long"),
    };
    ErrorBody::new(
        code,
        format!("{id} waited for too long at the step {}: {whom}. See `bigskies status`.", step.name()),
    )
}

#[cfg(test)]
mod tests;
