use std::time::Duration;

use envelope::payload::audit::{AuditRecord, AuditRequest};
use proptest::prelude::*;

use super::*;
use crate::{Acceptance, Journal, Received, Store};

static NONE: sqlx::migrate::Migrator = sqlx::migrate::Migrator::DEFAULT;

struct Stage {
    _folder: tempfile::TempDir,
    store: Store,
}

impl Stage {
    async fn new(records: u32) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let store = Store::open(&folder.path().join("test.db"), &NONE).await.expect("opens");
        Self { _folder: folder, store: store.auditing(records) }
    }

    async fn all(&self) -> Vec<AuditRecord> {
        self.find(AuditRequest { limit: Some(1000), ..AuditRequest::default() }).await.0
    }

    async fn find(&self, wanted: AuditRequest) -> (Vec<AuditRecord>, bool) {
        self.store.audit().find(&wanted).await.expect("reads")
    }

    async fn accept(&self, id: &str, principal: &str, target: Option<&str>) -> Acceptance {
        self.store.journal().accept_on(&request(id, principal), target).await.expect("writes")
    }

    async fn settle(&self, id: &str, error: Option<&ErrorBody>) {
        let now = Timestamp::now();
        self.store.journal().settle_now(id, b"answer", error, now).await.expect("writes");
    }

    async fn refuse(&self, principal: &str, target: &str, at: Timestamp) {
        let entry = Entry::new(at, principal, "start", Some(target), "c");
        self.store.audit().refused(&entry, &forbidden(), 1).await.expect("writes");
    }

    async fn count(&self, principal: &str) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM audit WHERE principal = ?")
            .bind(principal)
            .fetch_one(self.store.pool())
            .await
            .expect("reads")
    }
}

fn request(id: &str, principal: &str) -> Received {
    Received {
        id: id.into(),
        principal: principal.into(),
        request_id: Some(id.into()),
        content_hash: "h".into(),
        redelivery: false,
        topic: "bigskies/operator/ann/request/plugin/start".into(),
        body: br#"{"plugin_id":"mount","password":"hunter2"}"#.to_vec(),
        response_topic: "r".into(),
        correlation_data: None,
        correlation_id: format!("c-{id}"),
        traceparent: None,
        received_at: Timestamp::now(),
        expires_at: Timestamp::now().after(Duration::from_secs(60)),
    }
}

fn forbidden() -> ErrorBody {
    ErrorBody::new(ErrorCode::Forbidden, "You may not.")
}

#[tokio::test]
async fn an_accepted_request_has_one_record_that_gets_its_result_with_the_outcome() {
    let stage = Stage::new(100).await;
    assert_eq!(stage.accept("1", "operator:ann", Some("mount")).await, Acceptance::New);
    assert_eq!(stage.accept("1", "operator:ann", Some("mount")).await, Acceptance::Pending);
    let [open] = stage.all().await.try_into().expect("one record");
    assert_eq!((open.operation.as_str(), open.target.as_deref()), ("start", Some("mount")));
    assert_eq!((open.result, open.correlation_id.as_str()), (AuditResult::Accepted, "c-1"));
    stage.settle("1", None).await;
    stage.settle("1", Some(&forbidden())).await;
    assert_eq!(stage.accept("1", "operator:ann", Some("mount")).await, Acceptance::Answered);
    let [done] = stage.all().await.try_into().expect("one record");
    assert_eq!(done, AuditRecord { result: AuditResult::Done, ..open });
}

#[tokio::test]
async fn a_failure_and_a_refusal_are_told_apart() {
    let stage = Stage::new(100).await;
    stage.accept("1", "operator:ann", None).await;
    stage.accept("2", "operator:ann", None).await;
    stage.settle("1", Some(&ErrorBody::new(ErrorCode::DiskFull, "No room."))).await;
    stage.settle("2", Some(&forbidden())).await;
    let [refused, failed] = stage.all().await.try_into().expect("two records");
    assert_eq!((refused.result, refused.code), (AuditResult::Refused, Some(ErrorCode::Forbidden)));
    assert_eq!((failed.result, failed.message.as_deref()), (AuditResult::Failed, Some("No room.")));
}

