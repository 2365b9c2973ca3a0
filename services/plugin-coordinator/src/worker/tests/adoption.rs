//! A registry that has lost everything takes over what runs; what nobody can vouch for is refused.

use async_trait::async_trait;
use chassis::{HealthBoard, Shutdown};
use envelope::payload::grant::GrantState;
use envelope::payload::spec::Spec;
use envelope::{Generation, InstanceId};

use super::*;
use crate::adoption::{Adoption, Specs, Told, ToldError, shortcoming};
use crate::engine::{ContainerSpec, UploadFile};
use crate::policy::{CONFIG_FILE, Kept, PLUGIN_LABEL, RELEASE_LABEL};
use crate::record::{Granted, StartProgress};
use manifest::Manifest;

const LONG: Duration = Duration::from_secs(600);

struct FakeTold(Option<Vec<Spec>>);

#[async_trait]
impl Told for FakeTold {
    async fn specs(&self) -> Result<Specs, ToldError> {
        let specs = self.0.clone().ok_or(ToldError::Away)?;
        Ok(specs.into_iter().map(|spec| (spec.plugin_id.clone(), spec)).collect())
    }
}

impl Stage {
    async fn at_work() -> Self {
        Self::at_work_with(manifest()).await
    }

    async fn at_work_with(manifest: Value) -> Self {
        let stage = Self::with(manifest, "1000:1000").await;
        stage.install().await;
        stage.start().await;
        assert_eq!(stage.succeeds("start").await["phase"], "running");
        stage
    }

    /// The same host and peers with an empty registry.
    async fn loses_its_registry(mut self) -> Self {
        static MIGRATIONS: store::Migrator = sqlx::migrate!();
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("plugin.db"), &MIGRATIONS).await.expect("opens");
        let replies = Replies::new(Coordinator::Plugin, store.journal());
        self.ctx.registrations = std::sync::Arc::new(SqliteRegistrations::new(store.clone(), replies));
        self.store = store;
        self._folder = folder;
        self
    }

    fn adoption(&self, specs: Option<Vec<Spec>>) -> Adoption {
        Adoption { ctx: self.ctx.clone(), store: self.store.clone(), told: Box::new(FakeTold(specs)) }
    }

    fn place(&self) -> String {
        self.ctx.policy.container_name(&self.id)
    }

    /// Puts a container with another label in the place of the plugin's.
    async fn relabels(&self, change: impl FnOnce(&mut ContainerSpec)) {
        let mut spec = self.engine.spec(&self.place()).expect("it runs");
        change(&mut spec);
        self.engine.remove(&self.place()).await.expect("removes");
        self.engine.create(&spec).await.expect("creates");
        self.engine.start(&self.place()).await.expect("starts");
    }

    async fn changes_what_is_kept(&self, change: impl FnOnce(&mut Value)) {
        self.relabels(|spec| {
            let text = spec.labels.get(RELEASE_LABEL).expect("it has one");
            let mut kept = serde_json::from_str(text).expect("JSON");
            change(&mut kept);
            spec.labels.insert(RELEASE_LABEL.into(), kept.to_string());
        })
        .await;
    }

    async fn is_refused(&self, specs: Vec<Spec>) {
        let looked = self.adoption(Some(specs)).look().await.expect("looks");
        assert!(looked.adopted.is_empty() && looked.left.is_empty(), "{looked:?}");
        assert!(self.record().await.is_none());
        assert_eq!(self.containers().await, 0, "it belongs to nobody");
    }
}

fn spec_of(record: &Record) -> Spec {
    record.spec(&record.manifest(), "local")
}

