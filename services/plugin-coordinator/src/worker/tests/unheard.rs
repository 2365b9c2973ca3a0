//! Plugins that got ready, or had time to, while nobody could hear it: the broker or the coordinator was away.

use super::*;
use crate::clock::simulated::Clock;

/// What the plugin may take to get ready.
const TIMEOUT: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(600);

impl Stage {
    /// A plugin whose process was started by this work, and has said nothing yet. Its time goes as the test says.
    async fn silent(work: Work) -> (Self, Clock) {
        let clock = Clock::starting_at(Timestamp::now());
        let mut stage = Self::new().await;
        stage.install().await;
        stage.start().await;
        stage.reports = false;
        stage.ask_and("silent", work, Some(Record::ask_to_run), LONG, "operator:ada", true).await;
        for _ in 0..20 {
            stage.surroundings().await;
            stage.pass().await;
        }
        assert_eq!(stage.progress().await, Some(StartProgress::Started));
        (stage, clock)
    }

    async fn progress(&self) -> Option<StartProgress> {
        self.record().await.and_then(|record| record.start).map(|start| start.progress)
    }

    /// The coordinator is another process, which knows what is recorded, and listens from now on.
    async fn begins_anew(&mut self) {
        self.ctx.health = HealthReports::default();
        self.ctx.conduct = crate::conduct::Conduct::new(&self.ctx.settings);
        self.pass().await;
        assert_eq!(self.progress().await, Some(StartProgress::Started), "nobody listens yet");
        self.ctx.health.listening(true);
        self.pass().await;
    }

    async fn operates(&self) -> bool {
        self.ctx.registrations.running(&self.id).await.expect("reads").is_some()
    }
}

fn restart() -> Work {
    Work::Restart { stopped: false }
}

#[tokio::test]
async fn one_that_reports_soon_after_the_coordinator_is_back_is_ready_however_long_that_was_away() {
    let (mut stage, _clock) = Stage::silent(restart()).await;
    let stops = stage.engine.count(Verb::Stop);
    stage.pass_time(TIMEOUT * 4).await;
    stage.begins_anew().await;
    stage.pass_time(TIMEOUT - Duration::from_secs(1)).await;
    stage.pass().await;
    assert!(stage.operates().await);
    stage.reports = true;
    stage.settle().await;
    assert_eq!(stage.succeeds("silent").await["phase"], "running");
    assert_eq!(stage.engine.count(Verb::Stop), stops, "its process runs on");
}

#[tokio::test]
async fn one_that_reports_soon_after_the_broker_is_back_is_ready_however_long_that_was_away() {
    let (mut stage, _clock) = Stage::silent(restart()).await;
    let stops = stage.engine.count(Verb::Stop);
    stage.ctx.health.listening(false);
    for _ in 0..4 {
        stage.pass_time(TIMEOUT).await;
        stage.pass().await;
    }
    stage.ctx.health.listening(true);
    stage.pass().await;
    stage.reports = true;
    stage.settle().await;
    assert_eq!(stage.succeeds("silent").await["phase"], "running");
    assert_eq!(stage.engine.count(Verb::Stop), stops, "its process runs on");
}

#[tokio::test]
async fn one_that_is_silent_for_as_long_as_it_may_while_somebody_listens_is_not_ready() {
    let (mut stage, _clock) = Stage::silent(restart()).await;
    stage.pass_time(TIMEOUT * 4).await;
    stage.begins_anew().await;
    stage.pass_time(TIMEOUT).await;
    stage.settle().await;
    let told = stage.fails("silent", ErrorCode::NotReady).await;
    assert!(told.message.contains("within 30 s in which it could be heard"), "{}", told.message);
}

#[tokio::test]
async fn whoever_asked_is_told_in_time_that_nobody_could_hear_it_and_it_runs_on() {
    for work in [restart(), Work::Start, Work::Config] {
        let (mut stage, _clock) = Stage::silent(restart()).await;
        // As if it had been asked for this.
        let running = stage.ctx.registrations.running(&stage.id).await.expect("reads").expect("one runs");
        let work = match work {
            Work::Restart { .. } => Work::Restart { stopped: true },
            work => work,
        };
        let recorded = work.recorded().unwrap_or_default();
        stage.ctx.registrations.advance(None, Some(&Running { work, ..running })).await.expect("records");
        let stops = stage.engine.count(Verb::Stop);
        stage.ctx.health.listening(false);
        let mut worker = Worker::new(stage.ctx.clone(), stage.id.clone());
        stage.pass_time(LONG - Duration::from_secs(1)).await;
        let Next::Wait(wait) = worker.pass().await else { panic!("it does not wait") };
        assert!(wait < Duration::from_secs(2), "the deadline is sooner than {wait:?}");
        stage.pass_time(wait).await;
        worker.pass().await;
        let told = stage.fails("silent", ErrorCode::DependencyUnavailable).await;
        assert!(told.message.starts_with(recorded), "{}", told.message);
        assert!(
            told.message.contains("It is not known in time whether focuser got ready"),
            "{}",
            told.message
        );
        assert_eq!(stage.record().await.expect("installed").desired, Desired::Running);
        stage.ctx.health.listening(true);
        stage.reports = true;
        stage.settle().await;
        assert_eq!(stage.record().await.expect("installed").standing.phase, Phase::Running);
        assert_eq!((stage.engine.count(Verb::Stop), stage.containers().await), (stops, 1), "it runs on");
    }
}
