//! Updates and rollbacks: what is to be takes the place of what is, or what is stays, whatever fails on the way.

use envelope::payload::grant::ApprovalDetails;
use envelope::payload::lifecycle::InstallRequest;

use super::*;
use crate::operation::{Swap, Update};

const NEXT: &str = "registry.example.com/focuser:2.0.0";
const NEXT_DIGEST: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";
const ADA: &str = "operator:ada";
const LONG: Duration = Duration::from_secs(600);

pub(super) fn second() -> Value {
    let mut manifest = manifest();
    manifest["version"] = json!("2.0.0");
    manifest
}

impl Stage {
    /// There is a second version of this manifest, whose process ends at once with `exits`, if it does.
    pub(super) fn publish_second(&self, manifest: &Value, exits: Option<i64>) {
        let reference = format!("registry.example.com/focuser@{NEXT_DIGEST}");
        let label = manifest.to_string();
        let mut image = FakeImage::new(&reference).with_label(crate::admission::MANIFEST_LABEL, &label);
        image.image.user = "1000:1000".into();
        image.exits = exits;
        image.output = "version 2 begins\n".into();
        self.engine.publish(image);
        self.registry.publish(
            NEXT,
            Resolved {
                reference: reference.parse().expect("a reference"),
                digest: NEXT_DIGEST.into(),
                labels: [(crate::admission::MANIFEST_LABEL.to_owned(), label)].into(),
                total_bytes: 1,
                user: "1000:1000".into(),
                layers: 1,
            },
        );
    }

    pub(super) async fn begin_update(&self, request: &str, approve: Option<&str>) {
        let wanted = InstallRequest {
            plugin_id: self.id.clone(),
            source: Some(NEXT.into()),
            config: None,
            manifest: None,
            approve: approve.map(str::to_owned),
        };
        let staging = Install { request: wanted, resolved: None, admitted: None, pulled: false };
        let release = self.record().await.expect("installed").release;
        let work = Work::Update(Box::new(Update { staging, swap: Swap::of(&release) }));
        self.ask_and(request, work, None::<fn(&mut Record)>, LONG, ADA, true).await;
    }

    pub(super) async fn update(&self, request: &str, approve: Option<&str>) {
        self.begin_update(request, approve).await;
        self.settle().await;
    }

    /// As the handler records it.
    pub(super) async fn begin_rollback(&self, request: &str) {
        let record = self.record().await.expect("installed");
        let work = Work::Rollback(Box::new(Swap::of(&record.release)));
        let change = |record: &mut Record| {
            let previous = record.previous.as_deref().cloned().expect("a previous release");
            record.stage(previous);
        };
        self.ask_and(request, work, Some(change), LONG, ADA, true).await;
    }

    async fn roll_back(&self, request: &str) {
        self.begin_rollback(request).await;
        self.settle().await;
    }

    pub(super) async fn up() -> Self {
        let stage = Self::new().await;
        stage.install().await;
        stage.start().await;
        stage.succeeds("start").await;
        stage
    }

    /// What runs: one container, of this digest, for the generation that is wanted, with one login and one token.
    async fn runs(&self, digest: &str) -> Record {
        let record = self.record().await.expect("installed");
        assert_eq!(record.standing.phase, Phase::Running, "{:?}", record.standing);
        assert_eq!(record.release.digest, digest);
        assert!(record.next.is_none() && record.owed.is_empty() && !record.is_outdated());
        let listed = self.engine.list(INSTALLATION).await.expect("lists");
        assert_eq!(listed.len(), 1);
        assert!(listed[0].state.is_running());
        let name = self.ctx.policy.container_name(&self.id);
        assert!(self.engine.spec(&name).expect("its spec").image.ends_with(digest));
        let start = record.start.as_ref().expect("a start").id;
        assert_eq!(*self.peers.logins.lock().expect("not poisoned"), [start]);
        assert_eq!(*self.peers.tokens.lock().expect("not poisoned"), [start]);
        record
    }

    async fn container(&self) -> String {
        self.engine.list(INSTALLATION).await.expect("lists")[0].id.to_string()
    }
}

