//! Grants from the installation to their end: approved, taken back, given back, whatever fails on the way.

use envelope::payload::grant::{ApprovalDetails, GrantState, Grants};

use super::*;
use crate::engine::Device;
use crate::registrations::ENDED_KEPT;
use envelope::Generation;

const ADA: &str = "operator:ada";
const TOPIC: &str = "publish:bigskies/plugin/dome/control/open";
pub(super) const DEVICE: &str = "device:/dev/ttyUSB0";
const PORT: &str = "port:0.0.0.0:8090/tcp";
const LONG: Duration = Duration::from_secs(600);

pub(super) fn asking() -> Value {
    json!({
        "id": "focuser", "name": "Focuser", "version": "1.0.0", "start_timeout_seconds": 30,
        "mqtt": {"topics_publish": ["bigskies/plugin/dome/control/open"]},
        "permissions": ["plugin:control"],
        "devices": [{"path": "/dev/ttyUSB0", "container_path": "/dev/focuser", "access": "r"}],
        "docker": {"ports": ["0.0.0.0:8090:80"]},
    })
}

impl Stage {
    async fn ask_install_as(&self, request: &str, approve: Option<&str>, principal: &str, named: bool) {
        let wanted = json!({"plugin_id": "focuser", "source": SOURCE, "approve": approve});
        let install = Install {
            request: serde_json::from_value(wanted).expect("a request"),
            resolved: None,
            admitted: None,
            pulled: false,
        };
        let work = Work::Install(Box::new(install));
        self.ask_and(request, work, None::<fn(&mut Record)>, LONG, principal, named).await;
        self.settle().await;
    }

    pub(super) async fn to_approve(&self, request: &str, code: ErrorCode) -> ApprovalDetails {
        serde_json::from_value(self.fails(request, code).await.details).expect("what is to be approved")
    }

    /// Installed with everything that it asks for, and running.
    pub(super) async fn running() -> Self {
        let stage = Self::with(asking(), "1000:1000").await;
        stage.ask_install_as("ask", None, ADA, true).await;
        let details = stage.to_approve("ask", ErrorCode::ApprovalRequired).await;
        stage.ask_install_as("install", Some(&details.approve), ADA, true).await;
        stage.succeeds("install").await;
        stage.start().await;
        assert_eq!(stage.succeeds("start").await["phase"], "running");
        stage
    }

    /// As the handler of `revoke-grant` records it for a plugin that runs.
    pub(super) async fn ask_revoke(&self, request: &str, key: &str, lasts: Duration) {
        let change = |record: &mut Record| {
            let taken = record.revoke(key, ADA, Timestamp::now());
            assert_eq!(taken.map(|t| t.len()), Some(1), "{key}");
        };
        self.ask_and(request, Work::RevokeGrant, Some(change), lasts, ADA, true).await;
    }

    async fn grants(&self, request: &str) -> Grants {
        serde_json::from_value(self.succeeds(request).await).expect("grants")
    }

    async fn start_id(&self) -> Option<StartId> {
        self.record().await.expect("installed").start.map(|start| start.id)
    }

    /// Its containers; a forwarder of its ports is not counted.
    async fn plugins(&self) -> usize {
        let name = self.ctx.policy.container_name(&self.id);
        let listed = self.engine.list(INSTALLATION).await.expect("lists");
        listed.iter().filter(|container| container.name == name).count()
    }

    fn logins(&self) -> Vec<StartId> {
        self.peers.logins.lock().expect("not poisoned").clone()
    }

    fn tokens(&self) -> Vec<StartId> {
        self.peers.tokens.lock().expect("not poisoned").clone()
    }
}

