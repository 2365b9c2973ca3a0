//! What the broker's log tells: sessions, failed logins, taken-over client ids.

use envelope::payload::event::{Event, EventKind};
use envelope::payload::login::ProvisionResponse;
use envelope::payload::spec::Spec;
use envelope::payload::watch::{Session, SessionsRequest, SessionsResponse};
use envelope::{Operation, StartId};
use testkit::{Client, Refusal, Version, eventually};

use crate::site::{SOON, Site, ask, event, health_that_says, id, spec};

async fn sessions(operator: &mut Client) -> SessionsResponse {
    ask(operator, Operation::Sessions, SessionsRequest {}).await.expect("it is told")
}

/// Waits until the sessions are so, and returns one.
async fn listed(operator: &mut Client, is_it: impl Fn(&Session) -> bool) -> Session {
    let operator = tokio::sync::Mutex::new(operator);
    eventually(SOON, || async {
        let found = sessions(*operator.lock().await).await;
        found.sessions.iter().find(|s| is_it(s)).cloned().ok_or_else(|| format!("{found:?}"))
    })
    .await
}

/// A site whose coordinator listens to the log.
async fn listening() -> (Site, Client) {
    let mut site = Site::comparing_once().await;
    site.start_coordinator();
    let mut operator = site.client("operator.operator", "password", Version::V5).await;
    until_it_listens(&mut operator).await;
    (site, operator)
}

async fn until_it_listens(operator: &mut Client) -> SessionsResponse {
    let operator = tokio::sync::Mutex::new(operator);
    eventually(SOON, || async {
        let found = sessions(*operator.lock().await).await;
        if found.listening_since.is_some() { Ok(found) } else { Err("it does not listen yet") }
    })
    .await
}

async fn connect(site: &Site, login: &ProvisionResponse, client_id: &str) -> Result<Client, Refusal> {
    let login = (login.username.as_str(), login.password.as_str());
    Client::connect(site.broker.port(), login, client_id, Version::V5).await
}

async fn started(site: &Site, spec: &Spec) -> ProvisionResponse {
    let mut plugins = site.plugins().await;
    plugins.install(spec).await;
    plugins.provision(spec, StartId::new()).await.expect("a login")
}

/// The next take-over that a client id of this name is in.
async fn takeover_of(events: &mut Client, client_id: &str) -> Event {
    loop {
        let told = event(events, EventKind::Takeover).await;
        if told.details["client_id"] == client_id {
            return told;
        }
    }
}

#[tokio::test]
async fn a_session_is_listed_with_its_true_login_and_told_when_it_begins_and_ends() {
    let (site, mut operator) = listening().await;
    let mut events = site.operator().await;
    let login = started(&site, &spec("focuser")).await;
    let hostile = "v (p2, c1, k60, u'plugin.victim').";
    let client = connect(&site, &login, hostile).await.expect("it may");
    let session = listed(&mut operator, |s| s.client_id == hostile).await;
    assert_eq!(session.login.as_deref(), Some("plugin.focuser"));
    assert!(session.address.is_some_and(|a| a.starts_with("127.0.0.1:")) && session.since.is_some());
    let told = event(&mut events, EventKind::Session).await;
    assert_eq!(told.plugin_id, Some(id("focuser")));
    assert_eq!((&told.details["state"], &told.details["client_id"]), (&"connected".into(), &hostile.into()));
    client.disconnect().await;
    let told = event(&mut events, EventKind::Session).await;
    assert_eq!(told.plugin_id, Some(id("focuser")));
    assert_eq!((&told.details["state"], &told.details["client_id"]), (&"ended".into(), &hostile.into()));
    let left = sessions(&mut operator).await;
    assert!(left.sessions.iter().all(|s| s.client_id != hostile), "{left:?}");
}

