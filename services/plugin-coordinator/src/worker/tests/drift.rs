//! What somebody does to a plugin's container by hand: the container is put right, or a new one is made.

use super::*;
use crate::engine::{Attachment, Change, Container, ContainerId, Limits};

impl Stage {
    async fn its_container(&self) -> Container {
        self.engine.inspect(&self.name()).await.expect("answers").expect("it is there")
    }

    fn login(&self) -> Vec<StartId> {
        self.peers.logins.lock().expect("not poisoned").clone()
    }
}

#[tokio::test]
async fn what_was_changed_is_put_right_and_the_process_runs_on() {
    let stage = Stage::well().await;
    let before = stage.its_container().await;
    let network = stage.ctx.settings.network.clone();
    let other = crate::engine::NetworkSpec {
        name: "somebodys-network".into(),
        internal: false,
        masquerade: true,
        icc: true,
        labels: Default::default(),
    };
    stage.engine.ensure_network(&other).await.expect("makes it");
    let connect = Change::Connect(Attachment { network: other.name, aliases: Vec::new() });
    let loose = Change::Bound(Limits { memory_bytes: Some(1 << 40), ..before.limits });
    let spec = stage.engine.spec(&stage.name()).expect("its spec");
    for change in [connect, Change::Disconnect(network), Change::Rename("mine-now".into()), loose] {
        assert!(stage.engine.tamper(&stage.name(), &change), "{change:?}");
        assert_ne!(stage.engine.all(), std::slice::from_ref(&before));
        stage.settle().await;
        assert_eq!(stage.engine.all(), std::slice::from_ref(&before), "after {change:?}");
        assert_eq!(
            stage.engine.spec(&stage.name()).expect("its spec"),
            spec,
            "its names on the network, too"
        );
    }
    assert!(stage.engine.set_engine_restarts(&stage.name()));
    stage.settle().await;
    assert_eq!(stage.engine.all(), [before]);
    let record = stage.record().await.expect("installed");
    assert_eq!((record.standing.phase, record.failures), (Phase::Running, 0));
}

#[tokio::test]
async fn a_container_that_is_held_goes_on() {
    let stage = Stage::well().await;
    assert!(stage.engine.pause(&stage.name()));
    stage.settle().await;
    assert!(matches!(stage.its_container().await.state, State::Running { .. }));
    assert_eq!(stage.record().await.expect("installed").standing.phase, Phase::Running);
}

#[tokio::test]
async fn a_start_of_a_container_that_is_held_does_not_wait_for_health_that_cannot_come() {
    let mut stage = Stage::new().await;
    stage.install().await;
    stage.reports = false;
    stage.ask("start", Work::Start, Some(Desired::Running), Duration::from_secs(600)).await;
    let mut worker = Worker::new(stage.ctx.clone(), stage.id.clone());
    while !stage.engine.pause(&stage.name()) {
        stage.surroundings().await;
        worker.pass().await;
    }
    stage.reports = true;
    stage.settle().await;
    assert_eq!(stage.succeeds("start").await["phase"], "running");
}

#[tokio::test]
async fn a_container_that_was_stopped_or_killed_is_started_again_with_its_login() {
    for kill in [true, false] {
        let stage = Stage::well().await;
        let login = stage.login();
        let ended = match kill {
            true => stage.engine.kill(&stage.name()).await,
            false => stage.engine.stop(&stage.name(), Duration::ZERO).await,
        };
        ended.expect("ends");
        stage.settle().await;
        let mut record = stage.record().await.expect("installed");
        assert_eq!(record.standing.phase, Phase::Failed);
        // The pause is over.
        record.retry_at = None;
        stage.ctx.registrations.advance(Some(&mut record), None).await.expect("records");
        stage.settle().await;
        assert_eq!(stage.record().await.expect("installed").standing.phase, Phase::Running);
        assert_eq!(stage.login(), login);
    }
}

#[tokio::test]
async fn a_container_that_was_removed_is_made_anew_with_another_login() {
    let stage = Stage::well().await;
    let (before, login) = (stage.its_container().await.id, stage.login());
    stage.engine.remove(&stage.name()).await.expect("removes");
    stage.settle().await;
    assert_ne!(stage.its_container().await.id, before);
    assert_eq!(stage.record().await.expect("installed").standing.phase, Phase::Running);
    assert_eq!(stage.login().len(), 1);
    assert_ne!(stage.login(), login);
}

