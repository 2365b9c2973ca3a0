//! What is done about the engine's disk: images that no plugin needs go, others stay; nothing is pulled that has no
//! room.

use super::*;
use crate::engine::ImageRef;
use crate::housekeeping::{self, NeedsError};
use crate::operation::ResolvedImage;

const OWN: &str =
    "registry.example.com/focuser@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OLDER: &str =
    "registry.example.com/focuser@sha256:1111111111111111111111111111111111111111111111111111111111111111";
const FOREIGN: &str =
    "registry.example.com/foreign@sha256:2222222222222222222222222222222222222222222222222222222222222222";

impl Stage {
    async fn sweep(&self) -> Vec<String> {
        housekeeping::sweep(&self.ctx).await.expect("it is known what is needed")
    }

    /// An image that was pulled for a plugin that is another by now.
    async fn leave(&self, reference: &str) {
        let image: ImageRef = reference.parse().expect("a reference");
        self.ctx.images.pulls(&image).await.expect("notes");
        self.engine.load(FakeImage::new(reference));
    }

    fn has(&self, reference: &str) -> bool {
        self.engine.images().iter().any(|image| image == reference)
    }
}

#[tokio::test]
async fn images_that_no_plugin_needs_go_and_those_of_others_stay() {
    let stage = Stage::new().await;
    stage.install().await;
    stage.leave(OLDER).await;
    stage.engine.load(FakeImage::new(FOREIGN));
    assert_eq!(stage.sweep().await, [OLDER]);
    assert!(stage.has(OWN) && stage.has(FOREIGN) && !stage.has(OLDER), "{:?}", stage.engine.images());
    // Whoever gets it again by himself keeps it.
    stage.engine.load(FakeImage::new(OLDER));
    assert!(stage.sweep().await.is_empty() && stage.has(OLDER));
}

#[tokio::test]
async fn what_a_plugin_was_before_is_kept_until_the_plugin_is_gone() {
    let stage = Stage::new().await;
    stage.install().await;
    stage.leave(OLDER).await;
    let mut record = stage.record().await.expect("it is installed");
    let mut previous = record.release.clone();
    OLDER.clone_into(&mut previous.reference);
    record.previous = Some(Box::new(previous));
    stage.ctx.registrations.advance(Some(&mut record), None).await.expect("records");
    assert!(stage.sweep().await.is_empty());
    assert!(stage.has(OWN) && stage.has(OLDER));

    record.previous = None;
    stage.ctx.registrations.advance(Some(&mut record), None).await.expect("records");
    assert_eq!(stage.sweep().await, [OLDER]);
}

#[tokio::test]
async fn an_image_of_which_a_container_is_made_stays_until_that_is_gone() {
    let stage = Stage::new().await;
    stage.install().await;
    stage.start().await;
    let record = stage.record().await.expect("it is installed");
    stage.ctx.registrations.forget(&record, None).await.expect("forgets");
    assert!(stage.sweep().await.is_empty() && stage.has(OWN));
    stage.engine.remove(&stage.ctx.policy.container_name(&stage.id)).await.expect("removes it");
    assert_eq!(stage.sweep().await, [OWN]);
}

#[tokio::test]
async fn an_image_that_was_there_before_is_not_taken_for_one_of_ours() {
    let stage = Stage::new().await;
    let image: ImageRef = OWN.parse().expect("a reference");
    stage.engine.pull(&image, None, &mut |_| {}).await.expect("somebody pulls it");
    stage.install().await;
    let record = stage.record().await.expect("it is installed");
    stage.ctx.registrations.forget(&record, None).await.expect("forgets");
    assert!(stage.sweep().await.is_empty() && stage.has(OWN));
}

#[tokio::test]
async fn nothing_goes_while_it_is_not_known_what_is_needed() {
    let stage = Stage::new().await;
    stage.leave(OLDER).await;
    sqlx::query("INSERT INTO plugins (id, record, revision) VALUES ('broken', 'no record', 1)")
        .execute(stage.store.pool())
        .await
        .expect("writes");
    let error = housekeeping::sweep(&stage.ctx).await.expect_err("a row cannot be read");
    assert!(matches!(error, NeedsError::Unreadable(1)), "{error}");
    assert!(stage.has(OLDER));
}

