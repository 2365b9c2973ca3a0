//! Fifty plugins, some of which hang or fail: the others do not wait for them.

use std::sync::Arc;

use async_trait::async_trait;
use chassis::HealthBoard;
use envelope::InstanceId;

use super::*;
use crate::clock::simulated::Clock;
use crate::engine::fake::Gate;
use crate::registrations::fake::FakeRegistrations;
use crate::supervisor::Supervisor;

const COUNT: usize = 50;
const IMAGE: &str =
    "registry.example.com/well@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const BROKEN: &str =
    "registry.example.com/broken@sha256:1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

struct Crowd {
    ctx: Context,
    engine: FakeEngine,
    registrations: FakeRegistrations,
    peers: Arc<FakePeers>,
    supervisor: Supervisor,
    ids: Vec<PluginId>,
    _clock: Clock,
}

impl Crowd {
    /// Fifty plugins that should run, the first `broken` of them with an image whose process ends at once.
    async fn of(broken: usize) -> Self {
        let clock = Clock::starting_at(Timestamp::now());
        let engine = FakeEngine::new();
        engine.load(FakeImage::new(IMAGE));
        let mut ends = FakeImage::new(BROKEN);
        ends.exits = Some(3);
        engine.load(ends);
        // Fewer places than plugins that hang.
        let settings = Settings { concurrent_steps: 4, ..Settings::default() };
        let network = crate::engine::NetworkSpec {
            name: settings.network.clone(),
            internal: true,
            masquerade: true,
            icc: true,
            labels: Default::default(),
        };
        engine.ensure_network(&network).await.expect("makes the network");
        let registrations = FakeRegistrations::default();
        let peers = Arc::new(FakePeers::default());
        let ctx = Context {
            policy: Policy::new(settings.clone(), INSTALLATION.into()),
            reporter: Reporter::new(Publisher::new(Coordinator::Plugin), settings.node.clone()),
            registrations: Arc::new(registrations.clone()),
            engine: Arc::new(engine.clone()),
            registry: Arc::new(FakeRegistry::new()),
            peers: peers.clone(),
            health: HealthReports::default(),
            acls: Acls::default(),
            images: crate::housekeeping::Images::in_memory(),
            conduct: crate::conduct::Conduct::new(&settings),
            settings,
        };
        ctx.health.listening(true);
        let ids: Vec<PluginId> =
            (0..COUNT).map(|n| PluginId::parse(&format!("plugin-{n}")).expect("an id")).collect();
        for (n, id) in ids.iter().enumerate() {
            let image = if n < broken { BROKEN } else { IMAGE };
            let mut record = record(id, image);
            let taken = ctx.registrations.claim(&mut record, &[], None).await.expect("records");
            assert_eq!(taken, None);
        }
        let supervisor = Supervisor::new(ctx.clone());
        Self { ctx, engine, registrations, peers, supervisor, ids, _clock: clock }
    }

    fn container(&self, n: usize) -> String {
        self.ctx.policy.container_name(&self.ids[n])
    }

    async fn ask_for_starts(&self) {
        self.ask_for(Work::Start, Desired::Running).await;
    }

    async fn ask_for(&self, work: Work, desired: Desired) {
        for id in &self.ids {
            let mut record = self.ctx.registrations.plugin(id).await.expect("reads").expect("installed");
            record.desired = desired;
            let now = crate::clock::now();
            let operation = Running {
                id: OperationId::new(),
                plugin_id: id.clone(),
                request_id: id.to_string(),
                work: work.clone(),
                principal: "operator:ada".into(),
                named: true,
                step: "accepted".into(),
                started_at: now,
                deadline: now.after(Duration::from_secs(600)),
                correlation_id: "c".into(),
                traceparent: None,
                cancelled_by: None,
            };
            self.ctx.registrations.begin(&operation, Some(&record), None).await.expect("records");
        }
    }

