//! What a publish reports.

use std::time::{Duration, Instant};

use bus::{Config, Delivered, Link, Outgoing, PublishError, Qos};
use testkit::{Broker, Client, Identities};

use crate::common::{PATIENCE, config, connect, link, message, message_soon, subscribe, text, up};
use crate::fake::{self, Answer};

#[tokio::test]
async fn a_publish_tells_whether_somebody_is_subscribed() {
    let broker = Broker::start().await;
    let (bus, mut inbox) = connect(config(&broker, "a")).await;
    let nobody = bus.publish(Outgoing::new("a/b", "1")).await;
    assert_eq!(nobody, Ok(Delivered::Nobody));

    subscribe(&bus, "a/#").await;
    let somebody = bus.publish(Outgoing::new("a/b", "2")).await;
    assert_eq!(somebody, Ok(Delivered::Subscribers));
    assert_eq!(text(&message(&mut inbox).await), "2");

    let unconfirmed = Outgoing::new("a/b", "3").qos(Qos::AtMostOnce);
    assert_eq!(bus.publish(unconfirmed).await, Ok(Delivered::Unconfirmed));
    assert_eq!(text(&message(&mut inbox).await), "3");
}

#[tokio::test]
async fn a_refused_publish_tells_the_reason_and_the_connection_stays() {
    let identities = Identities::new().login("u", "p", &["mine/#"], &[]);
    let broker = Broker::with_identities(identities.build()).await;
    let (bus, _inbox) = connect(config(&broker, "a").login("u", "p")).await;

    let refused = bus.publish(Outgoing::new("theirs", "x")).await;
    let Err(PublishError::Refused { topic, code, reason }) = refused else {
        panic!("not refused: {refused:?}");
    };
    assert_eq!((topic.as_str(), code, reason), ("theirs", 0x87, "not authorized"));

    assert_eq!(bus.publish(Outgoing::new("mine/x", "x")).await, Ok(Delivered::Nobody));
    assert_eq!(up(&bus).await.0, 1);
}

#[tokio::test]
async fn a_message_over_the_brokers_limit_is_refused_and_the_connection_stays() {
    let broker = Broker::open().line("max_packet_size 20000").await;
    let (bus, _inbox) = connect(config(&broker, "a")).await;
    let large = bus.publish(Outgoing::new("a", vec![b'x'; 20_000])).await;
    assert!(matches!(large, Err(PublishError::TooLarge { size: 20_010, limit: 20_000, .. })), "{large:?}");
    let fits = bus.publish(Outgoing::new("a", vec![b'x'; 19_990])).await;
    assert_eq!(fits, Ok(Delivered::Nobody));
    assert_eq!(up(&bus).await.0, 1);
}

#[tokio::test]
async fn a_message_over_our_own_limit_does_not_reach_us_and_does_no_harm() {
    let broker = Broker::start().await;
    let (bus, mut inbox) = connect(config(&broker, "a")).await;
    subscribe(&bus, "a/#").await;
    let flood = Client::at(broker.port(), "raw").connect().await.expect("a client");
    for retain in [true, false] {
        flood.publish("a/large", vec![0; 2 << 20], 1, retain).await.expect("taken");
    }
    flood.publish("a/small", "x", 1, false).await.expect("taken");
    assert_eq!(message(&mut inbox).await.topic, "a/small");
    assert_eq!(up(&bus).await.0, 1);
}

#[tokio::test]
async fn a_topic_that_the_broker_would_hang_up_on_is_not_sent() {
    let broker = Broker::start().await;
    let (bus, _inbox) = connect(config(&broker, "a")).await;
    for topic in ["", "a/#", "a/\u{1}", "a/\0"] {
        let refused = bus.publish(Outgoing::new(topic, "x")).await;
        assert!(matches!(refused, Err(PublishError::Invalid { .. })), "{topic:?}: {refused:?}");
    }
    assert_eq!(bus.publish(Outgoing::new("a", "x")).await, Ok(Delivered::Nobody));
    assert_eq!(up(&bus).await.0, 1);
}

#[tokio::test]
async fn a_publish_without_a_connection_is_told_as_not_sent_and_never_arrives() {
    let mut broker = Broker::start().await;
    let mut config = config(&broker, "a");
    config.publish_deadline = Duration::from_millis(100);
    let (bus, _inbox) = connect(config).await;
    broker.stop();
    link(&bus, |l| !l.is_up()).await;

    let late = bus.publish(Outgoing::new("a", "x").retained()).await;
    let Err(error @ PublishError::TimedOut { handed_over, .. }) = &late else {
        panic!("not timed out: {late:?}");
    };
    assert!(!handed_over && error.is_retryable(), "{error}");

    broker.restart().await;
    up(&bus).await;
    let mut observer = Client::at(broker.port(), "o").connect().await.expect("a client");
    observer.subscribe("a").await.expect("granted");
    bus.publish(Outgoing::new("a", "marker")).await.expect("published");
    assert_eq!(observer.recv(PATIENCE).await.expect("a message").text(), "marker");
}

