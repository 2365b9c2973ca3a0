//! What outlives the coordinator in a simulation: engine, registry, tables, the other coordinators, and whoever asks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use envelope::payload::spec::{AclOutcome, AclStatus, Presence};
use envelope::{Answer, Operation, PluginId, Principal, StartId, Timestamp, topic};
use manifest::Manifest;
use serde_json::{Value, json};

use super::check::{self, Seen};
use super::points::{Chance, Points};
use super::told;
use crate::clock;
use crate::engine::fake::{FakeEngine, FakeImage};
use crate::engine::{Engine as _, EngineError, NetworkSpec, Owner, UploadFile, Verb};
use crate::housekeeping::Images;
use crate::peers::fake::FakePeers;
use crate::policy::{CONFIG_FILE, Policy};
use crate::record::{Desired, Record, approval};
use crate::registrations::fake::FakeRegistrations;
use crate::registry::Resolved;
use crate::registry::fake::FakeRegistry;
use crate::settings::Settings;

pub(super) const INSTALLATION: &str = "6f1c0d5e-0000-4000-8000-000000000001";

/// The plugins that there are at most.
const PLUGINS: [&str; 3] = ["camera", "focuser", "mount"];

/// For how long a failure of the store is what a worker's operation ends with at its deadline: it is the last that it
/// knows, until the next step succeeds or fails otherwise.
const EXCUSES: Duration = Duration::from_secs(300);

/// Versions of each plugin that there are: 3 ends right after its start.
pub(super) const VERSIONS: [u32; 3] = [1, 2, 3];
pub(super) const BROKEN: u32 = 3;

/// A defect that is planted to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plant {
    /// Logins are not taken back, although it is said.
    KeepsLogins,
    /// The engine makes a container twice.
    SecondContainer,
    /// What was answered gets lost.
    DropsOutcomes,
    /// A container gets more than was granted.
    GivesMore,
    /// Why something happened is not recorded.
    LosesCauses,
    /// No rights are ever acknowledged of one plugin.
    NeverAcknowledges,
    /// While one plugin waits for the engine all others do.
    OneBlocksAll,
    /// A container that belongs to nobody runs.
    Stranger,
    /// The store fails where the simulation did not let it.
    StoreFailsByItself,
    /// A container gets another configuration than was uploaded to it.
    ConfiguresOtherwise,
    /// A new configuration is not recorded, although it is said.
    ForgetsConfig,
    /// The engine keeps an image that it says to have removed.
    KeepsImages,
    /// Which images were pulled for plugins is forgotten with each life.
    ForgetsImages,
    /// The engine keeps a volume that it says to have removed.
    KeepsVolumes,
    /// A volume goes with its container.
    LosesVolumes,
}

/// A request in the journal.
#[derive(Debug, Clone)]
pub(super) struct Accepted {
    pub(super) id: String,
    pub(super) plugin: PluginId,
    pub(super) principal: Principal,
    pub(super) operation: Operation,
    pub(super) payload: Value,
}

pub(super) struct World {
    pub(super) points: Points,
    pub(super) plugins: Vec<PluginId>,
    pub(super) policy: Policy,
    pub(super) settings: Settings,
    pub(super) engine: FakeEngine,
    pub(super) registrations: FakeRegistrations,
    pub(super) peers: Arc<FakePeers>,
    pub(super) registry: FakeRegistry,
    pub(super) plant: Option<Plant>,
    images: Images,
    state: Mutex<State>,
    one_at_a_time: tokio::sync::Mutex<()>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) now: Option<Timestamp>,
    pub(super) accepted: Vec<Accepted>,
    /// An answer could not be recorded: the request is handled again at the next start only.
    pub(super) must_restart: bool,
    /// The plugin for which the engine always takes long, and then fails.
    pub(super) slow: Option<PluginId>,
    /// Whose login or token a start has.
    pub(super) whose: BTreeMap<StartId, PluginId>,
    pub(super) seen: Seen,
    /// Requests that may be answered with a failure of the store.
    pub(super) excused: BTreeSet<String>,
    /// Tasks in which the store failed, and when it did last.
    store_failed: HashMap<tokio::task::Id, Timestamp>,
    acks: BTreeMap<PluginId, AclStatus>,
    silent_until: BTreeMap<PluginId, Timestamp>,
    refused_until: BTreeMap<PluginId, Timestamp>,
}

