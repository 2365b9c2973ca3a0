//! One worker for each plugin: observe, plan, take one step, again.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use envelope::payload::event::EventKind;
use envelope::payload::state::PluginHealth;
use envelope::{ErrorBody, OperationId, PluginId, topic};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::Instrument;

use crate::conduct::Feeling;
use crate::context::Context;
use crate::engine::{Health, State};
use crate::operation::Running;
use crate::places::{Place, Places};
use crate::plan::{Drift, Observed, Process, Step, View, plan};
use crate::record::Record;
use crate::step::{self, StepError, Subject};

/// How long a step may take in all; engine calls have shorter bounds of their own.
const STEP: Duration = Duration::from_secs(30 * 60);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often everything is looked at even when nothing wakes the worker.
const LOOK: Duration = Duration::from_secs(60);
/// How often a wait on another coordinator or the engine looks again.
const WAIT: Duration = Duration::from_secs(2);

/// How long a look at the engine may take; it has shorter bounds of its own.
const OBSERVE: Duration = Duration::from_secs(90);
/// How long a change of a container that could not be undone is left alone.
const GIVEN_UP: Duration = Duration::from_secs(600);

/// How often it is made sure that a running plugin has its token: the security coordinator may have lost
/// what it knew while nobody heard of its new keys.
const CONFIRM: Duration = Duration::from_secs(120);

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
    /// A change of its container that could not be undone lately.
    given_up: Option<(Drift, Instant)>,
    /// Where heavy steps are taken, when there is to be only so much room for them.
    places: Option<Places>,
    place: Option<Place>,
    /// Whether the next step waits for a place.
    wants_place: bool,
    /// Whether the last step failed, and was to put the forwarder right, or to look after what runs while something is
    /// brought.
    hindered: bool,
    /// What wakes it.
    wake: Option<Arc<Notify>>,
    /// The operation at whose step another worker of the same plugin is: this one looks after what runs meanwhile.
    beside: Option<OperationId>,
    /// Whether the last look found somebody else's container under the plugin's name.
    name_is_taken: bool,
    /// Failures of the same step in a row, and the last of them.
    trouble: u32,
    last: Option<ErrorBody>,
}

impl Worker {
    pub(crate) fn new(ctx: Context, id: PluginId) -> Self {
        Self {
            ctx,
            id,
            confirmed: None,
            given_up: None,
            places: None,
            place: None,
            wants_place: false,
            hindered: false,
            wake: None,
            beside: None,
            name_is_taken: false,
            trouble: 0,
            last: None,
        }
    }

    /// The same, with heavy steps taken in `places` only, and woken by `wake` in the middle of a long one.
    pub(crate) fn in_places(ctx: Context, id: PluginId, places: Places, wake: Arc<Notify>) -> Self {
        Self { places: Some(places), wake: Some(wake), ..Self::new(ctx, id) }
    }

    /// A place to wait for, when the last pass left a step for want of one.
    pub(crate) fn wants_place(&self) -> Option<Places> {
        self.places.clone().filter(|_| self.wants_place)
    }

    /// The token that the running start has is worth nothing: it is asked for again.
    pub(crate) fn token_is_void(&mut self) {
        self.confirmed = None;
    }

    /// Here is one.
    pub(crate) fn takes_place(&mut self, place: Place) {
        self.place = Some(place);
    }

    /// One pass.
    pub(crate) async fn pass(&mut self) -> Next {
        let span = tracing::info_span!("reconcile.pass", plugin_id = %self.id, correlation_id = tracing::field::Empty, trace_id = tracing::field::Empty);
        match self.try_pass().instrument(span).await {
            Ok(next) => next,
            Err(error) if error.overtaken => Next::Again,
            Err(error) => {
                tracing::warn!(plugin_id = %self.id, error = error.body.message, "a pass failed");
                self.last = Some(error.body);
                self.pause()
            }
        }
    }

    fn pause(&mut self) -> Next {
        let pause = (FIRST_PAUSE * (1 << self.trouble.min(6))).min(LONGEST_PAUSE);
        self.trouble = self.trouble.saturating_add(1);
        Next::Wait(pause)
    }

    /// Looks after what runs until a step is done that only brings something, and may take long.
    async fn meanwhile<T>(&mut self, operation: OperationId, taken: impl Future<Output = T>) -> T {
        let mut other = Self {
            places: self.places.clone(),
            wake: self.wake.clone(),
            beside: Some(operation),
            confirmed: self.confirmed,
            given_up: self.given_up,
            name_is_taken: self.name_is_taken,
            ..Self::new(self.ctx.clone(), self.id.clone())
        };
        let done = tokio::select! {
            biased;
            done = taken => done,
            // A step of it that is left here is taken again by the next pass.
            never = other.look_after() => match never {},
        };
        (self.confirmed, self.given_up) = (other.confirmed, other.given_up);
        self.name_is_taken = other.name_is_taken;
        done
    }

