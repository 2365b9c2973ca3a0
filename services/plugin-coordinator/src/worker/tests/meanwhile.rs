//! What runs is looked after while an update brings something else, however long that takes.

use chassis::HealthBoard;
use envelope::InstanceId;
use testkit::eventually;

use super::updates::second;
use super::*;
use crate::supervisor::Supervisor;

const PATIENCE: Duration = Duration::from_secs(20);

/// A supervisor at work, until it is dropped. Something wakes the worker all the time, as health does.
struct Supervised {
    supervisor: Supervisor,
    background: tokio::task::JoinHandle<()>,
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.supervisor.retire();
        self.background.abort();
    }
}

impl Stage {
    /// The plugin runs, and the coordinator has seen it.
    async fn supervised(&self) -> Supervised {
        let supervisor = self.supervisor();
        let health = HealthBoard::new(Coordinator::Plugin, InstanceId::parse("one").expect("an id"));
        let (other, id) = (supervisor.clone(), self.id.clone());
        let background = tokio::spawn(async move {
            let wakes = async {
                loop {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    other.wake_known(&id);
                }
            };
            tokio::join!(other.look_after_all(&health), wakes);
        });
        self.becomes("seen", |record| self.ctx.conduct.is_watched(record)).await;
        Supervised { supervisor, background }
    }

    /// An update that is at its pull, which lasts until the answer is dropped.
    async fn pulls(&self, supervised: &Supervised) -> crate::engine::fake::Hold {
        self.publish_second(&second(), None);
        let pulled = self.engine.count(Verb::Pull);
        let hold = self.engine.hold(Verb::Pull);
        self.begin_update("update", None).await;
        supervised.supervisor.wake(&self.id);
        self.called(Verb::Pull, pulled + 1).await;
        hold
    }

    async fn becomes(&self, what: &str, is: impl Fn(&Record) -> bool) {
        eventually(PATIENCE, || async {
            self.surroundings().await;
            let record = self.record().await.expect("installed");
            if is(&record) {
                Ok(())
            } else {
                Err(format!("is not {what}: {:?} {:?}", record.standing, record.start))
            }
        })
        .await;
    }

    async fn is_pulling(&self) {
        let running = self.ctx.registrations.running(&self.id).await.expect("reads").expect("goes on");
        assert_eq!(running.step, "pull");
    }

    /// The pull ends, and with it the update.
    async fn gets_updated(&self, hold: crate::engine::fake::Hold, pulls: usize) {
        self.is_pulling().await;
        assert_eq!(self.engine.count(Verb::Pull), pulls, "the pull went on all that time");
        drop(hold);
        self.answered("update").await;
        assert_eq!(self.succeeds("update").await["version"], "2.0.0");
        assert_eq!(self.containers().await, 1);
    }
}

fn is_up(record: &Record) -> bool {
    record.standing.phase == Phase::Running
        && record.start.as_ref().is_some_and(|start| start.progress == StartProgress::Ready)
}

#[tokio::test]
async fn what_ends_during_a_pull_is_started_again_before_that_ends() {
    let stage = Stage::up().await;
    let supervised = stage.supervised().await;
    let hold = stage.pulls(&supervised).await;
    let (pulls, starts) = (stage.engine.count(Verb::Pull), stage.engine.count(Verb::Start));
    assert!(stage.engine.crash(&stage.name(), 3));
    stage.becomes("failed", |record| record.standing.phase == Phase::Failed).await;
    stage.is_pulling().await;
    let failed = stage.record().await.expect("installed");
    assert_eq!((failed.failures, failed.last_exit.map(|exit| exit.code)), (1, Some(3)));
    // After the pause, which is as long as without an update.
    stage.becomes("up", is_up).await;
    assert_eq!(stage.engine.count(Verb::Start), starts + 1);
    stage.gets_updated(hold, pulls).await;
}

#[tokio::test]
async fn what_an_engine_that_restarts_ends_during_a_pull_is_started_again_at_once() {
    let stage = Stage::up().await;
    let supervised = stage.supervised().await;
    let hold = stage.pulls(&supervised).await;
    let pulls = stage.engine.count(Verb::Pull);
    stage.engine.go_down();
    stage.engine.come_back(false);
    stage.becomes("starting", |record| !is_up(record)).await;
    stage.becomes("up", is_up).await;
    assert_eq!(stage.record().await.expect("installed").failures, 0, "nothing is held against it");
    stage.gets_updated(hold, pulls).await;
}

#[tokio::test]
async fn what_somebody_removes_during_a_pull_is_made_anew() {
    let stage = Stage::up().await;
    let supervised = stage.supervised().await;
    let hold = stage.pulls(&supervised).await;
    let pulls = stage.engine.count(Verb::Pull);
    let before = stage.record().await.and_then(|record| record.start).expect("a start").id;
    assert!(stage.engine.remove_by_hand(&stage.name()));
    stage.becomes("another", |r| is_up(r) && r.start.as_ref().is_some_and(|start| start.id != before)).await;
    stage.gets_updated(hold, pulls).await;
}

#[tokio::test]
async fn pulls_that_fail_again_and_again_do_not_keep_what_ended_down() {
    let stage = Stage::up().await;
    let supervised = stage.supervised().await;
    stage.publish_second(&second(), None);
    for _ in 0..1000 {
        let away =
            EngineError::Unreachable { doing: Verb::Pull, on: "r".into(), source: "no network".into() };
        stage.engine.fail_next(Verb::Pull, away);
    }
    stage.begin_update("update", None).await;
    supervised.supervisor.wake(&stage.id);
    stage.called(Verb::Pull, 3).await;
    stage.engine.go_down();
    stage.engine.come_back(false);
    stage.becomes("starting", |record| !is_up(record)).await;
    stage.becomes("up", is_up).await;
    stage.is_pulling().await;
}

#[tokio::test]
async fn what_ends_while_the_message_coordinator_is_away_is_started_again_with_its_login() {
    let stage = Stage::up().await;
    let before = stage.record().await.and_then(|record| record.start).expect("a start").id;
    let supervised = stage.supervised().await;
    stage.publish_second(&second(), None);
    *stage.peers.away.lock().expect("not poisoned") = true;
    stage.begin_update("update", None).await;
    supervised.supervisor.wake(&stage.id);
    stage.becomes("staged", |record| record.next.is_some()).await;
    stage.engine.go_down();
    stage.engine.come_back(false);
    stage.becomes("starting", |record| !is_up(record)).await;
    stage.becomes("up", is_up).await;
    let record = stage.record().await.expect("installed");
    assert!(record.next.is_some() && record.start.is_some_and(|start| start.id == before));
    *stage.peers.away.lock().expect("not poisoned") = false;
    stage.answered("update").await;
    assert_eq!(stage.succeeds("update").await["version"], "2.0.0");
}
