//! Plugins that misbehave: what is stopped, what is restarted, and what is left alone.

use envelope::payload::event::{Event, EventKind};
use envelope::payload::state::PluginHealth;

use super::*;
use crate::conduct::{Admission, Conduct};
use crate::supervisor::Supervisor;

const LONG: Duration = Duration::from_secs(600);
const GRACE: Duration = Duration::from_secs(11);

impl Stage {
    pub(super) async fn well() -> Self {
        let stage = Self::new().await;
        stage.install().await;
        stage.start().await;
        stage.settle().await;
        stage
    }

    pub(super) fn name(&self) -> String {
        self.ctx.policy.container_name(&self.id)
    }

    pub(super) fn supervisor(&self) -> Supervisor {
        Supervisor::new(self.ctx.clone())
    }

    /// What the background does of what was decided.
    async fn decide(&self) {
        assert!(self.ctx.conduct.halt_condemned(&self.ctx, &self.supervisor()).await);
    }

    /// What the background does when plugins are due to be looked at.
    pub(super) async fn listen(&self) {
        self.ctx.conduct.listen(&self.ctx, &self.supervisor()).await;
    }

    pub(super) fn listens(&self, answer: Option<bool>) {
        *self.peers.listens.lock().expect("not poisoned") = answer;
    }

    pub(super) fn health_topic(&self) -> String {
        topic::plugin::health(&self.id)
    }

    /// Sends so many messages, one after another, and answers how many were taken.
    fn send(&self, count: u32) -> u32 {
        let topic = self.health_topic();
        (0..count).map(|_| u32::from(self.ctx.conduct.knock(&self.id, &topic) == Admission::In)).sum()
    }

    /// An event of another coordinator.
    fn hears(&self, kind: EventKind, details: Value) {
        let event = Event {
            event: kind,
            plugin_id: Some(self.id.clone()),
            operation_id: None,
            message: "m".into(),
            cause: "c".into(),
            details,
        };
        let message = Envelope::new(MessageType::Event, "coordinator:message", event).encode();
        let topic = topic::coordinator::event(Coordinator::Message, kind.as_str());
        self.ctx.conduct.hears(&topic, &message);
    }

    pub(super) fn connected(&self) {
        self.hears(EventKind::Session, json!({"state": "connected", "client_id": "x", "address": null}));
    }

    async fn is_halted(&self, begins: &str) {
        let record = self.record().await.expect("installed");
        assert_eq!((record.desired, record.standing.phase), (Desired::Stopped, Phase::Stopped));
        let reason = record.standing.reason.unwrap_or_default();
        assert!(reason.starts_with(begins), "{reason}");
        assert_eq!(record.standing.cause, reason);
        assert_eq!(self.containers().await, 0);
        assert!(self.peers.logins.lock().expect("not poisoned").is_empty());
    }

    /// Time passes for whatever looks at the clock of the runtime; the database works in its own.
    pub(super) async fn pass_time(&self, duration: Duration) {
        tokio::time::pause();
        tokio::time::advance(duration).await;
        tokio::time::resume();
    }

    /// Listens as it should since its process was started.
    pub(super) async fn known_to_listen(&self) {
        self.listens(Some(true));
        self.pass_time(GRACE).await;
        self.listen().await;
    }
}

#[tokio::test]
async fn a_flood_is_dropped_and_one_that_lasts_stops_the_plugin_until_somebody_asks_for_a_start() {
    let stage = Stage::well().await;
    assert_eq!(stage.send(300), 200);
    stage.decide().await;
    assert_eq!(stage.record().await.expect("installed").desired, Desired::Running, "a burst stops nobody");
    for _ in 0..11 {
        stage.pass_time(Duration::from_secs(1)).await;
        stage.send(100);
    }
    stage.decide().await;
    stage.settle().await;
    stage.is_halted("flood: ").await;
    let reason = stage.record().await.and_then(|r| r.standing.reason).unwrap_or_default();
    assert!(reason.ends_with(&format!("messages a second on {}", stage.health_topic())), "{reason}");
    // Another look changes nothing.
    stage.settle().await;
    stage.is_halted("flood: ").await;
    let ask = |record: &mut Record| record.ask_to_run();
    stage.ask_and("again", Work::Start, Some(ask), LONG, "operator:ada", true).await;
    stage.settle().await;
    assert_eq!(stage.succeeds("again").await["phase"], "running");
    assert_eq!(stage.record().await.expect("installed").halted, None);
}

#[tokio::test]
async fn an_operation_that_would_make_a_flooding_plugin_run_ends() {
    let stage = Stage::well().await;
    stage.ask("restart", Work::Restart { stopped: false }, Some(Desired::Running), LONG).await;
    stage.ctx.conduct.asks_too_often(&stage.id);
    stage.decide().await;
    let told = stage.fails("restart", ErrorCode::Cancelled).await;
    assert!(told.message.contains("flood: more requests to the plugin coordinator"), "{}", told.message);
    stage.settle().await;
    stage.is_halted("flood: more requests").await;
}