    /// Takes passes for ever. In a box, because passes can contain it.
    fn look_after(&mut self) -> Pin<Box<dyn Future<Output = Infallible> + Send + '_>> {
        Box::pin(async move {
            let wake = self.wake.clone();
            let (mut wait, mut turn) = (WAIT, None);
            loop {
                tokio::select! {
                    biased;
                    () = async { wake.as_ref().expect("there is one").notified().await }, if wake.is_some() => {}
                    place = async { turn.as_mut().expect("there is one").await }, if turn.is_some() => {
                        turn = None;
                        self.takes_place(place);
                    }
                    () = tokio::time::sleep(wait) => {}
                }
                wait = match self.pass().await {
                    Next::Again => Duration::ZERO,
                    Next::Wait(wait) => wait,
                    Next::Retire => LOOK,
                };
                turn = self.wants_place().map(|places| turn.take().unwrap_or_else(|| Box::pin(places.one())));
            }
        })
    }

    async fn try_pass(&mut self) -> Result<Next, StepError> {
        let ctx = self.ctx.clone();
        let (record, mut operation) = ctx.registrations.both(&self.id).await?;
        if let Some(operation) = &operation {
            tracing::Span::current().record("correlation_id", operation.correlation_id.as_str());
            telemetry::join(&tracing::Span::current(), operation.traceparent.as_deref());
        }
        // While it is at a step, an operation is the affair of whoever takes that.
        let mut beside = operation.take_if(|_| self.beside.is_some());
        if self.beside != beside.as_ref().map(|operation| operation.id) {
            return Ok(Next::Wait(WAIT));
        }
        let manifest = record.as_ref().map(crate::record::Record::manifest);
        let look = async {
            let (Some(record), Some(manifest)) = (&record, &manifest) else {
                return (Seen::nothing(Observed::Missing), true);
            };
            let seen = self.observe(record, manifest).await;
            let forwarded = match seen.container {
                Observed::Present { .. } => step::is_forwarded(&ctx, record, manifest).await,
                _ => true,
            };
            (seen, forwarded)
        };
        let seen = tokio::time::timeout(OBSERVE, Box::pin(look)).await;
        let (seen, forwarded) = seen.unwrap_or((Seen::nothing(Observed::Unknown), true));
        let Seen { container, drift, mut lowered } = seen;
        let given_up = self.given_up.filter(|(_, at)| at.elapsed() < GIVEN_UP).map(|(drift, _)| drift);
        let drift = drift.filter(|drift| given_up != Some(*drift));
        if let (Some(record), Some(manifest)) = (&record, &manifest) {
            let runs = matches!(container, Observed::Present { state: Process::Running, .. });
            if ctx.conduct.sees(record, manifest, runs) {
                ctx.health.begins(&record.id);
            }
            lowered = ctx.conduct.lowers(record).or(lowered);
        }
        if !forwarded {
            lowered.get_or_insert_with(|| "its published ports cannot be reached".to_owned());
        }
        let mut health = None;
        if let (Some(record), Some(manifest)) = (&record, &manifest) {
            self.listen(manifest);
            let now = ctx.health.now(&self.id, lowered.as_deref());
            ctx.conduct.feels(&self.id, feeling(&ctx, record, now.health));
            ctx.reporter.tell(record, manifest, beside.as_ref().or(operation.as_ref()), &now);
            health = Some(now);
        }
        let now = crate::clock::now();
        if let Some(by) = operation.as_ref().and_then(Running::to_be_cancelled).map(str::to_owned) {
            step::cancel(&ctx, Subject { record, operation }, &by).await?;
            self.trouble = 0;
            return Ok(Next::Again);
        }
        let acl = ctx.acls.get(&self.id);
        let view = View {
            record: record.as_ref(),
            operation: operation.as_ref(),
            container,
            acl: acl.as_ref(),
            drift,
            well_for: ctx.conduct.well_for(&self.id),
            reported: ctx.health.has_reported(&self.id),
            listened_for: ctx.health.listened_for(),
            watched: record.as_ref().is_some_and(|record| ctx.conduct.is_watched(record)),
            forwarded,
            hindered: self.hindered,
            confirmed: self.confirmed.is_some_and(|at| at.elapsed() < CONFIRM),
            start_timeout: manifest.as_ref().map(manifest::Manifest::start_timeout).unwrap_or_default(),
            now,
        };
        let step = plan(&view);
        let deadline = view.operation.map(|operation| operation.deadline);
        if deadline.is_some_and(|deadline| deadline <= now) {
            let is_unheard = matches!(step, Step::AwaitReady(_)) && view.was_unheard();
            let subject = Subject { record, operation };
            match is_unheard {
                true => step::expire_unheard(&ctx, subject).await?,
                false => step::expire(&ctx, subject, self.last.take()).await?,
            }
            self.trouble = 0;
            return Ok(Next::Again);
        }
        if view.is_beside(step) {
            beside = operation.take();
        }
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
                self.last = None;
                #[cfg(feature = "drill")]
                self.hold_at_a_wait(operation.as_ref(), step).await;
                let wait = until.map_or(WAIT, |until| until.since(now).min(LOOK));
                let left = deadline.map_or(wait, |deadline| deadline.since(now));
                return Ok(Next::Wait(wait.min(left) + Duration::from_millis(5)));
            }
            Step::AwaitAcl | Step::AwaitAbsent | Step::AwaitEngine => {
                step::enter(&ctx, operation.as_mut(), step).await?;
                #[cfg(feature = "drill")]
                self.hold_at_a_wait(operation.as_ref(), step).await;
                self.last = Some(self.waiting(step));
                self.hindered = false;
                return Ok(Next::Wait(WAIT));
            }
            _ => {}
        }
        step::enter(&ctx, operation.as_mut(), step).await?;
        if let (Some(record), Some(manifest), Some(health)) = (&record, &manifest, &health) {
            // The step may last: whoever looks sees where it is.
            ctx.reporter.tell(record, manifest, beside.as_ref().or(operation.as_ref()), health);
        }
        self.wants_place = step.is_heavy() && self.places.is_some() && self.place.is_none();
        if self.wants_place {
            return Ok(Next::Wait(WAIT));
        }
        // One that a light step does not need is free again.
        let place = self.place.take().filter(|_| step.is_heavy());
        tracing::info!(step = step.name(), "takes a step");
        let subject = Subject { record, operation };
        let again = Subject { record: subject.record.clone(), operation: subject.operation.clone() };
        let brings = match &again.operation {
            Some(operation) if step.only_brings() && again.record.is_some() => Some(operation.id),
            _ => None,
        };
        #[cfg(feature = "drill")]
        let id = self.id.clone();
        let taken = step::take(&ctx, step, subject);
        #[cfg(feature = "drill")]
        let taken = {
            let during = again.operation.as_ref().map(|operation| operation.work.operation());
            crate::holds::within(&id, during, step.name(), taken)
        };
        // On the heap: what is moved from one future into the next takes room in each.
        let taken = Box::pin(taken);
        let taken = async {
            match place {
                Some(place) => place.hold(taken).await,
                None => taken.await,
            }
        };
        // Whoever asked is answered in time, whatever the step hangs at.
        let left = deadline.map(|deadline| deadline.since(now));
        let taken = tokio::time::timeout(left.unwrap_or(STEP).min(STEP), taken);
        let done = match brings {
            Some(operation) => self.meanwhile(operation, taken).await,
            None => taken.await,
        };
        let result = match done {
            Ok(result) => result,
            Err(_) => Err(StepError::passing(self.waiting(step))),
        };
        match result {
            Ok(()) => {
                if step == Step::Confirm {
                    self.confirmed = Some(Instant::now());
                }
                self.hindered = false;
                self.trouble = 0;
                if beside.is_none() {
                    self.last = None;
                }
                Ok(Next::Again)
            }
            Err(error) if error.overtaken => Ok(Next::Again),
            Err(error) if let Some(drift) = step.can_be_left() => {
                tracing::warn!(?drift, error = error.body.message, "could not be put right");
                // Nothing else waits for it.
                self.given_up = Some((drift, Instant::now()));
                Ok(Next::Again)
            }
            Err(error) if error.retryable || step == Step::Mend(Drift::Renamed) => {
                tracing::warn!(step = step.name(), error = error.body.message, "will be tried again");
                self.hindered = step == Step::Forward || (beside.is_some() && self.beside.is_none());
                // What hindered the plugin is not why its operation is not done.
                if beside.is_none() {
                    self.last = Some(error.body);
                }
                Ok(self.pause())
            }
            Err(error) => {
                tracing::warn!(step = step.name(), error = error.body.message, "failed");
                // What the step recorded before it failed must not be undone.
                let (record, mut operation) = ctx.registrations.both(&self.id).await?;
                let taken_during = beside.as_ref().or(again.operation.as_ref()).map(|operation| operation.id);
                let operates = operation.as_ref().map(|operation| operation.id);
                if beside.is_some() {
                    operation = None;
                }
                if operates != taken_during {
                    // What it was taken for has ended meanwhile. What came instead has not failed.
                    (self.last, self.trouble) = (None, 0);
                    return Ok(Next::Again);
                }
                step::fail(&ctx, Subject { record: record.or(again.record), operation }, error.body).await?;
                self.trouble = 0;
                Ok(Next::Again)
            }
        }
    }

    /// Steps that only wait have nothing to be done or recorded, so there is one point in them.
    #[cfg(feature = "drill")]
    async fn hold_at_a_wait(&self, operation: Option<&crate::operation::Running>, step: Step) {
        let during = operation.map(|operation| operation.work.operation());
        crate::holds::at(&self.id, during, step.name(), crate::holds::Moment::Before).await;
    }

    /// What is said of a wait that was too long.
    fn waiting(&self, step: Step) -> ErrorBody {
        use envelope::ErrorCode::{DependencyUnavailable, EngineRefused, EngineUnavailable, TimedOut};
        let (code, whom) = match step {
            Step::AwaitAcl => (DependencyUnavailable, "the message coordinator has not applied its rights"),
            Step::AwaitAbsent => {
                (DependencyUnavailable, "the message coordinator has not taken its rights away")
            }
            Step::AwaitEngine if self.name_is_taken => (
                EngineRefused,
                "a container that is not ours has its container's name; rename or remove that",
            ),
            Step::AwaitEngine => (EngineUnavailable, "the container engine does not answer"),
            _ => (TimedOut, "the step took too long"),
        };
        let (id, name) = (&self.id, step.name());
        let message = format!("{id} waited for too long at the step {name}: {whom}. See `bigskies status`.");
        ErrorBody::new(code, message)
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

    /// Tells once of somebody else's container under the plugin's name, if there is one.
    fn finds_its_name_taken(&mut self, is_taken: bool, name: &str) {
        if is_taken && !self.name_is_taken {
            let message = format!(
                "The name {name} is taken by a container that is not ours. It is left alone, and {} has to wait until \
                 it is removed or has another name.",
                self.id
            );
            self.ctx.reporter.notice(EventKind::Refused, &self.id, message, "a foreign container");
        }
        self.name_is_taken = is_taken;
    }

    /// The container as the engine shows it.
    async fn observe(&mut self, record: &Record, manifest: &manifest::Manifest) -> Seen {
        let ctx = &self.ctx.clone();
        let name = ctx.policy.container_name(&self.id);
        let found = match step::find(ctx, record).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(error = telemetry::chain(&error), "the engine cannot be asked");
                self.name_is_taken = false;
                return Seen::nothing(Observed::Unknown);
            }
        };
        self.finds_its_name_taken(found.name_is_taken, &name);
        let container = match found {
            step::Found { container: Some(container), .. } => container,
            step::Found { name_is_taken: true, .. } => {
                let lowered = Some(format!("a container that is not ours has its name {name}"));
                return Seen { lowered, ..Seen::nothing(Observed::Taken) };
            }
            step::Found { .. } => return Seen::nothing(Observed::Missing),
        };
        let state = match container.state {
            State::Created => Process::Created,
            State::Running { .. } | State::Paused | State::Restarting => Process::Running,
            State::Exited { .. } | State::Dead => Process::Exited,
        };
        let start = container.label(crate::engine::label::START).and_then(|s| s.parse().ok());
        Seen {
            container: Observed::Present { start, state },
            drift: step::drift(ctx, record, manifest, &container),
            lowered: (container.health == Health::Unhealthy)
                .then(|| "the image's own HEALTHCHECK fails".to_owned()),
        }
    }
}

/// What a look at the engine shows.
struct Seen {
    container: Observed,
    drift: Option<Drift>,
    /// Why health is lowered, if it is.
    lowered: Option<String>,
}

impl Seen {
    fn nothing(container: Observed) -> Self {
        Self { container, drift: None, lowered: None }
    }
}

/// How a plugin feels that runs and is ready.
fn feeling(ctx: &Context, record: &Record, health: PluginHealth) -> Feeling {
    let decided = record.restart.is_some() || record.watchdog.suspended.is_some();
    let ill = ctx.settings.watchdog
        && !decided
        && ctx.health.ill(&record.id, ctx.settings.unhealthy_bounds()).is_some();
    match health {
        _ if ill => Feeling::Ill,
        PluginHealth::Healthy | PluginHealth::Degraded => Feeling::Well,
        PluginHealth::Unhealthy | PluginHealth::Stale | PluginHealth::Unknown => Feeling::Unwell,
    }
}

#[cfg(test)]
mod tests;
