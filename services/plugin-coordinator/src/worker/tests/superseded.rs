//! Operations that end for another's sake: what they were doing ends too, and nothing of it falls on what came instead.

use chassis::{HealthBoard, Permit, Reply, Request, Shutdown};
use envelope::payload::grant::GrantState;
use envelope::{InstanceId, Operation, OperatorName, Principal};
use testkit::eventually;

use super::grants::{DEVICE, asking};
use super::updates::second;
use super::*;
use crate::adoption::{Adoption, Specs, Told, ToldError};
use crate::handler;
use crate::supervisor::Supervisor;

const PATIENCE: Duration = Duration::from_secs(20);

impl Stage {
    /// Asks an operation's own handler, which lets it in.
    async fn handle(&self, supervisor: &Supervisor, operation: Operation, payload: Value) -> Reply {
        self.asks(&operation.to_string(), supervisor, operation, payload).await.expect("is let in")
    }

    /// Asks an operation's own handler.
    async fn asks(
        &self,
        request: &str,
        supervisor: &Supervisor,
        operation: Operation,
        payload: Value,
    ) -> Result<Reply, ErrorBody> {
        let id = request.to_owned();
        let received = Received {
            id: id.clone(),
            principal: "operator:ada".into(),
            request_id: Some(id.clone()),
            content_hash: id.clone(),
            redelivery: false,
            topic: "t".into(),
            body: b"{}".to_vec(),
            response_topic: "r".into(),
            correlation_data: None,
            correlation_id: id.clone(),
            traceparent: None,
            received_at: Timestamp::now(),
            expires_at: Timestamp::now().after(Duration::from_secs(60)),
        };
        self.store.journal().accept(&received).await.expect("accepts");
        let ada = OperatorName::parse("ada").expect("a name");
        let permit = Permit::for_test(Principal::Operator(ada), operation);
        let request = Request { id: id.clone(), correlation_id: id, traceparent: None, payload };
        handler::handle(&self.ctx, supervisor, &permit, &request).await
    }

    /// Until a verb of the engine is called, as somebody else does what stands around it.
    pub(super) async fn called(&self, verb: Verb, times: usize) {
        eventually(PATIENCE, || async {
            self.surroundings().await;
            let count = self.engine.count(verb);
            if count >= times { Ok(()) } else { Err(format!("{verb:?} was called {count} times")) }
        })
        .await;
    }

    /// Until the request has its answer.
    pub(super) async fn answered(&self, request: &str) {
        eventually(PATIENCE, || async {
            self.surroundings().await;
            let owed = self.store.journal().owed().await.expect("reads");
            if owed.iter().any(|o| o.id == request) {
                Ok(())
            } else {
                Err(format!("{request} has no answer"))
            }
        })
        .await;
    }
}