#[tokio::test]
async fn a_record_is_written_and_settled_in_the_transaction_of_its_request() {
    let stage = Stage::new(100).await;
    stage.accept("1", "operator:ann", None).await;
    let mut tx = stage.store.pool().begin().await.expect("begins");
    let settled = Journal::settle(&mut tx, "1", b"answer", None, Timestamp::now()).await;
    assert!(settled.expect("writes"));
    tx.rollback().await.expect("as if it had been killed here");
    assert_eq!(stage.all().await[0].result, AuditResult::Accepted);
    assert_eq!(stage.store.journal().unanswered().await.expect("reads").len(), 1);

    sqlx::query("DROP TABLE audit").execute(stage.store.pool()).await.expect("drops");
    let lost = stage.store.journal().accept(&request("2", "operator:ann")).await;
    assert!(lost.is_err(), "no request is accepted without a record");
    assert_eq!(stage.store.journal().unanswered().await.expect("reads").len(), 1);
}

#[tokio::test]
async fn a_refusal_that_repeats_itself_within_a_minute_is_counted_on_the_first() {
    let stage = Stage::new(100).await;
    let now = Timestamp::now();
    let at = |seconds: i64| Timestamp::from_millis(now.as_millis() + seconds * 1000);
    for second in 0..=60 {
        stage.refuse("plugin:evil", "mount", at(second)).await;
    }
    stage.refuse("plugin:evil", "focuser", at(1)).await;
    stage.refuse("plugin:other", "mount", at(1)).await;
    stage.refuse("plugin:evil", "mount", at(61)).await;
    let seen: Vec<_> = stage.all().await.into_iter().map(|r| (r.principal, r.target, r.times)).collect();
    let of = |principal: &str, target: &str, times| (principal.to_owned(), Some(target.to_owned()), times);
    assert_eq!(
        seen,
        [
            of("plugin:evil", "mount", 1),
            of("plugin:other", "mount", 1),
            of("plugin:evil", "focuser", 1),
            of("plugin:evil", "mount", 61),
        ]
    );
}

#[tokio::test]
async fn refusals_of_journalled_requests_are_counted_as_well() {
    let stage = Stage::new(100).await;
    for id in ["1", "2", "3"] {
        stage.accept(id, "plugin:evil", Some("mount")).await;
    }
    for id in ["2", "1", "3"] {
        stage.settle(id, Some(&forbidden())).await;
    }
    let records = stage.all().await;
    let times: Vec<_> = records.iter().map(|r| r.times).collect();
    assert_eq!(times, [2, 1], "one is never counted on a later one: {records:?}");
    stage.accept("4", "plugin:evil", Some("mount")).await;
    stage.settle("4", None).await;
    assert_eq!(stage.all().await[0].result, AuditResult::Done, "only refusals are counted together");
}

#[tokio::test]
async fn a_clock_that_was_set_back_does_not_make_one_record_swallow_all() {
    let stage = Stage::new(100).await;
    let now = Timestamp::now();
    stage.refuse("plugin:evil", "mount", now.after(std::time::Duration::from_secs(86_400))).await;
    stage.refuse("plugin:evil", "mount", now).await;
    assert_eq!(stage.all().await.len(), 2);
}

#[tokio::test]
async fn a_flood_of_refusals_does_not_push_the_records_of_others_out() {
    let stage = Stage::new(400).await;
    let now = Timestamp::now();
    for n in 0..20 {
        stage.accept(&format!("o{n}"), "operator:ann", None).await;
    }
    // Each with another target, so that none is counted on another.
    for n in 0..300 {
        stage.refuse("plugin:evil", &format!("t{n}"), now).await;
    }
    assert_eq!(stage.count("plugin:evil").await, 100, "a quarter of everything");
    for plugin in 0..8 {
        for n in 0..100 {
            stage.refuse(&format!("plugin:crowd-{plugin}"), &format!("t{n}"), now).await;
        }
    }
    assert_eq!(stage.count("operator:ann").await, 20, "all plugins together have no more than half");
    let newest = stage.all().await;
    assert_eq!(newest[0].target.as_deref(), Some("t99"));
    assert!(newest.len() <= 200 + 20 + 64, "{}", newest.len());
}

#[tokio::test]
async fn only_the_newest_records_are_kept() {
    let stage = Stage::new(100).await;
    for n in 0..400 {
        stage.accept(&n.to_string(), &format!("operator:ann-{}", n % 5), None).await;
    }
    let kept = stage.all().await;
    assert!((100..164).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept[0].correlation_id, "c-399");
}

