//! What the fake engine holds, and the moves that change it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use super::{Call, FakeImage};
use crate::engine::error::{EngineError, StartError, Verb};
use crate::engine::spec::{
    Change, ContainerSpec, Labels, Limits, MountSource, NetworkSpec, Owner, UploadFile,
};
use crate::engine::view::{
    Container, ContainerId, DiskUsage, EngineEvent, EventAction, Exit, Health, HostEntry, State,
};
use crate::engine::{check, label};

#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) down: bool,
    pub(super) storage_free: Option<u64>,
    pub(super) published: BTreeMap<String, FakeImage>,
    pub(super) images: BTreeMap<String, FakeImage>,
    pub(super) containers: BTreeMap<String, FakeContainer>,
    pub(super) networks: BTreeMap<String, NetworkSpec>,
    pub(super) volumes: BTreeMap<String, Labels>,
    /// Bytes in a container, or in a volume, beside what was uploaded.
    pub(super) disk: BTreeMap<String, u64>,
    pub(super) host_ports: BTreeSet<u16>,
    pub(super) host: BTreeMap<String, HostEntry>,
    pub(super) failures: HashMap<Verb, VecDeque<StartError>>,
    pub(super) lost_answers: HashMap<Verb, VecDeque<EngineError>>,
    pub(super) holds: HashMap<Verb, watch::Receiver<()>>,
    /// Calls that never come back, by verb and what they are on.
    pub(super) hangs: BTreeSet<(Verb, String)>,
    pub(super) graces: Vec<std::time::Duration>,
    pub(super) calls: Vec<Call>,
    subscribers: Vec<(String, mpsc::UnboundedSender<Result<EngineEvent, EngineError>>)>,
    made: u64,
}

#[derive(Debug)]
pub(super) struct FakeContainer {
    pub(super) spec: ContainerSpec,
    pub(super) labels: Labels,
    pub(super) image: FakeImage,
    pub(super) state: State,
    pub(super) health: Health,
    pub(super) files: BTreeMap<String, UploadFile>,
    pub(super) owners: BTreeMap<String, Owner>,
    pub(super) log: String,
    /// Whether somebody told the engine to start it again by itself.
    pub(super) engine_restarts: bool,
}

impl Default for World {
    fn default() -> Self {
        Self {
            // Any fixed time; containers of a real engine do not come from 1970 either.
            now: Timestamp::constant(1_767_225_600, 0),
            down: false,
            storage_free: Some(100 << 30),
            published: BTreeMap::new(),
            images: BTreeMap::new(),
            containers: BTreeMap::new(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            disk: BTreeMap::new(),
            host_ports: BTreeSet::new(),
            host: BTreeMap::new(),
            failures: HashMap::new(),
            lost_answers: HashMap::new(),
            holds: HashMap::new(),
            hangs: BTreeSet::new(),
            calls: Vec::new(),
            graces: Vec::new(),
            subscribers: Vec::new(),
            made: 0,
        }
    }
}

pub(super) fn unreachable(doing: Verb, on: &str) -> EngineError {
    EngineError::Unreachable { doing, on: on.to_owned(), source: "the fake engine is down".into() }
}

impl World {
    pub(super) fn id_of(&self, container: &str) -> Option<String> {
        if self.containers.contains_key(container) {
            return Some(container.to_owned());
        }
        self.containers.iter().find(|(_, found)| found.spec.name == container).map(|(id, _)| id.clone())
    }