#[tokio::test]
async fn three_events_of_other_coordinators_stop_a_plugin_and_two_do_not() {
    let stage = Stage::well().await;
    for _ in 0..2 {
        stage.hears(EventKind::Flood, json!({"principal": "plugin:focuser", "refused": 9}));
    }
    stage.decide().await;
    assert_eq!(stage.record().await.expect("installed").desired, Desired::Running);
    stage.hears(EventKind::Flood, json!({"principal": "plugin:focuser", "refused": 9}));
    stage.decide().await;
    stage.settle().await;
    stage.is_halted("flood: more requests to other coordinators").await;
}

#[tokio::test]
async fn a_plugin_with_too_many_connections_is_stopped_at_once() {
    let stage = Stage::well().await;
    stage.hears(EventKind::Flood, json!({"connections": 33, "most": 32, "disabled": true}));
    stage.decide().await;
    stage.settle().await;
    stage.is_halted("flood: 33 connections to the broker").await;
}

#[tokio::test]
async fn a_plugin_that_is_stopped_or_gone_is_not_stopped_again() {
    let stage = Stage::new().await;
    stage.ctx.conduct.asks_too_often(&stage.id);
    stage.decide().await;
    stage.install().await;
    stage.ctx.conduct.asks_too_often(&stage.id);
    stage.decide().await;
    let record = stage.record().await.expect("installed");
    assert_eq!((record.halted, record.standing.phase), (None, Phase::Stopped));
}

#[tokio::test]
async fn a_plugin_over_its_bound_of_the_disk_is_stopped() {
    let stage = Stage::well().await;
    let volume = stage.engine.volumes().remove(0);
    // Its configuration is in there too.
    stage.engine.set_disk(&stage.name(), (1 << 30) - 4096);
    stage.engine.set_disk(&volume, 1 << 30);
    let look = || async { crate::conduct::measure_once(&stage.ctx, &stage.supervisor()).await };
    look().await;
    assert_eq!(stage.record().await.expect("installed").desired, Desired::Running);
    stage.engine.set_disk(&volume, (1 << 30) + 8192);
    let away = EngineError::Unreachable { doing: Verb::DiskUsage, on: "x".into(), source: "test".into() };
    stage.engine.fail_next(Verb::DiskUsage, away);
    look().await;
    assert_eq!(stage.record().await.expect("installed").desired, Desired::Running);
    // What was measured of a container that is another by now is not held against this one.
    let mut record = stage.record().await.expect("installed");
    let start = record.start.clone();
    record.start = start.clone().map(|start| crate::record::Start { id: StartId::new(), ..start });
    stage.ctx.registrations.advance(Some(&mut record), None).await.expect("records");
    look().await;
    assert_eq!(stage.record().await.expect("installed").desired, Desired::Running);
    record.start = start;
    stage.ctx.registrations.advance(Some(&mut record), None).await.expect("records");
    look().await;
    stage.settle().await;
    stage.is_halted("disk: uses 2.01 GiB of 2 GiB").await;
    assert_eq!(stage.engine.volumes(), [volume], "its data stays");
}

#[tokio::test]
async fn a_plugin_that_is_deaf_after_a_reconnect_is_restarted_with_its_login_and_backs_off() {
    let stage = Stage::well().await;
    let login = stage.record().await.and_then(|r| r.start).expect("a start").id;
    for failures in 1..=2 {
        stage.known_to_listen().await;
        stage.listens(Some(false));
        stage.connected();
        stage.listen().await;
        assert_eq!(
            stage.record().await.expect("installed").restart,
            None,
            "it has some time to listen again"
        );
        stage.pass_time(GRACE).await;
        stage.listen().await;
        let record = stage.record().await.expect("installed");
        assert!(record.restart.is_some());
        let lowered = stage.ctx.conduct.lowers(&record);
        let health = stage.ctx.health.now(&stage.id, lowered.as_deref());
        assert_eq!(health.health, PluginHealth::Degraded);
        assert!(health.message.is_some_and(|m| m.contains("does not hear")));
        stage.settle().await;
        let failed = stage.record().await.expect("installed");
        assert_eq!(
            (failed.standing.phase, failed.failures, &failed.restart),
            (Phase::Failed, failures, &None)
        );
        assert!(failed.standing.reason.is_some_and(|why| why.contains("does not hear its control topics")));
        let due = failed.retry_at.expect("another try").since(Timestamp::now());
        let pause = Duration::from_secs(10) * failures;
        assert!(due > pause - Duration::from_secs(2) && due <= pause, "{due:?}");
        // The pause is over.
        let mut record = stage.record().await.expect("installed");
        record.retry_at = None;
        stage.ctx.registrations.advance(Some(&mut record), None).await.expect("records");
        stage.settle().await;
        let again = stage.record().await.expect("installed");
        assert_eq!(again.standing.phase, Phase::Running);
        assert_eq!(again.start.map(|s| s.id), Some(login));
    }
}

