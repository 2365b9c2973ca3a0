//! A plugin's life at the broker.

use envelope::payload::event::EventKind;
use envelope::payload::login::{Access, ExplainRequest, Explanation};
use envelope::payload::spec::{AclOutcome, Presence, Spec};
use envelope::topic::{self, RequestTopic, coordinator, plugin};
use envelope::{
    Answer, Coordinator, Envelope, ErrorCode, MessageType, Operation, OperatorName, Principal, StartId,
};
use testkit::Version;

use crate::site::{SOON, Site, below, event, id, next, spec};

#[tokio::test]
async fn a_plugin_can_do_what_its_spec_says_and_nothing_else() {
    let site = Site::start().await;
    let mut plugins = site.plugins().await;
    let operator = site.operator().await;
    let (focuser, other) = (spec("focuser"), spec("other"));
    plugins.install(&focuser).await;
    plugins.install(&other).await;
    for version in [Version::V3, Version::V5] {
        let login = plugins.provision(&focuser, StartId::new()).await.expect("a login");
        assert_eq!(login.username, "plugin.focuser");
        let mut client = site.plugin(&login, version).await;
        client.subscribe(&below("focuser-alias", "#")).await.expect("its own");
        client.subscribe(&coordinator::token(&id("focuser"))).await.expect("its own");
        let stop = plugin::control_command(&id("focuser-alias"), "stop");
        operator.publish(&stop, "{}", 1, false).await.expect("published");
        assert_eq!(client.recv(SOON).await.map(|m| m.topic), Some(stop));

        let mut watcher = site.client("operator.operator", "password", Version::V5).await;
        for name in ["focuser", "focuser-alias", "other", "other-alias"] {
            watcher.subscribe(&plugin::namespace(&id(name))).await.expect("it may");
        }
        client.publish(&plugin::health(&id("other")), "forged", 1, false).await.expect("answered");
        client
            .publish(&plugin::control_command(&id("other"), "x"), "forged", 1, false)
            .await
            .expect("answered");
        let health = below("focuser-alias", "health");
        client.publish(&health, "{}", 1, false).await.expect("published");
        assert_eq!(watcher.recv(SOON).await.map(|m| m.topic), Some(health), "{version:?}");

        for filter in ["#".to_owned(), plugin::all(), plugin::namespace(&id("other")), coordinator::tokens()]
        {
            client.subscribe(&filter).await.expect_err(&filter);
        }
    }
}

#[tokio::test]
async fn a_login_waits_for_the_rights_of_its_generation() {
    let mut site = Site::without_coordinator().await;
    site.start_coordinator();
    let mut plugins = site.plugins().await;
    let focuser = spec("focuser");
    // The coordinator may not be listening yet, which is no answer at all.
    let refused = loop {
        let call = plugins.provision(&focuser, StartId::new());
        if let Ok(answer) = tokio::time::timeout(std::time::Duration::from_millis(500), call).await {
            break answer.expect_err("no spec yet");
        }
    };
    assert_eq!(refused.code, ErrorCode::DependencyUnavailable);
    assert!(refused.message.contains("ask again"), "{}", refused.message);
    plugins.install(&focuser).await;
    let later = next(&focuser, "observatory/x");
    let refused = plugins.provision(&later, StartId::new()).await.expect_err("not that generation");
    assert_eq!(refused.code, ErrorCode::DependencyUnavailable);
    plugins.provision(&focuser, StartId::new()).await.expect("a login");
}

#[tokio::test]
async fn the_same_start_has_the_same_password_and_a_new_one_replaces_it() {
    let site = Site::start().await;
    let mut plugins = site.plugins().await;
    let focuser = spec("focuser");
    plugins.install(&focuser).await;
    let (first, second) = (StartId::new(), StartId::new());
    let login = plugins.provision(&focuser, first).await.expect("a login");
    let mut client = site.plugin(&login, Version::V3).await;
    assert_eq!(plugins.provision(&focuser, first).await.expect("again"), login);
    assert!(client.is_connected(), "asked again, nothing changes");

    let replaced = plugins.provision(&focuser, second).await.expect("a new login");
    assert_ne!(replaced.password, login.password);
    client.ended().await.expect("the login of the earlier start is gone");
    assert!(!site.is_let_in(&login).await);
    assert!(site.is_let_in(&replaced).await);

    plugins.deprovision(&focuser, first).await.expect("it ended before");
    assert!(site.is_let_in(&replaced).await, "the login of a later start stays");
    let gone = plugins.deprovision(&focuser, second).await.expect("it ends");
    assert_eq!(gone.start_id, second);
    plugins.deprovision(&focuser, second).await.expect("done already is done");
    assert!(!site.is_let_in(&replaced).await);
    plugins.install(&next(&focuser, "observatory/x")).await;
}