#[tokio::test]
async fn a_client_with_an_endless_id_is_listed_without_a_login() {
    let (site, mut operator) = listening().await;
    let login = started(&site, &spec("focuser")).await;
    let _client = connect(&site, &login, &"L".repeat(3_000)).await.expect("the broker lets it");
    let session = listed(&mut operator, |s| s.client_id.starts_with("LLLL")).await;
    assert_eq!(session.login, None);
    assert!(session.client_id.chars().count() < 200 && session.address.is_some());
}

#[tokio::test]
async fn failed_logins_are_told_once_for_each_address() {
    let (site, mut operator) = listening().await;
    let mut events = site.operator().await;
    for n in 0..5 {
        let login = ("plugin.focuser", "guessed");
        let name = format!("guess-{n}");
        Client::connect(site.broker.port(), login, &name, Version::V3).await.expect_err("a wrong password");
    }
    let told = event(&mut events, EventKind::Login).await;
    assert_eq!(told.details["address"], "127.0.0.1");
    assert!(told.message.contains("did not let somebody in"), "{}", told.message);
    // A marker after it: no other was told in between.
    let login = started(&site, &spec("marker")).await;
    let _client = connect(&site, &login, "marker").await.expect("it may");
    loop {
        let message = events.recv(SOON).await.expect("an event");
        assert!(!message.topic.ends_with("/login"), "{}", message.text());
        if message.topic.ends_with("/session") {
            break;
        }
    }
    let found = sessions(&mut operator).await;
    assert!(found.sessions.iter().all(|s| !s.client_id.starts_with("guess")), "{found:?}");
}

#[tokio::test]
async fn a_plugin_that_takes_anothers_client_id_from_it_loses_its_login_until_its_next_start() {
    let (site, mut operator) = listening().await;
    let mut events = site.operator().await;
    let owner = Spec { client_ids: vec!["focuser app".into()], ..spec("focuser") };
    let thief = spec("thief");
    let (owners, thiefs) = (started(&site, &owner).await, started(&site, &thief).await);
    let mut robbed = connect(&site, &owners, "focuser app").await.expect("it may");
    listed(&mut operator, |s| s.client_id == "focuser app").await;
    let mut taker = connect(&site, &thiefs, "focuser app").await.expect("the broker lets it");
    robbed.ended().await.expect("it was taken over");
    let told = takeover_of(&mut events, "focuser app").await;
    assert_eq!((told.plugin_id, &told.details["disabled"]), (Some(id("focuser")), &true.into()));
    assert_eq!(told.details["loser"], "plugin.focuser");
    assert_eq!(told.details["taker"], "plugin.thief");
    taker.ended().await.expect("it is thrown out");
    assert!(!site.is_let_in(&thiefs).await && site.is_let_in(&owners).await);
    let health = health_that_says(&site, "a theft", |text| text.contains("took the client id")).await;
    assert!(health.contains("thief") && health.contains("focuser app"), "{health}");

    let next = site.plugins().await.provision(&thief, StartId::new()).await.expect("a new start");
    assert!(site.is_let_in(&next).await);
    health_that_says(&site, "no theft", |text| !text.contains("took the client id")).await;
}

#[tokio::test]
async fn a_plugin_that_connects_without_end_loses_its_login_until_its_next_start() {
    let (site, operator) = listening().await;
    let mut events = site.operator().await;
    let (greedy, other) = (spec("greedy"), spec("other"));
    let (login, others) = (started(&site, &greedy).await, started(&site, &other).await);
    let mut held = Vec::new();
    while let Ok(client) = connect(&site, &login, &format!("greedy-{}", held.len())).await {
        held.push(client);
        assert!(held.len() < 500, "it connects without end");
    }
    let told = event(&mut events, EventKind::Flood).await;
    assert_eq!((told.plugin_id, &told.details["disabled"]), (Some(id("greedy")), &true.into()));
    assert_eq!(told.details["connections"], 33);
    for client in &mut held {
        client.ended().await.expect("it is thrown out");
    }
    assert!(!site.is_let_in(&login).await && site.is_let_in(&others).await);
    let operator = tokio::sync::Mutex::new(operator);
    eventually(SOON, || async {
        let found = sessions(&mut *operator.lock().await).await.sessions;
        let left = found.iter().filter(|s| s.login.as_deref() == Some("plugin.greedy")).count();
        if left == 0 { Ok(()) } else { Err(format!("{left} are listed")) }
    })
    .await;

    let next = site.plugins().await.provision(&greedy, StartId::new()).await.expect("a new start");
    assert!(site.is_let_in(&next).await);
}

