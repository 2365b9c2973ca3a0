//! The contract of the registry: one suite, on the one in SQLite and on the one in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chassis::Replies;
use envelope::{Answer, Coordinator, Envelope, ErrorBody, ErrorCode, OperationId, PluginId, Timestamp};
use serde_json::{Value, json};
use store::{Received, Store};

use super::fake::FakeRegistrations;
use super::*;
use crate::operation::Work;

static MIGRATIONS: store::Migrator = sqlx::migrate!();

/// A registry, and the requests that are answered through it.
#[async_trait]
trait Subject: Send + Sync {
    fn registrations(&self) -> Arc<dyn Registrations>;

    /// Accepts a request.
    async fn accept(&self, request: &str);

    /// Its answer, if it has one.
    async fn answer(&self, request: &str) -> Option<Answer>;
}

struct InMemory(FakeRegistrations);

#[async_trait]
impl Subject for InMemory {
    fn registrations(&self) -> Arc<dyn Registrations> {
        Arc::new(self.0.clone())
    }

    async fn accept(&self, _: &str) {}

    async fn answer(&self, request: &str) -> Option<Answer> {
        self.0.answer(request)
    }
}

struct InSqlite(Store, #[expect(dead_code, reason = "its drop removes the folder")] tempfile::TempDir);

impl InSqlite {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("plugin.db"), &MIGRATIONS).await.expect("opens");
        Self(store, folder)
    }
}

#[async_trait]
impl Subject for InSqlite {
    fn registrations(&self) -> Arc<dyn Registrations> {
        let replies = Replies::new(Coordinator::Plugin, self.0.journal());
        Arc::new(SqliteRegistrations::new(self.0.clone(), replies))
    }

    async fn accept(&self, request: &str) {
        self.0.journal().accept(&received(request)).await.expect("accepts");
    }

    async fn answer(&self, request: &str) -> Option<Answer> {
        let owed = self.0.journal().owed().await.expect("reads");
        let response = &owed.iter().find(|owed| owed.id == request)?.response;
        Some(serde_json::from_slice::<Envelope<Answer>>(response).expect("a response").payload)
    }
}

fn received(request: &str) -> Received {
    Received {
        id: request.into(),
        principal: "operator:ada".into(),
        request_id: Some(request.into()),
        content_hash: request.into(),
        redelivery: false,
        topic: "t".into(),
        body: b"{}".to_vec(),
        response_topic: "r".into(),
        correlation_data: None,
        correlation_id: request.into(),
        traceparent: None,
        received_at: Timestamp::now(),
        expires_at: Timestamp::now().after(Duration::from_secs(60)),
    }
}

/// A request that is answered with these words.
fn asked(request: &str, words: &str) -> Answered {
    let (id, correlation_id) = (request.to_owned(), request.to_owned());
    Answered::with(&Request { id, correlation_id, traceparent: None, payload: Value::Null }, &words)
}