#[tokio::test]
async fn a_new_generation_does_not_touch_the_running_plugin() {
    let site = Site::start().await;
    let mut plugins = site.plugins().await;
    let mut root = site.root().await;
    let focuser = spec("focuser");
    let old_role = plugins.install(&focuser).await;
    let login = plugins.provision(&focuser, StartId::new()).await.expect("a login");
    let client = site.plugin(&login, Version::V5).await;
    let later = next(&focuser, "observatory/x");
    let new_role = plugins.install(&later).await;
    assert_ne!(old_role, new_role);
    assert_eq!(client.publish("observatory/x", "", 1, false).await, Ok(0x87));
    assert!(client.is_connected());
    assert!(root.role(&old_role).await.is_some());

    let login = plugins.provision(&later, StartId::new()).await.expect("a login");
    let client = site.plugin(&login, Version::V5).await;
    assert_ne!(client.publish("observatory/x", "", 1, false).await, Ok(0x87));
    assert!(root.role(&old_role).await.is_none(), "nobody has it any more");
}

#[tokio::test]
async fn an_absent_spec_leaves_nothing_and_is_forgotten_when_it_is_cleared() {
    let site = Site::start().await;
    let mut plugins = site.plugins().await;
    let mut root = site.root().await;
    let mut focuser = spec("focuser");
    plugins.install(&focuser).await;
    let login = plugins.provision(&focuser, StartId::new()).await.expect("a login");
    let mut client = site.plugin(&login, Version::V3).await;

    plugins.clear(&id("focuser")).await;
    let other = spec("other");
    plugins.install(&other).await;
    assert!(client.is_connected(), "that a spec is missing means nothing");

    focuser.presence = Presence::Absent;
    focuser.generation = focuser.generation.next();
    plugins.publish(&focuser).await;
    assert_eq!(plugins.outcome(&focuser).await, AclOutcome::Absent);
    client.ended().await.expect("its login is gone");
    assert_eq!(root.left_of("focuser").await, Vec::<String>::new());
    let refused = plugins.provision(&focuser, StartId::new()).await.expect_err("it is absent");
    assert_eq!(refused.code, ErrorCode::DependencyUnavailable);
    plugins.clear(&id("focuser")).await;
    plugins.cleared(&id("focuser")).await;
    assert_eq!(root.left_of("other").await.len(), 2);

    plugins.install(&spec("focuser")).await;
}

#[tokio::test]
async fn what_a_broker_still_says_of_a_removed_installation_is_not_believed() {
    let mut site = Site::start().await;
    let mut plugins = site.plugins().await;
    let mut root = site.root().await;
    let old = spec("focuser");
    plugins.install(&old).await;
    let absent = plugins.remove(&old).await;

    // What the broker kept comes with the subscription.
    let mut operator = site.operator().await;
    site.stop_coordinator().await;
    plugins.publish(&old).await;
    site.start_coordinator();
    assert_eq!(plugins.outcome(&old).await, AclOutcome::Absent, "so that its topic is cleared again");
    let refused = event(&mut operator, EventKind::Refused).await;
    assert!(refused.message.contains("was removed"), "{}", refused.message);
    assert_eq!(root.left_of("focuser").await, Vec::<String>::new());
    plugins.clear(&id("focuser")).await;
    plugins.cleared(&id("focuser")).await;

    let anew = spec("focuser");
    plugins.install(&anew).await;
    let login = plugins.provision(&anew, StartId::new()).await.expect("a login");
    let client = site.plugin(&login, Version::V5).await;
    for (ghost, next) in [(&absent, "other"), (&old, "third")] {
        site.stop_coordinator().await;
        plugins.publish(ghost).await;
        site.start_coordinator();
        // What comes after it is seen to after it.
        plugins.install(&spec(next)).await;
        assert!(client.is_connected(), "it is another installation");
        assert_eq!(root.left_of("focuser").await.len(), 3);
    }
    plugins.install(&next(&anew, "observatory/x")).await;
}

#[tokio::test]
async fn what_a_broker_still_says_is_not_believed_before_the_end_of_a_removal_either() {
    let mut site = Site::start().await;
    let mut plugins = site.plugins().await;
    let mut root = site.root().await;
    let old = spec("focuser");
    plugins.install(&old).await;
    // A removal makes no new generation.
    let absent = Spec { presence: Presence::Absent, ..old.clone() };
    plugins.publish(&absent).await;
    assert_eq!(plugins.outcome(&absent).await, AclOutcome::Absent);
    site.stop_coordinator().await;
    plugins.publish(&old).await;
    site.start_coordinator();
    assert_eq!(plugins.outcome(&old).await, AclOutcome::Absent);
    assert_eq!(root.left_of("focuser").await, Vec::<String>::new());
    plugins.clear(&id("focuser")).await;
    plugins.cleared(&id("focuser")).await;
    plugins.install(&spec("focuser")).await;
}