    pub(super) fn running(&self) -> Vec<String> {
        self.containers
            .iter()
            .filter(|(_, found)| found.state.is_running())
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// An image by reference, digest under another tag, or id.
    pub(super) fn image(&self, reference: &str) -> Option<&FakeImage> {
        self.images.get(reference).or_else(|| self.images.values().find(|found| found.image.id == reference))
    }

    pub(super) fn add(&mut self, spec: &ContainerSpec, image: FakeImage) -> String {
        self.made += 1;
        let id = format!("{:064x}", self.made);
        let mut labels = image.image.labels.clone();
        labels.extend(check::labels(spec));
        let made = FakeContainer {
            spec: spec.clone(),
            labels,
            image,
            state: State::Created,
            health: Health::None,
            files: BTreeMap::new(),
            owners: BTreeMap::new(),
            log: String::new(),
            engine_restarts: false,
        };
        self.containers.insert(id.clone(), made);
        id
    }

    pub(super) fn begin(&mut self, id: &str) {
        let pid = i64::try_from(self.made).unwrap_or(i64::MAX);
        let Some(found) = self.containers.get_mut(id) else {
            return;
        };
        found.state = State::Running { pid, started_at: Some(self.now) };
        found.health = if found.image.image.has_healthcheck { Health::Starting } else { Health::None };
        let (output, exits) = (found.image.output.clone(), found.image.exits);
        found.log.push_str(&output);
        self.tell(id, EventAction::Start);
        if let Some(code) = exits {
            self.exit(id, code, false, true);
        }
    }

    /// Changes a container, as somebody does by hand, or as the engine does for us. False when it is so already.
    pub(super) fn change(&mut self, id: &str, change: &Change) -> bool {
        let (pid, now) = (i64::try_from(self.made).unwrap_or(i64::MAX), self.now);
        let Some(found) = self.containers.get_mut(id) else { return false };
        let networks = &mut found.spec.networks;
        let action = match change {
            Change::Resume if found.state == State::Paused => {
                found.state = State::Running { pid, started_at: Some(now) };
                Some(EventAction::Unpause)
            }
            Change::Rename(name) if found.spec.name != *name => {
                found.spec.name.clone_from(name);
                Some(EventAction::Rename)
            }
            Change::Connect(attachment) if networks.iter().all(|a| a.network != attachment.network) => {
                networks.push(attachment.clone());
                None
            }
            Change::Disconnect(network) if networks.iter().any(|a| a.network == *network) => {
                networks.retain(|a| a.network != *network);
                None
            }
            Change::Bound(limits) if found.engine_restarts || !found.spec.limits.are_as(limits) => {
                found.spec.limits = Limits { nofile: found.spec.limits.nofile, ..*limits };
                found.engine_restarts = false;
                Some(EventAction::Update)
            }
            _ => return false,
        };
        if let Some(action) = action {
            self.tell(id, action);
        }
        true
    }

    /// Ends a running container. False when it does not run.
    pub(super) fn exit(&mut self, id: &str, code: i64, oom_killed: bool, tell: bool) -> bool {
        let Some(found) = self.containers.get_mut(id).filter(|found| found.state.is_running()) else {
            return false;
        };
        let exit = Exit { code, oom_killed, finished_at: Some(self.now) };
        found.state = State::Exited { exit, error: String::new() };
        found.health = if found.image.image.has_healthcheck { Health::Unhealthy } else { Health::None };
        if tell {
            if oom_killed {
                self.tell(id, EventAction::Oom);
            }
            self.tell(id, EventAction::Die { code });
        }
        true
    }

    pub(super) fn subscribe(
        &mut self,
        installation: &str,
    ) -> mpsc::UnboundedReceiver<Result<EngineEvent, EngineError>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.subscribers.push((installation.to_owned(), sender));
        receiver
    }

    pub(super) fn end_subscriptions(&mut self) {
        for (installation, sender) in self.subscribers.drain(..) {
            // A subscriber that is gone needs no end.
            let _ = sender.send(Err(unreachable(Verb::Events, &installation)));
        }
    }

    pub(super) fn tell(&mut self, id: &str, action: EventAction) {
        let Some(found) = self.containers.get(id) else {
            return;
        };
        let Some(owner) = found.labels.get(label::INSTALLATION) else {
            return;
        };
        let event = EngineEvent {
            container: ContainerId(id.to_owned()),
            name: found.spec.name.clone(),
            labels: found.labels.clone(),
            action,
            at: Some(self.now),
        };
        self.subscribers.retain(|(installation, sender)| {
            installation != owner && !sender.is_closed() || sender.send(Ok(event.clone())).is_ok()
        });
    }

    pub(super) fn show(&self, id: &str) -> Option<Container> {
        let found = self.containers.get(id)?;
        Some(Container {
            id: ContainerId(id.to_owned()),
            name: found.spec.name.clone(),
            image: found.spec.image.clone(),
            image_id: found.image.image.id.clone(),
            labels: found.labels.clone(),
            state: found.state.clone(),
            health: found.health,
            networks: found
                .spec
                .networks
                .iter()
                .map(|attachment| (attachment.network.clone(), None))
                .collect(),
            ports: found.spec.ports.clone(),
            limits: Limits { nofile: None, ..found.spec.limits },
            engine_restarts: found.engine_restarts,
        })
    }

    pub(super) fn disk_usage(&self, installation: &str) -> Vec<DiskUsage> {
        let ours = self.containers.values().filter(|found| {
            found.state.is_running()
                && found.labels.get(label::INSTALLATION).is_some_and(|i| i == installation)
        });
        let used = |key: &str| self.disk.get(key).copied().unwrap_or_default();
        let mut all: Vec<DiskUsage> = ours
            .map(|found| {
                let mut usage = DiskUsage {
                    container: found.spec.name.clone(),
                    start: found.labels.get(label::START).cloned(),
                    written: used(&found.spec.name),
                    volumes: BTreeMap::new(),
                };
                for mount in &found.spec.mounts {
                    if let MountSource::Volume(name) = &mount.source {
                        usage.volumes.insert(name.clone(), used(name));
                    }
                }
                for (path, file) in &found.files {
                    let bytes = file.bytes.len() as u64;
                    let inside =
                        |target: &str| path.strip_prefix(target).is_some_and(|rest| rest.starts_with('/'));
                    let mount = found.spec.mounts.iter().find(|mount| inside(&mount.target));
                    match mount.map(|mount| &mount.source) {
                        None => usage.written += bytes,
                        Some(MountSource::Volume(name)) => {
                            *usage.volumes.entry(name.clone()).or_default() += bytes;
                        }
                        Some(_) => {}
                    }
                }
                usage
            })
            .collect();
        all.sort_by(|a, b| a.container.cmp(&b.container));
        all
    }

    pub(super) fn all(&self) -> Vec<Container> {
        let mut all: Vec<Container> = self.containers.keys().filter_map(|id| self.show(id)).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}