#[tokio::test]
async fn an_installation_tells_what_is_to_be_approved_and_takes_exactly_that() {
    let stage = Stage::with(asking(), "1000:1000").await;
    stage.ask_install_as("first", None, ADA, true).await;
    let details = stage.to_approve("first", ErrorCode::ApprovalRequired).await;
    let keys: Vec<&str> = details.grants.iter().map(|g| g.key.as_str()).collect();
    assert_eq!(keys, [TOPIC, "permission:plugin:control", DEVICE, PORT]);
    assert_eq!(details.rating.score, 3);
    assert!(details.grants.iter().all(|g| g.sentence.ends_with('.')));

    stage.ask_install_as("wrong", Some("sha256:0"), ADA, true).await;
    assert_eq!(stage.to_approve("wrong", ErrorCode::ApprovalChanged).await, details);
    assert!(stage.record().await.is_none());

    stage.ask_install_as("right", Some(&details.approve), ADA, true).await;
    stage.succeeds("right").await;
    let record = stage.record().await.expect("installed");
    assert_eq!(record.release.grants.len(), 4);
    for granted in &record.release.grants {
        assert!(matches!(&granted.state, GrantState::Approved { by, .. } if by == ADA), "{granted:?}");
    }
    assert_eq!(record.rating(&record.manifest()).score, 3);
}

#[tokio::test]
async fn nobody_without_an_account_approves() {
    let stage = Stage::with(asking(), "1000:1000").await;
    stage.ask_install_as("ask", None, ADA, true).await;
    let digest = stage.to_approve("ask", ErrorCode::ApprovalRequired).await.approve;
    for (request, who) in [("unnamed", "operator (unnamed)"), ("plugin", "plugin:installer")] {
        stage.ask_install_as(request, Some(&digest), who, false).await;
        stage.fails(request, ErrorCode::Forbidden).await;
        assert!(stage.record().await.is_none());
    }
}

#[tokio::test]
async fn a_topic_that_is_taken_back_costs_a_running_plugin_its_container_login_and_token() {
    let stage = Stage::running().await;
    let (before, first) = (stage.start_id().await, stage.record().await.expect("installed"));
    stage.ask_revoke("revoke", TOPIC, LONG).await;
    stage.settle().await;
    let told = stage.grants("revoke").await;
    let state = |key: &str| {
        let found = told.grants.iter().find(|g| g.entry.key == key);
        found.map(|g| matches!(g.state, GrantState::Revoked { .. }))
    };
    assert_eq!((state(TOPIC), state(DEVICE)), (Some(true), Some(false)));
    assert!(told.pending.is_some());

    let record = stage.record().await.expect("installed");
    assert_eq!(record.standing.phase, Phase::Running);
    assert_eq!(record.generation, first.generation.next());
    let after = stage.start_id().await.expect("a start");
    assert_ne!(Some(after), before);
    assert_eq!((stage.plugins().await, stage.logins(), stage.tokens()), (1, vec![after], vec![after]));
    assert!(record.spec(&record.manifest(), "local").publish.is_empty());
    let name = stage.ctx.policy.container_name(&stage.id);
    let stops = stage.engine.calls().iter().filter(|c| c.verb == Verb::Stop && c.on == name).count();
    assert_eq!(stops, 1, "it was asked to end, not killed");
}

#[tokio::test]
async fn login_and_token_are_gone_before_the_old_container_has_ended() {
    let stage = Stage::running().await;
    stage.ask_revoke("revoke", "permission:plugin:control", LONG).await;
    let refused = EngineError::Unreachable { doing: Verb::Stop, on: "focuser".into(), source: "test".into() };
    stage.engine.fail_next(Verb::Stop, refused);
    Worker::new(stage.ctx.clone(), stage.id.clone()).pass().await;
    assert_eq!(stage.plugins().await, 1);
    assert_eq!((stage.logins(), stage.tokens()), (Vec::new(), Vec::new()));
    stage.settle().await;
    assert_eq!(stage.grants("revoke").await.rating.score, 3, "it still commands the dome");
}