#[tokio::test]
async fn what_is_said_now_of_a_removed_installation_is_meant() {
    let site = Site::start().await;
    let mut plugins = site.plugins().await;
    let old = spec("focuser");
    plugins.install(&old).await;
    plugins.remove(&old).await;
    // As a registry says that was put back.
    plugins.install(&old).await;
    plugins.provision(&old, StartId::new()).await.expect("a login");
}

#[tokio::test]
async fn a_spec_that_lies_about_what_was_approved_is_refused_with_every_reason() {
    let site = Site::start().await;
    let mut plugins = site.plugins().await;
    let mut operator = site.operator().await;
    let mut root = site.root().await;
    let mut liar = spec("liar");
    liar.publish = vec![coordinator::all(), plugin::all_requests()];
    liar.subscribe = vec!["#".into(), coordinator::tokens()];
    plugins.publish(&liar).await;
    let AclOutcome::Refused { reasons } = plugins.outcome(&liar).await else { panic!("it is refused") };
    assert_eq!(reasons.len(), 4, "{reasons:?}");
    assert!(event(&mut operator, EventKind::Acl).await.message.contains("never granted"));
    assert_eq!(root.left_of("liar").await, Vec::<String>::new());
    let refused = plugins.provision(&liar, StartId::new()).await.expect_err("refused");
    assert_eq!(refused.code, ErrorCode::Forbidden);
    assert_eq!(refused.details["reasons"].as_array().map(Vec::len), Some(4));

    plugins.install(&spec("honest")).await;
    let mut thief = spec("thief");
    thief.alias = Some(id("honest"));
    thief.health_topic = plugin::health(&id("thief"));
    (thief.publish, thief.subscribe) = (vec![], vec![]);
    plugins.publish(&thief).await;
    assert!(matches!(plugins.outcome(&thief).await, AclOutcome::Refused { .. }));
}

#[tokio::test]
async fn what_is_no_spec_is_reported_and_does_no_harm() {
    let site = Site::start().await;
    let mut plugins = site.plugins().await;
    let mut operator = site.operator().await;
    plugins.install(&spec("focuser")).await;
    let forger = site.client("coordinator.plugin", "password", Version::V5).await;
    let wrong = Envelope::new(MessageType::Status, "x", spec("other")).encode();
    for payload in [b"{".to_vec(), wrong] {
        forger.publish(&coordinator::spec(&id("focuser")), payload, 1, true).await.expect("published");
        let event = event(&mut operator, EventKind::Refused).await;
        assert_eq!(event.plugin_id, Some(id("focuser")));
    }
    plugins.install(&spec("third")).await;
}

#[tokio::test]
async fn explain_tells_who_may_do_what_and_by_which_rule() {
    let site = Site::start().await;
    let mut plugins = site.plugins().await;
    plugins.install(&spec("focuser")).await;
    let mut operator = site.client("operator.operator", "password", Version::V5).await;
    let user = OperatorName::parse("operator").expect("a name");
    let ask = RequestTopic::new(Principal::Operator(user.clone()), Operation::Explain);
    operator.subscribe(&topic::operator::responses(&user)).await.expect("its own");
    let mut explain = async |plugin: &str, access, topic: String| {
        let request = ExplainRequest { plugin_id: id(plugin), access, topic };
        let request = Envelope::new(MessageType::Request, "test", request).encode();
        operator.publish(&ask.to_string(), request, 1, false).await.expect("published");
        let message = operator.recv(SOON).await.expect("an answer");
        serde_json::from_slice::<Envelope<Answer>>(&message.payload).expect("an answer").payload
    };
    let told = |answer: Answer| match answer {
        Answer::Success(data) => serde_json::from_value::<Explanation>(data).expect("an explanation"),
        Answer::Failure(error) => panic!("{error}"),
    };
    let own = told(explain("focuser", Access::Publish, below("focuser-alias", "data")).await);
    assert!(own.allowed && own.rule == Some(below("focuser-alias", "data")), "{own:?}");
    let token = told(explain("focuser", Access::Subscribe, coordinator::token(&id("other"))).await);
    assert!(!token.allowed && token.role.is_some_and(|r| r.starts_with("guard")), "{}", token.reason);
    let other = told(explain("focuser", Access::Publish, plugin::health(&id("other"))).await);
    assert!(!other.allowed && other.role.is_none(), "{other:?}");
    let bad = explain("focuser", Access::Publish, "a/#".into()).await;
    assert!(matches!(bad, Answer::Failure(e) if e.code == ErrorCode::BadRequest));
    let unknown = explain("nobody", Access::Publish, "a".into()).await;
    assert!(matches!(unknown, Answer::Failure(e) if e.code == ErrorCode::UnknownPlugin));
    assert_eq!(ask.coordinator, Coordinator::Message);
}