async fn subjects() -> [(&'static str, Box<dyn Subject>); 2] {
    let in_memory = InMemory(FakeRegistrations::default());
    [("in memory", Box::new(in_memory)), ("SQLite", Box::new(InSqlite::new().await))]
}

fn id(text: &str) -> PluginId {
    PluginId::parse(text).expect("an id")
}

fn record(plugin: &str) -> Record {
    let record: Value = json!({
        "id": plugin,
        "uid": "0190d8a0-0000-7000-8000-000000000001",
        "generation": 1,
        "release": {
            "source": "r/i:1", "reference": "r/i@sha256:0", "digest": "sha256:0",
            "manifest": {"id": plugin, "name": "Focuser", "version": "1.0.0"},
            "manifest_source": "label", "warnings": [], "uid": 1000, "gid": 1000, "grants": [],
        },
        "installed_at": "2026-01-01T00:00:00Z",
        "desired": {"want": "stopped"},
        "standing": {
            "phase": "stopped", "reason": null, "since": "2026-01-01T00:00:00Z", "cause": "test",
            "correlation_id": "c",
        },
    });
    serde_json::from_value(record).expect("a record")
}

fn running(plugin: &str, request: &str, work: Work) -> Running {
    let started_at = Timestamp::from_seconds(1_800_000_000);
    Running {
        id: OperationId::new(),
        plugin_id: id(plugin),
        request_id: request.into(),
        work,
        principal: "operator:ada".into(),
        named: true,
        step: "accepted".into(),
        started_at,
        deadline: started_at.after(Duration::from_secs(60)),
        correlation_id: request.into(),
        traceparent: None,
        cancelled_by: None,
    }
}

fn name(name: &str) -> Name {
    Name { kind: "topic", name: name.into() }
}

fn done() -> Answer {
    Answer::Success(json!({"done": true}))
}

fn refused(message: &str) -> Answer {
    Answer::Failure(ErrorBody::new(ErrorCode::StartFailed, message))
}

/// Registers a plugin, and answers it as it is read back.
async fn register(subject: &dyn Subject, plugin: &str) -> Record {
    let registrations = subject.registrations();
    let request = format!("install {plugin}");
    subject.accept(&request).await;
    let operation = running(plugin, &request, Work::Start);
    registrations.begin(&operation, None, None).await.expect("begins");
    let taken = registrations.register(&record(plugin), &[name(plugin)], &operation, &done()).await;
    assert_eq!(taken.expect("registers"), None);
    registrations.plugin(&id(plugin)).await.expect("reads").expect("is there")
}

#[tokio::test]
async fn what_is_recorded_is_read_back_and_grows_by_revisions() {
    for (which, subject) in subjects().await {
        let registrations = subject.registrations();
        assert_eq!(registrations.plugin(&id("one")).await.expect("reads"), None, "{which}");
        let mut read = register(&*subject, "one").await;
        assert_eq!(read, Record { revision: 1, ..record("one") }, "{which}");
        for revision in 2..4 {
            read.failures = 7;
            registrations.advance(Some(&mut read), None).await.expect("nobody else wrote");
            assert_eq!(read.revision, revision, "{which}");
        }
        register(&*subject, "another").await;
        let all = registrations.plugins().await.expect("reads");
        let ids: Vec<&str> = all.iter().map(|r| r.id.as_str()).collect();
        assert_eq!(ids, ["another", "one"], "{which}");
        assert_eq!(all[1], read, "{which}");
    }
}

#[tokio::test]
async fn the_ids_are_those_of_plugins_and_of_what_operations_run_on() {
    for (which, subject) in subjects().await {
        let registrations = subject.registrations();
        assert!(registrations.ids().await.expect("reads").is_empty(), "{which}");
        register(&*subject, "one").await;
        subject.accept("install two").await;
        let operation = running("two", "install two", Work::Start);
        registrations.begin(&operation, None, None).await.expect("begins");
        assert!(registrations.ids().await.expect("reads").iter().eq(["one", "two"]), "{which}");
        registrations.finish(None, &operation, &done()).await.expect("ends");
        assert!(registrations.ids().await.expect("reads").iter().eq(["one"]), "{which}");
    }
}

#[tokio::test]
async fn rows_that_cannot_be_read_are_left_out_and_their_ids_are_known() {
    let subject = InSqlite::new().await;
    let registrations = subject.registrations();
    register(&subject, "one").await;
    subject.accept("start").await;
    registrations.begin(&running("two", "start", Work::Start), None, None).await.expect("begins");
    for spoils in ["UPDATE plugins SET record = '{}'", "UPDATE operations SET record = '{}'"] {
        sqlx::query(spoils).execute(subject.0.pool()).await.expect("writes");
    }
    let everything = registrations.everything().await.expect("reads");
    assert_eq!((everything.plugins.len(), everything.running.len(), everything.unreadable), (0, 0, 2));
    assert!(registrations.ids().await.expect("reads").iter().eq(["one", "two"]));
}

#[tokio::test]
async fn a_row_with_a_manifest_that_this_version_refuses_cannot_be_read_and_says_why() {
    let subject = InSqlite::new().await;
    let registrations = subject.registrations();
    register(&subject, "one").await;
    register(&subject, "two").await;
    let refused = "UPDATE plugins SET record = json_set(record, '$.release.manifest.dependencies', \
                   json('{\"min_framework_version\": \"999.0.0\"}')) WHERE id = 'one'";
    let done = sqlx::query(refused).execute(subject.0.pool()).await.expect("writes");
    assert_eq!(done.rows_affected(), 1);
    let everything = registrations.everything().await.expect("reads");
    assert_eq!((everything.plugins.len(), everything.unreadable), (1, 1));
    let error = registrations.plugin(&id("one")).await.expect_err("cannot be read");
    let told = telemetry::chain(&error);
    assert!(told.contains("refuses its manifest") && told.contains("/min_framework_version"), "{told}");
    assert!(registrations.ids().await.expect("reads").iter().eq(["one", "two"]));
}

#[tokio::test]
async fn a_write_of_what_was_read_before_another_write_changes_nothing() {
    for (which, subject) in subjects().await {
        let registrations = subject.registrations();
        let mut old = register(&*subject, "one").await;
        let mut new = old.clone();
        new.failures = 1;
        registrations.advance(Some(&mut new), None).await.expect("nobody else wrote");
        subject.accept("start").await;
        let operation = running("one", "start", Work::Start);
        registrations.begin(&operation, None, None).await.expect("begins");
        old.failures = 9;
        let changed = |result: Result<(), TableError>| matches!(result, Err(TableError::Changed(_)));
        assert!(changed(registrations.finish(Some(&old), &operation, &done()).await), "{which}");
        assert!(changed(registrations.forget(&old, Some((&operation, &done()))).await), "{which}");
        assert!(changed(registrations.advance(Some(&mut old), Some(&operation)).await), "{which}");
        assert_eq!(old.revision, 1, "{which}");
        let again = running("one", "again", Work::Stop);
        assert!(
            changed(registrations.begin(&again, Some(&old), Some((&operation, done()))).await),
            "{which}"
        );
        // Nothing of any of them is there.
        assert_eq!(registrations.plugin(&id("one")).await.expect("reads"), Some(new), "{which}");
        assert_eq!(registrations.running(&id("one")).await.expect("reads"), Some(operation), "{which}");
        assert_eq!(subject.answer("start").await, None, "{which}");
        assert_eq!(registrations.owner(&name("one")).await.expect("reads"), Some("one".into()), "{which}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_is_never_seen_without_what_was_recorded_with_it() {
    for (which, subject) in subjects().await {
        let registrations = subject.registrations();
        let mut plugin = register(&*subject, "one").await;
        let done_writing = Arc::new(AtomicBool::new(false));
        let reader = tokio::spawn({
            let (registrations, done_writing) = (registrations.clone(), done_writing.clone());
            async move {
                let mut looks = 0_u32;
                while !done_writing.load(Ordering::SeqCst) {
                    let (record, operation) = registrations.both(&id("one")).await.expect("reads");
                    let marked = record.expect("is there").failures == 1;
                    assert_eq!(operation.is_some(), marked, "{which}, look {looks}");
                    looks += 1;
                    tokio::task::yield_now().await;
                }
                looks
            }
        });
        for n in 0..100 {
            let request = format!("{n}");
            subject.accept(&request).await;
            let operation = running("one", &request, Work::Start);
            plugin.failures = 1;
            registrations.begin(&operation, Some(&plugin), None).await.expect("begins");
            plugin = registrations.plugin(&id("one")).await.expect("reads").expect("is there");
            plugin.failures = 0;
            registrations.finish(Some(&plugin), &operation, &done()).await.expect("ends");
            plugin = registrations.plugin(&id("one")).await.expect("reads").expect("is there");
        }
        done_writing.store(true, Ordering::SeqCst);
        assert!(reader.await.expect("sees no half") > 0, "{which}");
        assert_eq!(registrations.both(&id("another")).await.expect("reads"), (None, None), "{which}");
    }
}

#[tokio::test]
async fn one_operation_runs_on_a_plugin_and_one_takes_the_place_of_another_with_its_answer() {
    for (which, subject) in subjects().await {
        let registrations = subject.registrations();
        let plugin = register(&*subject, "one").await;
        for request in ["first", "second", "third"] {
            subject.accept(request).await;
        }
        let (first, second) = (running("one", "first", Work::Start), running("one", "second", Work::Stop));
        registrations.begin(&first, Some(&plugin), None).await.expect("begins");
        assert!(registrations.begin(&second, None, None).await.is_err(), "{which}");
        assert_eq!(registrations.running(&id("one")).await.expect("reads"), Some(first.clone()), "{which}");
        registrations.begin(&second, None, Some((&first, refused("superseded")))).await.expect("begins");
        let all = registrations.all_running().await.expect("reads");
        assert_eq!(all, std::slice::from_ref(&second), "{which}");
        assert_eq!(subject.answer("first").await, Some(refused("superseded")), "{which}");
        // Of an ended one nothing changes any more, and a request keeps the answer that it has.
        let late = Running { step: "late".into(), ..first.clone() };
        registrations.advance(None, Some(&late)).await.expect("is no failure");
        registrations.finish(None, &first, &done()).await.expect("is no failure");
        assert_eq!(subject.answer("first").await, Some(refused("superseded")), "{which}");
        let known = registrations.operation(&first.id).await.expect("reads").expect("is kept");
        assert_eq!(known.operation.step, "accepted", "{which}");
        // A request begins one operation, however often it is handled.
        registrations.finish(None, &second, &done()).await.expect("ends");
        assert!(
            registrations.begin(&running("one", "second", Work::Stop), None, None).await.is_err(),
            "{which}"
        );
        assert_eq!(registrations.running(&id("one")).await.expect("reads"), None, "{which}");
    }
}

#[tokio::test]
async fn a_name_has_one_owner_until_that_is_forgotten() {
    for (which, subject) in subjects().await {
        let registrations = subject.registrations();
        let mut one = register(&*subject, "one").await;
        subject.accept("install two").await;
        let operation = running("two", "install two", Work::Start);
        registrations.begin(&operation, None, None).await.expect("begins");
        let names = [name("two"), name("one")];
        let taken =
            registrations.register(&record("two"), &names, &operation, &done()).await.expect("answers");
        assert_eq!(taken, Some(name("one")), "{which}");
        assert_eq!(registrations.plugin(&id("two")).await.expect("reads"), None, "{which}");
        assert_eq!(registrations.owner(&name("two")).await.expect("reads"), None, "{which}");
        assert_eq!(subject.answer("install two").await, None, "{which}");
        // What is claimed takes the place of what was registered.
        assert_eq!(
            registrations.claim(&mut one, &[name("uno")], None).await.expect("claims"),
            None,
            "{which}"
        );
        assert_eq!(registrations.owner(&name("one")).await.expect("reads"), None, "{which}");
        let taken =
            registrations.register(&record("two"), &names, &operation, &done()).await.expect("answers");
        assert_eq!(taken, None, "{which}");
        let before = one.clone();
        let taken = registrations.claim(&mut one, &[name("dos"), name("two")], None).await.expect("answers");
        assert_eq!((taken, &one), (Some(name("two")), &before), "{which}");
        assert_eq!(registrations.owner(&name("uno")).await.expect("reads"), Some("one".into()), "{which}");
        registrations.forget(&one, None).await.expect("forgets");
        assert_eq!(registrations.owner(&name("uno")).await.expect("reads"), None, "{which}");
        assert_eq!(registrations.plugin(&id("one")).await.expect("reads"), None, "{which}");
    }
}

#[tokio::test]
async fn operations_are_told_newest_first_with_what_came_of_them() {
    for (which, subject) in subjects().await {
        let registrations = subject.registrations();
        for plugin in ["one", "two"] {
            register(&*subject, plugin).await;
        }
        for request in ["a", "b"] {
            subject.accept(request).await;
        }
        let (a, b) = (running("one", "a", Work::Start), running("one", "b", Work::Stop));
        registrations.begin(&a, None, None).await.expect("begins");
        registrations.finish(None, &a, &refused("no")).await.expect("ends");
        registrations.begin(&b, None, None).await.expect("begins");
        let all = registrations.operations(None, 10).await.expect("reads");
        let requests: Vec<&str> = all.iter().map(|o| o.operation.request_id.as_str()).collect();
        assert_eq!(requests, ["b", "a", "install two", "install one"], "{which}");
        assert_eq!((all[0].ended_at, all[0].outcome.clone()), (None, None), "{which}");
        let no = Outcome::Failure { code: ErrorCode::StartFailed, message: "no".into() };
        assert!(all[1].ended_at.is_some(), "{which}");
        assert_eq!(all[1].outcome, Some(no), "{which}");
        assert_eq!(all[2].outcome, Some(Outcome::Success), "{which}");
        let of_one = registrations.operations(Some(&id("one")), 2).await.expect("reads");
        assert_eq!(of_one, all[..2], "{which}");
        assert_eq!(registrations.operation(&a.id).await.expect("reads"), Some(all[1].clone()), "{which}");
        assert_eq!(registrations.operation(&OperationId::new()).await.expect("reads"), None, "{which}");
    }
}

#[tokio::test]
async fn a_cancellation_is_kept_beside_what_the_worker_writes_and_only_while_it_runs() {
    for (which, subject) in subjects().await {
        let registrations = subject.registrations();
        register(&*subject, "one").await;
        subject.accept("a").await;
        let a = running("one", "a", Work::Start);
        registrations.begin(&a, None, None).await.expect("begins");
        subject.accept("cancel").await;
        let asked = asked("cancel", "at once");
        assert!(registrations.cancel(&a.id, "operator:bob", &asked).await.expect("writes"), "{which}");
        assert_eq!(subject.answer("cancel").await, Some(Answer::Success(json!("at once"))), "{which}");
        let worked = Running { step: "begin".into(), ..a.clone() };
        registrations.advance(None, Some(&worked)).await.expect("writes");
        let read = registrations.running(&id("one")).await.expect("reads").expect("runs");
        assert_eq!(
            (read.step.as_str(), read.cancelled_by.as_deref()),
            ("begin", Some("operator:bob")),
            "{which}"
        );
        subject.accept("late").await;
        let asked = self::asked("late", "too late");
        registrations.finish(None, &read, &done()).await.expect("ends");
        assert!(!registrations.cancel(&a.id, "operator:bob", &asked).await.expect("writes"), "{which}");
        assert_eq!(subject.answer("late").await, None, "{which}");
    }
}

#[tokio::test]
async fn a_start_that_is_given_up_and_whoever_asked_for_that_are_answered_together_or_neither() {
    for (which, subject) in subjects().await {
        let registrations = subject.registrations();
        register(&*subject, "one").await;
        for request in ["a", "cancel"] {
            subject.accept(request).await;
        }
        let a = running("one", "a", Work::Start);
        registrations.begin(&a, None, None).await.expect("begins");
        let record = registrations.plugin(&id("one")).await.expect("reads").expect("is there");
        let (asked, at) = (asked("cancel", "given up"), Timestamp::from_millis(1000));
        let changed = Record { revision: record.revision - 1, ..record.clone() };
        let error = registrations.give_up(&changed, &a, (&done(), at), &asked).await.expect_err("changed");
        assert!(matches!(error, TableError::Changed(_)), "{which}");
        assert_eq!((subject.answer("a").await, subject.answer("cancel").await), (None, None), "{which}");
        registrations.give_up(&record, &a, (&done(), at), &asked).await.expect("ends");
        let ended = registrations.operation(&a.id).await.expect("reads").expect("is kept");
        assert_eq!(ended.ended_at, Some(at), "{which}");
        assert_eq!(subject.answer("a").await, Some(done()), "{which}");
        assert_eq!(subject.answer("cancel").await, Some(Answer::Success(json!("given up"))), "{which}");
    }
}

#[tokio::test]
async fn so_many_ended_operations_are_kept_and_all_that_run() {
    for (which, subject) in subjects().await {
        let registrations = subject.registrations();
        register(&*subject, "one").await;
        let oldest = running("two", "runs", Work::Start);
        registrations.begin(&oldest, None, None).await.expect("begins");
        for n in 0..ENDED_KEPT {
            let operation = running("one", &n.to_string(), Work::Start);
            registrations.begin(&operation, None, None).await.expect("begins");
            registrations.finish(None, &operation, &done()).await.expect("ends");
        }
        let all = registrations.operations(None, u32::MAX).await.expect("reads");
        assert_eq!(all.len(), ENDED_KEPT as usize + 1, "{which}");
        assert!(all.iter().any(|o| o.operation.id == oldest.id), "{which}");
        assert!(!all.iter().any(|o| o.operation.request_id == "install one"), "{which}");
    }
}
