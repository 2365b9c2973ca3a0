//! The parts themselves: what other tests rely on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use testkit::{Broker, Client, Identities, Publish, Registry, Version, eventually};

const PATIENCE: Duration = Duration::from_secs(10);
const MOMENT: Duration = Duration::from_millis(200);
const VERSIONS: [Version; 2] = [Version::V3, Version::V5];

#[tokio::test]
async fn clients_of_both_versions_learn_what_the_broker_allows() {
    let identities = Identities::new().login("u", "p", &["a/#"], &["a/#"]);
    let broker = Broker::with_identities(identities.build()).await;
    for version in VERSIONS {
        let wrong = Client::connect(broker.port(), ("u", "wrong"), "c", version).await;
        assert!(wrong.expect_err("refused").0.contains("NotAuthorized"), "{version:?}");

        let mut client = Client::connect(broker.port(), ("u", "p"), "c", version).await.expect("in");
        client.subscribe("b").await.expect_err("refused");
        client.subscribe("a/b").await.expect("granted");
        assert_eq!(client.publish("a/b", "x", 1, false).await, Ok(0));
        assert_eq!(client.recv(PATIENCE).await.expect("a message").text(), "x");
        let denied = if version == Version::V5 { 0x87 } else { 0 };
        assert_eq!(client.publish("b", "x", 1, false).await, Ok(denied));
        let unheard = if version == Version::V5 { 0x10 } else { 0 };
        assert_eq!(client.publish("a/c", "x", 1, false).await, Ok(unheard));
        assert!(client.recv(MOMENT).await.is_none());
        client.disconnect().await;
    }
}

#[tokio::test]
async fn a_dropped_client_leaves_its_will_and_a_polite_one_does_not() {
    let broker = Broker::start().await;
    let mut observer = Client::at(broker.port(), "o").connect().await.expect("in");
    observer.subscribe("will").await.expect("granted");
    for version in VERSIONS {
        let options = Client::at(broker.port(), "c").version(version).will("will", "died");
        options.clone().connect().await.expect("in").disconnect().await;
        assert!(observer.recv(MOMENT).await.is_none());
        drop(options.connect().await.expect("in"));
        assert_eq!(observer.recv(PATIENCE).await.expect("the will").text(), "died");
    }
}

#[tokio::test]
async fn a_durable_session_can_be_taken_over_and_survives_a_restart_but_not_fresh_data() {
    let mut broker = Broker::start().await;
    for version in VERSIONS {
        let options = Client::at(broker.port(), format!("{version:?}")).version(version).durable();
        let mut first = options.clone().connect().await.expect("in");
        assert!(!first.session_present());
        first.subscribe("a").await.expect("granted");
        let mut second = options.clone().connect().await.expect("in");
        assert!(second.session_present());
        first.ended().await.expect("taken over");
        assert!(!first.is_connected());
        let message = Publish {
            topic: "a".to_owned(),
            payload: "x".into(),
            qos: 1,
            user_properties: vec![("k".to_owned(), "v".to_owned())],
            ..Publish::default()
        };
        assert_eq!(second.send(message).await, Ok(0));
        let got = second.recv(PATIENCE).await.expect("a message");
        assert_eq!(got.user_properties.len(), usize::from(version == Version::V5));
        second.disconnect().await;

        broker.restart().await;
        assert!(options.clone().connect().await.expect("in").session_present());
        broker.restart_with_fresh_data().await;
        assert!(!options.connect().await.expect("in").session_present());
    }
}

#[tokio::test]
async fn a_killed_broker_is_gone_and_comes_back_on_its_port() {
    let mut broker = Broker::start().await;
    let mut client = Client::at(broker.port(), "c").connect().await.expect("in");
    broker.kill9();
    client.ended().await.expect("an end");
    Client::at(broker.port(), "c").connect().await.expect_err("nobody listens");
    broker.restart().await;
    Client::at(broker.port(), "c").connect().await.expect("in");
    eventually(PATIENCE, || async {
        let log = broker.log();
        if log.contains(" as c ") { Ok(()) } else { Err(log) }
    })
    .await;
}

fn status_of(address: &str, authorization: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request = format!("GET /v2/ HTTP/1.0\r\nHost: {address}\r\n{authorization}\r\n");
    stream.write_all(request.as_bytes()).expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read");
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_registry_asks_for_its_login_or_for_none() {
    let open = Registry::open().await;
    assert!(status_of(&open.address(), "").contains("200"), "{}", open.log());
    let closed = Registry::with_login("u", "p").await;
    assert!(status_of(&closed.address(), "").contains("401"));
    // u:p
    let right = status_of(&closed.address(), "Authorization: Basic dTpw\r\n");
    assert!(right.contains("200"), "{right}\n{}", closed.log());
}