#[tokio::test]
async fn an_image_that_an_operation_brings_is_kept() {
    let stage = Stage::new().await;
    let hold = stage.engine.hold(Verb::Pull);
    stage.ask_install("install").await;
    let pulls = async {
        testkit::eventually(Duration::from_secs(20), || async {
            if stage.engine.count(Verb::Pull) > 0 { Ok(()) } else { Err("nothing is pulled yet") }
        })
        .await;
        assert!(stage.sweep().await.is_empty());
        assert_eq!(stage.engine.count(Verb::RemoveImage), 0);
        drop(hold);
    };
    tokio::join!(stage.settle(), pulls);
    assert!(stage.has(OWN));
}

#[tokio::test]
async fn an_image_is_pulled_only_where_it_can_be_unpacked() {
    const BYTES: u64 = 100 << 20;
    for (free, there_is_room) in [(3 * BYTES - 1, false), (3 * BYTES, true)] {
        let stage = Stage::new().await;
        stage.engine.set_storage_free(Some(stage.ctx.settings.disk_reserve_bytes + free));
        let wanted = json!({"plugin_id": "focuser", "source": SOURCE});
        let resolved = ResolvedImage {
            source: SOURCE.into(),
            label: Some(manifest().to_string()),
            reference: OWN.into(),
            digest: DIGEST.into(),
            bytes: Some(BYTES),
            user: "1000:1000".into(),
            present_before: false,
        };
        let install = Install {
            request: serde_json::from_value(wanted).expect("a request"),
            resolved: Some(resolved),
            admitted: None,
            pulled: false,
        };
        stage.ask("install", Work::Install(Box::new(install)), None, Duration::from_secs(600)).await;
        stage.settle().await;
        assert_eq!(stage.engine.count(Verb::Pull), usize::from(there_is_room));
        if !there_is_room {
            let error = stage.fails("install", ErrorCode::DiskFull).await;
            assert!(error.message.contains("about 314 MB to pull and unpack"), "{}", error.message);
        }
    }
}

#[tokio::test]
async fn a_removal_leaves_an_image_that_another_plugin_is_being_installed_from() {
    let stage = Stage::new().await;
    stage.install().await;
    let installed = stage.record().await.expect("it is installed");
    stage.ctx.registrations.forget(&installed, None).await.expect("forgets");
    // It is another plugin's now, which goes while this one is installed again.
    let mut other = installed.clone();
    other.id = PluginId::parse("other").expect("an id");
    other.desired = Desired::Absent { remove_volumes: false };
    other.revision = 0;
    let taken = stage.ctx.registrations.claim(&mut other, &[], None).await.expect("records");
    assert_eq!(taken, None);
    let absent = AclStatus {
        plugin_id: other.id.clone(),
        uid: other.uid,
        generation: other.generation,
        outcome: AclOutcome::Absent,
        at: Timestamp::now(),
    };
    stage.ctx.acls.set(other.id.clone(), Some(absent));
    let hold = stage.engine.hold(Verb::ReadFile);
    stage.engine.clear_calls();
    stage.ask_install("again").await;
    let removal = async {
        testkit::eventually(Duration::from_secs(20), || async {
            if stage.engine.count(Verb::ReadFile) > 0 { Ok(()) } else { Err("it was not pulled yet") }
        })
        .await;
        let mut worker = Worker::new(stage.ctx.clone(), other.id.clone());
        while worker.pass().await != Next::Retire {}
        assert!(stage.ctx.registrations.plugin(&other.id).await.expect("reads").is_none());
        assert!(stage.has(OWN));
        drop(hold);
    };
    tokio::join!(stage.settle(), removal);
    stage.succeeds("again").await;
    assert_eq!((stage.engine.count(Verb::Pull), stage.engine.count(Verb::RemoveImage)), (1, 0));
}

#[tokio::test]
async fn an_image_that_somebody_removes_while_it_is_looked_into_is_pulled_again() {
    let stage = Stage::new().await;
    let hold = stage.engine.hold(Verb::ReadFile);
    stage.ask_install("install").await;
    let hand = async {
        testkit::eventually(Duration::from_secs(20), || async {
            if stage.engine.count(Verb::ReadFile) > 0 { Ok(()) } else { Err("it was not pulled yet") }
        })
        .await;
        assert_eq!(stage.engine.remove_image(OWN).await.expect("answers"), crate::engine::Removal::Removed);
        drop(hold);
    };
    tokio::join!(stage.settle(), hand);
    stage.succeeds("install").await;
    assert_eq!(stage.engine.count(Verb::Pull), 2);
    assert!(stage.has(OWN));
}
