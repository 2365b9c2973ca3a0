use std::time::Duration;

use envelope::{OperatorName, Principal};

use super::*;
use crate::Store;

static NONE: sqlx::migrate::Migrator = sqlx::migrate::Migrator::DEFAULT;

fn request(key: &str, id: Option<&str>, body: &str, redelivery: bool) -> Received {
    Received {
        id: key.into(),
        principal: "operator:operator".into(),
        request_id: id.map(Into::into),
        content_hash: body.into(),
        redelivery,
        topic: "t".into(),
        body: body.into(),
        response_topic: "r".into(),
        correlation_data: Some(vec![1, 2]),
        correlation_id: "c".into(),
        traceparent: None,
        received_at: Timestamp::now(),
        expires_at: Timestamp::now().after(Duration::from_secs(60)),
    }
}

async fn journal(folder: &tempfile::TempDir) -> Journal {
    Store::open(&folder.path().join("test.db"), &NONE).await.expect("opens").journal()
}

async fn deliver_all(journal: &Journal) {
    for owed in journal.owed().await.expect("works") {
        journal.delivered(&owed.delivered()).await.expect("works");
    }
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_and_other_content_under_the_same_id_is_a_conflict() {
    let folder = tempfile::tempdir().expect("folder");
    let journal = journal(&folder).await;
    let first = request("k1", Some("7"), "a", false);
    assert_eq!(journal.accept(&first).await.expect("works"), Acceptance::New);
    let repeat = request("k2", Some("7"), "a", false);
    assert_eq!(journal.accept(&repeat).await.expect("works"), Acceptance::Pending);
    let now = Timestamp::now();
    assert!(journal.settle_now("k1", b"one", None, now).await.expect("works"));
    assert!(!journal.settle_now("k1", b"two", None, now).await.expect("works"), "one outcome");
    deliver_all(&journal).await;
    assert!(journal.owed().await.expect("works").is_empty());
    assert_eq!(journal.accept(&repeat).await.expect("works"), Acceptance::Answered);
    let owed = journal.owed().await.expect("works");
    assert_eq!((owed.len(), owed[0].response.as_slice()), (1, b"one".as_slice()));
    let other = request("k3", Some("7"), "b", false);
    assert_eq!(journal.accept(&other).await.expect("works"), Acceptance::Conflict);
}

#[tokio::test]
async fn without_an_id_only_a_redelivery_is_a_duplicate() {
    let folder = tempfile::tempdir().expect("folder");
    let journal = journal(&folder).await;
    for (key, redelivery, want) in
        [("k1", false, Acceptance::New), ("k2", false, Acceptance::New), ("k3", true, Acceptance::Pending)]
    {
        let got = journal.accept(&request(key, None, "a", redelivery)).await.expect("works");
        assert_eq!(got, want, "{key}");
    }
}

#[tokio::test]
async fn what_was_not_answered_is_found_again_after_a_restart() {
    let folder = tempfile::tempdir().expect("folder");
    let before = journal(&folder).await;
    before.accept(&request("k1", Some("1"), "a", false)).await.expect("works");
    before.accept(&request("k2", Some("2"), "b", false)).await.expect("works");
    before.settle_now("k2", b"done", None, Timestamp::now()).await.expect("works");
    drop(before);
    let after = journal(&folder).await;
    let open: Vec<String> = after.unanswered().await.expect("works").into_iter().map(|r| r.id).collect();
    assert_eq!(open, ["k1"]);
    assert_eq!(after.owed().await.expect("works").len(), 1);
}

#[tokio::test]
async fn a_damaged_database_is_told_and_left_alone() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("test.db");
    std::fs::write(&path, vec![b'x'; 8192]).expect("writes");
    let error = Store::open(&path, &NONE).await.expect_err("damaged");
    assert!(error.kind() == crate::Kind::Damaged, "{error:?}");
    assert_eq!(std::fs::read(&path).expect("reads"), vec![b'x'; 8192]);
}

