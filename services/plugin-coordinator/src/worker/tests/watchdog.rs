//! The watchdog: plugins that end, are silent, or say that they do not work are started again, with pauses that grow,
//! and one that this does not help is left running and says so.

use envelope::payload::state::{PluginHealth, WatchdogState};

use super::*;
use crate::clock::simulated::Clock;
use crate::conduct::Restart;
use crate::record::StartProgress;

/// Longer than the three intervals of the plugin, whose manifest says nothing of them.
const SILENCE: Duration = Duration::from_secs(91);
const TEN_MINUTES: Duration = Duration::from_secs(600);
/// For operations that are asked for after simulated time has passed.
const VERY_LONG: Duration = Duration::from_secs(86_400);

impl Stage {
    /// A plugin that runs well, and reports nothing by itself from now on. Its time goes as the test says.
    async fn watched() -> (Self, Clock) {
        let clock = Clock::starting_at(Timestamp::now());
        let mut stage = Self::well().await;
        stage.reports = false;
        (stage, clock)
    }

    /// A health message.
    fn says(&self, status: HealthStatus) {
        let health = HealthPayload {
            component: "focuser".into(),
            status,
            message: "m".into(),
            details: Default::default(),
        };
        let message = Envelope::new(MessageType::Status, "plugin:focuser", health).encode();
        self.ctx.health.take(&self.health_topic(), &message);
    }

    /// What the worker and the background make of how it is.
    async fn watch(&self) -> Record {
        self.settle().await;
        self.ctx.conduct.restart_ill(&self.ctx, &self.supervisor()).await;
        self.record().await.expect("installed")
    }

    /// How long the pause is until its next start, which then comes.
    async fn starts_again(&mut self) -> Duration {
        let failed = self.record().await.expect("installed");
        assert_eq!(failed.standing.phase, Phase::Failed);
        let pause = failed.retry_at.expect("another try").since(crate::clock::now());
        self.settle().await;
        assert_eq!(self.record().await.expect("installed").standing.phase, Phase::Failed, "not before");
        self.pass_time(pause + Duration::from_secs(1)).await;
        self.reports = true;
        self.settle().await;
        self.reports = false;
        let again = self.record().await.expect("installed");
        assert_eq!(again.standing.phase, Phase::Running, "{:?}", again.standing.reason);
        pause
    }

    /// So many minutes of health messages.
    async fn minutes(&self, count: u32, status: HealthStatus) {
        for _ in 0..count * 2 {
            self.says(status);
            self.settle().await;
            self.pass_time(Duration::from_secs(30)).await;
        }
        self.settle().await;
    }

    fn state(&self, record: &Record) -> envelope::payload::state::PluginState {
        let health = self.ctx.health.now(&self.id, None);
        crate::report::state(record, &record.manifest(), "local", None, &health)
    }
}

fn near(pause: Duration, seconds: u64) -> bool {
    pause <= Duration::from_secs(seconds) && pause > Duration::from_secs(seconds - 2)
}

#[tokio::test]
async fn a_plugin_that_is_silent_is_restarted_with_its_login_and_backs_off() {
    let (mut stage, _clock) = Stage::watched().await;
    let login = stage.record().await.and_then(|r| r.start).expect("a start").id;
    for seconds in [10, 20, 40] {
        assert_eq!(stage.watch().await.restart, None);
        stage.pass_time(SILENCE).await;
        let decided = stage.watch().await;
        assert_eq!(decided.restart.as_deref(), Some("has not reported its health for 3 intervals"));
        stage.settle().await;
        let failed = stage.record().await.expect("installed");
        let reason = failed.standing.reason.unwrap_or_default();
        assert!(reason.contains("has not reported its health for 3 intervals"), "{reason}");
        let pause = stage.starts_again().await;
        assert!(near(pause, seconds), "{pause:?}");
        assert_eq!(stage.record().await.and_then(|r| r.start).map(|s| s.id), Some(login));
    }
    assert_eq!(stage.engine.count(Verb::Create), 1, "it is the same container");
}

#[tokio::test]
async fn three_of_the_last_five_messages_decide_and_only_while_the_last_is_one_of_them() {
    use HealthStatus::{Degraded, Healthy, Unhealthy};
    let (stage, _clock) = Stage::watched().await;
    for status in [Unhealthy, Healthy, Unhealthy, Degraded, Healthy, Healthy, Unhealthy, Healthy, Unhealthy] {
        stage.says(status);
        assert_eq!(stage.watch().await.restart, None);
    }
    stage.says(Healthy);
    assert_eq!(stage.watch().await.restart, None);
    stage.says(Unhealthy);
    let why = stage.watch().await.restart.expect("three of five");
    assert_eq!(why, "was unhealthy in 3 of its last 5 health messages: m");
}