#[tokio::test]
async fn what_a_container_is_made_of_stops_the_plugin_until_it_is_approved_again() {
    let stage = Stage::running().await;
    stage.ask_revoke("revoke", DEVICE, LONG).await;
    stage.settle().await;
    let digest = stage.grants("revoke").await.pending.expect("something to approve").approve;
    let record = stage.record().await.expect("installed");
    assert_eq!((record.standing.phase, record.desired), (Phase::Stopped, Desired::Stopped));
    assert!(record.standing.reason.as_ref().is_some_and(|r| r.contains(DEVICE)), "{:?}", record.standing);
    assert_eq!(stage.containers().await, 0);
    assert!(stage.logins().is_empty() && stage.tokens().is_empty());
    assert_eq!(record.approval(&record.manifest()).approve, digest);

    // Even with a start on record nothing runs.
    stage.ask("start-2", Work::Start, Some(Desired::Running), Duration::ZERO).await;
    for _ in 0..10 {
        Worker::new(stage.ctx.clone(), stage.id.clone()).pass().await;
    }
    assert_eq!(stage.containers().await, 0);

    let mut record = stage.record().await.expect("installed");
    record.desired = Desired::Stopped;
    assert_eq!(record.restore("operator:bob", Timestamp::now()).len(), 1);
    stage.ctx.registrations.advance(Some(&mut record), None).await.expect("records");
    stage.settle().await;
    assert_eq!(stage.containers().await, 0, "an approval starts nothing");
    stage.ask("start-3", Work::Start, Some(Desired::Running), LONG).await;
    stage.settle().await;
    assert_eq!(stage.succeeds("start-3").await["phase"], "running");
    let spec = stage.engine.spec(&stage.ctx.policy.container_name(&stage.id)).expect("a container");
    let device =
        Device { path: "/dev/ttyUSB0".into(), container_path: "/dev/focuser".into(), read_only: true };
    assert_eq!(spec.devices, [device], "as it was approved, and nothing more");
}

#[tokio::test]
async fn an_approval_gives_a_running_plugin_a_new_container_with_what_it_has_again() {
    let stage = Stage::running().await;
    stage.ask_revoke("revoke", TOPIC, LONG).await;
    stage.settle().await;
    let before = stage.start_id().await;
    let give = |record: &mut Record| {
        assert_eq!(record.restore("operator:bob", Timestamp::now()).len(), 1);
    };
    stage.ask_and("approve", Work::Approve, Some(give), LONG, "operator:bob", true).await;
    stage.settle().await;
    let told = stage.grants("approve").await;
    assert_eq!(told.pending, None);
    let record = stage.record().await.expect("installed");
    assert_eq!(record.generation, Generation(3));
    assert_ne!(stage.start_id().await, before);
    assert_eq!(record.spec(&record.manifest(), "local").publish.len(), 1);
    assert_eq!(stage.plugins().await, 1);
}

#[tokio::test]
async fn a_port_that_is_taken_back_leads_from_loopback() {
    let stage = Stage::running().await;
    let name = stage.ctx.policy.container_name(&stage.id);
    stage.ask_revoke("revoke", PORT, LONG).await;
    stage.settle().await;
    stage.grants("revoke").await;
    let record = stage.record().await.expect("installed");
    assert!(crate::policy::ports(&record.manifest()).iter().all(|p| p.host_ip.is_loopback()));
    let ports: Vec<_> = [name, stage.ctx.policy.forwarder_name(&stage.id)]
        .iter()
        .filter_map(|container| stage.engine.spec(container))
        .flat_map(|spec| spec.ports)
        .collect();
    assert!(!ports.is_empty() && ports.iter().all(|p| p.host_ip.is_loopback()), "{ports:?}");
}

#[tokio::test]
async fn root_that_only_the_image_asks_for_is_approved_and_taken_back_like_any_other_grant() {
    let stage = Stage::with(manifest(), "0:0").await;
    stage.ask_install_as("ask", None, ADA, true).await;
    let details = stage.to_approve("ask", ErrorCode::ApprovalRequired).await;
    assert_eq!(details.grants.iter().map(|g| g.key.as_str()).collect::<Vec<_>>(), ["root"]);
    assert_eq!(details.rating.score, 2);
    stage.ask_install_as("install", Some(&details.approve), ADA, true).await;
    stage.start().await;
    stage.ask_revoke("revoke", "root", LONG).await;
    stage.settle().await;
    assert_eq!(stage.grants("revoke").await.rating.score, 6);
    assert_eq!(stage.containers().await, 0);
}