#[tokio::test]
async fn a_plugin_that_asks_without_a_pause_does_not_fill_the_disk() {
    let folder = tempfile::tempdir().expect("folder");
    let journal = journal(&folder).await;
    let of = |key: &str, principal: &str, at: i64| Received {
        principal: principal.into(),
        received_at: Timestamp::from_millis(at),
        ..request(key, Some(key), key, false)
    };
    let large = vec![b'x'; 5 * 1024 * 1024];
    for (key, principal, at) in [
        ("p1", "plugin:evil", 1),
        ("p2", "plugin:evil", 2),
        ("p3", "plugin:evil", 3),
        ("o1", "operator:ann", 1),
    ] {
        journal.accept(&of(key, principal, at)).await.expect("works");
        if key != "p3" {
            journal.settle_now(key, &large, None, Timestamp::now()).await.expect("works");
            deliver_all(&journal).await;
        }
    }
    assert_eq!(journal.forget_crowds().await.expect("works"), 1);
    let left = async |key: &str, principal: &str| {
        journal.accept(&of(key, principal, 4)).await.expect("works") != Acceptance::New
    };
    assert!(
        left("p2", "plugin:evil").await
            && left("p3", "plugin:evil").await
            && left("o1", "operator:ann").await
    );
    assert!(!left("p1", "plugin:evil").await, "the oldest is forgotten");
}

#[tokio::test]
async fn an_operator_who_asks_without_a_pause_does_not_fill_the_disk() {
    for principal in [Principal::Operator(OperatorName::parse("ann").expect("a name")), Principal::Unnamed] {
        one_does_not_fill_the_disk(&principal.to_string()).await;
    }
}

async fn one_does_not_fill_the_disk(principal: &str) {
    let folder = tempfile::tempdir().expect("folder");
    let journal = journal(&folder).await;
    let large = vec![b'x'; 5 * 1024 * 1024];
    for (key, at) in [("k1", 1), ("k2", 2), ("k3", 3), ("k4", 4), ("k5", 5), ("k6", 6), ("k7", 7)] {
        let received = Received {
            principal: principal.into(),
            received_at: Timestamp::from_millis(at),
            ..request(key, Some(key), key, false)
        };
        journal.accept(&received).await.expect("works");
        journal.settle_now(key, &large, None, Timestamp::now()).await.expect("works");
        deliver_all(&journal).await;
    }
    assert_eq!(journal.forget_crowds().await.expect("works"), 1, "35 MiB are more than 32");
    assert_eq!(journal.forget_crowds().await.expect("works"), 0);
}

#[tokio::test]
async fn a_repeat_while_its_response_is_being_delivered_gets_one_of_its_own() {
    let folder = tempfile::tempdir().expect("folder");
    let journal = journal(&folder).await;
    let first = request("k1", Some("7"), "a", false);
    journal.accept(&first).await.expect("works");
    journal.settle_now("k1", b"one", None, Timestamp::now()).await.expect("works");
    let under_way = journal.owed().await.expect("works").remove(0).delivered();
    // The caller has it, and repeats itself before we have noted that.
    let repeat = request("k2", Some("7"), "a", false);
    assert_eq!(journal.accept(&repeat).await.expect("works"), Acceptance::Answered);
    journal.delivered(&under_way).await.expect("works");
    assert_eq!(journal.owed().await.expect("works").len(), 1, "the repeat's is still owed");
    deliver_all(&journal).await;
    assert!(journal.owed().await.expect("works").is_empty());
}

#[tokio::test]
async fn until_when_a_request_may_be_begun_is_kept_with_it() {
    let folder = tempfile::tempdir().expect("folder");
    let journal = journal(&folder).await;
    let received = Received {
        received_at: Timestamp::from_millis(1000),
        expires_at: Timestamp::from_millis(3000),
        ..request("k1", None, "a", false)
    };
    journal.accept(&received).await.expect("works");
    let open = journal.unanswered().await.expect("works").remove(0);
    assert_eq!((open.received_at, open.expires_at), (received.received_at, Some(received.expires_at)));
    // As an earlier version has left it.
    sqlx::query("UPDATE requests SET expires_at = NULL").execute(&journal.pool).await.expect("works");
    assert_eq!(journal.unanswered().await.expect("works").remove(0).expires_at, None);
}