#[tokio::test]
async fn nothing_counts_before_it_was_ready() {
    let _clock = Clock::starting_at(Timestamp::now());
    let mut stage = Stage::new().await;
    stage.install().await;
    stage.reports = false;
    stage.ask("start", Work::Start, Some(Desired::Running), Duration::from_secs(600)).await;
    let mut worker = Worker::new(stage.ctx.clone(), stage.id.clone());
    let started = |record: Option<Record>| record.and_then(|r| r.start).map(|s| s.progress);
    while started(stage.record().await) != Some(StartProgress::Started) {
        stage.surroundings().await;
        worker.pass().await;
    }
    for _ in 0..5 {
        stage.says(HealthStatus::Unhealthy);
        worker.pass().await;
    }
    stage.says(HealthStatus::Healthy);
    stage.settle().await;
    assert_eq!(stage.succeeds("start").await["phase"], "running");
    for _ in 0..2 {
        stage.says(HealthStatus::Unhealthy);
        assert_eq!(stage.watch().await.restart, None);
    }
    stage.says(HealthStatus::Unhealthy);
    assert!(stage.watch().await.restart.is_some());
}

#[tokio::test]
async fn silence_counts_only_while_we_listen_and_there_is_a_grace_after_a_reconnect() {
    let (stage, _clock) = Stage::watched().await;
    stage.ctx.health.listening(false);
    stage.pass_time(SILENCE * 4).await;
    assert_eq!(stage.watch().await.restart, None);
    stage.ctx.health.listening(true);
    stage.pass_time(SILENCE - Duration::from_secs(2)).await;
    assert_eq!(stage.watch().await.restart, None);
    stage.pass_time(Duration::from_secs(3)).await;
    assert!(stage.watch().await.restart.is_some());
}

#[tokio::test]
async fn one_that_reported_while_it_waited_for_its_turn_is_left_alone() {
    let (stage, _clock) = Stage::watched().await;
    stage.pass_time(SILENCE).await;
    stage.settle().await;
    stage.says(HealthStatus::Healthy);
    stage.ctx.conduct.restart_ill(&stage.ctx, &stage.supervisor()).await;
    assert_eq!(stage.record().await.expect("installed").restart, None);
}

#[tokio::test]
async fn after_five_restarts_that_did_not_help_it_is_left_running_until_somebody_asks_or_it_is_well_again() {
    for by_request in [true, false] {
        let (mut stage, _clock) = Stage::watched().await;
        for restarts in 1..=5 {
            stage.pass_time(SILENCE).await;
            assert_eq!(stage.watch().await.watchdog.restarts, restarts);
            stage.settle().await;
            stage.starts_again().await;
        }
        let container = stage.engine.all();
        for _ in 0..3 {
            stage.pass_time(SILENCE).await;
            let given_up = stage.watch().await;
            assert_eq!((given_up.restart.as_deref(), given_up.standing.phase), (None, Phase::Running));
            let told = stage.state(&given_up);
            let watchdog = told.watchdog.expect("it says so");
            assert_eq!(watchdog.state, WatchdogState::Suspended);
            assert_eq!(watchdog.reason, "has not reported its health for 3 intervals");
            assert_eq!(told.health, PluginHealth::Stale);
        }
        assert_eq!(stage.engine.all(), container, "its process runs on");
        if by_request {
            let restart = Work::Restart { stopped: false };
            stage
                .ask_and("restart", restart, Some(Record::ask_to_run), VERY_LONG, "operator:ada", true)
                .await;
            stage.reports = true;
            stage.settle().await;
            stage.succeeds("restart").await;
        } else {
            stage.minutes(9, HealthStatus::Healthy).await;
            assert!(stage.watch().await.watchdog.suspended.is_some());
            stage.minutes(2, HealthStatus::Healthy).await;
        }
        let lifted = stage.record().await.expect("installed");
        assert_eq!((lifted.failures, &lifted.watchdog), (0, &Default::default()));
        assert_eq!(stage.state(&lifted).watchdog, None);
    }
}

#[tokio::test]
async fn a_wish_to_restart_is_refused_when_the_process_is_another_one_by_now() {
    let (stage, _clock) = Stage::watched().await;
    let record = stage.record().await.expect("installed");
    let start = record.start.expect("a start");
    let another = (start.id, Some(Timestamp::from_seconds(1)));
    let restart = |life| crate::conduct::restart(&stage.ctx, &stage.id, life, "is ill");
    assert_eq!(restart(another).await.expect("records"), Restart::Refused);
    let same = (start.id, start.started_at);
    assert_eq!(restart(same).await.expect("records"), Restart::Recorded);
    assert_eq!(restart(same).await.expect("records"), Restart::Refused, "it is decided already");
}

