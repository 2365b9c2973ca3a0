//! Whether a container is a plugin's that the registry has lost, and what is recorded of it then. Pure.

use std::collections::BTreeSet;

use envelope::payload::grant::GrantState;
use envelope::payload::spec::{Presence, Spec};
use envelope::payload::state::Phase;
use envelope::{Generation, PluginId, StartId, Timestamp};
use manifest::Grant;

use crate::admission;
use crate::engine::{Container, ImageRef, State, label};
use crate::policy::{Kept, KeptError, RELEASE_LABEL, ROLE_LABEL, Role};
use crate::record::{Desired, Record, Standing, Start, StartProgress};

/// Why things are as they are in an adopted record.
pub(super) const CAUSE: &str = "taken over by a registry that did not know it";

/// Everything that the judgement depends on.
pub(super) struct Case<'a> {
    /// The plugin that the container says it is of.
    pub(super) id: &'a PluginId,
    pub(super) container: &'a Container,
    /// The name that the plugin's container has here.
    pub(super) name: &'a str,
    /// What the image itself says in [`RELEASE_LABEL`], which no image should.
    pub(super) of_the_image: Option<&'a str>,
    /// The retained spec.
    pub(super) spec: Option<&'a Spec>,
    /// Whether the registry is new: then a container that no spec tells of may be a plugin's.
    pub(super) is_new: bool,
    pub(super) now: Timestamp,
}

/// Why a container is not taken over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// It is not where the plugin's container is.
    #[error("it has not the name, the role and the start that a plugin's container has")]
    OutOfPlace,
    /// It was made by an earlier version, or by hand.
    #[error("it has no label {RELEASE_LABEL}, which says what it was made from")]
    Unlabelled,
    /// The label is not one that was made here.
    #[error("its label {RELEASE_LABEL} is not taken")]
    Label(#[source] KeptError),
    /// The image's author wrote it.
    #[error("its label {RELEASE_LABEL} is its image's own, which decides nothing")]
    OfTheImage,
    /// Label and container disagree.
    #[error("it runs another image than its label {RELEASE_LABEL} says")]
    OtherImage,
    /// The grants are not those that the manifest asks for.
    #[error("the grants in its label {RELEASE_LABEL} are not those that its manifest asks for")]
    OtherGrants,
    /// Removed and installed again since, or never of this installation.
    #[error("it is of another installation of the plugin than the one that is told of")]
    OtherInstallation,
    /// The plugin is being removed.
    #[error("the plugin is told to be absent")]
    Absent,
    /// It was removed, or never installed.
    #[error("nothing tells that the plugin is installed")]
    Untold,
}

impl Refusal {
    /// Whether it is the label alone that is wrong: a plugin that is told to be installed may run in it.
    pub(super) fn is_of_label(&self) -> bool {
        matches!(self, Self::Unlabelled | Self::Label(_))
    }
}

