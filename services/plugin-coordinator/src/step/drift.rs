//! Putting right what somebody changed of a plugin's container by hand.

use envelope::payload::event::EventKind;
use manifest::Manifest;

use super::{StepError, Subject, missing_subject};
use crate::context::Context;
use crate::engine::{Attachment, Change, Container, EngineError, Limits, State, label};
use crate::plan::Drift;
use crate::policy::Role;
use crate::record::{Record, StartProgress};

/// How the container of a plugin should be.
struct Wanted {
    name: String,
    networks: Vec<Attachment>,
    limits: Limits,
}

impl Wanted {
    fn of(ctx: &Context, record: &Record, manifest: &Manifest) -> Option<Self> {
        let start = record.start.as_ref()?.id;
        Some(Self {
            name: ctx.policy.container_name(&record.id),
            networks: ctx.policy.attachments(manifest, start),
            limits: ctx.policy.limits(manifest),
        })
    }

    fn missing(&self, there: &Container) -> Vec<&Attachment> {
        self.networks.iter().filter(|wanted| !there.networks.contains_key(&wanted.network)).collect()
    }

    fn foreign<'a>(&self, there: &'a Container) -> Vec<&'a String> {
        let wanted = |name: &String| self.networks.iter().any(|attachment| attachment.network == *name);
        there.networks.keys().filter(|name| !wanted(name)).collect()
    }

    /// What has to be put right first.
    fn drift(&self, there: &Container) -> Option<Drift> {
        if there.name != self.name {
            return Some(Drift::Renamed);
        }
        if !there.state.is_running() {
            return None;
        }
        if there.state == State::Paused {
            return Some(Drift::Held);
        }
        if !self.foreign(there).is_empty() {
            return Some(Drift::ForeignNetwork);
        }
        if !self.missing(there).is_empty() {
            return Some(Drift::OffNetwork);
        }
        let bounded = there.limits.are_as(&self.limits) && !there.engine_restarts;
        (!bounded).then_some(Drift::Unbounded)
    }

    fn changes(&self, there: &Container, drift: Drift) -> Vec<Change> {
        match drift {
            Drift::Renamed => vec![Change::Rename(self.name.clone())],
            Drift::Held => vec![Change::Resume],
            Drift::ForeignNetwork => {
                self.foreign(there).into_iter().cloned().map(Change::Disconnect).collect()
            }
            Drift::OffNetwork => self.missing(there).into_iter().cloned().map(Change::Connect).collect(),
            Drift::Unbounded => vec![Change::Bound(self.limits)],
        }
    }
}

/// How a plugin's container is other than it should be. One that was made for something else is replaced anyway.
pub(crate) fn of(ctx: &Context, record: &Record, manifest: &Manifest, there: &Container) -> Option<Drift> {
    let drift = Wanted::of(ctx, record, manifest)?.drift(there)?;
    (drift == Drift::Renamed || !record.is_outdated()).then_some(drift)
}

/// A plugin's container, and whether it can have its name.
pub(crate) struct Found {
    /// Its container, under whatever name.
    pub(crate) container: Option<Container>,
    /// Whether somebody else's has its name.
    pub(crate) name_is_taken: bool,
}

/// Looks for a plugin's container: under its name and, when it is not there, under any other.
///
/// # Errors
/// The engine cannot be asked.
pub(crate) async fn find(ctx: &Context, record: &Record) -> Result<Found, EngineError> {
    match ctx.engine.inspect(&ctx.policy.container_name(&record.id)).await? {
        Some(there) if ctx.policy.is_of(&record.id, Role::Plugin, &there) => {
            Ok(Found { container: Some(there), name_is_taken: false })
        }
        at_its_name => {
            Ok(Found { container: renamed(ctx, record).await?, name_is_taken: at_its_name.is_some() })
        }
    }
}

/// The container of a plugin's current start that has another name than it should. Before one was made there is none
/// to look for among all that there are.
async fn renamed(ctx: &Context, record: &Record) -> Result<Option<Container>, EngineError> {
    let made = record.start.as_ref().filter(|start| start.progress > StartProgress::Begun);
    let Some(start) = made.map(|start| start.id.to_string()) else { return Ok(None) };
    let all = ctx.engine.list(ctx.policy.installation()).await?;
    Ok(all.into_iter().find(|there| {
        there.label(label::START) == Some(&start) && ctx.policy.is_of(&record.id, Role::Plugin, there)
    }))
}

/// Puts it right, and tells of it.
pub(super) async fn mend(ctx: &Context, subject: &Subject, drift: Drift) -> Result<(), StepError> {
    let record = subject.record.as_ref().ok_or_else(missing_subject)?;
    let manifest = record.manifest();
    let wanted = Wanted::of(ctx, record, &manifest).ok_or_else(missing_subject)?;
    let Found { container, name_is_taken } = find(ctx, record).await?;
    let Some(there) = container else { return Ok(()) };
    if name_is_taken {
        return give_way(ctx, record, &there, &wanted).await;
    }
    let changes = wanted.changes(&there, drift);
    for change in &changes {
        ctx.engine.adjust(&there.id, change).await?;
    }
    let (what, cause) = told(drift, &there, &wanted);
    let message = format!("The container of {} {what}; that was put right.", record.id);
    ctx.reporter.notice(EventKind::Drift, &record.id, message, cause);
    Ok(())
}

/// A container that was renamed, and whose name somebody else's has now, can be neither named nor looked after.
async fn give_way(
    ctx: &Context,
    record: &Record,
    there: &Container,
    wanted: &Wanted,
) -> Result<(), StepError> {
    super::forward::remove(ctx, &record.id).await?;
    ctx.engine.remove(&there.id).await?;
    let (id, name) = (&record.id, &wanted.name);
    let message = format!(
        "The container of {id} had the name {}, and one that is not ours has its own name {name}. It was removed.",
        there.name
    );
    ctx.reporter.notice(EventKind::Drift, id, message, "somebody renamed and replaced the container");
    Ok(())
}

/// What was found, and what must have been done.
fn told(drift: Drift, there: &Container, wanted: &Wanted) -> (String, &'static str) {
    let names = |all: Vec<&str>| all.join(", ");
    match drift {
        Drift::Renamed => (format!("had the name {}", there.name), "somebody renamed the container"),
        Drift::Held => ("was held".to_owned(), "somebody paused the container"),
        Drift::ForeignNetwork => {
            let foreign = wanted.foreign(there).into_iter().map(String::as_str).collect();
            let what = format!("was on {}, where it has no business", names(foreign));
            (what, "somebody connected the container to a network")
        }
        Drift::OffNetwork => {
            let missing = wanted.missing(there).into_iter().map(|a| a.network.as_str()).collect();
            let what = format!("was not on {}", names(missing));
            (what, "somebody disconnected the container from a network")
        }
        Drift::Unbounded => {
            let restarts = if there.engine_restarts { ", and the engine was to start it again" } else { "" };
            let what = format!("might use {}{restarts}", bounds(&there.limits));
            (what, "somebody changed the container's bounds, or the configuration has others now")
        }
    }
}

fn bounds(limits: &Limits) -> String {
    let or_any = |n: Option<String>, what: &str| n.map_or(format!("any {what}"), |n| format!("{n} {what}"));
    let memory = or_any(limits.memory_bytes.map(|n| n.to_string()), "bytes of memory");
    let cpus = or_any(limits.nano_cpus.map(|n| (n / 1_000_000).to_string()), "thousandths of a processor");
    format!("{memory}, {cpus} and {}", or_any(limits.pids.map(|n| n.to_string()), "processes"))
}