#[tokio::test]
async fn a_revocation_ends_the_same_when_any_call_of_the_engine_fails_once_or_its_answer_is_lost() {
    for verb in [Verb::Stop, Verb::Logs, Verb::Remove, Verb::Create, Verb::Inspect, Verb::Start] {
        for lose in [false, true] {
            for (key, containers) in [(TOPIC, 1), (DEVICE, 0)] {
                let away =
                    || EngineError::Unreachable { doing: verb, on: "focuser".into(), source: "test".into() };
                let stage = Stage::running().await;
                stage.ask_revoke("revoke", key, LONG).await;
                match lose {
                    true => stage.engine.lose_next_answer(verb, away()),
                    false => stage.engine.fail_next(verb, away()),
                }
                stage.settle().await;
                stage.grants("revoke").await;
                let start: Vec<StartId> = stage.start_id().await.into_iter().collect();
                assert_eq!(stage.plugins().await, containers, "{verb:?} {key}");
                assert_eq!((stage.logins(), stage.tokens()), (start.clone(), start), "{verb:?} {key}");
            }
        }
    }
}

#[tokio::test]
async fn a_revocation_stops_the_old_container_although_the_other_coordinators_are_away() {
    let stage = Stage::running().await;
    *stage.peers.away.lock().expect("not poisoned") = true;
    stage.ask_revoke("revoke", TOPIC, LONG).await;
    for _ in 0..20 {
        Worker::new(stage.ctx.clone(), stage.id.clone()).pass().await;
    }
    assert_eq!(stage.containers().await, 0);
    assert!(stage.start_id().await.is_none(), "no new one while the old login can still be used");
    assert_eq!(stage.record().await.expect("installed").owed.len(), 1);
    *stage.peers.away.lock().expect("not poisoned") = false;
    stage.settle().await;
    stage.grants("revoke").await;
    assert_eq!(stage.plugins().await, 1);
}

#[tokio::test]
async fn a_revocation_that_takes_too_long_is_answered_with_what_is_done_and_goes_on() {
    let stage = Stage::running().await;
    stage.ask_revoke("revoke", DEVICE, Duration::ZERO).await;
    Worker::new(stage.ctx.clone(), stage.id.clone()).pass().await;
    let error = stage.fails("revoke", ErrorCode::TimedOut).await;
    assert!(error.message.starts_with("The grant is taken back."), "{}", error.message);
    assert!(error.message.contains("goes on in the background"), "{}", error.message);
    stage.settle().await;
    let record = stage.record().await.expect("installed");
    assert_eq!((stage.containers().await, record.standing.phase), (0, Phase::Stopped));
}

#[tokio::test]
async fn only_the_newest_ended_operations_are_kept() {
    let stage = Stage::new().await;
    stage.install().await;
    let many = i64::from(ENDED_KEPT) + 20;
    for n in 0..many {
        sqlx::query("INSERT INTO operations (id, plugin_id, request_id, record, ended_at) VALUES (?, 'p', ?, '{}', ?)")
            .bind(format!("old-{n}"))
            .bind(format!("request-{n}"))
            .bind(n)
            .execute(stage.store.pool())
            .await
            .expect("writes");
    }
    stage.start().await;
    stage.succeeds("start").await;
    let count = |filter: &'static str| {
        let pool = stage.store.pool().clone();
        async move {
            let query = format!("SELECT count(*) FROM operations WHERE {filter}");
            sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(query)).fetch_one(&pool).await.expect("counts")
        }
    };
    assert_eq!(count("ended_at IS NOT NULL").await, i64::from(ENDED_KEPT));
    assert_eq!(count("request_id IN ('install', 'start')").await, 2);
    assert_eq!(count("id = 'old-0'").await, 0);
}

