//! Operations whose deadline passes while the engine is away, or refuses: whoever asked is answered, and what is half done
//! is undone once the engine does it.

use super::*;
use crate::engine::Change;

const LONG: Duration = Duration::from_secs(600);

impl Stage {
    pub(super) async fn pass(&self) {
        Worker::new(self.ctx.clone(), self.id.clone()).pass().await;
    }

    /// The deadline of the operation that runs is now.
    async fn is_overdue(&self) {
        let running = self.ctx.registrations.running(&self.id).await.expect("reads").expect("one runs");
        let late = Running { deadline: Timestamp::now(), ..running };
        self.ctx.registrations.advance(None, Some(&late)).await.expect("records");
    }
}

#[tokio::test]
async fn a_start_is_answered_while_the_engine_is_away_and_undone_when_it_is_back() {
    for live_restore in [true, false] {
        let mut stage = Stage::new().await;
        stage.install().await;
        stage.reports = false;
        stage.ask("start", Work::Start, Some(Desired::Running), LONG).await;
        for _ in 0..20 {
            stage.surroundings().await;
            stage.pass().await;
        }
        stage.engine.go_down();
        stage.pass().await;
        assert!(stage.ctx.registrations.running(&stage.id).await.expect("reads").is_some(), "there is time");
        stage.is_overdue().await;
        stage.pass().await;
        let told = stage.fails("start", ErrorCode::TimedOut).await;
        assert!(told.message.contains("engine does not answer"), "{}", told.message);
        let failed = stage.record().await.expect("installed");
        assert_eq!((failed.standing.phase, failed.desired), (Phase::Failed, Desired::Stopped));
        assert!(failed.start.is_some() && failed.owed.is_empty(), "its container may run, with its login");
        assert!(stage.engine.all()[0].state.is_running());

        stage.engine.come_back(live_restore);
        stage.settle().await;
        assert_eq!(stage.containers().await, 0);
        let after = stage.record().await.expect("installed");
        assert_eq!(after.standing, failed.standing, "it keeps saying that it failed, and why");
        assert_eq!((after.desired, after.start), (Desired::Stopped, None));
        assert!(after.last_exit.is_some());
        assert!(stage.peers.logins.lock().expect("not poisoned").is_empty());
    }
}

#[tokio::test]
async fn a_start_can_be_asked_for_again_before_the_one_that_was_answered_is_undone() {
    let mut stage = Stage::new().await;
    stage.install().await;
    stage.reports = false;
    stage.ask("first", Work::Start, Some(Desired::Running), LONG).await;
    for _ in 0..20 {
        stage.surroundings().await;
        stage.pass().await;
    }
    stage.engine.go_down();
    stage.is_overdue().await;
    stage.pass().await;
    stage.fails("first", ErrorCode::TimedOut).await;
    stage.reports = true;
    stage.ask("again", Work::Start, Some(Desired::Running), LONG).await;
    stage.pass().await;
    stage.engine.come_back(true);
    stage.settle().await;
    assert_eq!(stage.succeeds("again").await["phase"], "running");
    assert_eq!(stage.containers().await, 1);
}

#[tokio::test]
async fn a_restart_is_answered_while_the_engine_is_away_and_the_plugin_runs_afterwards() {
    for live_restore in [true, false] {
        let stage = Stage::new().await;
        stage.install().await;
        stage.start().await;
        let start = stage.record().await.and_then(|record| record.start).expect("a start").id;
        stage.engine.go_down();
        stage.ask("restart", Work::Restart { stopped: false }, Some(Desired::Running), Duration::ZERO).await;
        stage.pass().await;
        let told = stage.fails("restart", ErrorCode::TimedOut).await;
        assert!(told.message.contains("started again once the engine is back"), "{}", told.message);

        stage.engine.come_back(live_restore);
        let mut record = stage.record().await.expect("installed");
        assert_eq!((record.standing.phase, record.desired), (Phase::Failed, Desired::Running));
        // The pause after a failure is over.
        assert!(record.retry_at.take().is_some());
        stage.ctx.registrations.advance(Some(&mut record), None).await.expect("records");
        stage.settle().await;
        let record = stage.record().await.expect("installed");
        assert_eq!((record.standing.phase, record.start.map(|s| s.id)), (Phase::Running, Some(start)));
        assert_eq!(stage.containers().await, 1);
    }
}

