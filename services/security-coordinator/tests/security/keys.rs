//! The key file and the configuration around it.

use std::fs;

use envelope::topic;
use testkit::Version;

use super::stage::Stage;

#[tokio::test]
async fn another_key_file_ends_the_process_with_a_clear_error_and_changes_nothing() {
    let stage = Stage::new(900).await;
    let running = stage.start();
    let keys = stage.listener(Version::V5).await.next(&topic::coordinator::jwks(), |_| true).await;
    assert!(running.stop().await.success());

    let right = fs::read(stage.key_file()).expect("reads");
    fs::write(stage.key_file(), [9; 32]).expect("writes");
    assert_eq!(stage.start().ended().await.code(), Some(1));
    let log = stage.log();
    assert!(log.contains("put the key file back that belongs to this database"), "{log}");
    stage.assert_nothing_secret_in(&log, &[]);

    fs::write(stage.key_file(), right).expect("writes");
    let mut listener = stage.listener(Version::V5).await;
    let _running = stage.start();
    let again = listener.next(&topic::coordinator::jwks(), |m| !m.retain).await;
    assert_eq!(keys.payload, again.payload);
}

#[tokio::test]
async fn bad_configuration_is_named_whole_and_ends_with_64() {
    let mut stage = Stage::new(900).await;
    stage.lifetime = 2;
    stage.key_notice = 0;
    fs::write(stage.key_file(), b"too short").expect("writes");
    assert_eq!(stage.start().ended().await.code(), Some(64));
    let log = stage.log();
    assert!(log.contains("security.key_file") && log.contains("32 random bytes"), "{log}");
    assert!(log.contains("security.token_lifetime_seconds"), "{log}");
    assert!(log.contains("security.key_notice_seconds"), "{log}");
    assert!(!log.contains("too short"), "{log}");
}