#[tokio::test]
async fn what_was_taken_back_after_an_update_stays_taken_back_in_a_rollback() {
    let stage = Stage::running().await;
    let mut second = asking();
    second["version"] = json!("2.0.0");
    stage.publish_second(&second, None);
    stage.update("update", None).await;
    stage.succeeds("update").await;
    stage.ask_revoke("revoke", TOPIC, LONG).await;
    stage.settle().await;
    let taken = |record: &Record| record.revoked().iter().map(manifest::Grant::key).collect::<Vec<_>>();
    for request in ["back", "forth"] {
        stage.begin_rollback(request).await;
        stage.settle().await;
        stage.succeeds(request).await;
        let record = stage.record().await.expect("installed");
        assert_eq!(taken(&record), [TOPIC], "{request}");
        let name = stage.ctx.policy.container_name(&stage.id);
        assert!(stage.engine.spec(&name).expect("it runs").image.ends_with(&record.release.digest));
        assert!(!record.manifest().topics().publish.iter().any(|topic| TOPIC.ends_with(topic.as_str())));
    }
    // Given back, it is given back to both.
    let mut record = stage.record().await.expect("installed");
    assert_eq!(record.restore(ADA, Timestamp::now()).len(), 1);
    assert!(record.releases().all(|release| release.granted().len() == 4));
}

#[tokio::test]
async fn what_is_taken_back_is_taken_from_what_was_in_whatever_way_it_had_it() {
    let stage = Stage::running().await;
    let mut second = asking();
    second["version"] = json!("2.0.0");
    second["devices"] = json!(["/dev/ttyUSB0"]);
    stage.publish_second(&second, None);
    stage.update("asks", None).await;
    let details = stage.to_approve("asks", ErrorCode::ApprovalRequired).await;
    stage.update("update", Some(&details.approve)).await;
    stage.succeeds("update").await;
    stage.ask_revoke("revoke", DEVICE, LONG).await;
    stage.settle().await;
    let record = stage.record().await.expect("installed");
    for release in record.releases() {
        let device = release.grants.iter().find(|granted| granted.grant.key() == DEVICE).expect("asked for");
        assert!(matches!(device.state, GrantState::Revoked { .. }), "{device:?}");
    }
}

#[tokio::test]
async fn what_is_to_be_taken_back_does_not_wait_for_as_long_as_the_plugin_likes() {
    let mut slow = asking();
    slow["stop_timeout_seconds"] = json!(600);
    let stage = Stage::with(slow, "1000:1000").await;
    stage.ask_install_as("asks", None, ADA, true).await;
    stage.settle().await;
    let details = stage.to_approve("asks", ErrorCode::ApprovalRequired).await;
    stage.ask_install_as("install", Some(&details.approve), ADA, true).await;
    stage.settle().await;
    stage.start().await;
    stage.succeeds("start").await;
    stage.ask("restart", Work::Restart { stopped: false }, None, LONG).await;
    stage.settle().await;
    assert_eq!(stage.engine.graces(), [LONG]);
    stage.ask_revoke("revoke", DEVICE, LONG).await;
    stage.settle().await;
    assert_eq!(stage.engine.graces()[1..], [Duration::from_secs(10)]);
}

/// The engine looks names up in the container's own files, at each of its starts.
#[tokio::test]
async fn a_plugin_runs_as_the_number_that_was_looked_at_and_never_as_a_name() {
    let stage = Stage::with(manifest(), "app").await;
    let label = manifest().to_string();
    let reference = format!("registry.example.com/focuser@{DIGEST}");
    let mut image = FakeImage::new(&reference)
        .with_label(crate::admission::MANIFEST_LABEL, &label)
        .with_file("/etc/passwd", "app:x:x:1000::/:/bin/sh\napp:x:1000:1001::/:/bin/sh\n")
        .with_file("/etc/group", "dialout:x:20:app\nroot:x:0:\n");
    image.image.user = "app".into();
    stage.engine.publish(image);
    stage.install().await;
    stage.start().await;
    stage.succeeds("start").await;
    let spec = stage.engine.spec(&stage.ctx.policy.container_name(&stage.id)).expect("it runs");
    assert_eq!((spec.user.as_deref(), spec.groups.as_slice()), (Some("1000:1001"), &[20][..]));
}