#[tokio::test]
async fn a_renamed_container_is_found_by_whatever_is_to_be_done_with_it() {
    let gone = Desired::Absent { remove_volumes: true };
    for (work, desired, phase) in [
        (Work::Stop, Desired::Stopped, Some(Phase::Stopped)),
        (Work::Restart { stopped: false }, Desired::Running, Some(Phase::Running)),
        (Work::Remove, gone, None),
    ] {
        for ended in [false, true] {
            let stage = Stage::well().await;
            assert!(stage.engine.tamper(&stage.name(), &Change::Rename("mine-now".into())));
            if ended {
                assert!(stage.engine.crash("mine-now", 1));
            }
            stage.ask("it", work.clone(), Some(desired), Duration::from_secs(600)).await;
            stage.settle().await;
            stage.succeeds("it").await;
            assert_eq!(stage.record().await.map(|r| r.standing.phase), phase, "{work:?}");
            let expected = usize::from(phase == Some(Phase::Running));
            assert_eq!(stage.engine.all().len(), expected, "{work:?}: {:?}", stage.engine.all());
        }
    }
}

#[tokio::test]
async fn what_cannot_be_put_right_is_left_alone_for_a_while_and_holds_nothing_up() {
    let stage = Stage::well().await;
    let loose = Change::Bound(Limits { pids: Some(9999), ..stage.its_container().await.limits });
    assert!(stage.engine.tamper(&stage.name(), &loose));
    let refused = || EngineError::Refused {
        doing: Verb::Adjust,
        on: "x".into(),
        status: 500,
        message: "no such controller".into(),
    };
    stage.engine.fail_next(Verb::Adjust, refused());
    let mut worker = Worker::new(stage.ctx.clone(), stage.id.clone());
    worker.confirmed = Some(Instant::now());
    while worker.pass().await == Next::Again {}
    while worker.pass().await == Next::Again {}
    assert_eq!(stage.engine.count(Verb::Adjust), 1);
    // Something else is put right meanwhile.
    assert!(stage.engine.pause(&stage.name()));
    while worker.pass().await == Next::Again {}
    assert!(matches!(stage.its_container().await.state, State::Running { .. }));
    stage.pass_time(Duration::from_secs(601)).await;
    worker.confirmed = Some(Instant::now());
    while worker.pass().await == Next::Again {}
    assert_ne!(stage.its_container().await.limits.pids, Some(9999));
}

#[tokio::test]
async fn a_copy_of_a_container_and_one_that_was_renamed_and_replaced_are_removed() {
    let stage = Stage::well().await;
    let own = stage.its_container().await.id;
    let mut copy = stage.engine.spec(&stage.name()).expect("its spec");
    copy.name = "a-copy".into();
    stage.engine.create(&copy).await.expect("somebody makes it");
    stage.engine.start("a-copy").await.expect("it starts");
    let ids = |all: Vec<Container>| all.into_iter().map(|c| c.id).collect::<Vec<ContainerId>>();
    crate::strays::remove(&stage.ctx).await;
    assert_eq!(ids(stage.engine.all()), std::slice::from_ref(&own));
    // One that only was renamed is its worker's to put right.
    assert!(stage.engine.tamper(&stage.name(), &Change::Rename("mine-now".into())));
    crate::strays::remove(&stage.ctx).await;
    assert_eq!(ids(stage.engine.all()), std::slice::from_ref(&own));
    copy.name = stage.name();
    stage.engine.create(&copy).await.expect("somebody makes one in its place");
    crate::strays::remove(&stage.ctx).await;
    let left = stage.engine.all();
    assert_eq!(left.len(), 1);
    assert_ne!(left[0].id, own);
}

#[tokio::test]
async fn containers_of_nobody_and_of_other_installations_are_no_strays() {
    let stage = Stage::well().await;
    let own = stage.engine.spec(&stage.name()).expect("its spec");
    for (name, label, value) in [
        ("theirs", crate::engine::label::INSTALLATION, "another"),
        ("unlabelled", crate::policy::PLUGIN_LABEL, ""),
    ] {
        let mut spec = own.clone();
        spec.name = name.into();
        spec.labels.insert(label.into(), value.into());
        stage.engine.create(&spec).await.expect("makes it");
    }
    crate::strays::remove(&stage.ctx).await;
    assert_eq!(stage.engine.all().len(), 3);
}