    /// Lets time pass until `done`, in steps after which the message coordinator acknowledges and plugins that run
    /// report. Answers how long it took.
    async fn until(&self, bound: Duration, done: impl AsyncFn(&Self) -> bool) -> Duration {
        let began = Instant::now();
        self.ids.iter().for_each(|id| self.supervisor.wake(id));
        while !done(self).await {
            assert!(began.elapsed() < bound, "not done in {bound:?}");
            let running = self.engine.all();
            for id in &self.ids {
                let Some(record) = self.ctx.registrations.plugin(id).await.expect("reads") else { continue };
                let status = AclStatus {
                    plugin_id: id.clone(),
                    uid: record.uid,
                    generation: record.generation,
                    outcome: match record.desired {
                        Desired::Absent { .. } => AclOutcome::Absent,
                        _ => AclOutcome::Applied { role: "role".into() },
                    },
                    at: crate::clock::now(),
                };
                self.ctx.acls.set(id.clone(), Some(status));
                let name = self.ctx.policy.container_name(id);
                if running.iter().any(|c| c.name == name && c.state.is_running()) {
                    self.reports(id);
                }
                if record.standing.phase != Phase::Running {
                    self.supervisor.wake_known(id);
                }
            }
            // Closely at first, when much happens.
            let closely = began.elapsed() < Duration::from_secs(5);
            tokio::time::sleep(Duration::from_millis(if closely { 100 } else { 2000 })).await;
        }
        began.elapsed()
    }

    fn reports(&self, id: &PluginId) {
        let health = HealthPayload {
            component: id.to_string(),
            status: HealthStatus::Healthy,
            message: String::new(),
            details: Default::default(),
        };
        let message = Envelope::new(MessageType::Status, format!("plugin:{id}"), health).encode();
        self.ctx.health.take(&topic::plugin::health(id), &message);
    }

    /// Looks after all plugins, as the coordinator does.
    fn look_after(&self) {
        let supervisor = self.supervisor.clone();
        let health = HealthBoard::new(Coordinator::Plugin, InstanceId::parse("tests").expect("an id"));
        tokio::spawn(async move { supervisor.look_after_all(&health).await });
    }

    async fn in_phase(&self, phase: Phase) -> usize {
        let all = self.ctx.registrations.plugins().await.expect("reads");
        all.iter().filter(|record| record.standing.phase == phase).count()
    }

    /// The step that the operation on it is at.
    async fn step(&self, n: usize) -> Option<String> {
        self.ctx.registrations.running(&self.ids[n]).await.expect("reads").map(|operation| operation.step)
    }
}

fn record(id: &PluginId, image: &str) -> Record {
    let now = crate::clock::now();
    let digest = image.split_once('@').expect("a digest").1;
    serde_json::from_value(json!({
        "id": id, "uid": envelope::InstallUid::new(), "generation": envelope::Generation::FIRST,
        "release": {
            "source": image, "reference": image, "digest": digest,
            "manifest": {"id": id, "name": "One of many", "version": "1.0.0"},
            "manifest_source": "label", "warnings": [], "grants": [], "uid": 1000, "gid": 1000
        },
        "installed_at": now, "desired": {"want": "running"},
        "standing": {"phase": "stopped", "reason": null, "since": now, "cause": "test", "correlation_id": "c"}
    }))
    .expect("a record")
}

