//! Installations that are refused in time: registries that lie, disks that are full, configurations that do not
//! fit.

use super::*;
use testkit::eventually;

impl Stage {
    /// Asks for an installation which fails, and leaves nothing.
    async fn install_fails(&self, code: ErrorCode) -> envelope::ErrorBody {
        self.ask_install("install").await;
        self.settle().await;
        let error = self.fails("install", code).await;
        self.nothing_is_left().await;
        error
    }

    fn image(&self, label: &str) -> FakeImage {
        let reference = format!("registry.example.com/focuser@{DIGEST}");
        let mut image = FakeImage::new(reference).with_label(crate::admission::MANIFEST_LABEL, label);
        image.image.user = "1000:1000".into();
        image
    }
}

#[tokio::test]
async fn an_image_whose_label_is_not_the_one_that_the_registry_showed_is_refused() {
    let stage = Stage::new().await;
    let mut other = manifest();
    other["docker"] = json!({"volumes": ["other:/data"]});
    stage.engine.publish(stage.image(&other.to_string()));
    let error = stage.install_fails(ErrorCode::ImageRefused).await;
    assert!(error.message.contains("cannot be trusted"), "{}", error.message);
}

#[tokio::test]
async fn a_registry_that_sends_more_than_it_said_is_cut_off() {
    let stage = Stage::new().await;
    let mut image = stage.image(&manifest().to_string());
    // The registry told of one byte.
    image.layers = 1000;
    stage.engine.publish(image);
    let error = stage.install_fails(ErrorCode::ImageRefused).await;
    assert!(error.message.contains("sends more"), "{}", error.message);
}

#[tokio::test]
async fn nothing_is_pulled_onto_a_disk_that_is_full() {
    let stage = Stage::new().await;
    stage.engine.set_storage_free(Some(stage.ctx.settings.disk_reserve_bytes));
    let error = stage.install_fails(ErrorCode::DiskFull).await;
    assert!(error.message.contains("docker image prune"), "{}", error.message);
    assert_eq!(stage.engine.count(Verb::Pull), 0);
}

#[tokio::test]
async fn a_pull_that_fills_the_disk_is_cancelled() {
    let stage = Stage::new().await;
    let hold = stage.engine.hold(Verb::Pull);
    stage.ask_install("install").await;
    let fills = async {
        eventually(Duration::from_secs(20), || async {
            if stage.engine.count(Verb::Pull) > 0 { Ok(()) } else { Err("nothing is pulled yet") }
        })
        .await;
        stage.engine.set_storage_free(Some(0));
    };
    tokio::join!(stage.settle(), fills);
    stage.fails("install", ErrorCode::DiskFull).await;
    drop(hold);
    stage.nothing_is_left().await;
}

#[tokio::test]
async fn where_the_room_cannot_be_seen_an_image_is_pulled_all_the_same() {
    let stage = Stage::new().await;
    stage.engine.set_storage_free(None);
    stage.install().await;
}

#[tokio::test]
async fn a_configuration_that_does_not_fit_is_refused_before_anything_is_pulled() {
    let mut manifest = manifest();
    manifest["config_schema"] = json!({"properties": {"a": {"type": "string"}}, "required": ["b"]});
    let stage = Stage::with(manifest, "1000:1000").await;
    let error = stage.install_fails(ErrorCode::ConfigInvalid).await;
    let faults = error.details["faults"].as_array().expect("a list");
    let places: Vec<&str> = faults.iter().filter_map(|fault| fault["pointer"].as_str()).collect();
    assert_eq!(places.len(), 2, "{faults:?}");
    assert!(places.contains(&"/a") && places.contains(&""), "{places:?}");
    assert_eq!(stage.engine.count(Verb::Pull), 0);
}

#[tokio::test]
async fn a_configuration_that_fits_is_there_for_the_plugins_user_alone() {
    let mut manifest = manifest();
    manifest["config_schema"] =
        json!({"properties": {"a": {"type": "integer"}}, "additionalProperties": false});
    manifest["docker"]["environment"] = json!({"PLUGIN_CONFIG": "/etc/focuser/x.json"});
    let stage = Stage::with(manifest, "1000:1000").await;
    stage.install().await;
    stage.start().await;
    let container = stage.ctx.policy.container_name(&stage.id);
    for path in ["/config/plugin.json", "/etc/focuser/x.json"] {
        let file = stage.engine.uploaded(&container, path).expect("it was uploaded");
        assert_eq!((file.owner.uid, file.owner.gid, file.mode), (1000, 1000, 0o400), "{path}");
    }
}