#[tokio::test]
async fn a_new_registry_takes_over_what_runs_and_does_not_touch_it() {
    let stage = Stage::at_work().await;
    let before = stage.record().await.expect("installed");
    let container = stage.engine.inspect(&stage.place()).await.expect("answers");
    let stage = stage.loses_its_registry().await;

    let looked = stage.adoption(Some(vec![spec_of(&before)])).look().await.expect("looks");
    assert_eq!(looked.adopted, std::slice::from_ref(&stage.id));
    assert_eq!(looked.lost.map(|lost| lost.len()), Some(0));
    let after = stage.record().await.expect("adopted");
    assert_eq!((after.uid, after.generation), (before.uid, before.generation));
    assert_eq!(after.release, before.release, "configuration, grants, image and manifest are the same");
    assert_eq!((after.desired, after.installed_at), (Desired::Running, before.installed_at));
    assert_eq!(after.start.as_ref().map(|s| s.id), before.start.as_ref().map(|s| s.id));
    stage.settle().await;
    assert_eq!(stage.engine.inspect(&stage.place()).await.expect("answers"), container, "it was touched");
    assert_eq!(stage.record().await.expect("adopted").standing.phase, Phase::Running);

    // As any other plugin from then on.
    stage.ask("stop", Work::Stop, Some(Desired::Stopped), LONG).await;
    stage.settle().await;
    assert_eq!(stage.succeeds("stop").await["phase"], "stopped");
    let gone = Desired::Absent { remove_volumes: true };
    stage.ask("remove", Work::Remove, Some(gone), LONG).await;
    stage.settle().await;
    stage.nothing_is_left().await;
}

#[tokio::test]
async fn without_any_spec_the_label_is_enough_for_a_new_registry_and_not_for_an_old_one() {
    let stage = Stage::at_work().await.loses_its_registry().await;
    let looked = stage.adoption(Some(Vec::new())).look().await.expect("looks");
    assert_eq!(looked.adopted.len(), 1, "a killed broker has lost what it was told last");

    let stage = Stage::at_work().await;
    let spec = spec_of(&stage.record().await.expect("installed"));
    let stage = stage.loses_its_registry().await;
    stage.store.set_meta("adopted_at", "before").await.expect("writes");
    // The registry was put back as it was before the plugin was installed.
    let looked = stage.adoption(Some(vec![spec])).look().await.expect("looks");
    assert_eq!(looked.adopted.len(), 1);
    let stage = stage.loses_its_registry().await;
    stage.store.set_meta("adopted_at", "before").await.expect("writes");
    stage.is_refused(Vec::new()).await;
}

#[tokio::test]
async fn nothing_is_removed_while_it_is_not_known_what_was_installed() {
    let stage = Stage::at_work().await.loses_its_registry().await;
    let adoption = stage.adoption(None);
    assert!(adoption.look().await.is_err());
    assert_eq!(stage.containers().await, 1);
    assert!(stage.store.meta("adopted_at").await.expect("reads").is_none());
    for verb in [Verb::List, Verb::Image, Verb::ReadBack] {
        stage.engine.fail_next(verb, EngineError::Timeout { doing: verb, on: "x".into(), after: LONG });
        assert!(stage.adoption(Some(Vec::new())).look().await.is_err(), "{verb:?}");
        assert_eq!(stage.containers().await, 1, "{verb:?}");
    }
    assert_eq!(stage.adoption(Some(Vec::new())).look().await.expect("looks").adopted.len(), 1);
}

