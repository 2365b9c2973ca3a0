//! Operators' accounts, as their owners and a broker see them.

use std::time::Duration;

use envelope::payload::account::{
    AddOperatorRequest, ChangeOperatorRequest, NewPassword, OperatorAccount, OperatorRemoved,
    OperatorsRequest, OperatorsResponse, RemoveOperatorRequest,
};
use envelope::payload::event::EventKind;
use envelope::topic::{self, RequestTopic};
use envelope::{
    Answer, Coordinator, Envelope, ErrorBody, ErrorCode, MessageType, Operation, OperatorName, OperatorRole,
    Principal, topic::coordinator,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use testkit::{Client, Version, eventually};

use crate::site::{SOON, Site, event, spec};

const PASSWORD: &str = "correct horse battery";
const ANOTHER: &str = "staple staple staple";
/// The broker's reason code for what is not allowed (MQTT 5.0 section 3.4.2.1).
const NOT_AUTHORIZED: u8 = 0x87;
const NOBODY: u8 = 0x10;

fn name(text: &str) -> OperatorName {
    OperatorName::parse(text).expect("a name")
}

fn adding(who: &str, role: OperatorRole) -> AddOperatorRequest {
    AddOperatorRequest { name: name(who), role, password: NewPassword::new(PASSWORD) }
}

fn changing(who: &str) -> ChangeOperatorRequest {
    ChangeOperatorRequest { name: name(who), role: None, password: None, disabled: None }
}

fn disabling(who: &str, disabled: bool) -> ChangeOperatorRequest {
    ChangeOperatorRequest { disabled: Some(disabled), ..changing(who) }
}

/// A request whose id and correlation are `id`.
fn request(id: &str, payload: impl Serialize) -> Vec<u8> {
    let mut request = Envelope::new(MessageType::Request, "test", payload).correlated(id);
    request.id = id.to_owned();
    request.encode()
}

/// An operator who asks in its own name.
struct Asker {
    name: OperatorName,
    client: Client,
    answers: Vec<Envelope<Answer>>,
}

impl Asker {
    /// Logs in, once the broker lets it.
    async fn login(site: &Site, who: &str, password: &str) -> Self {
        let login = format!("operator.{who}");
        let client = eventually(SOON, || async {
            let id = uuid::Uuid::now_v7().to_string();
            Client::connect(site.broker.port(), (login.as_str(), password), &id, Version::V5).await
        })
        .await;
        client.subscribe(&topic::operator::responses(&name(who))).await.expect("its own");
        Self { name: name(who), client, answers: Vec::new() }
    }

    fn topic(&self, operation: Operation) -> RequestTopic {
        RequestTopic::new(Principal::Operator(self.name.clone()), operation)
    }

    /// What the broker says to a request.
    async fn code(&self, operation: Operation) -> u8 {
        self.client.publish(&self.topic(operation).to_string(), "{}", 1, false).await.expect("answered")
    }

    async fn send(&self, id: &str, operation: Operation, payload: impl Serialize) {
        self.publish(operation, request(id, payload)).await;
    }

    async fn publish(&self, operation: Operation, request: Vec<u8>) {
        let topic = self.topic(operation).to_string();
        eventually(SOON, || async {
            match self.client.publish(&topic, request.clone(), 1, false).await {
                Ok(NOBODY) => Err("nobody listens".to_owned()),
                Ok(_) => Ok(()),
                Err(refusal) => Err(format!("{refusal:?}")),
            }
        })
        .await;
    }

    /// The answer to a request; answers to others may come before, and are kept.
    async fn answer<T: DeserializeOwned>(&mut self, id: &str) -> Result<T, ErrorBody> {
        let is_it = |answer: &Envelope<Answer>| answer.correlation_id.as_deref() == Some(id);
        let answer = loop {
            if let Some(at) = self.answers.iter().position(is_it) {
                break self.answers.swap_remove(at);
            }
            let message = self.client.recv(SOON).await.expect("an answer");
            let text = message.text();
            assert!(!text.contains(PASSWORD) && !text.contains(ANOTHER), "{text}");
            self.answers.extend(serde_json::from_slice::<Envelope<Answer>>(&message.payload));
        };
        match answer.payload {
            Answer::Success(data) => Ok(serde_json::from_value(data).expect("its payload")),
            Answer::Failure(error) => Err(error),
        }
    }

    async fn ask<T: DeserializeOwned>(
        &mut self,
        operation: Operation,
        payload: impl Serialize,
    ) -> Result<T, ErrorBody> {
        let id = uuid::Uuid::now_v7().to_string();
        self.send(&id, operation, payload).await;
        self.answer(&id).await
    }

    async fn add(&mut self, who: &str, role: OperatorRole) -> Result<OperatorAccount, ErrorBody> {
        self.ask(Operation::AddOperator, adding(who, role)).await
    }

    async fn change(&mut self, asked: ChangeOperatorRequest) -> Result<OperatorAccount, ErrorBody> {
        self.ask(Operation::ChangeOperator, asked).await
    }

    async fn remove(&mut self, who: &str) -> Result<OperatorRemoved, ErrorBody> {
        self.ask(Operation::RemoveOperator, RemoveOperatorRequest { name: name(who) }).await
    }

    async fn list(&mut self) -> Vec<(String, OperatorRole, bool)> {
        let listed: OperatorsResponse =
            self.ask(Operation::Operators, OperatorsRequest {}).await.expect("a list");
        assert!(listed.operators.iter().all(|account| !account.pending), "{listed:?}");
        listed.operators.into_iter().map(|a| (a.name.to_string(), a.role, a.disabled)).collect()
    }
}

async fn is_let_in(site: &Site, who: &str, password: &str) -> bool {
    let (login, id) = (format!("operator.{who}"), uuid::Uuid::now_v7().to_string());
    Client::connect(site.broker.port(), (login.as_str(), password), &id, Version::V5).await.is_ok()
}

async fn admin(site: &Site) -> Asker {
    Asker::login(site, "operator", "password").await
}

#[tokio::test]
async fn an_account_is_made_and_its_owner_can_do_what_its_role_says() {
    let site = Site::start().await;
    let mut admin = admin(&site).await;
    let mut watcher = site.operator().await;
    let made = admin.add("alice", OperatorRole::Viewer).await.expect("it is made");
    assert_eq!((made.role, made.disabled, made.pending), (OperatorRole::Viewer, false, false));
    assert_eq!(made.created_by.as_deref(), Some("operator:operator"));
    let told = event(&mut watcher, EventKind::Account).await;
    assert!(told.message.contains("alice") && told.message.contains("operator:operator"), "{told:?}");
    assert!(told.cause.contains("operator:operator asked to add-operator"), "{}", told.cause);
    assert!(!serde_json::to_string(&told).expect("it encodes").contains(PASSWORD));

    let mut alice = Asker::login(&site, "alice", PASSWORD).await;
    let listed = [
        ("alice".to_owned(), OperatorRole::Viewer, false),
        ("operator".to_owned(), OperatorRole::Admin, false),
    ];
    assert_eq!(alice.list().await, listed);
    for operation in [Operation::AddOperator, Operation::ChangeOperator, Operation::Proof, Operation::Start] {
        assert_eq!(alice.code(operation).await, NOT_AUTHORIZED, "{operation}");
    }
    let raw = RequestTopic::new(Principal::Unnamed, Operation::Explain).to_string();
    assert_eq!(alice.client.publish(&raw, "{}", 1, false).await, Ok(NOT_AUTHORIZED));
    alice.client.subscribe(&coordinator::events(Coordinator::Message)).await.expect("it may watch");

    // What somebody asks who may ask for everything, but not there or not by that name, is answered.
    let mut unknown = admin.topic(Operation::Operators);
    unknown.operation = "dance".to_owned();
    let request = Envelope::new(MessageType::Request, "test", ()).correlated("dance").encode();
    admin.client.publish(&unknown.to_string(), request, 1, false).await.expect("published");
    let error = admin.answer::<()>("dance").await.expect_err("there is none");
    assert_eq!(error.code, ErrorCode::UnknownOperation);
    assert!(error.message.contains("add-operator"), "{}", error.message);
}

#[tokio::test]
async fn another_role_holds_at_once() {
    let site = Site::start().await;
    let mut admin = admin(&site).await;
    admin.add("alice", OperatorRole::Admin).await.expect("it is made");
    let mut alice = Asker::login(&site, "alice", PASSWORD).await;
    alice.add("bob", OperatorRole::Viewer).await.expect("she is an admin");
    let viewer = ChangeOperatorRequest { role: Some(OperatorRole::Viewer), ..changing("alice") };
    admin.change(viewer).await.expect("operator is left");
    alice.client.ended().await.expect("she connects again, with what she may now");
    let alice = Asker::login(&site, "alice", PASSWORD).await;
    assert_eq!(alice.code(Operation::AddOperator).await, NOT_AUTHORIZED);
    assert_ne!(alice.code(Operation::Operators).await, NOT_AUTHORIZED);
}

#[tokio::test]
async fn a_disabled_account_is_disconnected_and_an_enabled_one_keeps_its_password() {
    let site = Site::start().await;
    let mut admin = admin(&site).await;
    admin.add("alice", OperatorRole::Operator).await.expect("it is made");
    let mut alice = Asker::login(&site, "alice", PASSWORD).await;
    admin.change(disabling("alice", true)).await.expect("it may");
    alice.client.ended().await.expect("she is disconnected");
    assert!(!is_let_in(&site, "alice", PASSWORD).await);
    admin.change(disabling("alice", false)).await.expect("it may");
    Asker::login(&site, "alice", PASSWORD).await;
}

#[tokio::test]
async fn a_new_password_takes_the_place_of_the_old_one() {
    let site = Site::start().await;
    let mut admin = admin(&site).await;
    admin.add("alice", OperatorRole::Viewer).await.expect("it is made");
    let mut alice = Asker::login(&site, "alice", PASSWORD).await;
    let asked = ChangeOperatorRequest { password: Some(NewPassword::new(ANOTHER)), ..changing("alice") };
    let changed = admin.change(asked).await.expect("it may");
    assert_eq!(changed.note, None);
    alice.client.ended().await.expect("she is disconnected");
    assert!(!is_let_in(&site, "alice", PASSWORD).await);
    Asker::login(&site, "alice", ANOTHER).await;
}

#[tokio::test]
async fn who_changes_its_own_password_asks_again_with_the_new_one_and_has_its_answer() {
    let site = Site::start().await;
    let mut first = admin(&site).await;
    let asked = ChangeOperatorRequest { password: Some(NewPassword::new(ANOTHER)), ..changing("operator") };
    let own = request("own", asked);
    first.publish(Operation::ChangeOperator, own.clone()).await;
    first.client.ended().await.expect("it is disconnected");
    let mut first = Asker::login(&site, "operator", ANOTHER).await;
    first.publish(Operation::ChangeOperator, own).await;
    let changed: OperatorAccount = first.answer("own").await.expect("it was done");
    assert!(changed.note.is_some_and(|note| note.contains(".bigskies/operator.env")));
    assert!(first.client.is_connected(), "it is not done twice");
}

#[tokio::test]
async fn a_removed_account_leaves_nothing_and_its_name_is_free() {
    let site = Site::start().await;
    let mut admin = admin(&site).await;
    let mut root = site.root().await;
    admin.add("alice", OperatorRole::Viewer).await.expect("it is made");
    let mut alice = Asker::login(&site, "alice", PASSWORD).await;
    assert_eq!(admin.remove("alice").await.expect("it may").name, name("alice"));
    alice.client.ended().await.expect("she is disconnected");
    assert!(!is_let_in(&site, "alice", PASSWORD).await);
    assert!(root.client("operator.alice").await.is_none());
    assert!(root.role("operator.alice").await.is_none());
    assert_eq!(admin.remove("alice").await.expect_err("she is gone").code, ErrorCode::UnknownOperator);
    assert_eq!(admin.list().await.len(), 1);
    admin.add("alice", OperatorRole::Operator).await.expect("the name is free");
    Asker::login(&site, "alice", PASSWORD).await;
}

#[tokio::test]
async fn the_same_request_is_carried_out_once() {
    let site = Site::start().await;
    let mut admin = admin(&site).await;
    let once = request("once", adding("alice", OperatorRole::Viewer));
    for _ in 0..2 {
        admin.publish(Operation::AddOperator, once.clone()).await;
        admin.answer::<OperatorAccount>("once").await.expect("the same answer");
    }
    let taken = admin.add("alice", OperatorRole::Viewer).await.expect_err("another request");
    assert_eq!(taken.code, ErrorCode::NameTaken);
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_what_to_do_and_never_with_the_password() {
    let site = Site::start().await;
    let mut admin = admin(&site).await;
    let mut password = async |text: &str| {
        let asked =
            AddOperatorRequest { password: NewPassword::new(text), ..adding("alice", OperatorRole::Viewer) };
        admin.ask::<OperatorAccount>(Operation::AddOperator, asked).await.expect_err(text)
    };
    for text in ["short", "with\nthe end of a line", &"long".repeat(65)] {
        let error = password(text).await;
        assert_eq!(error.code, ErrorCode::BadRequest);
        assert!(error.message.contains("password of alice") && !error.message.contains(text), "{error}");
    }
    let number =
        serde_json::json!({"name": "alice", "role": "viewer", "password": 1_234_567_890_123_456_u64});
    let error = admin.ask::<()>(Operation::AddOperator, number).await.expect_err("no text");
    assert!(error.code == ErrorCode::BadRequest && !error.message.contains("1234567"), "{error}");
    let wrong = serde_json::json!({"name": "../alice", "role": "viewer", "password": PASSWORD});
    let error = admin.ask::<()>(Operation::AddOperator, wrong).await.expect_err("no name");
    assert_eq!(error.code, ErrorCode::BadRequest);
    let code = |result: Result<OperatorAccount, ErrorBody>| result.expect_err("refused").code;
    assert_eq!(code(admin.add("Operator", OperatorRole::Viewer).await), ErrorCode::NameTaken);
    assert_eq!(code(admin.change(disabling("nobody", true)).await), ErrorCode::UnknownOperator);
    assert_eq!(code(admin.change(changing("operator")).await), ErrorCode::BadRequest);
    let first = admin.remove("operator").await.expect_err("it is the seed's");
    assert!(first.message.contains("Disable it instead"), "{first}");
}

#[tokio::test]
async fn nobody_takes_the_last_admin_away_not_even_in_two_steps() {
    let site = Site::start().await;
    let mut admin = admin(&site).await;
    let refused = admin.change(disabling("operator", true)).await.expect_err("it is the last");
    assert_eq!(refused.code, ErrorCode::LastAdmin);
    assert!(refused.message.contains("Make another account an enabled admin first"), "{refused}");
    admin.add("alice", OperatorRole::Admin).await.expect("it is made");
    // Both are under way at once, in no order; whichever comes second finds the first one written down. Who
    // is disabled is disconnected, maybe before its own answer.
    let alice = Asker::login(&site, "alice", PASSWORD).await;
    admin.send("one", Operation::ChangeOperator, disabling("alice", true)).await;
    alice.send("other", Operation::ChangeOperator, disabling("operator", true)).await;
    let left = eventually(SOON, || async {
        match (is_let_in(&site, "operator", "password").await, is_let_in(&site, "alice", PASSWORD).await) {
            (true, false) => Ok(("operator", "password", "alice")),
            (false, true) => Ok(("alice", PASSWORD, "operator")),
            both => Err(format!("operator and alice are let in: {both:?}")),
        }
    })
    .await;
    let mut left = (Asker::login(&site, left.0, left.1).await, left.0, left.2);
    let refused = left.0.change(disabling(left.1, true)).await.expect_err("it is the last");
    assert_eq!(refused.code, ErrorCode::LastAdmin);
    left.0.change(disabling(left.2, false)).await.expect("there are two again");
}

#[tokio::test]
async fn the_first_operator_is_disabled_and_enabled_by_another_admin_and_keeps_its_password() {
    let mut site = Site::start().await;
    let mut first = admin(&site).await;
    first.add("alice", OperatorRole::Admin).await.expect("it is made");
    let mut alice = Asker::login(&site, "alice", PASSWORD).await;
    alice.change(disabling("operator", true)).await.expect("alice is left");
    first.client.ended().await.expect("it is disconnected");
    assert!(!is_let_in(&site, "operator", "password").await);

    // The seed has it enabled.
    site.broker.restart_with_fresh_data().await;
    let mut alice = Asker::login(&site, "alice", PASSWORD).await;
    eventually(SOON, || async {
        if is_let_in(&site, "operator", "password").await { Err("it is still let in") } else { Ok(()) }
    })
    .await;
    alice.change(disabling("operator", false)).await.expect("it may");
    Asker::login(&site, "operator", "password").await;
}

#[tokio::test]
async fn a_broker_that_lost_its_file_gets_accounts_and_their_passwords_back() {
    let mut site = Site::start().await;
    let mut first = admin(&site).await;
    first.add("alice", OperatorRole::Admin).await.expect("it is made");
    first.add("bob", OperatorRole::Viewer).await.expect("it is made");
    let mut alice = Asker::login(&site, "alice", PASSWORD).await;
    alice.change(disabling("bob", true)).await.expect("it may");
    let asked = ChangeOperatorRequest {
        password: Some(NewPassword::new(ANOTHER)),
        role: Some(OperatorRole::Operator),
        ..changing("operator")
    };
    let changed = alice.change(asked).await.expect("it may");
    assert!(changed.note.is_some_and(|note| note.contains(".bigskies/operator.env")));
    first.client.ended().await.expect("it is disconnected");
    drop((first, alice));

    site.broker.restart_with_fresh_data().await;
    let mut alice = Asker::login(&site, "alice", PASSWORD).await;
    let first = Asker::login(&site, "operator", ANOTHER).await;
    assert!(!is_let_in(&site, "operator", "password").await, "the seed's password is not the right one");
    assert_eq!(first.code(Operation::AddOperator).await, NOT_AUTHORIZED, "it is no admin any more");
    assert!(!is_let_in(&site, "bob", PASSWORD).await);
    assert_eq!(alice.list().await.len(), 3);
}

#[tokio::test]
async fn passwords_outlive_the_key_that_they_were_sealed_with() {
    let mut site = Site::start().await;
    let mut plugins = site.plugins().await;
    let focuser = spec("focuser");
    plugins.install(&focuser).await;
    let login = plugins.provision(&focuser, envelope::StartId::new()).await.expect("a login");
    admin(&site).await.add("alice", OperatorRole::Viewer).await.expect("it is made");
    // The key is renewed, both are there for one start, then the one before is gone.
    site.stop_coordinator().await;
    let (key, previous) = (site.folder().join("key"), site.folder().join("key.previous"));
    std::fs::rename(&key, &previous).expect("it moves");
    std::fs::write(&key, [8; 32]).expect("it writes");
    site.start_coordinator();
    Asker::login(&site, "operator", "password").await.list().await;
    site.stop_coordinator().await;
    std::fs::remove_file(&previous).expect("it goes");
    site.broker.restart_with_fresh_data().await;
    site.start_coordinator();
    Asker::login(&site, "alice", PASSWORD).await;
    site.plugin(&login, Version::V3).await;
}

#[tokio::test]
async fn what_was_written_down_and_not_done_is_done_later_and_told() {
    let mut site = Site::start().await;
    let mut admin = admin(&site).await;
    let mut watcher = site.operator().await;
    admin.add("alice", OperatorRole::Viewer).await.expect("it is made");
    event(&mut watcher, EventKind::Account).await;
    // As if the coordinator had been killed between its database and the broker.
    site.stop_coordinator().await;
    let database = site.folder().join("message.db");
    let pool =
        sqlx::SqlitePool::connect(&format!("sqlite://{}", database.display())).await.expect("it opens");
    let disabled = "UPDATE accounts SET disabled = 1, applied = 0 WHERE name = 'alice'";
    sqlx::query(disabled).execute(&pool).await.expect("it writes");
    pool.close().await;
    let mut alice = Asker::login(&site, "alice", PASSWORD).await;
    site.start_coordinator();
    alice.client.ended().await.expect("she is disconnected");
    let told = event(&mut watcher, EventKind::Account).await;
    assert!(told.message.contains("as operator:operator changed it before"), "{}", told.message);
    assert!(!is_let_in(&site, "alice", PASSWORD).await);
}

#[tokio::test]
async fn what_somebody_changes_at_the_broker_by_hand_is_undone_and_told() {
    use acl::dynsec::{Command, RoleRef};
    let site = Site::start().await;
    let mut admin = admin(&site).await;
    admin.add("alice", OperatorRole::Viewer).await.expect("it is made");
    let mut watcher = site.operator().await;
    let mut root = site.root().await;
    let login = || "operator.alice".to_owned();
    let harms = [
        (Command::DeleteClient(login()), "missing"),
        (Command::SetClientNote { username: login(), textname: "mine".into() }, "beyond"),
        (Command::DisableClient(login()), "less"),
        (Command::SetClientRoles { username: login(), roles: vec![RoleRef::new("everything", 0)] }, "beyond"),
        (Command::DeleteRole(login()), "missing"),
    ];
    for (harm, kind) in harms {
        let shown = format!("{harm:?}");
        root.give(&[harm]).await;
        let drift = event(&mut watcher, EventKind::Drift).await;
        assert_eq!(drift.details["kind"], kind, "{shown}: {}", drift.message);
        assert_eq!(drift.details["account"], "alice", "{shown}: {}", drift.message);
        let alice = Asker::login(&site, "alice", PASSWORD).await;
        eventually(SOON, || async {
            let (may, not) = (alice.code(Operation::Operators).await, alice.code(Operation::Start).await);
            if may != NOT_AUTHORIZED && not == NOT_AUTHORIZED {
                Ok(())
            } else {
                Err(format!("{may:#x} {not:#x}"))
            }
        })
        .await;
    }
}

#[tokio::test]
async fn accounts_survive_a_restart_of_the_coordinator_and_plugins_do_not_notice_them() {
    let mut site = Site::start().await;
    let mut plugins = site.plugins().await;
    let focuser = spec("focuser");
    plugins.install(&focuser).await;
    let login = plugins.provision(&focuser, envelope::StartId::new()).await.expect("a login");
    let plugin = site.plugin(&login, Version::V3).await;
    let mut admin = admin(&site).await;
    admin.add("alice", OperatorRole::Operator).await.expect("it is made");
    let alice = Asker::login(&site, "alice", PASSWORD).await;
    site.stop_coordinator().await;
    site.start_coordinator();
    admin.change(disabling("operator", false)).await.expect("nothing changes");
    assert_eq!(admin.list().await.len(), 2);
    tokio::time::timeout(Duration::from_secs(10), alice.code(Operation::Operators)).await.expect("answered");
    assert!(alice.client.is_connected() && plugin.is_connected());
}