#[tokio::test]
async fn a_forwarder_that_is_held_is_made_anew() {
    let mut publishes = manifest();
    publishes["docker"]["ports"] = json!(["127.0.0.1:8080:80"]);
    let stage = Stage::with(publishes, "1000:1000").await;
    stage.install().await;
    stage.start().await;
    stage.succeeds("start").await;
    let before = stage.its_container().await;
    assert!(stage.engine.pause(&stage.ctx.policy.forwarder_name(&stage.id)));
    let mut worker = Worker::new(stage.ctx.clone(), stage.id.clone());
    worker.confirmed = Some(Instant::now());
    for _ in 0..4 {
        worker.pass().await;
    }
    let all = stage.engine.all();
    assert!(all.iter().all(|c| matches!(c.state, State::Running { .. })), "{all:?}");
    assert_eq!((all.len(), stage.its_container().await), (2, before));
}

#[tokio::test]
async fn a_container_that_the_engine_cannot_start_any_more_is_replaced_and_the_start_succeeds() {
    use crate::engine::StartError;
    let refusals = [
        StartError::Stuck { message: "task 0123: already exists".into() },
        StartError::MissingNetwork { message: "network 4567 not found".into() },
    ];
    for refusal in refusals {
        let stage = Stage::well().await;
        let before = stage.record().await.expect("installed");
        let made = stage.engine.count(Verb::Create);
        stage.engine.fail_next(Verb::Start, refusal);
        let restart = Work::Restart { stopped: false };
        stage.ask("restart", restart, Some(Desired::Running), Duration::from_secs(86_400)).await;
        stage.settle().await;
        assert_eq!(stage.succeeds("restart").await["phase"], "running");
        let after = stage.record().await.expect("installed");
        assert_eq!((after.generation, after.failures), (before.generation, 0));
        assert_ne!(after.start.map(|start| start.id), before.start.map(|start| start.id));
        assert_eq!((stage.containers().await, stage.engine.count(Verb::Create) - made), (1, 1));
        let logins = stage.peers.logins.lock().expect("not poisoned").len();
        assert_eq!((logins, after.owed.len()), (1, 0), "the login of the first is gone");
    }
}

#[tokio::test]
async fn a_new_container_without_its_network_is_told_and_one_that_the_engine_lost_track_of_is_replaced() {
    use crate::engine::StartError;
    let stage = Stage::new().await;
    stage.install().await;
    let missing = StartError::MissingNetwork { message: "network 4567 not found".into() };
    stage.engine.fail_next(Verb::Start, missing);
    stage.start().await;
    let told = stage.fails("start", ErrorCode::StartFailed).await;
    assert!(told.message.contains("does not exist"), "{}", told.message);
    assert_eq!((stage.containers().await, stage.engine.count(Verb::Create)), (0, 1));
    // The engine was killed while it started it.
    stage.engine.fail_next(Verb::Start, StartError::Stuck { message: "task 0123: already exists".into() });
    stage.ask("again", Work::Start, Some(Desired::Running), Duration::from_secs(600)).await;
    stage.settle().await;
    assert_eq!(stage.succeeds("again").await["phase"], "running");
    assert_eq!((stage.containers().await, stage.engine.count(Verb::Create)), (1, 3));
}

#[tokio::test]
async fn a_container_that_was_renamed_and_whose_name_somebody_else_has_is_removed_and_holds_nothing_up() {
    let gone = Desired::Absent { remove_volumes: true };
    for (work, desired, phase) in [
        (Work::Stop, Desired::Stopped, Some(Phase::Stopped)),
        (Work::Remove, gone, None),
        (Work::Restart { stopped: false }, Desired::Running, Some(Phase::Running)),
    ] {
        let stage = Stage::well().await;
        let mut theirs = stage.engine.spec(&stage.name()).expect("its spec");
        theirs.labels.clear();
        assert!(stage.engine.tamper(&stage.name(), &Change::Rename("mine-now".into())));
        let theirs = stage.engine.create(&theirs).await.expect("somebody makes one in its place");
        let failed = EngineError::Timeout {
            doing: Verb::Remove,
            on: "mine-now".into(),
            after: Duration::from_secs(60),
        };
        stage.engine.fail_next(Verb::Remove, failed);
        stage.ask("it", work.clone(), Some(desired), Duration::from_secs(600)).await;
        let mut worker = Worker::new(stage.ctx.clone(), stage.id.clone());
        for _ in 0..30 {
            stage.surroundings().await;
            worker.pass().await;
        }
        let ids: Vec<_> = stage.engine.all().into_iter().map(|container| container.id).collect();
        assert_eq!(ids, [theirs], "{work:?}");
        if phase == Some(Phase::Running) {
            stage.engine.remove(&stage.name()).await.expect("somebody removes it");
            stage.settle().await;
        }
        stage.succeeds("it").await;
        assert_eq!(stage.record().await.map(|record| record.standing.phase), phase, "{work:?}");
    }
}
