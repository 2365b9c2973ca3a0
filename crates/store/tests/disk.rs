//! Databases on disks that are full, read-only or damaged: real SQLite, and real file systems in a mount namespace
//! of the test's own.

#![expect(clippy::panic, reason = "a test fails by panicking, and says why")]

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use envelope::Timestamp;
use sqlx::migrate::Migrator;
use store::{Acceptance, Kind, Received, Store};
use testkit::Room;

static NONE: Migrator = Migrator::DEFAULT;

fn request(n: usize, bytes: usize) -> Received {
    Received {
        id: format!("k{n}"),
        principal: "operator:operator".into(),
        request_id: Some(n.to_string()),
        content_hash: n.to_string(),
        redelivery: false,
        topic: "t".into(),
        body: vec![b'x'; bytes],
        response_topic: "r".into(),
        correlation_data: None,
        correlation_id: "c".into(),
        traceparent: None,
        received_at: Timestamp::now(),
        expires_at: Timestamp::now().after(Duration::from_secs(60)),
    }
}

/// Records requests until one is refused; how many were not, and what is said then.
async fn until_full(store: &Store, first: usize, bytes: usize) -> (usize, store::Trouble) {
    for n in first..first + 10_000 {
        match store.journal().accept(&request(n, bytes)).await {
            Ok(accepted) => assert_eq!(accepted, Acceptance::New),
            Err(error) => return (n, store.trouble(&error)),
        }
    }
    panic!("10,000 requests were taken");
}

/// Closes all connections; others are made when they are needed.
async fn renew(store: &Store) {
    while store.pool().size() > 0 {
        // One that was used goes back to the others a little later.
        match store.pool().try_acquire() {
            Some(connection) => connection.close().await.expect("it closes"),
            None => tokio::task::yield_now().await,
        }
    }
}

async fn kept(store: &Store) -> usize {
    store.journal().unanswered().await.expect("reads").len()
}

#[tokio::test]
async fn a_database_at_its_bound_takes_nothing_more_loses_nothing_and_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("test.db");
    let store = Store::open_bounded(&path, &NONE, 1 << 20).await.expect("opens");
    let (taken, trouble) = until_full(&store, 0, 20_000).await;
    assert!(taken > 10, "{taken}");
    assert_eq!(trouble.kind(), Kind::Full);
    let text = trouble.to_string();
    assert!(text.contains(&path.display().to_string()) && text.contains("database_max_bytes"), "{text}");
    assert_eq!(kept(&store).await, taken);
    store.close().await;
    assert!(fs::metadata(&path).expect("it is there").len() <= 1 << 20);

    let store = Store::open_bounded(&path, &NONE, 1 << 20).await.expect("opens, full as it is");
    assert_eq!(kept(&store).await, taken);
    // An answer drops the request's bytes, and so makes room.
    let now = Timestamp::now();
    for n in 0..10 {
        assert!(store.journal().settle_now(&format!("k{n}"), b"done", None, now).await.expect("settles"));
    }
    assert_eq!(store.journal().owed().await.expect("reads").len(), 10);
    store.journal().accept(&request(taken, 20_000)).await.expect("there is room again");
}

#[tokio::test]
async fn a_full_disk_is_told_loses_nothing_and_is_over_when_there_is_room() {
    let test = "a_full_disk_is_told_loses_nothing_and_is_over_when_there_is_room";
    let Some(room) = Room::of_its_own(test, 1024) else { return };
    let path = room.path().join("test.db");
    let store = Store::open(&path, &NONE).await.expect("opens");
    for n in 0..10 {
        store.journal().accept(&request(n, 3000)).await.expect("there is room");
    }
    room.fill();
    let (taken, trouble) = until_full(&store, 10, 3000).await;
    assert_eq!(trouble.kind(), Kind::Full, "{trouble}");
    let text = trouble.to_string();
    assert!(text.contains("its disk is full") && text.contains("docker image prune"), "{text}");
    assert_eq!(kept(&store).await, taken, "what was accepted is there");

    room.clear();
    store.journal().accept(&request(taken, 3000)).await.expect("the same connections go on");
    assert_eq!(kept(&store).await, taken + 1);
    store.check().await.expect("it is in order");
}

#[tokio::test]
async fn a_database_without_any_room_is_not_opened_and_what_to_do_is_told() {
    let test = "a_database_without_any_room_is_not_opened_and_what_to_do_is_told";
    let Some(room) = Room::of_its_own(test, 64) else { return };
    room.fill();
    let error = Store::open(&room.path().join("test.db"), &NONE).await.expect_err("there is no room");
    assert_eq!(error.kind(), Kind::Full, "{error}");
    assert!(error.to_string().contains("Free some space"), "{error}");
}

#[tokio::test]
async fn a_read_only_disk_is_told_at_the_start() {
    let test = "a_read_only_disk_is_told_at_the_start";
    let Some(room) = Room::of_its_own(test, 4096) else { return };
    let path = room.path().join("test.db");
    let store = Store::open(&path, &NONE).await.expect("opens");
    store.journal().accept(&request(0, 10)).await.expect("takes");
    store.close().await;
    room.read_only(true);
    for path in [&path, &room.path().join("new.db")] {
        let error = Store::open(path, &NONE).await.expect_err("nothing can be written");
        assert_eq!(error.kind(), Kind::ReadOnly, "{error}");
        assert!(error.to_string().contains("Mount the disk writable"), "{error}");
    }
    room.read_only(false);
    let store = Store::open(&path, &NONE).await.expect("opens again");
    assert_eq!(kept(&store).await, 1);
}

