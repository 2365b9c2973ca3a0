//! Subscriptions: granted, refused, remembered.

use std::fs;
use std::time::Duration;

use bus::{Bus, Delivered, Inbox, Incoming, Outgoing, SubscribeError};
use testkit::{Broker, Client, Identities, eventually};
use tokio::time::timeout;

use crate::common::{
    MOMENT, PATIENCE, config, connect, durable, link, message, message_soon, next, subscribe, text, up,
};

#[tokio::test]
async fn a_refused_filter_is_named_and_the_others_are_in_place() {
    let identities = Identities::new().login("u", "p", &["mine/#"], &["mine/#"]);
    let broker = Broker::with_identities(identities.build()).await;
    let (bus, mut inbox) = connect(config(&broker, "a").login("u", "p")).await;
    let filters = ["mine/a".to_owned(), "theirs/#".to_owned(), "mine/b".to_owned()];
    let refused = bus.subscribe(&filters).await;
    let expected = SubscribeError::Refused { filters: vec![("theirs/#".to_owned(), "not authorized")] };
    assert_eq!(refused, Err(expected));
    for topic in ["mine/a", "mine/b"] {
        let published = bus.publish(Outgoing::new(topic, "x")).await;
        assert_eq!(published, Ok(Delivered::Subscribers));
        assert_eq!(message(&mut inbox).await.topic, topic);
    }
}

#[tokio::test]
async fn an_invalid_filter_is_refused_before_anything_is_sent() {
    let broker = Broker::start().await;
    let (bus, _inbox) = connect(config(&broker, "a")).await;
    for bad in ["", "a/#/b", "a\u{1}"] {
        let refused = bus.subscribe(&["ok".to_owned(), bad.to_owned()]).await;
        assert!(matches!(refused, Err(SubscribeError::Invalid { .. })), "{refused:?}");
    }
    assert_eq!(bus.publish(Outgoing::new("ok", "x")).await, Ok(Delivered::Nobody));
    assert_eq!(up(&bus).await.0, 1);
}