/// What an engine says that has lost track of a process, or of what it has mounted.
fn refused(verb: Verb) -> [EngineError; 2] {
    let (on, message) = (|| "focuser".to_owned(), "it did not receive an exit event".to_owned());
    let busy = "device or resource busy".to_owned();
    [
        EngineError::Refused { doing: verb, on: on(), status: 500, message },
        EngineError::Conflict { doing: verb, on: on(), message: busy },
    ]
}

#[tokio::test]
async fn a_start_is_answered_while_the_engine_refuses_to_undo_it_and_undone_when_it_does() {
    for (verb, which) in [(Verb::Stop, 0), (Verb::Stop, 1), (Verb::Remove, 0), (Verb::Remove, 1)] {
        let mut stage = Stage::new().await;
        stage.install().await;
        stage.reports = false;
        stage.ask("start", Work::Start, Some(Desired::Running), LONG).await;
        for _ in 0..20 {
            stage.surroundings().await;
            stage.pass().await;
        }
        let mut said = String::new();
        for _ in 0..4 {
            let error = refused(verb).into_iter().nth(which).expect("one of them");
            said = error.to_string();
            stage.engine.fail_next(verb, error);
        }
        stage.is_overdue().await;
        stage.pass().await;
        let told = stage.fails("start", ErrorCode::TimedOut).await;
        assert!(told.message.contains(&said[1..]), "{}", told.message);
        assert!(told.message.contains("container is removed as soon as"), "{}", told.message);
        assert_eq!(told.details.is_null(), verb == Verb::Stop, "how it ended is told where it is known");
        let failed = stage.record().await.expect("installed");
        assert_eq!((failed.standing.phase, failed.desired), (Phase::Failed, Desired::Stopped));
        assert!(failed.start.is_some() && failed.owed.is_empty(), "its container is there, with its login");

        // It goes on refusing, and nobody is told another thing.
        let mut worker = Worker::new(stage.ctx.clone(), stage.id.clone());
        for _ in 0..2 {
            assert!(matches!(worker.pass().await, Next::Wait(_)), "it is not tried without a pause");
            assert_eq!(stage.record().await.expect("installed").standing, failed.standing);
        }
        assert_eq!(stage.containers().await, 1);
        stage.settle().await;
        assert_eq!(stage.containers().await, 0);
        let after = stage.record().await.expect("installed");
        assert_eq!((after.standing, after.desired, after.start), (failed.standing, Desired::Stopped, None));
        assert!(stage.peers.logins.lock().expect("not poisoned").is_empty());
    }
}

#[tokio::test]
async fn a_restart_is_answered_while_the_engine_refuses_and_the_plugin_runs_afterwards() {
    for which in [0, 1] {
        let stage = Stage::new().await;
        stage.install().await;
        stage.start().await;
        for _ in 0..3 {
            stage
                .engine
                .fail_next(Verb::Stop, refused(Verb::Stop).into_iter().nth(which).expect("one of them"));
        }
        stage.ask("restart", Work::Restart { stopped: false }, Some(Desired::Running), Duration::ZERO).await;
        stage.pass().await;
        let told = stage.fails("restart", ErrorCode::TimedOut).await;
        assert!(told.message.contains("started again as soon as the engine"), "{}", told.message);
        let mut record = stage.record().await.expect("installed");
        assert_eq!((record.standing.phase, record.desired), (Phase::Failed, Desired::Running));
        // The pause after a failure is over.
        assert!(record.retry_at.take().is_some());
        stage.ctx.registrations.advance(Some(&mut record), None).await.expect("records");
        stage.settle().await;
        assert_eq!(stage.record().await.expect("installed").standing.phase, Phase::Running);
        assert_eq!(stage.containers().await, 1);
    }
}