#[tokio::test(start_paused = true)]
async fn five_of_fifty_that_hang_delay_no_other_and_say_where_they_are() {
    let crowd = Crowd::of(0).await;
    for (n, verb) in
        [Verb::Create, Verb::Create, Verb::Start, Verb::Start, Verb::Inspect].into_iter().enumerate()
    {
        crowd.engine.hang(verb, &crowd.container(n));
    }
    crowd.ask_for_starts().await;
    let minute = Duration::from_secs(60);
    let took = crowd.until(minute, async |crowd| crowd.in_phase(Phase::Running).await == COUNT - 5).await;
    assert!(took < minute / 2, "{took:?}");
    for n in 5..COUNT {
        assert!(matches!(crowd.registrations.answer(crowd.ids[n].as_str()), Some(Answer::Success(_))));
    }
    let waits = async |crowd: &Crowd| crowd.step(4).await.as_deref() == Some("await_engine");
    crowd.until(minute * 4, waits).await;
    let mut steps = Vec::new();
    for n in 0..5 {
        steps.push(crowd.step(n).await.unwrap_or_default());
    }
    assert_eq!(steps, ["prepare", "prepare", "start_process", "start_process", "await_engine"]);
    // Whoever asked is answered in time, where what has to be undone does not hang too.
    let answered = async |crowd: &Crowd| crowd.step(0).await.is_none() && crowd.step(1).await.is_none();
    crowd.until(minute * 10, answered).await;
    match crowd.registrations.answer("plugin-0") {
        Some(Answer::Failure(error)) => {
            assert_eq!(error.code, ErrorCode::TimedOut);
            assert!(error.message.contains("at the step prepare"), "{}", error.message);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(crowd.in_phase(Phase::Running).await, COUNT - 5);
}

#[tokio::test(start_paused = true)]
async fn five_of_fifty_that_fail_delay_no_other_and_are_tried_again() {
    let crowd = Crowd::of(5).await;
    let bound = Duration::from_secs(30);
    let took = crowd.until(bound, async |crowd| crowd.in_phase(Phase::Running).await == COUNT - 5).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    let tried = async |crowd: &Crowd| {
        let all = crowd.ctx.registrations.plugins().await.expect("reads");
        all.iter().filter(|record| record.failures >= 3).count() == 5
    };
    crowd.until(Duration::from_secs(120), tried).await;
    for record in crowd.ctx.registrations.plugins().await.expect("reads").iter().filter(|r| r.failures > 0) {
        let reason = record.standing.reason.clone().unwrap_or_default();
        assert!(reason.contains("exited with code 3"), "{reason}");
    }
    assert_eq!(crowd.in_phase(Phase::Running).await, COUNT - 5);
}

/// The security coordinator lost its data, and has told its new keys.
#[tokio::test(start_paused = true)]
async fn tokens_that_are_void_are_asked_for_again_before_the_usual_time() {
    let crowd = Crowd::of(0).await;
    let running = async |crowd: &Crowd| crowd.in_phase(Phase::Running).await == COUNT;
    crowd.until(Duration::from_secs(30), running).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let forgotten = std::mem::take(&mut *crowd.peers.tokens.lock().expect("not poisoned"));
    assert_eq!(forgotten.len(), COUNT);
    let known = || crowd.peers.tokens.lock().expect("not poisoned").len();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(known(), 0, "it is asked again every two minutes, and it is not time yet");
    crowd.supervisor.tokens_are_void();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(known(), COUNT);
}

/// A machine's restart, an upgrade of the engine, or a crash of it without live restore.
#[tokio::test(start_paused = true)]
async fn what_an_engine_took_with_it_runs_again_once_it_is_back_and_nothing_is_held_against_it() {
    let crowd = Crowd::of(0).await;
    crowd.look_after();
    let half = COUNT / 2;
    let running = async |crowd: &Crowd| crowd.in_phase(Phase::Running).await == COUNT;
    crowd.until(Duration::from_secs(30), running).await;
    let starts = async |crowd: &Crowd| {
        let all = crowd.ctx.registrations.plugins().await.expect("reads");
        all.into_iter().map(|r| (r.id, r.generation, r.start.map(|s| s.id), r.failures)).collect::<Vec<_>>()
    };
    let before = starts(&crowd).await;
    // Three times in a row: a plugin that ended by itself as often would have to wait for longer each time.
    for _ in 0..3 {
        crowd.engine.go_down();
        tokio::time::sleep(Duration::from_secs(20)).await;
        crowd.engine.come_back(false);
        assert_eq!(crowd.engine.all().iter().filter(|c| c.state.is_running()).count(), 0);
        let again = async |crowd: &Crowd| {
            let up = crowd.engine.all().iter().filter(|c| c.state.is_running()).count() == COUNT;
            up && running(crowd).await
        };
        let took = crowd.until(Duration::from_secs(60), again).await;
        assert!(took < Duration::from_secs(20), "{took:?}");
        assert_eq!(starts(&crowd).await, before, "the same containers, and no failure");
    }

    // In the middle of starts, which somebody waits for.
    for id in crowd.ids.iter().take(half) {
        let Some(mut record) = crowd.ctx.registrations.plugin(id).await.expect("reads") else { continue };
        record.drop_start();
        record.owed.clear();
        record.standing.phase = Phase::Stopped;
        crowd.ctx.registrations.advance(Some(&mut record), None).await.expect("records");
    }
    crowd.ask_for_starts().await;
    crowd.ids.iter().for_each(|id| crowd.supervisor.wake(id));
    let mut waits = 0;
    while waits < half {
        tokio::time::sleep(Duration::from_millis(100)).await;
        waits = 0;
        for n in 0..half {
            waits += usize::from(crowd.step(n).await.as_deref() == Some("await_ready"));
        }
    }
    crowd.engine.go_down();
    tokio::time::sleep(Duration::from_secs(5)).await;
    crowd.engine.come_back(false);
    crowd.until(Duration::from_secs(30), running).await;
    for id in &crowd.ids {
        let answer = crowd.registrations.answer(id.as_str());
        assert!(matches!(answer, Some(Answer::Success(_))), "{id}: {answer:?}");
    }
    assert!(starts(&crowd).await.iter().all(|(_, _, start, failures)| start.is_some() && *failures == 0));
}

#[tokio::test(start_paused = true)]
async fn the_last_of_fifty_that_are_removed_at_once_takes_their_image_along() {
    let crowd = Crowd::of(0).await;
    let running = async |crowd: &Crowd| crowd.in_phase(Phase::Running).await == COUNT;
    crowd.until(Duration::from_secs(30), running).await;
    crowd.ask_for(Work::Remove, Desired::Absent { remove_volumes: true }).await;
    let gone = async |crowd: &Crowd| crowd.ctx.registrations.plugins().await.expect("reads").is_empty();
    crowd.until(Duration::from_secs(60), gone).await;
    assert_eq!(crowd.engine.all().len(), 0);
    assert!(!crowd.engine.images().contains(&IMAGE.to_owned()), "{:?}", crowd.engine.images());
}

/// A fault of the coordinator's own that two looks at one container bring to light.
#[derive(Debug)]
struct Faulty {
    container: String,
    left: std::sync::atomic::AtomicUsize,
}

#[async_trait]
impl Gate for Faulty {
    async fn pass(&self, verb: Verb, on: &str, effect: &mut (dyn FnMut() + Send)) -> Result<(), EngineError> {
        use std::sync::atomic::Ordering::SeqCst;
        let meets = verb == Verb::Inspect && on == self.container;
        if meets && self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            panic!("a fault");
        }
        effect();
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_our_own_in_the_work_for_one_of_fifty_is_not_its_end() {
    let mut crowd = Crowd::of(0).await;
    let faulty = Arc::new(Faulty { container: crowd.container(0), left: 2.into() });
    crowd.ctx.engine = Arc::new(crowd.engine.gated(faulty));
    crowd.supervisor = Supervisor::new(crowd.ctx.clone());
    crowd.ask_for_starts().await;
    let others = async |crowd: &Crowd| crowd.in_phase(Phase::Running).await == COUNT - 1;
    let took = crowd.until(Duration::from_secs(30), others).await;
    assert!(took < Duration::from_secs(10), "{took:?}");
    let all = async |crowd: &Crowd| crowd.in_phase(Phase::Running).await == COUNT;
    crowd.until(Duration::from_secs(60), all).await;
    assert!(matches!(crowd.registrations.answer("plugin-0"), Some(Answer::Success(_))));
}
