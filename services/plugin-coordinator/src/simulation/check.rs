//! What must be true at any time (invariants 3, 4, 6 and 8 of the design), and what must be true in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use envelope::payload::state::Phase;
use envelope::{Answer, PluginId, StartId};

use super::engine_keeps::{self, Keeps};
use super::told;
use super::world::{State, World, runs};
use crate::engine::{Container, ContainerSpec, label};
use crate::peers::fake::login_of;
use crate::policy::{self, CONFIG_FILE, PLUGIN_LABEL, RELEASE_LABEL, ROLE_LABEL, Role};
use crate::record::{Desired, Record, StartProgress};
use crate::registrations::fake::Tables;

/// What a check remembers.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) answers: BTreeMap<String, Arc<Answer>>,
    pub(super) keeps: Keeps,
    containers: Option<Vec<Held>>,
    /// The container of a start, and the revision of the record with which it was compared last.
    compared: BTreeMap<StartId, i64>,
}

impl Seen {
    /// The engine did something.
    pub(super) fn containers_changed(&mut self) {
        self.containers = None;
        self.keeps.changed();
    }
}

/// A container, as far as is looked at.
struct Held {
    name: String,
    plugin: String,
    start: Option<StartId>,
    is_forwarder: bool,
    is_running: bool,
}

impl From<Container> for Held {
    fn from(container: Container) -> Self {
        Self {
            plugin: container.label(PLUGIN_LABEL).unwrap_or_default().to_owned(),
            start: container.label(label::START).and_then(|start| start.parse().ok()),
            is_forwarder: container.label(ROLE_LABEL) == Some(Role::Forwarder.as_str()),
            is_running: container.state.is_running(),
            name: container.name,
        }
    }
}

/// What must be true at any time.
///
/// # Errors
/// What is not.
pub(super) fn always(world: &World, state: &mut State) -> Result<(), String> {
    let containers = state
        .seen
        .containers
        .take()
        .unwrap_or_else(|| world.engine.all().into_iter().map(Held::from).collect());
    let result = world.registrations.look(|tables| {
        engine_keeps::volumes(world, tables, &mut state.seen.keeps)?;
        told::answers(world, tables, state)?;
        causes(tables)?;
        held(world, &containers, tables, &mut state.seen)?;
        logins(world, tables, state)
    });
    state.seen.containers = Some(containers);
    result
}

/// Every transition has a cause and a correlation id.
fn causes(tables: &Tables) -> Result<(), String> {
    let without = tables.plugins.values().find(|record| {
        record.standing.cause.trim().is_empty() || record.standing.correlation_id.trim().is_empty()
    });
    match without {
        Some(record) => Err(format!("{} is {:?} without a cause", record.id, record.standing)),
        None => Ok(()),
    }
}

/// One container for each plugin, of the start that is recorded, with no more than was granted.
fn held(world: &World, containers: &[Held], tables: &Tables, seen: &mut Seen) -> Result<(), String> {
    for (n, container) in containers.iter().enumerate() {
        let same =
            |other: &Held| other.plugin == container.plugin && other.is_forwarder == container.is_forwarder;
        if let Some(twin) = containers[..n].iter().find(|other| same(other)) {
            let (one, two, plugin) = (&twin.name, &container.name, &container.plugin);
            return Err(format!("{plugin} has two containers, {one} and {two}"));
        }
        let record = PluginId::parse(&container.plugin).ok().and_then(|id| tables.plugins.get(&id));
        let Some(record) = record else {
            return Err(format!("container {} belongs to no registered plugin", container.name));
        };
        let start = record.start.as_ref();
        if container.start.is_none() || container.start != start.map(|start| start.id) {
            return Err(format!(
                "container {} is not of the start that is recorded: {start:?}",
                container.name
            ));
        }
        if !container.is_forwarder && !record.is_outdated() {
            compare(world, record, container, seen)?;
        }
    }
    Ok(())
}

/// Compares a container with what the plugin may have now.
fn compare(world: &World, record: &Record, container: &Held, seen: &mut Seen) -> Result<(), String> {
    let Some(start) = container.start else { return Ok(()) };
    if seen.compared.insert(start, record.revision) == Some(record.revision) {
        return Ok(());
    }
    let plain = |mut spec: ContainerSpec| {
        // The generation in it is that of its making.
        spec.labels.remove(RELEASE_LABEL);
        spec
    };
    let login = login_of(&record.id, start);
    let wanted = plain(world.policy.container(record, &record.manifest(), start, &login));
    match world.engine.spec(&container.name).map(plain) {
        Some(made) if made != wanted => {
            Err(format!("container {} has {made:?}, and may have {wanted:?}", container.name))
        }
        _ => configured(world, record, container),
    }
}