#[tokio::test]
async fn generations_only_grow_and_what_a_newer_spec_does_not_give_is_not_given_back() {
    let asks = json!({
        "id": "focuser", "name": "Focuser", "version": "1.0.0",
        "mqtt": {"topics_publish": ["bigskies/plugin/dome/control/open"]}
    });
    let granted = |parsed: &Manifest| {
        let by = |grant| Granted::approved(grant, "operator:ada", Timestamp::now());
        parsed.grants().into_iter().map(by).collect::<Vec<_>>()
    };
    for keeps in [true, false] {
        let stage = Stage::at_work().await;
        let mut record = stage.record().await.expect("installed");
        record.release.manifest = asks.clone().into();
        record.release.grants = granted(&serde_json::from_value(asks.clone()).expect("no faults"));
        let kept = serde_json::from_str(&Kept::of(&record).encode()).expect("JSON");
        stage.changes_what_is_kept(|value| *value = kept).await;
        let mut spec = spec_of(&record);
        spec.generation = Generation(7);
        if !keeps {
            spec.publish.retain(|topic| !topic.contains("dome"));
        }
        let stage = stage.loses_its_registry().await;
        stage.adoption(Some(vec![spec])).look().await.expect("looks");
        let adopted = stage.record().await.expect("adopted");
        assert_eq!(adopted.generation, Generation(8));
        assert_eq!(adopted.is_outdated(), !keeps, "what was taken back takes the container with it");
        let states: Vec<bool> =
            adopted.release.grants.iter().map(|g| matches!(g.state, GrantState::Approved { .. })).collect();
        assert_eq!(states, [keeps]);
    }
}

#[tokio::test]
async fn a_container_that_does_not_run_is_started_anew() {
    let stage = Stage::at_work().await;
    stage.engine.kill(&stage.place()).await.expect("kills");
    let stage = stage.loses_its_registry().await;
    stage.adoption(Some(Vec::new())).look().await.expect("looks");
    assert_eq!(stage.record().await.and_then(|r| r.start).map(|s| s.progress), Some(StartProgress::Prepared));
    stage.settle().await;
    assert_eq!(stage.record().await.expect("adopted").standing.phase, Phase::Running);

    let stage = Stage::at_work().await;
    let spec = stage.engine.spec(&stage.place()).expect("it runs");
    stage.engine.remove(&stage.place()).await.expect("removes");
    stage.engine.create(&spec).await.expect("creates");
    let stage = stage.loses_its_registry().await;
    stage.adoption(Some(Vec::new())).look().await.expect("looks");
    let adopted = stage.record().await.expect("adopted");
    assert!(
        adopted.start.is_none() && adopted.owed.len() == 1,
        "nobody knows whether it was made to the end"
    );
    stage.settle().await;
    assert_eq!(stage.record().await.expect("adopted").standing.phase, Phase::Running);
    assert_eq!(stage.containers().await, 1);
}

#[tokio::test]
async fn hostile_labels_are_refused() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 9] = [
        ("no JSON object", |kept| *kept = json!("x")),
        ("no release", |kept| drop(kept.as_object_mut().expect("an object").remove("release"))),
        ("another plugin's manifest", |kept| kept["release"]["manifest"]["id"] = "other".into()),
        ("a manifest with faults", |kept| {
            kept["release"]["manifest"]["docker"] = json!({"privileged": 1, "volumes": 3})
        }),
        ("never granted", |kept| {
            kept["release"]["manifest"]["mqtt"] =
                json!({"topics_publish": ["bigskies/coordinator/plugin/spec/x"]});
        }),
        ("another image", |kept| {
            kept["release"]["reference"] = "registry.example.com/other@sha256:00".into()
        }),
        ("another digest", |kept| kept["release"]["digest"] = "sha256:00".into()),
        ("a device that nobody asked for and nobody approved", |kept| {
            kept["release"]["manifest"]["devices"] = json!(["/dev/mem"]);
        }),
        ("root without a grant", |kept| kept["release"]["uid"] = 0.into()),
    ];
    for (what, change) in changes {
        let stage = Stage::at_work().await;
        stage.changes_what_is_kept(change).await;
        let stage = stage.loses_its_registry().await;
        let looked = stage.adoption(Some(Vec::new())).look().await.expect("looks");
        assert!(looked.adopted.is_empty(), "{what} was taken over");
        assert!(stage.record().await.is_none(), "{what}");
        assert_eq!(stage.containers().await, 0, "{what}");
    }
    let stage = Stage::at_work().await;
    stage.relabels(|spec| drop(spec.labels.insert(RELEASE_LABEL.into(), "x".repeat(2 << 20)))).await;
    stage.loses_its_registry().await.is_refused(Vec::new()).await;

    let stage = Stage::at_work().await;
    let spec = spec_of(&stage.record().await.expect("installed"));
    let removed = Spec { presence: Presence::Absent, ..spec.clone() };
    stage.loses_its_registry().await.is_refused(vec![removed]).await;
    let stage = Stage::at_work().await;
    let other = Spec { uid: envelope::InstallUid::new(), ..spec };
    stage.loses_its_registry().await.is_refused(vec![other]).await;
}