impl World {
    pub(super) async fn new(points: Points, plant: Option<Plant>) -> Arc<Self> {
        let plugins = match points.chance(|c| c.below(2)) {
            0 => &PLUGINS[1..],
            _ => &PLUGINS[..],
        };
        let plugins: Vec<PluginId> = plugins.iter().map(|id| PluginId::parse(id).expect("an id")).collect();
        // Often enough that what is left of images is gone within the calm in the end.
        let settings = Settings { image_sweep_seconds: 60, ..Settings::default() };
        let (engine, registry) = (FakeEngine::new(), FakeRegistry::new());
        engine.load(FakeImage::new(&settings.forwarder_image));
        let network = NetworkSpec {
            name: settings.network.clone(),
            internal: true,
            masquerade: true,
            icc: true,
            labels: Default::default(),
        };
        engine.ensure_network(&network).await.expect("makes the network");
        for id in &plugins {
            for version in VERSIONS {
                publish(&engine, &registry, id, version);
            }
        }
        Arc::new(Self {
            points,
            plugins,
            policy: Policy::new(settings.clone(), INSTALLATION.into()),
            settings,
            engine,
            registrations: FakeRegistrations::default(),
            peers: Arc::default(),
            registry,
            plant,
            images: Images::in_memory(),
            state: Mutex::default(),
            one_at_a_time: tokio::sync::Mutex::default(),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which images were pulled for plugins: a table, which a life of the coordinator leaves to the next one.
    pub(super) fn images(&self) -> Images {
        match self.plant {
            Some(Plant::ForgetsImages) => Images::in_memory(),
            _ => self.images.clone(),
        }
    }

    /// The volume of a plugin.
    pub(super) fn volume(&self, id: &PluginId) -> &'static str {
        static KNOWN: OnceLock<BTreeMap<PluginId, String>> = OnceLock::new();
        let name = |id: &str| {
            let id = PluginId::parse(id).expect("an id");
            let volumes = self.policy.volumes(&id, &manifest_of(&id, VERSIONS[0]));
            (id, volumes.into_keys().next().expect("each has one"))
        };
        let known = KNOWN.get_or_init(|| PLUGINS.map(name).into());
        known.get(id).expect("one of the plugins")
    }

    /// The simulation lets the store fail a call of the task that runs.
    pub(super) fn store_failed(&self) {
        if let Some(task) = tokio::task::try_id() {
            self.state().store_failed.insert(task, clock::now());
        }
    }

    /// What failed before in the task that runs is no excuse for what comes.
    pub(super) fn store_works(&self) {
        if let Some(task) = tokio::task::try_id() {
            self.state().store_failed.remove(&task);
        }
    }

    /// The task that runs is about to answer a request. That the store failed it may only be said where it did.
    pub(super) fn is_about_to_answer(&self, request: &str, answer: &Answer) {
        if !told::is_internal(answer) {
            return;
        }
        let mut state = self.state();
        let failed = tokio::task::try_id().and_then(|task| state.store_failed.get(&task).copied());
        if failed.is_some_and(|at| clock::now().since(at) <= EXCUSES) {
            state.excused.insert(request.to_owned());
        }
    }

    /// Looks whether everything is as it must be at any time.
    pub(super) fn check(&self) {
        if let Err(broken) = check::always(self, &mut self.state()) {
            self.points.breaks(broken);
        }
    }

    /// A record as a coordinator with a planted defect writes it.
    pub(super) fn as_written(&self, record: &Record) -> Record {
        let mut record = record.clone();
        if self.plant == Some(Plant::LosesCauses) {
            record.standing.cause.clear();
        }
        if self.plant == Some(Plant::ForgetsConfig) {
            record.release.config = None;
        }
        record
    }

    /// An outcome was written, and a store with a planted defect loses it.
    pub(super) fn outcome_was_written(&self, request: &str) {
        if self.plant == Some(Plant::DropsOutcomes) {
            self.registrations.lose_answer(request);
        }
    }

    /// A login is about to be made.
    pub(super) fn has_login(&self, id: &PluginId, start: StartId) {
        self.state().whose.insert(start, id.clone());
    }

    /// The engine takes long for one plugin, and fails.
    ///
    /// # Errors
    /// Always for that plugin.
    pub(super) async fn engine_is_slow(&self, verb: Verb, on: &str) -> Result<(), EngineError> {
        let slow = self.state().slow.clone().filter(|id| on.contains(id.as_str()));
        let blocks = self.plant == Some(Plant::OneBlocksAll) && self.state().slow.is_some();
        let _turn = if blocks { Some(self.one_at_a_time.lock().await) } else { None };
        let Some(slow) = slow else { return Ok(()) };
        let after = Duration::from_secs(if blocks { 600 } else { 60 });
        self.points.tell(|| format!("the engine hangs: {verb} {on} ({slow})"));
        tokio::time::sleep(after).await;
        Err(EngineError::Timeout { doing: verb, on: on.to_owned(), after })
    }

    /// What an engine with a planted defect does besides.
    pub(super) async fn defect(&self, verb: Verb, on: &str) {
        let owner = || self.plugins.iter().find(|id| on.contains(id.as_str()));
        let done = match (self.plant, verb) {
            (Some(Plant::ConfiguresOtherwise), Verb::Upload) => {
                let file = UploadFile {
                    path: CONFIG_FILE.to_owned(),
                    bytes: b"{}".to_vec(),
                    owner: Owner { uid: 1000, gid: 1000 },
                    mode: 0o400,
                };
                self.engine.upload(on, &[file]).await
            }
            (Some(Plant::KeepsVolumes), Verb::RemoveVolume) => {
                self.engine.ensure_volume(on, &Default::default()).await
            }
            (Some(Plant::LosesVolumes), Verb::Remove) => match owner() {
                Some(id) => self.engine.remove_volume(self.volume(id)).await.map(drop),
                None => Ok(()),
            },
            (Some(Plant::KeepsImages), Verb::RemoveImage) => {
                self.engine.load(FakeImage::new(on));
                Ok(())
            }
            _ => Ok(()),
        };
        // An engine that is away does nothing, this neither.
        drop(done);
    }

    /// The engine did something.
    pub(super) fn engine_did(&self, verb: Verb, on: &str) {
        self.state().seen.containers_changed();
        if verb == Verb::Create && self.plant == Some(Plant::SecondContainer) {
            self.engine.copy(on, &format!("{on}-2"), &[]);
        }
        if verb == Verb::Create && self.plant == Some(Plant::GivesMore) {
            self.engine.add_device(on, "/dev/mem");
        }
        if verb == Verb::Start && self.plant == Some(Plant::Stranger) {
            self.engine.copy(on, "stranger", &[(crate::policy::PLUGIN_LABEL, "stranger")]);
        }
    }

    /// What the message coordinator does when it looks at the specs: news for the plugin coordinator.
    pub(super) fn message_coordinator(&self) -> Vec<(PluginId, Option<AclStatus>)> {
        if *self.peers.away.lock().unwrap_or_else(PoisonError::into_inner) {
            return Vec::new();
        }
        let records: Vec<Arc<Record>> =
            self.registrations.look(|tables| tables.plugins.values().cloned().collect());
        let mut state = self.state();
        let mut news = Vec::new();
        for record in &records {
            if self.plant == Some(Plant::NeverAcknowledges) && record.id.as_str() == "mount" {
                continue;
            }
            let presence = match record.desired {
                Desired::Absent { .. } if record.start.is_none() => Presence::Absent,
                _ => Presence::Present,
            };
            let known = state.acks.get(&record.id);
            // What has its rights keeps them.
            let applied = known.is_some_and(|ack| {
                let same = (ack.uid, ack.generation) == (record.uid, record.generation);
                same && matches!(ack.outcome, AclOutcome::Applied { .. })
            });
            let refused = state.refused_until.get(&record.id).is_some_and(|until| clock::now() < *until);
            let outcome = match presence {
                Presence::Present if refused && !applied => {
                    AclOutcome::Refused { reasons: vec!["Its name is another's.".into()] }
                }
                Presence::Present => AclOutcome::Applied { role: "role".into() },
                Presence::Absent => AclOutcome::Absent,
            };
            let is_new = known.is_none_or(|ack| {
                (ack.uid, ack.generation, &ack.outcome) != (record.uid, record.generation, &outcome)
            });
            if is_new {
                let (plugin_id, uid, generation) = (record.id.clone(), record.uid, record.generation);
                let ack = AclStatus { plugin_id, uid, generation, outcome, at: clock::now() };
                state.acks.insert(record.id.clone(), ack.clone());
                news.push((record.id.clone(), Some(ack)));
            }
        }
        let gone: Vec<PluginId> =
            state.acks.keys().filter(|id| !records.iter().any(|r| r.id == **id)).cloned().collect();
        for id in gone {
            state.acks.remove(&id);
            news.push((id, None));
        }
        news
    }

    /// What the message coordinator has acknowledged, as it is retained.
    pub(super) fn acks(&self) -> Vec<(PluginId, AclStatus)> {
        self.state().acks.iter().map(|(id, ack)| (id.clone(), ack.clone())).collect()
    }

    /// Whether a plugin says nothing for a while.
    pub(super) fn is_silent(&self, id: &PluginId) -> bool {
        self.state().silent_until.get(id).is_some_and(|until| clock::now() < *until)
    }

    pub(super) fn silence(&self, id: &PluginId, lasts: Duration) {
        self.state().silent_until.insert(id.clone(), clock::now().after(lasts));
    }

    /// The rights of a plugin that has none yet are refused for a while.
    fn refuse(&self, id: &PluginId, lasts: Duration) {
        self.state().refused_until.insert(id.clone(), clock::now().after(lasts));
    }

    /// The security coordinator loses its data.
    fn forget_tokens(&self) {
        self.peers.tokens.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn peers_are(&self, away: bool) {
        *self.peers.away.lock().unwrap_or_else(PoisonError::into_inner) = away;
    }

    /// The request's answer, if it has one.
    pub(super) fn answer(&self, request: &str) -> Option<Answer> {
        self.registrations.answer(request)
    }

    /// From now on nothing more goes wrong.
    pub(super) fn becomes_calm(&self) {
        self.peers_are(false);
        self.engine.come_back(true);
        self.points.set_weather(super::points::Weather::default());
        let mut state = self.state();
        state.store_failed.clear();
        state.silent_until.clear();
        state.refused_until.clear();
    }
}

/// The image of a plugin's version, as it is asked for.
pub(super) fn source(id: &PluginId, version: u32) -> String {
    format!("registry.example.com/{id}:{version}.0.0")
}

fn digest(version: u32) -> String {
    format!("sha256:{version:064x}")
}

/// Whether this image runs at all.
pub(super) fn runs(digest_of_image: &str) -> bool {
    digest_of_image != digest(BROKEN)
}

pub(super) fn document(id: &PluginId, version: u32) -> Value {
    let mut document = json!({
        "id": id, "name": id, "version": format!("{version}.0.0"), "start_timeout_seconds": 30,
        "health_check": {"interval_seconds": 10},
        "docker": {"volumes": ["data:/data"]},
    });
    if id.as_str() == "focuser" {
        document["config_schema"] = json!({"properties": {"gain": {"type": "integer"}}});
    }
    if id.as_str() == "mount" {
        let dome = PluginId::parse("dome").expect("an id");
        document["mqtt"] = json!({"topics_publish": [topic::plugin::control_command(&dome, "open")]});
        document["permissions"] = json!(["plugin:control"]);
        document["devices"] = json!(["/dev/ttyUSB0"]);
        document["docker"]["ports"] = json!(["0.0.0.0:8090:80"]);
    }
    document
}

/// What approves everything that a plugin's version asks for; none when it asks for nothing.
pub(super) fn approves(id: &PluginId, version: u32) -> Option<String> {
    static KNOWN: Mutex<BTreeMap<(String, u32), Option<String>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.entry((id.to_string(), version)).or_insert_with(|| approval_of(id, version)).clone()
}

fn manifest_of(id: &PluginId, version: u32) -> Manifest {
    let parsed = manifest::parse_value(document(id, version), &manifest::framework_version());
    parsed.expect("a manifest").manifest
}

fn approval_of(id: &PluginId, version: u32) -> Option<String> {
    let manifest = manifest_of(id, version);
    let grants = manifest.grants();
    (!grants.is_empty()).then(|| approval(&digest(version), &manifest, &grants).approve)
}

fn publish(engine: &FakeEngine, registry: &FakeRegistry, id: &PluginId, version: u32) {
    let digest = digest(version);
    let reference = format!("registry.example.com/{id}@{digest}");
    let label = document(id, version).to_string();
    let mut image = FakeImage::new(&reference).with_label(crate::admission::MANIFEST_LABEL, &label);
    image.image.user = "1000:1000".into();
    image.exits = (version == BROKEN).then_some(3);
    engine.publish(image);
    let resolved = Resolved {
        reference: reference.parse().expect("a reference"),
        digest,
        labels: [(crate::admission::MANIFEST_LABEL.to_owned(), label)].into(),
        total_bytes: 1,
        user: "1000:1000".into(),
        layers: 1,
    };
    registry.publish(&source(id, version), resolved);
}

/// Lets something happen to the world that nobody asked for.
pub(super) fn drama(world: &World, chance: &mut Chance) -> String {
    let id = chance.one_of(&world.plugins).clone();
    let name = world.policy.container_name(&id);
    match chance.below(11) {
        0 => {
            world.engine.go_down();
            "the engine goes down".into()
        }
        1 | 2 => {
            let live_restore = chance.below(2) == 0;
            world.engine.come_back(live_restore);
            format!("the engine is back, live restore {live_restore}")
        }
        3 => {
            world.peers_are(true);
            "the other coordinators go away".into()
        }
        4 | 5 => {
            world.peers_are(false);
            "the other coordinators are there".into()
        }
        6 => {
            let ended = world.engine.crash(&name, 7);
            format!("the process of {id} ends: {ended}")
        }
        7 => {
            let gone = world.engine.remove_by_hand(&name);
            format!("the container of {id} is removed by hand: {gone}")
        }
        8 => {
            let lasts = chance.up_to(Duration::from_secs(90));
            world.refuse(&id, lasts);
            format!("new rights of {id} are refused for {} s", lasts.as_secs())
        }
        9 => {
            world.forget_tokens();
            "the security coordinator forgets all tokens".into()
        }
        _ => {
            let lasts = chance.up_to(Duration::from_secs(90));
            world.silence(&id, lasts);
            format!("{id} says nothing for {} s", lasts.as_secs())
        }
    }
}
