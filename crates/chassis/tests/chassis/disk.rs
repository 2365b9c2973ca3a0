//! A coordinator whose disk is full, read-only or whose database is damaged: it says so, loses nothing that it has
//! acknowledged, and goes on by itself.

use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use envelope::Operation;
use envelope::payload::health::{Health, HealthStatus};
use serde_json::json;
use testkit::Room;

use super::stage::{Asker, Stage, request};

/// Large enough that SQLite needs new pages for it.
const LARGE: usize = 100 * 1024;

async fn send_large(ann: &Asker) {
    ann.send_bytes(Operation::List, request(json!({"filler": "x".repeat(LARGE)})).encode()).await;
}

/// Nothing is wrong but that the other coordinators are not there.
fn is_well(health: &Health) -> bool {
    health.status == HealthStatus::Degraded
        && !health.message.contains("store: ")
        && !health.message.contains("disk: ")
}

/// It does not answer, for as long as somebody might think that it does.
async fn is_silent(ann: &mut Asker) {
    let message = ann.client.recv(Duration::from_secs(3)).await;
    assert!(message.is_none(), "{message:?}");
}

/// It answers the one request that was sent. The same bytes may come again, as after any broken connection; that it
/// was handled twice would show in another answer.
async fn answers_once(ann: &mut Asker) {
    let (_, first) = ann.answer().await;
    while let Some(again) = ann.client.recv(Duration::from_secs(3)).await {
        assert_eq!(again.payload, first.payload, "it was handled twice");
    }
}

#[tokio::test]
async fn a_full_disk_is_told_in_health_and_requests_wait_until_there_is_room() {
    let test = "chassis::disk::a_full_disk_is_told_in_health_and_requests_wait_until_there_is_room";
    let Some(room) = Room::of_its_own(test, 4096) else { return };
    let stage = Stage::new().await;
    let data = room.path().display().to_string();
    let life = stage.start(&[("BIGSKIES_DATA_DIR", &data), ("BIGSKIES_DATA_RESERVE_BYTES", "65536")]);
    let mut ann = stage.operator("ann").await;
    ann.ask(Operation::List, json!({})).await.expect("answered");
    stage.health(is_well).await;

    room.fill();
    send_large(&ann).await;
    let said = stage.health(|health| health.message.contains("store: ")).await;
    assert_eq!(said.status, HealthStatus::Unhealthy);
    for part in
        ["plugin.db cannot be written", "its disk is full", "Free some space", "Nothing that was accepted"]
    {
        assert!(said.message.contains(part), "{}", said.message);
    }
    is_silent(&mut ann).await;
    stage.health(|health| health.message.contains("disk: ")).await;

    room.clear();
    ann.answer().await;
    stage.health(is_well).await;
    ann.ask(Operation::List, json!({})).await.expect("it goes on");

    // Nothing was acknowledged that is not recorded: it comes again, to the next life.
    room.fill();
    send_large(&ann).await;
    stage.health(|health| health.message.contains("store: ")).await;
    life.kill().await;
    room.clear();
    let _next = stage.start(&[("BIGSKIES_DATA_DIR", &data)]);
    answers_once(&mut ann).await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_recorded_is_owed_until_it_can() {
    let test = "chassis::disk::an_answer_that_cannot_be_recorded_is_owed_until_it_can";
    let Some(room) = Room::of_its_own(test, 4096) else { return };
    is_owed(&room, Operation::Inspect).await;
}

#[tokio::test]
async fn an_answer_that_comes_after_its_handler_and_cannot_be_recorded_is_owed_until_it_can() {
    let test =
        "chassis::disk::an_answer_that_comes_after_its_handler_and_cannot_be_recorded_is_owed_until_it_can";
    let Some(room) = Room::of_its_own(test, 4096) else { return };
    is_owed(&room, Operation::Logs).await;
}

async fn is_owed(room: &Room, operation: Operation) {
    let stage = Stage::new().await;
    let data = room.path().display().to_string();
    let gate = stage.gate(LARGE);
    let _life = stage.start(&[
        ("BIGSKIES_DATA_DIR", &data),
        ("BIGSKIES_DATA_RESERVE_BYTES", "65536"),
        ("BIGSKIES_PLUGIN__GATE", &gate.display().to_string()),
    ]);
    let mut ann = stage.operator("ann").await;
    ann.ask(Operation::List, json!({})).await.expect("answered");
    // It is recorded, and its handler waits.
    ann.send_bytes(operation, request(json!({"plugin_id": "mount"})).encode()).await;
    stage.entered(&gate).await;
    room.fill();
    std::fs::remove_file(&gate).expect("it is there");
    stage.health(|health| health.message.contains("store: ")).await;
    is_silent(&mut ann).await;
    room.clear();
    answers_once(&mut ann).await;
    stage.health(is_well).await;
}

#[tokio::test]
async fn a_database_that_is_damaged_while_it_is_open_is_told_in_health() {
    let stage = Stage::new().await;
    let _life = stage.start(&[]);
    let mut ann = stage.operator("ann").await;
    ann.ask(Operation::List, json!({})).await.expect("answered");
    let database = stage.database();
    // Behind its back, as a disk does that fails. Nothing of the first page: it tells what the file is.
    let file = std::fs::File::options().write(true).open(&database).expect("opens");
    for page in 1..128 {
        file.write_all_at(&[0x5a; 4096], page * 4096).expect("writes");
    }
    let write_ahead = database.with_extension("db-wal");
    std::fs::File::options().write(true).open(write_ahead).expect("opens").set_len(0).expect("cuts");
    ann.send_bytes(Operation::List, request(json!({})).encode()).await;
    let said = stage.health(|health| health.message.contains("database: ")).await;
    assert_eq!(said.status, HealthStatus::Unhealthy);
    for part in ["is damaged", "It is kept", "plugin.db-wal", "takes over what runs"] {
        assert!(said.message.contains(part), "{}", said.message);
    }
}

#[tokio::test]
async fn a_coordinator_does_not_start_on_a_damaged_database_and_keeps_it() {
    let stage = Stage::new().await;
    let garbage = vec![0x5a; 64 * 1024];
    std::fs::write(stage.database(), &garbage).expect("writes");
    let error = stage.fails(&[]).await;
    for part in ["is damaged", "It is kept", "plugin.db-wal", "takes over what runs"] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(std::fs::read(stage.database()).expect("readable"), garbage);
}