#[tokio::test]
async fn whoever_asked_is_told_that_somebody_else_has_the_containers_name() {
    let stage = Stage::new().await;
    stage.install().await;
    stage.start().await;
    let mut theirs = stage.engine.spec(&stage.name()).expect("its spec");
    theirs.labels.clear();
    stage.ask("stop", Work::Stop, Some(Desired::Stopped), LONG).await;
    stage.settle().await;
    stage.engine.create(&theirs).await.expect("somebody makes it");
    stage.ask("again", Work::Start, Some(Desired::Running), LONG).await;
    let mut worker = Worker::new(stage.ctx.clone(), stage.id.clone());
    for _ in 0..20 {
        stage.surroundings().await;
        worker.pass().await;
    }
    stage.is_overdue().await;
    worker.pass().await;
    let told = stage.fails("again", ErrorCode::EngineRefused).await;
    assert!(told.message.contains("a container that is not ours"), "{}", told.message);
    let left = stage.engine.all();
    assert!(
        left.len() == 1 && left[0].label(crate::policy::PLUGIN_LABEL).is_none(),
        "not left alone: {left:?}"
    );
    stage.engine.remove(&stage.name()).await.expect("somebody removes it");
    stage.settle().await;
    stage.ask("at last", Work::Start, Some(Desired::Running), LONG).await;
    stage.settle().await;
    stage.succeeds("at last").await;
}

#[tokio::test]
async fn a_name_that_was_taken_before_is_not_what_is_waited_for_while_the_engine_is_away() {
    let stage = Stage::well().await;
    let name = stage.name();
    let mut theirs = stage.engine.spec(&name).expect("its spec");
    theirs.labels.clear();
    let mut worker = Worker::new(stage.ctx.clone(), stage.id.clone());
    assert!(stage.engine.tamper(&name, &Change::Rename("mine-now".into())));
    stage.engine.create(&theirs).await.expect("somebody makes one in its place");
    let kept =
        EngineError::Timeout { doing: Verb::Remove, on: "mine-now".into(), after: Duration::from_secs(60) };
    stage.engine.fail_next(Verb::Remove, kept);
    worker.pass().await;
    stage.engine.remove(&name).await.expect("somebody removes it");
    assert!(stage.engine.tamper("mine-now", &Change::Rename(name)), "it was not removed");
    worker.pass().await;
    stage.engine.go_down();
    stage.ask("away", Work::Stop, Some(Desired::Stopped), LONG).await;
    worker.pass().await;
    stage.is_overdue().await;
    worker.pass().await;
    let told = stage.fails("away", ErrorCode::EngineUnavailable).await;
    assert!(!told.message.contains("not ours"), "{}", told.message);
}

#[tokio::test]
async fn an_update_goes_back_and_is_answered_while_the_engine_refuses_to_put_away_what_it_brought() {
    for which in [0, 1] {
        let mut stage = Stage::new().await;
        stage.install().await;
        stage.start().await;
        stage.publish_second(&super::updates::second(), None);
        stage.reports = false;
        stage.begin_update("update", None).await;
        let mut worker = Worker::new(stage.ctx.clone(), stage.id.clone());
        for _ in 0..40 {
            stage.surroundings().await;
            worker.pass().await;
        }
        assert_eq!(
            stage.record().await.expect("installed").release.manifest.whole().version.to_string(),
            "2.0.0"
        );
        let mut said = String::new();
        // It goes on refusing until after the end of the way back.
        for _ in 0..8 {
            for verb in [Verb::Remove, Verb::Stop] {
                let error = refused(verb).into_iter().nth(which).expect("one of them");
                said = error.to_string();
                stage.engine.fail_next(verb, error);
            }
        }
        stage.is_overdue().await;
        worker.pass().await;
        let back = stage.record().await.expect("installed");
        assert_eq!(back.release.manifest.whole().version.to_string(), "1.0.0", "the way back has begun");
        worker.pass().await;
        stage.is_overdue().await;
        worker.pass().await;
        let told = stage.fails("update", ErrorCode::TimedOut).await;
        assert!(told.message.contains("could not be put away in time"), "{}", told.message);
        assert!(told.message.contains(&said[1..]), "{}", told.message);
        assert!(told.message.contains("So it went back to 1.0.0"), "{}", told.message);

        // What it was runs as soon as it can, alone.
        stage.reports = true;
        for _ in 0..20 {
            if let Some(mut record) = stage.record().await.filter(|record| record.retry_at.is_some()) {
                record.retry_at = None;
                stage.ctx.registrations.advance(Some(&mut record), None).await.expect("records");
            }
            stage.settle().await;
        }
        let record = stage.record().await.expect("installed");
        assert_eq!((record.standing.phase, stage.containers().await), (Phase::Running, 1));
        assert_eq!(stage.peers.logins.lock().expect("not poisoned").len(), 1);
    }
}