/// Compares the configuration in a container with the one that is recorded.
fn configured(world: &World, record: &Record, container: &Held) -> Result<(), String> {
    let is_made = record.start.as_ref().is_some_and(|start| start.progress >= StartProgress::Prepared);
    if !is_made {
        return Ok(());
    }
    let files = policy::config_files(record, &record.manifest());
    let wanted = files.first().map(|file| &file.bytes);
    let found = world.engine.uploaded(&container.name, CONFIG_FILE).map(|file| file.bytes);
    if found.as_ref() == wanted {
        return Ok(());
    }
    let text = |bytes: Option<&Vec<u8>>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let (found, wanted) = (text(found.as_ref()), text(wanted));
    Err(format!("container {} is configured with {found:?}, and not {wanted:?}", container.name))
}

/// One login and one token for each plugin, each of a start that is recorded.
fn logins(world: &World, tables: &Tables, state: &State) -> Result<(), String> {
    for (what, list) in [("login", &world.peers.logins), ("token", &world.peers.tokens)] {
        let list = list.lock().unwrap_or_else(PoisonError::into_inner);
        let mut of = BTreeSet::new();
        for start in list.iter() {
            let Some(id) = state.whose.get(start) else {
                return Err(format!("there is a {what} of {start}, which nobody asked for"));
            };
            if !of.insert(id) {
                return Err(format!("{id} has two {what}s"));
            }
            let record = tables.plugins.get(id);
            let known = record.is_some_and(|record| {
                record.start.as_ref().is_some_and(|s| s.id == *start) || record.owed.contains(start)
            });
            if !known {
                return Err(format!("{id} has a {what} of {start}, of which nothing is recorded"));
            }
        }
    }
    Ok(())
}

/// What must be true in the end, of every plugin but the one that is hindered for ever.
///
/// # Errors
/// What is not true yet.
pub(super) fn in_the_end(world: &World) -> Result<(), String> {
    let hindered = world.state().slow.clone();
    let counts = |id: &PluginId| hindered.as_ref() != Some(id);
    for request in world.state().accepted.iter().filter(|request| counts(&request.plugin)) {
        if world.answer(&request.id).is_none() {
            let (id, operation, plugin) = (&request.id, request.operation, &request.plugin);
            return Err(format!("request {id} ({operation} {plugin}) has no answer"));
        }
    }
    let containers: Vec<Held> = world.engine.all().into_iter().map(Held::from).collect();
    let tables = world.registrations.look(Tables::clone);
    if let Some(running) =
        tables.operations.iter().find(|o| o.ended_at.is_none() && counts(&o.operation.plugin_id))
    {
        let operation = &running.operation;
        return Err(format!("{} has not ended, at the step {}", operation.cause(), operation.step));
    }
    if let Some((name, id)) = tables.names.iter().find(|(_, id)| !tables.plugins.contains_key(*id)) {
        return Err(format!("{name:?} belongs to {id}, which is gone"));
    }
    for record in tables.plugins.values().filter(|record| counts(&record.id)) {
        settled(world, record, &containers).map_err(|what| format!("{}: {what}", record.id))?;
    }
    for (what, list) in [("login", &world.peers.logins), ("token", &world.peers.tokens)] {
        for start in list.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let has = |r: &Arc<Record>| !counts(&r.id) || r.start.as_ref().is_some_and(|s| s.id == *start);
            if !tables.plugins.values().any(has) {
                return Err(format!("a {what} of {start} is left over"));
            }
        }
    }
    engine_keeps::images(world, &tables, world.plugins.iter().filter(|id| counts(id)))
}

fn settled(world: &World, record: &Record, containers: &[Held]) -> Result<(), String> {
    let own = |forwarder: bool| {
        containers.iter().find(|c| c.plugin == record.id.as_str() && c.is_forwarder == forwarder)
    };
    if !record.owed.is_empty() {
        return Err("something is owed".into());
    }
    if record.next.is_some() {
        return Err("something is staged".into());
    }
    let wants_to_run = record.desired == Desired::Running && record.lacks().is_empty();
    if matches!(record.desired, Desired::Absent { .. }) {
        return Err("it is to be gone".into());
    }
    if wants_to_run && !runs(&record.release.digest) {
        // Its image ends at once: it is tried again and again.
        return match record.standing.phase {
            Phase::Failed => Ok(()),
            _ => Err("it cannot run and does not say so".into()),
        };
    }
    if !wants_to_run {
        let ended = matches!(record.standing.phase, Phase::Stopped | Phase::Failed);
        return match (&record.start, own(false), own(true), ended) {
            (None, None, None, true) => Ok(()),
            _ => Err("it is to be stopped".into()),
        };
    }
    let Some(start) = &record.start else { return Err("it is to run and has no start".into()) };
    let is_forwarded = !world.policy.forwards(&record.manifest()) || own(true).is_some_and(|c| c.is_running);
    let has = |list: &std::sync::Mutex<Vec<StartId>>| {
        list.lock().unwrap_or_else(PoisonError::into_inner).contains(&start.id)
    };
    let all = [
        start.progress == StartProgress::Ready,
        record.standing.phase == Phase::Running,
        own(false).is_some_and(|c| c.is_running && c.start == Some(start.id)),
        has(&world.peers.logins),
        has(&world.peers.tokens),
        is_forwarded,
        !record.is_outdated(),
    ];
    if all == [true; 7] { Ok(()) } else { Err(format!("it is to run: {all:?}")) }
}