#[tokio::test]
async fn a_publish_waits_for_the_first_connection() {
    let mut broker = Broker::start().await;
    broker.stop();
    let (bus, _inbox) = bus::Bus::connect(config(&broker, "a"));
    let waiting = tokio::spawn({
        let bus = bus.clone();
        async move { bus.publish(Outgoing::new("a", "x")).await }
    });
    link(&bus, |l| matches!(l, Link::Down { reason } if reason.contains("refused"))).await;
    broker.restart().await;
    assert_eq!(waiting.await.expect("no panic"), Ok(Delivered::Nobody));
}

fn durable_at(port: u16) -> Config {
    let mut config = Config::new("127.0.0.1", port, "a").durable(Duration::from_secs(60));
    config.publish_deadline = PATIENCE;
    config
}

#[tokio::test]
async fn a_publish_in_flight_when_the_session_is_lost_is_told_as_lost() {
    for durable in [false, true] {
        let answers = [Answer::HangUp, Answer::Acknowledge];
        let (port, mut publishes) = fake::broker(false, &answers).await;
        let mut config = durable_at(port);
        if !durable {
            config.session = bus::Session::Clean;
        }
        let (bus, _inbox) = connect(config).await;
        let lost = bus.publish(Outgoing::new("a", "x")).await;
        assert_eq!(lost, Err(PublishError::Lost { topic: "a".to_owned() }), "durable: {durable}");
        let next = bus.publish(Outgoing::new("a", "y")).await;
        assert_eq!(next, Ok(Delivered::Subscribers));
        for _ in 0..2 {
            assert_eq!(publishes.recv().await, Some(0x32), "a publish that is not a repetition");
        }
    }
}

#[tokio::test]
async fn a_publish_in_flight_when_the_connection_breaks_is_sent_again_in_a_kept_session() {
    let (port, mut publishes) = fake::broker(true, &[Answer::HangUp, Answer::Acknowledge]).await;
    let (bus, _inbox) = connect(durable_at(port)).await;
    let delivered = bus.publish(Outgoing::new("a", "x")).await;
    assert_eq!(delivered, Ok(Delivered::Subscribers));
    assert_eq!(publishes.recv().await, Some(0x32));
    assert_eq!(publishes.recv().await, Some(0x3A), "a repetition, marked as one");
    assert_eq!(up(&bus).await, (2, true));
}

#[tokio::test]
async fn a_message_that_ends_every_connection_is_given_up_and_the_next_ones_get_through() {
    let answers = [Answer::Disconnect(0x81), Answer::Disconnect(0x81), Answer::Acknowledge];
    let (port, mut publishes) = fake::broker(true, &answers).await;
    let (bus, _inbox) = connect(durable_at(port)).await;
    let mut reasons = bus.link();
    let poison = bus.publish(Outgoing::new("a", "poison"));
    let down = reasons.wait_for(|l| !l.is_up());
    let (poison, down) = tokio::join!(poison, async { format!("{:?}", *down.await.expect("there")) });
    assert!(down.contains("malformed packet (0x81)"), "{down}");
    assert_eq!(poison, Err(PublishError::Lost { topic: "a".to_owned() }));
    assert_eq!(bus.publish(Outgoing::new("a", "x")).await, Ok(Delivered::Subscribers));
    let kinds = [publishes.recv().await, publishes.recv().await, publishes.recv().await];
    assert_eq!(kinds, [Some(0x32), Some(0x3A), Some(0x32)]);
}

#[tokio::test]
async fn every_property_arrives_in_both_directions() {
    let broker = Broker::start().await;
    let (bus, mut inbox) = connect(config(&broker, "a")).await;
    subscribe(&bus, "a/#").await;
    let sent = Outgoing::new("a/b", "x")
        .expires_in(Duration::from_secs(60))
        .respond_to("r/s")
        .correlated_by("c")
        .with_property("k", "1")
        .with_property("k", "2")
        .content_type("application/json");
    bus.publish(sent.clone()).await.expect("published");
    let got = message(&mut inbox).await;
    assert_eq!(got.topic, sent.topic);
    assert_eq!(got.qos, Qos::AtLeastOnce);
    assert_eq!((got.retain, got.dup), (false, false));
    assert!(got.expiry.is_some_and(|e| e <= Duration::from_secs(60)), "{:?}", got.expiry);
    assert_eq!(got.response_topic, sent.response_topic);
    assert_eq!(got.correlation_data, sent.correlation_data);
    assert_eq!(got.user_properties, sent.user_properties);
    assert_eq!(got.content_type, sent.content_type);
}