#[tokio::test]
async fn a_disk_that_becomes_read_only_is_told_and_is_over_when_it_can_be_written() {
    let test = "a_disk_that_becomes_read_only_is_told_and_is_over_when_it_can_be_written";
    let Some(room) = Room::of_its_own(test, 4096) else { return };
    let path = room.path().join("test.db");
    let store = Store::open(&path, &NONE).await.expect("opens");
    // A file system cannot be made read-only below files that are open. Another mount of it over the first can: it
    // is what connections see that are made from now on.
    mount("mount", &["--bind", &room.path().display().to_string()], room.path());
    mount("mount", &["-o", "remount,bind,ro"], room.path());
    renew(&store).await;
    let error = store.journal().accept(&request(0, 10)).await.expect_err("nothing can be written");
    let trouble = store.trouble(&error);
    assert_eq!(trouble.kind(), Kind::ReadOnly, "{trouble}");
    mount("mount", &["-o", "remount,bind,rw"], room.path());
    store.journal().accept(&request(0, 10)).await.expect("connections are made anew");
    assert_eq!(kept(&store).await, 1);
}

fn mount(program: &str, arguments: &[&str], on: &Path) {
    let done = std::process::Command::new(program).args(arguments).arg(on).status().expect("it runs");
    assert!(done.success(), "{program} {arguments:?} ended with {done}");
}

/// A database in which there is something, closed.
async fn database(path: &Path) {
    let store = Store::open(path, &NONE).await.expect("opens");
    for n in 0..50 {
        store.journal().accept(&request(n, 3000)).await.expect("takes");
    }
    store.close().await;
}

#[tokio::test]
async fn a_damaged_database_is_not_opened_and_is_kept_and_a_new_one_takes_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 5] = [
        ("a little garbage", |path| fs::write(path, b"no database").expect("writes")),
        ("garbage", |path| fs::write(path, vec![0x5a; 64 * 1024]).expect("writes")),
        ("half of it", |path| {
            let file = fs::File::options().write(true).open(path).expect("opens");
            file.set_len(file.metadata().expect("it is there").len() / 2).expect("cuts");
        }),
        ("a page of something else", |path| overwrite(path, 4096, &[0x5a; 4096])),
        ("a page of nothing", |path| overwrite(path, 8192, &[0; 4096])),
    ];
    for (name, damage) in damages {
        let path = folder.path().join("test.db");
        database(&path).await;
        damage(&path);
        let before = fs::read(&path).expect("readable");
        let error = Store::open(&path, &NONE).await.expect_err(name);
        assert_eq!(error.kind(), Kind::Damaged, "{name}: {error}");
        let text = error.to_string();
        assert!(text.contains(&path.display().to_string()) && text.contains("-wal"), "{name}: {text}");
        assert_eq!(fs::read(&path).expect("it is kept"), before, "{name}");

        // As it is told.
        for suffix in ["", "-wal", "-shm"] {
            let file = folder.path().join(format!("test.db{suffix}"));
            if file.exists() {
                fs::rename(&file, folder.path().join(format!("aside.db{suffix}"))).expect("moves");
            }
        }
        let store = Store::open(&path, &NONE).await.expect("an empty one");
        assert_eq!(kept(&store).await, 0);
        store.close().await;
        fs::remove_file(&path).expect("it is ours");
    }
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let file = fs::File::options().write(true).open(path).expect("opens");
    file.write_all_at(bytes, at).expect("writes");
}

#[tokio::test]
async fn damage_is_found_while_the_database_is_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("test.db");
    database(&path).await;
    let store = Store::open(&path, &NONE).await.expect("opens");
    store.check().await.expect("it is in order");
    let length = fs::metadata(&path).expect("it is there").len();
    for page in 1..length / 4096 {
        overwrite(&path, page * 4096, &[0x5a; 4096]);
    }
    // What a connection has read already it does not read again.
    renew(&store).await;
    let found = store.check().await.expect_err("it is not");
    assert_eq!(found.kind(), Kind::Damaged, "{found}");
    renew(&store).await;
    let read = sqlx::query("SELECT * FROM audit").fetch_all(store.pool()).await.expect_err("unreadable");
    assert_eq!(store.trouble(&read).kind(), Kind::Damaged);
}

#[tokio::test]
async fn the_files_shrink_again_and_the_log_of_writes_is_bounded() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("test.db");
    let store = Store::open(&path, &NONE).await.expect("opens");
    let bytes = |suffix: &str| {
        fs::metadata(folder.path().join(format!("test.db{suffix}"))).expect("it is there").len()
    };
    for n in 0..40 {
        store.journal().accept(&request(n, 512 * 1024)).await.expect("takes");
    }
    assert!(bytes("-wal") < 8 << 20, "{}", bytes("-wal"));
    let now = Timestamp::now();
    for n in 0..40 {
        store.journal().settle_now(&format!("k{n}"), b"done", None, now).await.expect("settles");
    }
    let mut rounds = 0;
    while store.give_back().await.expect("gives back") > 0 {
        rounds += 1;
        assert!(rounds < 20, "it has no end");
    }
    assert!(rounds > 1);
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_all(store.pool()).await.expect("works");
    assert!(bytes("") < 6 << 20, "{}", bytes(""));
}

#[tokio::test]
async fn a_database_of_before_there_was_a_bound_shrinks_as_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("test.db");
    let old = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(old).await.expect("opens");
    sqlx::query("CREATE TABLE old (x TEXT)").execute(&pool).await.expect("works");
    pool.close().await;
    let store = Store::open(&path, &NONE).await.expect("opens");
    let mode: i64 = sqlx::query_scalar("PRAGMA auto_vacuum").fetch_one(store.pool()).await.expect("works");
    assert_eq!(mode, 2);
}
