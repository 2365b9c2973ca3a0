//! The ring: what is kept, what moves on when, and what a clock that jumps does not do.

use super::*;
use crate::authority::testing;

const LIFETIME: Duration = Duration::from_secs(900);

async fn open(folder: &tempfile::TempDir) -> (store::Store, KeyRing) {
    let store = testing::store(folder).await;
    let now = Timestamp::from_seconds(testing::START);
    let ring = KeyRing::open(store.pool(), &testing::settings(folder), now).await.expect("opens");
    (store, ring)
}

/// Rotates without asking whether it is time.
async fn turn(store: &store::Store, ring: &mut KeyRing, until: i64) {
    let mut tx = store.pool().begin().await.expect("begins");
    let now = Timestamp::from_seconds(testing::START);
    let turn = ring.turn(&mut tx, now, until, LIFETIME, None).await.expect("writes");
    tx.commit().await.expect("commits");
    ring.turned(turn);
}

#[tokio::test]
async fn keys_are_made_once_and_kept() {
    let folder = testing::folder();
    let (_, first) = open(&folder).await;
    let (_, again) = open(&folder).await;
    assert_eq!(first.jwks(), again.jwks());
    let states: Vec<KeyState> = first.jwks().keys.into_iter().map(|k| k.state).collect();
    assert_eq!(states, [KeyState::Active, KeyState::Next]);
}

#[tokio::test]
async fn keys_under_another_key_file_are_an_error_and_stay_as_they_are() {
    let folder = testing::folder();
    let (store, ring) = open(&folder).await;
    let settings = testing::settings(&folder);
    let now = Timestamp::from_seconds(1_000);
    std::fs::write(&settings.key_file, [9; 32]).expect("writes");
    let error = KeyRing::open(store.pool(), &settings, now).await.expect_err("does not fit");
    assert!(error.to_string().contains("put the key file back"), "{error}");
    std::fs::write(&settings.key_file, testing::KEY_FILE).expect("writes");
    let (_, after) = open(&folder).await;
    assert_eq!(ring.jwks(), after.jwks());
}

#[tokio::test]
async fn no_private_key_is_in_the_database_in_the_clear() {
    let folder = testing::folder();
    let (store, mut ring) = open(&folder).await;
    let mut secrets = ring.private_bytes();
    turn(&store, &mut ring, testing::START).await;
    secrets.extend(ring.private_bytes());
    let rows: Vec<(Vec<u8>,)> =
        sqlx::query_as("SELECT sealed FROM keys").fetch_all(store.pool()).await.expect("reads");
    assert_eq!(rows.len(), 3);
    for private in secrets {
        // What is inside the PKCS#8 frame, RFC 8410 section 7: 16 bytes, then the key of 32.
        let secret = &private[16..48];
        assert!(rows.iter().all(|(sealed,)| !sealed.windows(32).any(|w| w == secret)));
    }
}

#[tokio::test]
async fn a_rotation_that_was_not_committed_has_not_happened() {
    let folder = testing::folder();
    let (store, ring) = open(&folder).await;
    let mut tx = store.pool().begin().await.expect("begins");
    let now = Timestamp::from_seconds(testing::START);
    ring.turn(&mut tx, now, testing::START, LIFETIME, None).await.expect("writes");
    drop(tx);
    let (_, after) = open(&folder).await;
    assert_eq!(after.names(), ring.names());
}

#[tokio::test]
async fn several_rotations_keep_several_keys_until_each_is_past() {
    let folder = testing::folder();
    let (store, mut ring) = open(&folder).await;
    for n in 0..3 {
        turn(&store, &mut ring, testing::START + 100 * n).await;
    }
    let names = ring.names();
    let (_, mut again) = open(&folder).await;
    assert_eq!(again.names(), names);
    let mut connection = store.pool().acquire().await.expect("connects");
    let mut drop_at = async |after: i64| {
        let now = Timestamp::from_seconds(testing::START + after);
        again.drop_past(&mut connection, now).await.expect("drops")
    };
    assert_eq!(drop_at(0).await, [""; 0]);
    assert_eq!(drop_at(101).await, names.retiring[..2]);
    assert_eq!(drop_at(201).await, names.retiring[2..]);
    drop(connection);
    let (_, last) = open(&folder).await;
    assert_eq!(last.names().retiring, [""; 0]);
}

#[tokio::test]
async fn there_is_no_room_for_another_key_while_too_many_verify() {
    let folder = testing::folder();
    let (store, mut ring) = open(&folder).await;
    for _ in 0..MAX_RETIRING {
        turn(&store, &mut ring, i64::MAX).await;
    }
    ring.pretend_announced(Duration::from_secs(120));
    let notice = Duration::from_secs(120);
    assert_eq!(ring.may_turn(notice, LIFETIME), Err(NotYet::TooMany { count: MAX_RETIRING }));
    // By the time that passed its tokens are all over, whatever the clock that was set back says.
    let oldest = ring.names().retiring[0].clone();
    ring.retiring[0].since = Instant::now().checked_sub(Duration::from_secs(1_000)).expect("was up");
    assert_eq!(ring.may_turn(notice, LIFETIME), Ok(()));
    turn(&store, &mut ring, i64::MAX).await;
    let names = ring.names();
    assert_eq!(names.retiring.len(), MAX_RETIRING);
    assert!(!names.retiring.contains(&oldest));
    assert_eq!(open(&folder).await.1.names().retiring.len(), MAX_RETIRING);
}

#[tokio::test]
async fn the_age_is_written_down_and_read_back() {
    let folder = testing::folder();
    let (store, mut ring) = open(&folder).await;
    ring.pretend_age(Duration::from_secs(5_000));
    let mut connection = store.pool().acquire().await.expect("connects");
    let now = Timestamp::from_seconds(testing::START - 100);
    kept::count_age(&mut connection, ring.active(), ring.age(), now).await.expect("writes");
    let (_, again) = open(&folder).await;
    assert_eq!(again.age().as_secs(), 5_100);
}