#[tokio::test]
async fn a_plugin_that_runs_and_is_not_well_is_not_forgiven() {
    let (mut stage, _clock) = Stage::watched().await;
    assert!(stage.engine.crash(&stage.name(), 1));
    stage.settle().await;
    stage.starts_again().await;
    // Never three in five, and never well for long.
    for _ in 0..12 {
        stage.minutes(4, HealthStatus::Healthy).await;
        stage.says(HealthStatus::Unhealthy);
        stage.settle().await;
    }
    let record = stage.record().await.expect("installed");
    assert_eq!((record.failures, record.restart), (1, None));
    stage.says(HealthStatus::Degraded);
    stage.settle().await;
    stage.minutes(11, HealthStatus::Degraded).await;
    assert_eq!(stage.record().await.expect("installed").failures, 0, "it works, if not quite");
}

#[tokio::test]
async fn a_plugin_that_ends_is_started_again_after_pauses_that_grow_to_five_minutes_and_for_ever() {
    let (mut stage, _clock) = Stage::watched().await;
    stage.engine.write_log(&stage.name(), "last words\n");
    // A clean exit is none when nobody asked for it.
    for (code, seconds) in [(0, 10), (1, 20), (0, 40), (137, 80), (2, 160), (1, 300), (1, 300), (0, 300)] {
        assert!(stage.engine.crash(&stage.name(), code));
        stage.settle().await;
        let failed = stage.record().await.expect("installed");
        assert_eq!((failed.standing.phase, failed.desired), (Phase::Failed, Desired::Running));
        let reason = failed.standing.reason.unwrap_or_default();
        assert!(reason.contains(&format!("exited with code {code}")), "{reason}");
        let exit = failed.last_exit.expect("its end is kept");
        assert_eq!((exit.code, exit.oom_killed), (code, false));
        assert!(exit.log_tail.contains("last words"), "{}", exit.log_tail);
        let pause = stage.starts_again().await;
        assert!(near(pause, seconds), "{pause:?} in place of {seconds} s");
    }
    assert_eq!(stage.record().await.expect("installed").watchdog, Default::default());
    stage.minutes(11, HealthStatus::Healthy).await;
    assert!(stage.engine.crash(&stage.name(), 1));
    stage.settle().await;
    let pause = stage.starts_again().await;
    assert!(near(pause, 10), "ten good minutes in between: {pause:?}");
}

#[tokio::test]
async fn a_plugin_that_used_too_much_memory_is_told_as_such() {
    let (mut stage, _clock) = Stage::watched().await;
    assert!(stage.engine.run_out_of_memory(&stage.name()));
    stage.settle().await;
    let failed = stage.record().await.expect("installed");
    let reason = failed.standing.reason.unwrap_or_default();
    assert!(reason.contains("used more memory than it may"), "{reason}");
    assert!(failed.last_exit.is_some_and(|exit| exit.oom_killed && exit.code == 137));
    stage.starts_again().await;
}

#[tokio::test]
async fn a_stop_that_was_asked_for_is_no_failure_and_nothing_is_started_again() {
    let (stage, _clock) = Stage::watched().await;
    stage.ask("stop", Work::Stop, Some(Desired::Stopped), VERY_LONG).await;
    stage.settle().await;
    stage.pass_time(TEN_MINUTES).await;
    let stopped = stage.watch().await;
    assert_eq!((stopped.standing.phase, stopped.failures), (Phase::Stopped, 0));
    assert_eq!(stage.containers().await, 0);
}

#[tokio::test]
async fn without_the_watchdog_a_silent_plugin_is_left_alone_and_one_that_ends_is_not() {
    let (mut stage, _clock) = Stage::watched().await;
    stage.ctx.settings.watchdog = false;
    stage.pass_time(SILENCE * 2).await;
    assert_eq!(stage.watch().await.restart, None);
    assert!(stage.engine.crash(&stage.name(), 1));
    stage.settle().await;
    stage.starts_again().await;
}

#[tokio::test]
async fn an_end_that_nobody_saw_is_made_good_once_and_the_next_is_the_plugins_own() {
    let (mut stage, _clock) = Stage::watched().await;
    let start = stage.record().await.and_then(|record| record.start).expect("runs");
    stage.ctx.conduct.looks_away();
    assert!(stage.engine.crash(&stage.name(), 143));
    let mut worker = Worker::new(stage.ctx.clone(), stage.id.clone());
    assert_eq!(worker.pass().await, Next::Again);
    let resumed = stage.record().await.expect("installed");
    assert_eq!((resumed.standing.phase, resumed.failures), (Phase::Starting, 0));
    assert!(resumed.standing.cause.contains("was away"), "{}", resumed.standing.cause);
    assert_eq!(resumed.last_exit.map(|exit| exit.code), Some(143), "its end is kept");
    stage.reports = true;
    stage.settle().await;
    let again = stage.record().await.expect("installed");
    assert_eq!((again.standing.phase, again.failures), (Phase::Running, 0));
    assert_eq!(again.start.map(|again| again.id), Some(start.id), "with its login and token");
    assert!(stage.engine.crash(&stage.name(), 143));
    stage.settle().await;
    let failed = stage.record().await.expect("installed");
    assert_eq!((failed.standing.phase, failed.failures), (Phase::Failed, 1));
}
