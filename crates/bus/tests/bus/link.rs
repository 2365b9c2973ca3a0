//! The connection itself: refusals, pauses, wills, goodbyes.

use std::time::{Duration, Instant};

use bus::{Bus, Config, Link, Outgoing, PublishError, SubscribeError, Tls};
use testkit::{Broker, Client, Identities, eventually};

use crate::common::{MOMENT, PATIENCE, config, connect, durable, link, message, subscribe, text, up};

fn reason(link: &Link) -> &str {
    match link {
        Link::Down { reason } => reason,
        Link::Up { .. } => "up",
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_in_words_and_not_tried_in_a_hurry() {
    let identities = Identities::new().login("u", "right", &["#"], &["#"]);
    let broker = Broker::with_identities(identities.build()).await;
    let (bus, _inbox) = Bus::connect(config(&broker, "intruder").login("u", "wrong"));
    let down = link(&bus, |l| reason(l).contains("refused the login")).await;
    assert!(reason(&down).contains("not authorized"), "{down:?}");

    // With pauses of 250 ms, 500 ms, 1 s, ... a fourth attempt needs more than a second.
    let start = Instant::now();
    let mut attempts = bus.link();
    while start.elapsed() < Duration::from_secs(2) {
        let _ = tokio::time::timeout(Duration::from_secs(2), attempts.changed()).await;
    }
    let log = broker.log();
    let count = log.matches("intruder").count();
    assert!((2..=5).contains(&count), "{count} attempts in two seconds:\n{log}");
}

#[tokio::test]
async fn what_is_no_broker_is_told_in_words() {
    let registry = testkit::Registry::open().await;
    let port = registry.address().rsplit(':').next().and_then(|p| p.parse().ok());
    let config = Config::new("127.0.0.1", port.expect("a port"), "a");
    let (bus, _inbox) = Bus::connect(config);
    let down = link(&bus, |l| reason(l) != "not connected yet").await;
    assert!(reason(&down).contains("broke"), "{down:?}");

    let (bus, _inbox) = Bus::connect(Config::new("does-not-exist.invalid", 1883, "a"));
    let down = link(&bus, |l| reason(l) != "not connected yet").await;
    assert!(reason(&down).contains("cannot reach the broker at does-not-exist.invalid:1883"), "{down:?}");
}

#[tokio::test]
async fn a_client_id_that_another_takes_is_told_in_words() {
    let broker = Broker::start().await;
    let (bus, _inbox) = connect(config(&broker, "mine")).await;
    let thief = Client::at(broker.port(), "mine").connect().await.expect("a client");
    let down = link(&bus, |l| !l.is_up()).await;
    assert!(reason(&down).contains("taken over"), "{down:?}");
    drop(thief);
    up(&bus).await;
}

#[tokio::test]
async fn a_broker_that_answers_nothing_more_is_noticed() {
    let broker = Broker::start().await;
    let mut config = config(&broker, "a");
    config.keep_alive = Duration::from_secs(1);
    let (bus, _inbox) = connect(config).await;
    broker.pause();
    let down = link(&bus, |l| !l.is_up()).await;
    assert!(reason(&down).contains("pings"), "{down:?}");
    broker.resume();
    up(&bus).await;
}

#[tokio::test]
async fn an_encrypted_connection_needs_a_broker_that_the_given_authority_signed() {
    let broker = Broker::open().tls().await;
    let another = Broker::open().tls().await;
    for host in ["127.0.0.1", "localhost"] {
        let mut config = config(&broker, host);
        config.host = host.to_owned();
        let trusting = |pem: &str| Some(Tls { ca_pem: pem.as_bytes().to_vec() });
        config.tls = trusting(broker.ca_pem().expect("it is encrypted"));
        let (bus, mut inbox) = connect(config.clone()).await;
        subscribe(&bus, "x").await;
        bus.publish(Outgoing::new("x", vec![b'x'; 100_000])).await.expect("published");
        assert_eq!(message(&mut inbox).await.payload.len(), 100_000);
        let thief = connect(config.clone()).await;
        let down = link(&bus, |l| !l.is_up()).await;
        assert!(reason(&down).contains("taken over"), "{down:?}");
        drop((bus, thief));

        for (ca, words) in [(another.ca_pem().expect("it is encrypted"), "certificate"), ("", "no CA")] {
            config.tls = trusting(ca);
            let (bus, _inbox) = Bus::connect(config.clone());
            let down = link(&bus, |l| reason(l) != "not connected yet").await;
            assert!(reason(&down).contains(words), "{down:?}");
        }
    }
}

async fn observer(broker: &Broker) -> Client {
    let observer = Client::at(broker.port(), "observer").connect().await.expect("a client");
    observer.subscribe("will").await.expect("granted");
    observer
}

#[tokio::test]
async fn a_shutdown_publishes_no_will_and_keeps_the_durable_session() {
    let broker = Broker::start().await;
    let mut observer = observer(&broker).await;
    let config = durable(&broker, "a").last_will(Outgoing::new("will", "died"));
    let (bus, _inbox) = connect(config.clone()).await;
    subscribe(&bus, "x").await;
    let clone = bus.clone();
    bus.shutdown().await;
    assert!(observer.recv(MOMENT).await.is_none());

    let refused = clone.publish(Outgoing::new("x", "1")).await;
    assert_eq!(refused, Err(PublishError::Closed { topic: "x".to_owned() }));
    assert_eq!(clone.subscribe(&["x".to_owned()]).await, Err(SubscribeError::Closed));

    observer.publish("x", "2", 1, false).await.expect("taken");
    let (bus, mut inbox) = connect(config).await;
    assert_eq!(up(&bus).await, (1, true));
    assert_eq!(text(&message(&mut inbox).await), "2");
}

#[tokio::test]
async fn a_dropped_bus_publishes_its_will() {
    let broker = Broker::start().await;
    let mut observer = observer(&broker).await;
    let will = Outgoing::new("will", "died").expires_in(Duration::from_secs(60)).retained();
    let (bus, mut inbox) = connect(config(&broker, "a").last_will(will)).await;
    drop(bus.clone());
    assert!(observer.recv(MOMENT).await.is_none());
    drop(bus);
    let will = observer.recv(PATIENCE).await.expect("the will");
    assert_eq!((will.topic.as_str(), will.text().as_str()), ("will", "died"));
    while inbox.recv().await.is_some() {}
}

#[tokio::test]
async fn a_shutdown_waits_for_what_is_in_flight() {
    let broker = Broker::start().await;
    let mut observer = observer(&broker).await;
    let (bus, _inbox) = connect(config(&broker, "a")).await;
    let publishing: Vec<_> = (0..50)
        .map(|i| {
            let bus = bus.clone();
            tokio::spawn(async move { bus.publish(Outgoing::new("will", i.to_string())).await })
        })
        .collect();
    // The first has arrived, so all have been handed over or are told as not sent.
    observer.recv(PATIENCE).await.expect("a message");
    bus.shutdown().await;
    let mut confirmed = 0;
    for task in publishing {
        match task.await.expect("no panic") {
            Ok(_) => confirmed += 1,
            Err(PublishError::Closed { .. } | PublishError::Lost { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    for _ in 1..confirmed {
        observer.recv(PATIENCE).await.expect("what was confirmed");
    }
}

#[tokio::test]
async fn a_shutdown_is_quick_also_without_a_broker() {
    let mut broker = Broker::start().await;
    let (bus, mut inbox) = connect(config(&broker, "a")).await;
    broker.stop();
    link(&bus, |l| !l.is_up()).await;
    tokio::time::timeout(Duration::from_secs(5), bus.shutdown()).await.expect("quick");
    while inbox.recv().await.is_some() {}
}

#[tokio::test]
async fn a_shutdown_of_a_frozen_connection_ends_too() {
    let broker = Broker::start().await;
    let (bus, _inbox) = connect(config(&broker, "a")).await;
    broker.pause();
    let stuck = tokio::spawn({
        let bus = bus.clone();
        async move { bus.publish(Outgoing::new("x", "1")).await }
    });
    tokio::time::timeout(Duration::from_secs(10), bus.shutdown()).await.expect("an end");
    let told = stuck.await.expect("no panic");
    assert!(told.is_err(), "{told:?}");
    broker.resume();
}

#[tokio::test]
async fn all_clients_of_a_restarted_broker_come_back() {
    let mut broker = Broker::start().await;
    let mut buses = Vec::new();
    for i in 0..20 {
        buses.push(connect(config(&broker, &format!("c{i}"))).await);
    }
    broker.restart().await;
    for (bus, _inbox) in &buses {
        eventually(PATIENCE, || async {
            let link = bus.link().borrow().clone();
            match link {
                Link::Up { epoch: 2, .. } => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
}
