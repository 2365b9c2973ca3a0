//! Images, pulled and looked into.

use crate::subject::{Kind, Subject};
use plugin_coordinator::engine::{EngineError, ImageRef, PullProgress, Removal};

contract! {
    the_engine_tells_who_it_is
    a_pulled_image_is_shown_and_removed_once
    an_image_that_is_not_in_the_registry_cannot_be_pulled
    a_file_is_read_from_an_image_without_running_it
    only_a_regular_file_of_a_bounded_size_is_read
}

async fn the_engine_tells_who_it_is(subject: &dyn Subject) {
    let info = subject.engine().info().await.expect("it answers");
    assert!(!info.id.is_empty() && !info.version.is_empty() && !info.architecture.is_empty(), "{info:?}");
    assert!(info.api_version.starts_with("1."), "{info:?}");
    assert!(info.storage_free_bytes.is_some(), "{info:?}");
}

async fn a_pulled_image_is_shown_and_removed_once(subject: &dyn Subject) {
    let reference = subject.publish(Kind::Checked).await;
    let name = reference.to_string();
    assert_eq!(subject.engine().image(&name).await.expect("an answer"), None);
    for _ in 0..2 {
        let mut last = PullProgress::default();
        subject.engine().pull(&reference, None, &mut |now| last = now).await.expect("the pull works");
        assert_eq!(last.layers_done, last.layers_total, "{last:?}");
        assert_eq!(last.bytes_done, last.bytes_total, "{last:?}");
    }
    let image = subject.engine().image(&name).await.expect("an answer").expect("it is there");
    assert!(image.id.starts_with("sha256:"));
    assert_eq!(image.repo_digests.as_slice(), std::slice::from_ref(&name));
    assert_eq!(image.labels.get("kind").map(String::as_str), Some("Checked"));
    assert!(image.has_healthcheck);
    assert!(image.size > 0);
    assert_eq!(image.user, "");

    subject.engine().create(&subject.spec("user", &name)).await.expect("a container");
    assert_eq!(subject.engine().remove_image(&name).await.expect("an answer"), Removal::InUse);
    subject.engine().remove(&subject.name("user")).await.expect("removed");
    assert_eq!(subject.engine().remove_image(&name).await.expect("an answer"), Removal::Removed);
    assert_eq!(subject.engine().remove_image(&name).await.expect("an answer"), Removal::Missing);
    assert_eq!(subject.engine().image(&name).await.expect("an answer"), None);
}

async fn an_image_that_is_not_in_the_registry_cannot_be_pulled(subject: &dyn Subject) {
    let there = subject.publish(Kind::Failing).await;
    let missing: ImageRef =
        format!("{}@sha256:{:064x}", there.repository(), 99).parse().expect("a reference");
    let error = subject.engine().pull(&missing, None, &mut |_| {}).await.expect_err("nothing is there");
    assert!(matches!(error, EngineError::NotFound { .. }), "{error:?}");
    assert!(!error.is_retryable());
    assert!(error.to_string().contains(&missing.to_string()), "{error}");
}

async fn a_file_is_read_from_an_image_without_running_it(subject: &dyn Subject) {
    let image = subject.image(Kind::Files).await;
    let read = |path: &'static str| subject.engine().read_file(&image, path, 4096);
    assert_eq!(read("/plugin.json").await.expect("an answer"), Some(b"{}".to_vec()));
    assert_eq!(read("/nothing").await.expect("an answer"), None);
    assert_eq!(read("/nothing/at/all").await.expect("an answer"), None);
    assert_eq!(subject.engine().sweep().await.expect("an answer"), 0, "throw-away containers are left");
    let error = subject.engine().read_file("nothing-here:1", "/plugin.json", 1).await.expect_err("no image");
    assert!(matches!(error, EngineError::NotFound { .. }), "{error:?}");
}

async fn only_a_regular_file_of_a_bounded_size_is_read(subject: &dyn Subject) {
    let image = subject.image(Kind::Files).await;
    for (path, what) in [
        ("/link", "a symbolic link"),
        ("/pipe", "a pipe"),
        ("/device", "a device"),
        ("/folder", "a folder"),
        ("/large", "a larger file"),
    ] {
        let error = subject.engine().read_file(&image, path, 4096).await.expect_err(path);
        assert!(matches!(error, EngineError::NotPlain { found, .. } if found == what), "{path}: {error:?}");
    }
    assert_eq!(
        subject.engine().read_file(&image, "/large", 5000).await.expect("an answer").map(|b| b.len()),
        Some(5000)
    );
    assert_eq!(subject.engine().sweep().await.expect("an answer"), 0, "throw-away containers are left");
}