#[tokio::test]
async fn a_message_counts_as_retained_only_when_the_broker_had_kept_it() {
    let broker = Broker::start().await;
    let (bus, mut inbox) = connect(config(&broker, "a")).await;
    bus.publish(Outgoing::new("a/kept", "1").retained()).await.expect("published");
    subscribe(&bus, "a/#").await;
    assert!(message(&mut inbox).await.retain);
    bus.publish(Outgoing::new("a/kept", "2").retained()).await.expect("published");
    assert!(!message(&mut inbox).await.retain);
}

#[tokio::test]
async fn a_bus_that_asks_for_it_is_told_of_what_is_retained_now() {
    let broker = Broker::start().await;
    let (bus, mut inbox) = connect(config(&broker, "a").tell_retained()).await;
    subscribe(&bus, "a/#").await;
    for retained in [true, false] {
        let sent = Outgoing::new("a/kept", "1");
        bus.publish(if retained { sent.retained() } else { sent }).await.expect("published");
        assert_eq!(message(&mut inbox).await.retain, retained);
    }
}

#[tokio::test]
async fn a_client_of_mqtt_3_is_heard_and_hears() {
    let broker = Broker::start().await;
    let (bus, mut inbox) = connect(config(&broker, "a")).await;
    subscribe(&bus, "to/bus").await;
    let mut old = Client::at(broker.port(), "old").v3().connect().await.expect("a client");
    old.subscribe("to/old").await.expect("granted");

    old.publish("to/bus", "hello", 1, false).await.expect("published");
    let got = message(&mut inbox).await;
    assert_eq!(text(&got), "hello");
    assert_eq!((got.response_topic, got.correlation_data), (None, None));

    let answer = Outgoing::new("to/old", "answer").correlated_by("c").with_property("k", "v");
    assert_eq!(bus.publish(answer).await, Ok(Delivered::Subscribers));
    assert_eq!(old.recv(PATIENCE).await.expect("a message").text(), "answer");
}

#[tokio::test]
async fn hostile_messages_do_not_end_the_connection() {
    let broker = Broker::start().await;
    let (bus, mut inbox) = connect(config(&broker, "a").durable(Duration::from_secs(60))).await;
    subscribe(&bus, "#").await;
    let hostile = Client::at(broker.port(), "x").connect().await.expect("a client");
    let many = (0..500).map(|i| (format!("k{i}"), "v".repeat(50))).collect();
    hostile
        .send(testkit::Publish {
            topic: "a".to_owned(),
            payload: vec![0xFF; 70_000].into(),
            qos: 1,
            correlation_data: Some(vec![0xFE; 60_000].into()),
            response_topic: Some("bigskies/#/+".replace(['#', '+'], "x")),
            user_properties: many,
            ..testkit::Publish::default()
        })
        .await
        .expect("taken");
    hostile.publish("a/".repeat(100).as_str(), "deep", 2, false).await.expect("taken");
    message(&mut inbox).await.ack().await;
    let deep = message(&mut inbox).await;
    assert_eq!(text(&deep), "deep");
    deep.ack().await;
    assert!(message_soon(&mut inbox).await.is_none());
    assert_eq!(up(&bus).await.0, 1);
}

#[tokio::test]
async fn a_round_trip_takes_little_time() {
    let broker = Broker::start().await;
    let (asker, mut answers) = connect(config(&broker, "asker")).await;
    let (server, mut requests) = connect(config(&broker, "server")).await;
    subscribe(&asker, "response").await;
    subscribe(&server, "request").await;
    let serving = tokio::spawn(async move {
        loop {
            message(&mut requests).await;
            server.publish(Outgoing::new("response", "x")).await.expect("published");
        }
    });
    let mut times = Vec::new();
    for _ in 0..200 {
        let start = Instant::now();
        asker.publish(Outgoing::new("request", "x")).await.expect("published");
        message(&mut answers).await;
        times.push(start.elapsed());
    }
    serving.abort();
    times.sort();
    println!("request and response, QoS 1: p50 {:?}, p99 {:?}", times[100], times[198]);
}