#[tokio::test]
async fn an_account_that_asks_without_end_pushes_only_its_own_records_out() {
    let stage = Stage::new(400).await;
    for n in 0..20 {
        stage.accept(&format!("o{n}"), "operator:ann", Some("mount")).await;
    }
    for n in 0..600 {
        stage.accept(&format!("v{n}"), "operator:viewer", None).await;
    }
    assert_eq!(stage.count("operator:viewer").await, 100, "a quarter of everything");
    assert_eq!(stage.count("operator:ann").await, 20);
    assert_eq!(stage.all().await[0].correlation_id, "c-v599");
}

#[tokio::test]
async fn records_are_found_by_every_condition_and_page_by_page() {
    let stage = Stage::new(1000).await;
    for n in 0..25 {
        stage.accept(&n.to_string(), "operator:ann", Some("mount")).await;
    }
    stage.refuse("plugin:evil", "mount", Timestamp::now()).await;
    let mut pages = Vec::new();
    let mut before = None;
    loop {
        let wanted = AuditRequest {
            principal: Some("operator:ann".into()),
            limit: Some(10),
            before,
            ..AuditRequest::default()
        };
        let (records, more) = stage.find(wanted).await;
        before = records.last().map(|r| r.id);
        pages.push(records.len());
        if !more {
            break;
        }
    }
    assert_eq!(pages, [10, 10, 5]);
    let none = AuditRequest::default;
    for (wanted, count) in [
        (AuditRequest { correlation_id: Some("c-7".into()), ..none() }, 1),
        (AuditRequest { target: Some("mount".into()), ..none() }, 26),
        (AuditRequest { operation: Some("stop".into()), ..none() }, 0),
        (AuditRequest { since: Some(Timestamp::from_seconds(0)), ..none() }, 26),
        (AuditRequest { since: Some(Timestamp::from_seconds(i64::MAX)), ..none() }, 0),
        (AuditRequest { limit: Some(0), ..none() }, 1),
    ] {
        assert_eq!(stage.find(wanted.clone()).await.0.len(), count, "{wanted:?}");
    }
}

#[tokio::test]
async fn an_answer_is_never_larger_than_a_broker_delivers() {
    let stage = Stage::new(10_000).await;
    let error = ErrorBody::new(ErrorCode::Forbidden, "\u{1f52d}".repeat(2000));
    for n in 0..300 {
        let entry = Entry::new(Timestamp::now(), "operator:ann", "start", Some(&n.to_string()), "c");
        stage.store.audit().refused(&entry, &error, 1).await.expect("writes");
    }
    let (records, more) = stage.find(AuditRequest { limit: Some(1000), ..AuditRequest::default() }).await;
    assert!(more && (50..300).contains(&records.len()), "{}", records.len());
    assert_eq!(records[0].message.as_ref().map(|m| m.chars().count()), Some(512));
}

#[tokio::test]
async fn nothing_of_a_request_but_its_target_is_in_its_record() {
    let stage = Stage::new(100).await;
    stage.accept("1", "operator:ann", Some("mount\u{1b}[2J\u{202e}\n")).await;
    let record = stage.all().await.remove(0);
    assert_eq!(record.target.as_deref(), Some("mount[2J"));
    assert!(!format!("{record:?}").contains("hunter2"));
}

#[tokio::test]
async fn what_happens_at_every_record_reads_no_whole_table() {
    let stage = Stage::new(100).await;
    for query in [
        "SELECT id FROM audit WHERE result = 'refused' AND principal = 'p' AND operation = 'o' \
         AND code = 'c' AND target IS 't' AND id < 9 AND at BETWEEN 1 AND 2 ORDER BY id DESC LIMIT 1",
        "SELECT id FROM audit WHERE principal = 'p' ORDER BY id DESC LIMIT 1 OFFSET 500",
        "UPDATE audit SET result = 'done' WHERE request_id = 'r'",
    ] {
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}")))
                .fetch_all(stage.store.pool())
                .await
                .expect("plans");
        let plan: String = plan.into_iter().map(|row| row.3 + "\n").collect();
        assert!(!plan.contains("SCAN") && !plan.contains("TEMP B-TREE"), "{query}:\n{plan}");
    }
}

proptest! {
    #[test]
    fn cleaned_text_is_bounded_and_obeyed_by_no_terminal(text in any::<String>(), max in 0_usize..300) {
        let clean = clean(&text, max);
        prop_assert!(clean.chars().count() <= max);
        prop_assert!(!clean.chars().any(char::is_control));
    }
}