#[tokio::test]
async fn a_plugin_that_never_listened_is_not_deaf_and_one_that_has_not_come_back_is_not_known_to_be() {
    let stage = Stage::well().await;
    stage.listens(Some(false));
    stage.pass_time(GRACE).await;
    stage.listen().await;
    stage.connected();
    stage.pass_time(GRACE).await;
    stage.listen().await;
    assert_eq!(stage.record().await.expect("installed").restart, None);
    // It does from now on.
    stage.connected();
    stage.known_to_listen().await;
    stage.listens(Some(false));
    stage.ctx.conduct.link_changed(false);
    stage.ctx.conduct.link_changed(true);
    stage.pass_time(GRACE).await;
    stage.listen().await;
    assert_eq!(stage.record().await.expect("installed").restart, None, "it has not reported since");
    stage.surroundings().await;
    stage.listens(None);
    stage.pass_time(GRACE).await;
    stage.listen().await;
    assert_eq!(stage.record().await.expect("installed").restart, None, "the broker did not answer");
    stage.listens(Some(false));
    stage.pass_time(GRACE).await;
    stage.listen().await;
    assert!(stage.record().await.expect("installed").restart.is_some());
}

#[tokio::test]
async fn a_plugin_that_got_deaf_while_the_coordinator_was_away_is_restarted() {
    let mut stage = Stage::well().await;
    stage.known_to_listen().await;
    // Nothing is left of what the coordinator knew but the registry.
    stage.ctx.conduct = Conduct::new(&stage.ctx.settings);
    stage.listens(Some(false));
    stage.settle().await;
    stage.pass_time(GRACE).await;
    stage.listen().await;
    assert_eq!(stage.record().await.expect("installed").restart, None, "it has not reported since");
    stage.surroundings().await;
    stage.pass_time(GRACE).await;
    stage.listen().await;
    assert!(stage.record().await.expect("installed").restart.is_some());
}

#[tokio::test]
async fn no_deaf_plugin_is_restarted_while_an_operation_runs_on_it() {
    let stage = Stage::well().await;
    stage.known_to_listen().await;
    stage.listens(Some(false));
    stage.connected();
    stage.ask("restart", Work::Restart { stopped: false }, Some(Desired::Running), LONG).await;
    stage.pass_time(GRACE).await;
    stage.listen().await;
    assert_eq!(stage.record().await.expect("installed").restart, None);
    stage.settle().await;
    assert_eq!(stage.succeeds("restart").await["phase"], "running");
    assert_eq!(stage.record().await.expect("installed").failures, 0);
}

#[tokio::test]
async fn a_start_that_comes_while_the_framework_stops_the_process_is_done_at_once() {
    let stage = Stage::well().await;
    let mut record = stage.record().await.expect("installed");
    record.restart = Some("does not hear its control topics any more".into());
    stage.ctx.registrations.advance(Some(&mut record), None).await.expect("records");
    stage.engine.stop(&stage.name(), Duration::ZERO).await.expect("stops");
    stage.ask_and("again", Work::Start, Some(Record::ask_to_run), LONG, "operator:ada", true).await;
    stage.settle().await;
    assert_eq!(stage.succeeds("again").await["phase"], "running");
    let record = stage.record().await.expect("installed");
    assert_eq!((record.failures, record.restart), (0, None));
}

#[tokio::test]
async fn a_restart_by_the_framework_ends_the_same_when_any_call_of_the_engine_fails_or_its_answer_is_lost() {
    for verb in [Verb::Stop, Verb::Inspect, Verb::Logs] {
        let away = || EngineError::Unreachable { doing: verb, on: "focuser".into(), source: "test".into() };
        for lost in [false, true] {
            let stage = Stage::well().await;
            let mut record = stage.record().await.expect("installed");
            record.restart = Some("is deaf".into());
            stage.ctx.registrations.advance(Some(&mut record), None).await.expect("records");
            if lost {
                stage.engine.lose_next_answer(verb, away());
            } else {
                stage.engine.fail_next(verb, away());
            }
            stage.settle().await;
            let record = stage.record().await.expect("installed");
            assert_eq!((record.standing.phase, record.failures), (Phase::Failed, 1), "{verb:?} {lost}");
            assert_eq!(record.start.map(|s| s.progress), Some(crate::record::StartProgress::Prepared));
        }
    }
}

#[tokio::test]
async fn a_plugin_whose_tokens_were_revoked_runs_on_and_its_health_says_so() {
    let stage = Stage::well().await;
    *stage.peers.revoked.lock().expect("not poisoned") = true;
    let mut worker = Worker::new(stage.ctx.clone(), stage.id.clone());
    assert_eq!(worker.pass().await, Next::Again);
    assert!(worker.confirmed.is_some(), "it is not asked again before the usual time");
    assert!(matches!(worker.pass().await, Next::Wait(_)));
    let record = stage.record().await.expect("installed");
    assert_eq!((record.standing.phase, record.failures), (Phase::Running, 0));
    assert_eq!(stage.ctx.conduct.lowers(&record).as_deref(), Some("its tokens were revoked"));
    *stage.peers.revoked.lock().expect("not poisoned") = false;
    worker.confirmed = None;
    worker.pass().await;
    assert_eq!(stage.ctx.conduct.lowers(&record), None);
}