#[tokio::test]
async fn an_update_runs_the_new_image_and_keeps_data_configuration_and_the_old_image() {
    let stage = Stage::up().await;
    let before = stage.record().await.expect("installed");
    stage.publish_second(&second(), None);
    stage.update("update", None).await;
    let answer = stage.succeeds("update").await;
    assert_eq!(answer["version"], "2.0.0");
    assert_eq!(answer["previous_version"], "1.0.0");
    assert_eq!(answer["changed"], true);
    assert!(answer["downtime_ms"].is_u64(), "{answer}");
    let record = stage.runs(NEXT_DIGEST).await;
    assert!(record.generation > before.generation);
    assert_eq!(record.uid, before.uid);
    assert_eq!(record.release.config, before.release.config);
    assert_eq!(record.previous.as_deref(), Some(&before.release));
    assert_eq!(stage.engine.count(Verb::RemoveVolume), 0);
    assert_eq!(stage.engine.count(Verb::RemoveImage), 0);

    stage.roll_back("back").await;
    assert_eq!(stage.succeeds("back").await["version"], "1.0.0");
    let back = stage.runs(DIGEST).await;
    assert!(back.generation > record.generation, "a rollback is a new generation with old content");
    assert_eq!(back.previous.as_deref().map(|p| p.digest.as_str()), Some(NEXT_DIGEST));

    let gone = Desired::Absent { remove_volumes: true };
    stage.ask("remove", Work::Remove, Some(gone), LONG).await;
    stage.settle().await;
    assert_eq!(stage.succeeds("remove").await["image_removed"], true);
    stage.nothing_is_left().await;
    assert!(!stage.engine.images().iter().any(|image| image.contains("focuser")), "both images are gone");
}

#[tokio::test]
async fn an_update_ends_the_same_when_any_call_of_the_engine_fails_once_or_its_answer_is_lost() {
    let verbs = [
        Verb::Pull,
        Verb::Image,
        Verb::ReadFile,
        Verb::Create,
        Verb::Upload,
        Verb::Start,
        Verb::Stop,
        Verb::Remove,
        Verb::Inspect,
        Verb::Logs,
        Verb::UsedPorts,
    ];
    for verb in verbs {
        for lost in [false, true] {
            let away = EngineError::Unreachable { doing: verb, on: "focuser".into(), source: "test".into() };
            let stage = Stage::up().await;
            stage.publish_second(&second(), None);
            match lost {
                true => stage.engine.lose_next_answer(verb, away),
                false => stage.engine.fail_next(verb, away),
            }
            stage.update("update", None).await;
            assert_eq!(stage.succeeds("update").await["version"], "2.0.0", "{verb:?} {lost}");
            stage.runs(NEXT_DIGEST).await;
        }
    }
}

#[tokio::test]
async fn a_version_that_ends_before_it_is_ready_gives_way_to_the_one_before() {
    let stage = Stage::up().await;
    let before = stage.record().await.expect("installed");
    stage.publish_second(&second(), Some(3));
    stage.update("update", None).await;
    let told = stage.fails("update", ErrorCode::RolledBack).await;
    assert!(told.message.contains("2.0.0 did not get ready"), "{}", told.message);
    assert!(told.message.contains("exited with code 3"), "{}", told.message);
    assert!(told.message.ends_with("It runs 1.0.0 again."), "{}", told.message);
    assert_eq!(told.details["code"], "start_failed");
    assert_eq!(told.details["failure"]["exit_code"], 3);
    assert_eq!(told.details["failure"]["log_tail"], "version 2 begins\n");
    let record = stage.runs(DIGEST).await;
    assert_eq!(record.release, before.release);
    assert_eq!(record.previous, None, "what failed is nothing to go back to");
    assert!(record.generation > before.generation);
}

#[tokio::test]
async fn an_update_that_asks_for_more_waits_for_approval_and_touches_nothing() {
    let stage = Stage::up().await;
    let (before, container) = (stage.record().await, stage.container().await);
    let mut asking = second();
    asking["devices"] = json!(["/dev/ttyUSB0"]);
    stage.publish_second(&asking, None);
    stage.update("ask", None).await;
    let told = stage.fails("ask", ErrorCode::ApprovalRequired).await;
    assert!(told.message.contains("update it again"), "{}", told.message);
    let details: ApprovalDetails = serde_json::from_value(told.details).expect("what is to be approved");
    assert_eq!(stage.container().await, container);
    assert_eq!(stage.record().await.map(|r| r.release), before.map(|r| r.release));
    stage.runs(DIGEST).await;

    stage.update("update", Some(&details.approve)).await;
    stage.succeeds("update").await;
    assert_eq!(stage.runs(NEXT_DIGEST).await.granted().len(), 1);
    // What was granted once is not asked again, and what is not asked for any more is gone.
    stage.roll_back("back").await;
    assert!(stage.runs(DIGEST).await.granted().is_empty());
}