#[tokio::test]
async fn who_comes_first_does_not_make_a_client_id_his_and_taking_ones_own_back_is_no_theft() {
    let (site, mut operator) = listening().await;
    let mut events = site.operator().await;
    let owners = started(&site, &spec("focuser")).await;
    let others = started(&site, &spec("other")).await;
    let mut first = connect(&site, &others, "focuser").await.expect("the broker lets it");
    let told = takeover_of(&mut events, "focuser").await;
    assert_eq!((&told.details["owner"], &told.details["disabled"]), (&"focuser".into(), &false.into()));
    let mut owner = connect(&site, &owners, "focuser").await.expect("it may");
    first.ended().await.expect("it was taken over");
    listed(&mut operator, |s| s.client_id == "focuser" && s.login.as_deref() == Some("plugin.focuser")).await;
    assert!(owner.is_connected() && site.is_let_in(&others).await, "it has lost nothing but a connection");
    // It connects again, as client libraries do: now the owner has lost it.
    let mut again = connect(&site, &others, "focuser").await.expect("the broker lets it");
    owner.ended().await.expect("it was taken over");
    loop {
        if takeover_of(&mut events, "focuser").await.details["disabled"] == true {
            break;
        }
    }
    again.ended().await.expect("it is thrown out");
    assert!(!site.is_let_in(&others).await && site.is_let_in(&owners).await);
}

#[tokio::test]
async fn an_operator_who_takes_a_plugins_client_id_is_told_of_and_let_be() {
    let (site, mut operator) = listening().await;
    let mut events = site.operator().await;
    let owners = started(&site, &spec("focuser")).await;
    let mut robbed = connect(&site, &owners, "focuser").await.expect("it may");
    listed(&mut operator, |s| s.client_id == "focuser").await;
    let login = ("operator.operator", "password");
    let taker = Client::connect(site.broker.port(), login, "focuser", Version::V5).await.expect("it may");
    robbed.ended().await.expect("it was taken over");
    let told = takeover_of(&mut events, "focuser").await;
    assert_eq!(
        (&told.details["disabled"], &told.details["taker"]),
        (&false.into(), &"operator.operator".into())
    );
    assert!(told.message.contains("plugin.focuser"), "{}", told.message);
    assert!(taker.is_connected());
    let own = Client::connect(site.broker.port(), login, "a-console", Version::V5).await.expect("it may");
    listed(&mut operator, |s| s.client_id == "a-console").await;
    let _own = Client::connect(site.broker.port(), login, "a-console", Version::V5).await.expect("it may");
    let told = takeover_of(&mut events, "a-console").await;
    assert!(told.message.contains("the same login") && told.plugin_id.is_none(), "{}", told.message);
    drop(own);
}

#[tokio::test]
async fn after_a_gap_what_was_seen_before_is_not_told_any_more() {
    let (mut site, mut operator) = listening().await;
    let login = started(&site, &spec("focuser")).await;
    let _client = connect(&site, &login, "before").await.expect("it may");
    listed(&mut operator, |s| s.client_id == "before").await;
    let since = sessions(&mut operator).await.listening_since;
    drop(operator);
    site.broker.restart().await;
    let mut operator = site.client("operator.operator", "password", Version::V5).await;
    let after = until_it_listens(&mut operator).await;
    assert!(after.listening_since > since, "{after:?}");
    assert!(after.sessions.iter().all(|s| s.client_id != "before"), "{after:?}");
}