#[tokio::test]
async fn what_is_taken_back_while_an_update_is_under_way_stays_taken_back() {
    let stage = Stage::running().await;
    stage.ask("stop", Work::Stop, Some(Desired::Stopped), Duration::from_secs(600)).await;
    stage.settle().await;
    let mut more = asking();
    more["version"] = json!("2.0.0");
    more["permissions"] = json!(["plugin:control", "plugin:configure"]);
    stage.publish_second(&more, None);
    stage.update("more", None).await;
    let details = stage.to_approve("more", ErrorCode::ApprovalRequired).await;

    let supervisor = stage.supervisor();
    let pulled = stage.engine.count(Verb::Pull);
    let hold = stage.engine.hold(Verb::Pull);
    stage.begin_update("update", Some(&details.approve)).await;
    supervisor.wake(&stage.id);
    stage.called(Verb::Pull, pulled + 1).await;
    let asked = json!({"plugin_id": stage.id, "grant": DEVICE});
    assert!(matches!(stage.handle(&supervisor, Operation::RevokeGrant, asked).await, Reply::Later));
    stage.answered("revoke-grant").await;
    drop(hold);
    stage.fails("update", ErrorCode::Cancelled).await;
    stage.succeeds("revoke-grant").await;
    stage.settle().await;
    let record = stage.record().await.expect("installed");
    assert_eq!(record.release.manifest.document()["version"], "1.0.0");
    let device =
        record.release.grants.iter().find(|granted| granted.grant.key() == DEVICE).expect("asked for");
    assert!(matches!(device.state, GrantState::Revoked { .. }), "{device:?}");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_pull_that_is_wanted_no_more() {
    let stage = Stage::up().await;
    stage.publish_second(&second(), None);
    let supervisor = stage.supervisor();
    let pulled = stage.engine.count(Verb::Pull);
    let _hold = stage.engine.hold(Verb::Pull);
    stage.begin_update("update", None).await;
    supervisor.wake(&stage.id);
    stage.called(Verb::Pull, pulled + 1).await;
    let asked = json!({"plugin_id": stage.id});
    assert!(matches!(stage.handle(&supervisor, Operation::Stop, asked).await, Reply::Later));
    stage.answered("stop").await;
    assert_eq!(stage.succeeds("stop").await["phase"], "stopped");
    stage.fails("update", ErrorCode::Cancelled).await;
    assert_eq!(stage.containers().await, 0);
}

#[tokio::test]
async fn a_failure_is_not_held_against_what_came_instead() {
    let stage = Stage::up().await;
    stage.publish_second(&second(), None);
    let pulled = stage.engine.count(Verb::Pull);
    let hold = stage.engine.hold(Verb::Pull);
    let (on, message) = ("focuser".into(), "no".into());
    stage.engine.fail_next(Verb::Pull, EngineError::Refused { doing: Verb::Pull, on, status: 500, message });
    stage.begin_update("update", None).await;
    let mut worker = Worker::new(stage.ctx.clone(), stage.id.clone());
    worker.confirmed = Some(Instant::now());
    let pulls = async {
        while stage
            .ctx
            .registrations
            .running(&stage.id)
            .await
            .expect("reads")
            .is_some_and(|o| o.step != "stop")
        {
            if worker.pass().await != Next::Again {
                tokio::task::yield_now().await;
            }
        }
    };
    let instead = async {
        stage.called(Verb::Pull, pulled + 1).await;
        // This supervisor wakes nobody who works: the worker above is at it.
        let supervisor = stage.supervisor();
        supervisor.retire();
        let asked = json!({"plugin_id": stage.id});
        assert!(matches!(stage.handle(&supervisor, Operation::Stop, asked).await, Reply::Later));
        drop(hold);
    };
    tokio::join!(pulls, instead);
    stage.settle().await;
    stage.fails("update", ErrorCode::Cancelled).await;
    assert_eq!(stage.succeeds("stop").await["phase"], "stopped");
}

struct Nobody;

#[async_trait::async_trait]
impl Told for Nobody {
    async fn specs(&self) -> Result<Specs, ToldError> {
        Ok(Specs::new())
    }
}

#[tokio::test]
async fn what_a_kill_left_at_the_engine_is_swept_before_anything_is_asked_of_it() {
    let stage = Stage::new().await;
    stage.ask_install("install").await;
    stage.engine.clear_calls();
    let supervisor = stage.supervisor();
    let health = HealthBoard::new(Coordinator::Plugin, InstanceId::parse("one").expect("an id"));
    let adoption = Adoption { ctx: stage.ctx.clone(), store: stage.store.clone(), told: Box::new(Nobody) };
    let shutdown = Shutdown::new();
    let works = supervisor.run(health, &adoption, shutdown.clone());
    let ends = async {
        stage.answered("install").await;
        shutdown.cancel();
    };
    tokio::join!(works, ends);
    stage.succeeds("install").await;
    let calls: Vec<Verb> = stage.engine.calls().into_iter().map(|call| call.verb).collect();
    assert_eq!((calls.first(), stage.engine.count(Verb::Sweep)), (Some(&Verb::Sweep), 1), "{calls:?}");
}

#[tokio::test]
async fn a_stop_during_the_way_back_says_that_it_went_back() {
    let stage = Stage::up().await;
    let mut broken = second();
    broken["version"] = json!("2.0.0");
    stage.publish_second(&broken, Some(3));
    let supervisor = stage.supervisor();
    let starts = stage.engine.count(Verb::Start);
    stage.begin_update("update", None).await;
    supervisor.wake(&stage.id);
    stage.called(Verb::Start, starts + 1).await;
    let hold = stage.engine.hold(Verb::Start);
    stage.called(Verb::Start, starts + 2).await;
    let asked = json!({"plugin_id": stage.id});
    assert!(matches!(stage.handle(&supervisor, Operation::Stop, asked).await, Reply::Later));
    drop(hold);
    stage.answered("stop").await;
    stage.succeeds("stop").await;
    let error = stage.fails("update", ErrorCode::Cancelled).await;
    assert!(error.message.contains("2.0.0 did not get ready"), "{}", error.message);
    assert!(error.message.ends_with("It had gone back to 1.0.0 already."), "{}", error.message);
    assert_eq!(stage.record().await.expect("installed").release.manifest.document()["version"], "1.0.0");
}

#[tokio::test]
async fn what_runs_is_not_rolled_back_to_what_cannot_run() {
    let stage = Stage::running().await;
    stage.ask_revoke("revoke", DEVICE, Duration::from_secs(600)).await;
    stage.settle().await;
    let mut less = asking();
    less["version"] = json!("2.0.0");
    less["devices"] = json!([]);
    stage.publish_second(&less, None);
    stage.update("less", None).await;
    stage.succeeds("less").await;
    stage.ask("again", Work::Start, Some(Desired::Running), Duration::from_secs(600)).await;
    stage.settle().await;
    stage.succeeds("again").await;
    let supervisor = stage.supervisor();
    let asked = json!({"plugin_id": stage.id});
    let refused =
        stage.asks("refused", &supervisor, Operation::Rollback, asked.clone()).await.expect_err("refused");
    assert_eq!(refused.code, ErrorCode::InvalidPhase);
    assert!(refused.message.contains("1.0.0 cannot run without"), "{}", refused.message);
    assert!(refused.message.contains(DEVICE), "{}", refused.message);
    assert_eq!(stage.record().await.expect("installed").release.manifest.document()["version"], "2.0.0");
    // As it says: stopped, it can be.
    stage.handle(&supervisor, Operation::Stop, asked.clone()).await;
    stage.answered("stop").await;
    stage.handle(&supervisor, Operation::Rollback, asked).await;
    stage.answered("rollback").await;
    stage.succeeds("rollback").await;
    assert_eq!(stage.record().await.expect("installed").release.manifest.document()["version"], "1.0.0");
}

#[tokio::test]
async fn a_cancel_that_is_handled_again_denies_nothing_of_what_it_did() {
    for starts in [true, false] {
        let mut stage = Stage::up().await;
        stage.publish_second(&second(), None);
        // This supervisor wakes nobody: it is killed as soon as a handler has returned.
        let supervisor = stage.supervisor();
        supervisor.retire();
        let cancelled = if starts {
            stage.ask("stop", Work::Stop, Some(Desired::Stopped), Duration::from_secs(600)).await;
            stage.settle().await;
            stage.reports = false;
            stage.ask("again", Work::Start, Some(Desired::Running), Duration::from_secs(600)).await;
            "again"
        } else {
            stage.begin_update("update", None).await;
            "update"
        };
        let running = stage.ctx.registrations.running(&stage.id).await.expect("reads").expect("one runs");
        let asked = json!({"operation_id": running.id});
        let reply = stage.handle(&supervisor, Operation::Cancel, asked.clone()).await;
        assert!(matches!(reply, Reply::Later), "{reply:?}");
        let told = stage.succeeds("cancel").await;
        assert_eq!(told["id"], json!(running.id));
        assert_eq!(told.get("code").is_some_and(|code| code == "cancelled"), starts, "{told}");
        let open = stage.store.journal().unanswered().await.expect("reads");
        assert!(open.iter().all(|request| request.id != "cancel"), "the next life handles it again");
        if starts {
            let ended =
                stage.ctx.registrations.operation(&running.id).await.expect("reads").expect("is kept");
            assert_eq!(told["ended_at"], json!(ended.ended_at));
        }

        stage.settle().await;
        stage.fails(cancelled, ErrorCode::Cancelled).await;
        // Were it handled again all the same, it keeps its answer.
        let again =
            stage.asks("cancel", &supervisor, Operation::Cancel, asked).await.expect_err("it has ended");
        let replies = Replies::new(Coordinator::Plugin, stage.store.journal());
        replies.answer("cancel", &Answer::Failure(again), "cancel", None).await.expect("records");
        assert_eq!(stage.succeeds("cancel").await, told);
    }
}