/// What is recorded of the container's plugin, without its configuration.
pub(super) fn judge(case: &Case<'_>) -> Result<Record, Refusal> {
    let Case { id, container, spec, now, .. } = *case;
    let start_id = container.label(label::START).and_then(|start| start.parse::<StartId>().ok());
    let in_place = container.name == case.name
        && container.label(ROLE_LABEL) == Some(Role::Plugin.as_str())
        && container.label(label::THROW_AWAY).is_none_or(str::is_empty);
    let start_id = start_id.filter(|_| in_place).ok_or(Refusal::OutOfPlace)?;
    let text = container.label(RELEASE_LABEL).ok_or(Refusal::Unlabelled)?;
    if case.of_the_image == Some(text) {
        return Err(Refusal::OfTheImage);
    }
    let mut kept = Kept::read(text, id).map_err(Refusal::Label)?;
    check_image(&kept, container)?;
    check_grants(&kept)?;
    match spec {
        Some(spec) if spec.uid != kept.uid => return Err(Refusal::OtherInstallation),
        Some(spec) if spec.presence == Presence::Absent => return Err(Refusal::Absent),
        None if !case.is_new => return Err(Refusal::Untold),
        _ => {}
    }
    let (generation, made_for) = generations(&mut kept, spec, now);
    let manifest = kept.release.manifest();
    let (progress, started_at) = match &container.state {
        // Nothing tells how far its making came: another one is made.
        State::Created => (None, None),
        State::Exited { .. } | State::Dead => (Some(StartProgress::Prepared), None),
        State::Paused | State::Restarting => (Some(StartProgress::Ready), None),
        State::Running { started_at, .. } => {
            let at = started_at.map(|at| Timestamp::from_millis(at.as_millisecond()));
            let waits = at.is_some_and(|at| at.after(manifest.start_timeout()) > now);
            (Some(if waits { StartProgress::Started } else { StartProgress::Ready }), at)
        }
    };
    let phase = if progress == Some(StartProgress::Ready) { Phase::Running } else { Phase::Starting };
    let start = progress.map(|progress| Start {
        id: start_id,
        progress,
        generation: Some(made_for),
        started_at,
        listened: None,
    });
    Ok(Record {
        id: id.clone(),
        uid: kept.uid,
        generation,
        release: kept.release,
        next: None,
        previous: None,
        installed_at: kept.installed_at,
        desired: Desired::Running,
        standing: Standing {
            phase,
            reason: None,
            since: started_at.unwrap_or(now),
            cause: CAUSE.to_owned(),
            correlation_id: uuid::Uuid::now_v7().to_string(),
        },
        owed: if start.is_none() { vec![start_id] } else { Vec::new() },
        start,
        last_exit: None,
        failures: 0,
        retry_at: None,
        halted: None,
        watchdog: Default::default(),
        restart: None,
        revision: 0,
    })
}

fn check_image(kept: &Kept, container: &Container) -> Result<(), Refusal> {
    let release = &kept.release;
    let is_digest = release.reference.parse::<ImageRef>().is_ok()
        && release.reference.ends_with(&format!("@{}", release.digest));
    if is_digest && container.image == release.reference { Ok(()) } else { Err(Refusal::OtherImage) }
}

fn check_grants(kept: &Kept) -> Result<(), Refusal> {
    let asked = admission::asked(kept.release.manifest.whole(), kept.release.uid == 0);
    let asked: BTreeSet<&Grant> = asked.iter().collect();
    let had: BTreeSet<&Grant> = kept.release.grants.iter().map(|granted| &granted.grant).collect();
    let once = had.len() == kept.release.grants.len();
    if once && had == asked { Ok(()) } else { Err(Refusal::OtherGrants) }
}

/// The record's generation, and the one that its container counts as made for. Generations only grow, so where a
/// newer one was told, what runs becomes a newer one still. What the newer one no longer had is not given back: the
/// container then counts as made for what was, and is replaced.
fn generations(kept: &mut Kept, spec: Option<&Spec>, now: Timestamp) -> (Generation, Generation) {
    let Some(spec) = spec.filter(|spec| spec.generation > kept.generation) else {
        return (kept.generation, kept.generation);
    };
    let generation = spec.generation.next();
    let mut lost = false;
    for granted in kept.release.grants.iter_mut().filter(|granted| granted.is_approved()) {
        if !still_has(spec, &granted.grant) {
            granted.state = GrantState::Revoked { by: CAUSE.to_owned(), at: now };
            lost = true;
        }
    }
    (generation, if lost { kept.generation } else { generation })
}

/// Whether a spec gives what was granted. Of the container's own rights, which no spec tells, it takes nothing.
fn still_has(spec: &Spec, grant: &Grant) -> bool {
    match grant {
        Grant::Publish { topic } => spec.publish.iter().any(|told| told == topic.as_str()),
        Grant::Subscribe { topic } => spec.subscribe.iter().any(|told| told == topic.as_str()),
        Grant::Permission { permission } => {
            spec.permissions.iter().any(|told| *told == permission.to_string())
        }
        Grant::Device { .. }
        | Grant::HostFolder { .. }
        | Grant::Port { .. }
        | Grant::Resources { .. }
        | Grant::RootUser => true,
    }
}