#[tokio::test]
async fn containers_of_others_are_left_alone() {
    let stage = Stage::at_work().await;
    let other = "6f1c0d5e-0000-4000-8000-000000000002";
    stage
        .relabels(|spec| drop(spec.labels.insert(crate::engine::label::INSTALLATION.into(), other.into())))
        .await;
    let stage = stage.loses_its_registry().await;
    let looked = stage.adoption(Some(Vec::new())).look().await.expect("looks");
    assert!(looked.adopted.is_empty());
    assert_eq!(stage.engine.list(other).await.expect("lists").len(), 1);
}

#[tokio::test]
async fn the_label_of_an_image_decides_nothing() {
    let stage = Stage::at_work().await;
    let label = stage.engine.spec(&stage.place()).expect("it runs").labels[RELEASE_LABEL].clone();
    let reference = format!("registry.example.com/focuser@{DIGEST}");
    stage.relabels(|spec| drop(spec.labels.remove(RELEASE_LABEL))).await;
    stage.engine.load(FakeImage::new(&reference).with_label(RELEASE_LABEL, &label));
    stage.relabels(|_| {}).await;
    stage.loses_its_registry().await.is_refused(Vec::new()).await;
}

#[tokio::test]
async fn a_configuration_that_the_plugin_spoilt_is_not_taken_over() {
    let schema = json!({"properties": {"a": {"type": "integer"}}});
    let manifest = json!({"id": "focuser", "name": "Focuser", "version": "1.0.0", "config_schema": schema});
    for (bytes, expected) in [
        (br#"{"a": 2}"#.to_vec(), Some(json!({"a": 2}))),
        (br#"{"a": "x"}"#.to_vec(), None),
        (b"no JSON".to_vec(), None),
        (vec![b' '; 2 << 20], None),
    ] {
        let stage = Stage::at_work_with(manifest.clone()).await;
        let owner = crate::engine::Owner { uid: 1000, gid: 1000 };
        let file = UploadFile { path: CONFIG_FILE.into(), bytes, owner, mode: 0o400 };
        stage.engine.upload(&stage.place(), &[file]).await.expect("uploads");
        let stage = stage.loses_its_registry().await;
        stage.adoption(Some(Vec::new())).look().await.expect("looks");
        assert_eq!(stage.record().await.expect("adopted").release.config, expected);
    }
}

#[tokio::test]
async fn what_cannot_be_taken_over_is_told_and_nothing_of_it_deleted() {
    // A plugin that was made to run before there was such a label.
    let stage = Stage::at_work().await;
    let spec = spec_of(&stage.record().await.expect("installed"));
    stage.relabels(|container| drop(container.labels.remove(RELEASE_LABEL))).await;
    let stage = stage.loses_its_registry().await;
    let looked = stage.adoption(Some(vec![spec.clone()])).look().await.expect("looks");
    assert_eq!((looked.adopted.len(), looked.left.len()), (0, 1));
    assert_eq!(stage.containers().await, 1, "it runs on");
    let said = shortcoming(&looked.left, &Specs::new()).expect("told");
    assert!(said.contains("focuser"), "{said}");

    // A plugin that was stopped: nothing is left but its spec.
    let stage = Stage::new().await;
    let adoption = stage.adoption(Some(vec![spec.clone()]));
    let mut lost = adoption.look().await.expect("looks").lost.expect("it looked");
    let said = shortcoming(&Default::default(), &lost).expect("told");
    assert!(said.contains("focuser") && said.contains("install"), "{said}");
    adoption.look_for(&mut lost).await.expect("looks");
    assert_eq!(lost.len(), 1);
    stage.install().await;
    adoption.look_for(&mut lost).await.expect("looks");
    assert_eq!(shortcoming(&Default::default(), &lost), None, "it is installed again");

    // One that was being removed is forgotten when its rights are gone.
    let stage = Stage::new().await;
    let removed = Spec { presence: Presence::Absent, ..spec };
    let adoption = stage.adoption(Some(vec![removed.clone()]));
    let mut lost = adoption.look().await.expect("looks").lost.expect("it looked");
    assert_eq!(shortcoming(&Default::default(), &lost), None);
    adoption.look_for(&mut lost).await.expect("looks");
    assert_eq!(lost.len(), 1);
    let (outcome, at) = (AclOutcome::Absent, Timestamp::now());
    let (plugin_id, uid, generation) = (removed.plugin_id, removed.uid, removed.generation);
    stage.ctx.acls.set(stage.id.clone(), Some(AclStatus { plugin_id, uid, generation, outcome, at }));
    adoption.look_for(&mut lost).await.expect("looks");
    assert!(lost.is_empty());
}

#[tokio::test]
async fn a_plugin_whose_row_cannot_be_read_is_left_alone_and_holds_nobody_up() {
    for is_new in [true, false] {
        for is_told in [true, false] {
            let stage = Stage::at_work().await;
            let spec = spec_of(&stage.record().await.expect("installed"));
            let specs = if is_told { vec![spec] } else { Vec::new() };
            stage.engine.copy(&stage.place(), "stranger", &[(PLUGIN_LABEL, "stranger")]);
            if !is_new {
                stage.store.set_meta("adopted_at", "before").await.expect("writes");
            }
            sqlx::query("UPDATE plugins SET record = 'no record'")
                .execute(stage.store.pool())
                .await
                .expect("writes");
            let container = stage.engine.inspect(&stage.place()).await.expect("answers");
            let looked = stage.adoption(Some(specs)).look().await.expect("looks");
            assert!(looked.adopted.is_empty() && looked.left.is_empty(), "{looked:?}");
            assert!(looked.lost.unwrap_or_default().is_empty(), "it is not lost");
            assert_eq!(stage.engine.inspect(&stage.place()).await.expect("answers"), container);
            assert_eq!(stage.containers().await, 1, "what belongs to nobody goes");
        }
    }
}

#[tokio::test]
async fn a_registry_that_is_not_new_serves_while_the_engine_is_away_and_takes_over_when_it_is_back() {
    let patience = Duration::from_secs(20);
    for is_new in [true, false] {
        let stage = Stage::at_work().await;
        let spec = spec_of(&stage.record().await.expect("installed"));
        let stage = stage.loses_its_registry().await;
        if !is_new {
            // Put back as it was before the plugin was installed.
            stage.store.set_meta("adopted_at", "before").await.expect("writes");
        }
        stage.engine.go_down();
        let supervisor = stage.supervisor();
        let health = HealthBoard::new(Coordinator::Plugin, InstanceId::parse("one").expect("an id"));
        let (adoption, shutdown) = (stage.adoption(Some(vec![spec])), Shutdown::new());
        let works = supervisor.run(health, &adoption, shutdown.clone());
        let asks = async {
            let wait = if is_new { Duration::from_millis(200) } else { patience };
            assert_eq!(supervisor.is_whole(wait).await, !is_new);
            stage.engine.come_back(true);
            testkit::eventually(patience, || async {
                if stage.record().await.is_some() { Ok(()) } else { Err("it is not taken over") }
            })
            .await;
            assert!(supervisor.is_whole(patience).await);
            shutdown.cancel();
        };
        tokio::join!(works, asks);
        assert_eq!(stage.containers().await, 1);
    }
}