#[tokio::test]
async fn while_another_coordinator_is_away_what_runs_is_not_touched() {
    let stage = Stage::up().await;
    let container = stage.container().await;
    stage.publish_second(&second(), None);
    *stage.peers.away.lock().expect("not poisoned") = true;
    stage.begin_update("update", None).await;
    for _ in 0..40 {
        stage.surroundings().await;
        Worker::new(stage.ctx.clone(), stage.id.clone()).pass().await;
    }
    assert_eq!(stage.container().await, container);
    let running = stage.ctx.registrations.running(&stage.id).await.expect("reads").expect("goes on");
    assert_eq!(running.step, "await_acl");
    *stage.peers.away.lock().expect("not poisoned") = false;
    stage.settle().await;
    stage.succeeds("update").await;
    stage.runs(NEXT_DIGEST).await;
}

#[tokio::test]
async fn a_cancelled_update_leaves_what_runs_and_no_image_behind() {
    let stage = Stage::up().await;
    let container = stage.container().await;
    stage.publish_second(&second(), None);
    *stage.peers.away.lock().expect("not poisoned") = true;
    stage.begin_update("update", None).await;
    for _ in 0..40 {
        Worker::new(stage.ctx.clone(), stage.id.clone()).pass().await;
    }
    assert!(stage.record().await.expect("installed").next.is_some());
    let running = stage.ctx.registrations.running(&stage.id).await.expect("reads").expect("goes on");
    assert!(
        stage
            .ctx
            .registrations
            .cancel(&running.id, "operator:bob", &answered("cancel"))
            .await
            .expect("records")
    );
    stage.settle().await;
    *stage.peers.away.lock().expect("not poisoned") = false;
    let told = stage.fails("update", ErrorCode::Cancelled).await;
    assert!(told.message.contains("operator:bob"), "{}", told.message);
    assert_eq!(stage.container().await, container);
    let record = stage.record().await.expect("installed");
    assert!(record.next.is_none() && !record.is_outdated());
    assert!(!stage.engine.images().iter().any(|image| image.contains(NEXT_DIGEST)));
    assert!(
        !stage
            .ctx
            .registrations
            .cancel(&running.id, "operator:bob", &answered("cancel"))
            .await
            .expect("reads"),
        "it has ended"
    );
}

#[tokio::test]
async fn an_update_to_the_same_image_changes_nothing() {
    let stage = Stage::up().await;
    let before = stage.record().await.expect("installed");
    let wanted = InstallRequest {
        plugin_id: stage.id.clone(),
        source: Some(SOURCE.into()),
        config: None,
        manifest: None,
        approve: None,
    };
    let staging = Install { request: wanted, resolved: None, admitted: None, pulled: false };
    let work = Work::Update(Box::new(Update { staging, swap: Swap::of(&before.release) }));
    stage.ask_and("update", work, None::<fn(&mut Record)>, LONG, ADA, true).await;
    stage.settle().await;
    assert_eq!(stage.succeeds("update").await["changed"], false);
    assert_eq!(stage.record().await.map(|r| r.generation), Some(before.generation));
    stage.runs(DIGEST).await;
}

#[tokio::test]
async fn a_stopped_plugin_is_updated_and_stays_stopped() {
    let stage = Stage::new().await;
    stage.install().await;
    stage.publish_second(&second(), None);
    stage.update("update", None).await;
    let answer = stage.succeeds("update").await;
    assert_eq!(answer["version"], "2.0.0");
    assert!(answer["downtime_ms"].is_null());
    assert_eq!(stage.containers().await, 0);
    stage.start().await;
    stage.succeeds("start").await;
    stage.runs(NEXT_DIGEST).await;
}

#[tokio::test]
async fn an_image_that_somebody_removed_is_told_at_the_start_and_had_again_by_an_update() {
    let stage = Stage::new().await;
    stage.publish_second(&second(), None);
    stage.install().await;
    stage.update("first", None).await;
    stage.succeeds("first").await;
    let before = stage.record().await.expect("installed");
    let image = &before.release.reference;
    assert_eq!(stage.engine.remove_image(image).await.expect("answers"), crate::engine::Removal::Removed);
    stage.start().await;
    let error = stage.fails("start", ErrorCode::StartFailed).await;
    assert!(error.message.contains(&format!("plugin update focuser {image}")), "{}", error.message);
    assert_eq!(stage.containers().await, 0);

    stage.update("again", None).await;
    assert_eq!(stage.succeeds("again").await["changed"], false);
    let after = stage.record().await.expect("installed");
    assert_eq!((&after.release, &after.previous), (&before.release, &before.previous));
    stage.ask("now", Work::Start, Some(Desired::Running), LONG).await;
    stage.settle().await;
    stage.succeeds("now").await;
    stage.runs(NEXT_DIGEST).await;
}