#[tokio::test]
async fn subscriptions_come_back_when_the_broker_has_lost_the_session() {
    let mut broker = Broker::start().await;
    for durably in [false, true] {
        let config = if durably { durable(&broker, "a") } else { config(&broker, "a") };
        let (bus, mut inbox) = connect(config).await;
        subscribe(&bus, "x/#").await;
        subscribe(&bus, "y").await;
        let epoch = up(&bus).await.0;
        broker.restart_with_fresh_data().await;
        link(&bus, |l| matches!(l, bus::Link::Up { epoch: e, .. } if *e > epoch)).await;
        for topic in ["x/1", "y"] {
            eventually(PATIENCE, || async {
                match bus.publish(Outgoing::new(topic, "back")).await {
                    Ok(Delivered::Subscribers) => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await;
            let delivery = message(&mut inbox).await;
            assert_eq!((delivery.topic.as_str(), text(&delivery).as_str()), (topic, "back"));
            delivery.ack().await;
        }
    }
}

#[tokio::test]
async fn a_call_that_is_given_up_while_there_is_no_connection_still_counts() {
    let mut broker = Broker::start().await;
    broker.stop();
    let (bus, mut inbox) = Bus::connect(config(&broker, "a"));
    let given_up = timeout(MOMENT, bus.subscribe(&["x".to_owned()])).await;
    assert!(given_up.is_err(), "{given_up:?}");
    broker.restart().await;
    // Once this later call is answered, the earlier one is in place.
    subscribe(&bus, "y").await;
    bus.publish(Outgoing::new("x", "1")).await.expect("published");
    assert_eq!(text(&message(&mut inbox).await), "1");
}

#[tokio::test]
async fn an_unsubscribed_filter_is_silent_and_stays_so_after_a_reconnect() {
    let mut broker = Broker::start().await;
    let (bus, mut inbox) = connect(config(&broker, "a")).await;
    subscribe(&bus, "x").await;
    let filters = ["x".to_owned(), "never-subscribed".to_owned()];
    assert_eq!(bus.unsubscribe(&filters).await, Ok(()));
    assert_eq!(bus.publish(Outgoing::new("x", "1")).await, Ok(Delivered::Nobody));
    broker.restart().await;
    link(&bus, |l| matches!(l, bus::Link::Up { epoch: 2, .. })).await;
    subscribe(&bus, "y").await;
    assert_eq!(bus.publish(Outgoing::new("x", "2")).await, Ok(Delivered::Nobody));
    assert!(message_soon(&mut inbox).await.is_none());
}

#[tokio::test]
async fn a_right_that_is_lost_is_told_and_found_again_when_it_is_back() {
    let with_right = Identities::new().login("u", "p", &["#"], &["x"]).build();
    let without = Identities::new().login("u", "p", &["#"], &[]).build();
    let mut broker = Broker::with_identities(with_right.clone()).await;
    let (bus, mut inbox) = connect(config(&broker, "a").login("u", "p")).await;
    subscribe(&bus, "x").await;

    broker.stop();
    fs::write(broker.identities_file(), without.to_string()).expect("our own file");
    broker.restart().await;
    let (filter, reason) = loop {
        if let Incoming::Refused { filter, reason } = next(&mut inbox).await {
            break (filter, reason);
        }
    };
    assert_eq!((filter.as_str(), reason.as_str()), ("x", "not authorized"));

    broker.stop();
    fs::write(broker.identities_file(), with_right.to_string()).expect("our own file");
    broker.restart().await;
    eventually(PATIENCE, || async {
        match bus.publish(Outgoing::new("x", "back")).await {
            Ok(Delivered::Subscribers) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(text(&message(&mut inbox).await), "back");
}

#[tokio::test]
async fn a_filter_that_is_kept_is_asked_for_until_the_right_has_come() {
    let without = Identities::new().login("u", "p", &["#"], &["mine"]).build();
    let with_right = Identities::new().login("u", "p", &["#"], &["mine", "x"]).build();
    let mut broker = Broker::with_identities(without).await;
    let (bus, mut inbox) = connect(config(&broker, "a").login("u", "p")).await;
    let asking = {
        let bus = bus.clone();
        tokio::spawn(async move { bus.keep_subscribed(&["mine".to_owned(), "x".to_owned()]).await })
    };
    let refused = async |inbox: &mut Inbox| loop {
        if let Incoming::Refused { filter, .. } = next(inbox).await {
            break filter;
        }
    };
    assert_eq!(refused(&mut inbox).await, "x");
    broker.restart().await;
    assert_eq!(refused(&mut inbox).await, "x", "each connection asks again");
    assert!(!asking.is_finished(), "not everything is granted");

    broker.stop();
    fs::write(broker.identities_file(), with_right.to_string()).expect("our own file");
    broker.restart().await;
    let granted = timeout(PATIENCE, asking).await.expect("in time").expect("no panic");
    assert_eq!(granted, Ok(()));
    loop {
        if let Incoming::Granted { filter } = next(&mut inbox).await {
            break assert_eq!(filter, "x");
        }
    }
    assert_eq!(bus.publish(Outgoing::new("x", "1")).await, Ok(Delivered::Subscribers));
    assert_eq!(text(&message(&mut inbox).await), "1");
}

#[tokio::test]
async fn many_filters_are_sent_in_packets_of_a_reasonable_size() {
    let broker = Broker::start().await;
    let (bus, mut inbox) = connect(config(&broker, "a")).await;
    let filters: Vec<_> = (0..500).map(|i| format!("x/{i}/+")).collect();
    timeout(PATIENCE, bus.subscribe(&filters)).await.expect("in time").expect("granted");
    let client = Client::at(broker.port(), "c").connect().await.expect("a client");
    for i in [0, 63, 64, 499] {
        client.publish(&format!("x/{i}/y"), "x", 1, false).await.expect("taken");
        assert_eq!(message(&mut inbox).await.topic, format!("x/{i}/y"));
    }
    assert!(timeout(Duration::ZERO, inbox.recv()).await.is_err());
}
