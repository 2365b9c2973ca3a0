//! What lies on disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use envelope::{Operation, PluginId, StartId};
use seal::Seal;
use serde_json::json;
use testkit::{Version, eventually};

use super::stage::{PATIENCE, PLUGINS, Stage};

#[tokio::test]
async fn the_database_is_the_services_alone_and_holds_no_private_key_and_no_token_in_the_clear() {
    let stage = Stage::new(900).await;
    let running = stage.start();
    let mut coordinator = stage.plugin_coordinator().await;
    let mut operator = stage.operator().await;
    let mut tokens = Vec::new();
    for id in PLUGINS {
        let id = PluginId::parse(id).expect("an id");
        tokens.push(coordinator.issue(&id, StartId::new()).await.expect("issues"));
        stage.plugin(&id, Version::V5).await.ask(Operation::Token, json!({})).await.expect("publishes");
        operator.ask(Operation::Introspect, json!({"plugin_id": id})).await.expect("answers");
    }
    eventually(PATIENCE, async || {
        let rotated = stage.operator().await.ask(Operation::Rotate, json!({})).await;
        rotated.map_err(|error| error.message)
    })
    .await;
    operator.ask(Operation::RevokeToken, json!({"plugin_id": PLUGINS[0]})).await.expect("revokes");
    running.kill9().await;

    // A kill leaves the write-ahead log as it was written.
    let files =
        ["security.db", "security.db-wal", "security.db-shm"].map(|name| stage.folder.path().join(name));
    let mut bytes = Vec::new();
    for file in files {
        let mode = fs::metadata(&file).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", file.display());
        bytes.extend(fs::read(&file).expect("reads"));
    }
    let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);

    let url = stage.database().display().to_string();
    let pool = sqlx::SqlitePool::connect(&url).await.expect("opens");
    let rows: Vec<(String, Vec<u8>)> =
        sqlx::query_as("SELECT kid, sealed FROM keys").fetch_all(&pool).await.expect("reads");
    pool.close().await;
    assert_eq!(rows.len(), 3);
    let seal = Seal::read(&stage.key_file()).expect("the key file is there");
    for (kid, sealed) in rows {
        assert!(holds(kid.as_bytes()) && holds(&sealed), "the right files were read");
        let private = seal.open(&kid, &sealed).expect("opens");
        // RFC 8410 section 7: 16 bytes of frame, then the key of 32.
        let secret = &private[16..48];
        for form in [secret.to_vec(), STANDARD.encode(secret).into(), URL_SAFE_NO_PAD.encode(secret).into()] {
            assert!(!holds(&form), "the private key {kid} is there");
        }
    }
    for token in tokens {
        let signature = token.token.as_str().rsplit('.').next().expect("a part");
        let raw = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
        assert!(!holds(signature.as_bytes()) && !holds(&raw), "a token is there");
    }
    assert!(!holds(&fs::read(stage.key_file()).expect("reads")), "the key file's content is there");
}
