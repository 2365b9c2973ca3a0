//! What a durable session keeps, and what a clean one does not.

use std::collections::HashSet;
use std::time::Duration;

use bus::{Incoming, Outgoing};
use testkit::{Broker, Client, eventually};

use crate::common::{
    PATIENCE, config, connect, durable, link, message, message_soon, next, subscribe, text, up,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_told_as_delivered_arrives_over_three_restarts_of_the_broker() {
    const MESSAGES: usize = 2000;
    let mut broker = Broker::open().line("max_queued_messages 0").await;
    let (publisher, _events) = connect(durable(&broker, "publisher")).await;
    let (receiver, mut inbox) = connect(durable(&broker, "receiver")).await;
    subscribe(&receiver, "count").await;

    let receiving = tokio::spawn(async move {
        let mut seen = HashSet::new();
        while seen.len() < MESSAGES {
            let delivery = message(&mut inbox).await;
            seen.insert(text(&delivery));
            delivery.ack().await;
        }
        (seen, receiver)
    });
    let (progress, watch) = tokio::sync::watch::channel(0);
    let publishing = tokio::spawn(async move {
        let mut delivered = HashSet::new();
        let numbers: Vec<_> = (0..MESSAGES).map(|i| i.to_string()).collect();
        for batch in numbers.chunks(10) {
            let mut tasks = tokio::task::JoinSet::new();
            for number in batch {
                let (publisher, number) = (publisher.clone(), number.clone());
                tasks.spawn(async move {
                    // What is told as not delivered is the caller's to send again.
                    loop {
                        let message = Outgoing::new("count", number.clone());
                        match publisher.publish(message).await {
                            Ok(_) => return number,
                            Err(error) => assert!(error.is_retryable(), "{error}"),
                        }
                    }
                });
            }
            delivered.extend(tasks.join_all().await);
            progress.send_replace(delivered.len());
        }
        delivered
    });
    for part in 1..=3 {
        let mut watch = watch.clone();
        watch.wait_for(|n| *n >= part * MESSAGES / 4).await.expect("publishing goes on");
        broker.restart().await;
    }
    let delivered = publishing.await.expect("no panic");
    let (seen, _receiver) = receiving.await.expect("no panic");
    assert_eq!(delivered.difference(&seen).count(), 0);
    assert_eq!(seen.len(), MESSAGES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_killed_broker_publishes_are_confirmed_or_told_as_lost_and_the_bus_goes_on() {
    let mut broker = Broker::start().await;
    let (bus, mut inbox) = connect(durable(&broker, "a")).await;
    subscribe(&bus, "count").await;
    let publishing = tokio::spawn({
        let bus = bus.clone();
        async move {
            for i in 0.. {
                match bus.publish(Outgoing::new("count", i.to_string())).await {
                    Ok(_) => {}
                    Err(error) if error.is_retryable() => {}
                    Err(error) => return error,
                }
            }
            unreachable!("publishing goes on until the bus is shut down")
        }
    });
    let number = |delivery: &bus::Delivery| text(delivery).parse::<u64>().expect("a number");
    for _ in 0..3 {
        let delivery = message(&mut inbox).await;
        delivery.ack().await;
        let before = number(&delivery);
        let epoch = up(&bus).await.0;
        broker.kill9();
        link(&bus, |l| !l.is_up()).await;
        broker.restart_with_fresh_data().await;
        link(&bus, |l| matches!(l, bus::Link::Up { epoch: e, .. } if *e > epoch)).await;
        // The new session is subscribed by itself, and what is published now arrives.
        while !matches!(next(&mut inbox).await, Incoming::Connected { .. }) {}
        let delivery = message(&mut inbox).await;
        assert!(number(&delivery) > before);
        delivery.ack().await;
    }
    bus.shutdown().await;
    let end = publishing.await.expect("no panic");
    assert!(matches!(end, bus::PublishError::Closed { .. }), "{end}");
}

#[tokio::test]
async fn a_request_that_was_not_acknowledged_comes_again_to_the_next_process() {
    let broker = Broker::start().await;
    let client = Client::at(broker.port(), "c").connect().await.expect("a client");
    {
        let (bus, mut inbox) = connect(durable(&broker, "coordinator")).await;
        subscribe(&bus, "request/#").await;
        for request in ["1", "2", "3"] {
            client.publish("request/x", request, 1, false).await.expect("taken");
        }
        message(&mut inbox).await.ack().await;
        assert_eq!(text(&message(&mut inbox).await), "2");
        // The acknowledgement of "1" is out before the connection is cut.
        bus.publish(Outgoing::new("marker", "x")).await.expect("published");
    }
    client.publish("request/x", "4", 1, false).await.expect("taken");

    let (bus, mut inbox) = connect(durable(&broker, "coordinator")).await;
    assert_eq!(up(&bus).await, (1, true));
    // "4" is a repetition too when it came before the broker noticed the end of the first process.
    for (expected, repeated) in [("2", true), ("3", true), ("4", false)] {
        let delivery = message(&mut inbox).await;
        assert_eq!(text(&delivery), expected);
        assert!(delivery.dup || !repeated, "{delivery:?}");
        delivery.ack().await;
    }

    // A session that another process began is as good as our own.
    subscribe(&bus, "more").await;
    assert_eq!(bus.publish(Outgoing::new("more", "5")).await, Ok(bus::Delivered::Subscribers));
    let delivery = message(&mut inbox).await;
    assert_eq!(text(&delivery), "5");
    delivery.ack().await;
    bus.shutdown().await;

    let (_bus, mut inbox) = connect(durable(&broker, "coordinator")).await;
    assert!(message_soon(&mut inbox).await.is_none());
}

#[tokio::test]
async fn an_acknowledgement_of_an_earlier_connection_does_no_harm() {
    let mut broker = Broker::start().await;
    let (bus, mut inbox) = connect(durable(&broker, "a")).await;
    subscribe(&bus, "x").await;
    bus.publish(Outgoing::new("x", "1")).await.expect("published");
    let early = message(&mut inbox).await;
    broker.restart().await;
    link(&bus, |l| matches!(l, bus::Link::Up { epoch: 2, .. })).await;

    early.ack().await;
    early.ack().await;
    let again = message(&mut inbox).await;
    assert_eq!((text(&again), again.dup), ("1".to_owned(), true));
    again.ack().await;
    again.ack().await;
    bus.publish(Outgoing::new("x", "2")).await.expect("published");
    assert_eq!(text(&message(&mut inbox).await), "2");
    assert_eq!(up(&bus).await, (2, true));
}

#[tokio::test]
async fn a_durable_inbox_holds_the_broker_back_and_drops_nothing() {
    const MESSAGES: usize = 200;
    let broker = Broker::start().await;
    let mut config = durable(&broker, "slow");
    config.receive_maximum = 5;
    config.inbox_capacity = 1;
    let (slow, mut inbox) = connect(config).await;
    subscribe(&slow, "x").await;
    let flood = Client::at(broker.port(), "flood").connect().await.expect("a client");
    for i in 0..MESSAGES {
        flood.publish("x", i.to_string(), 1, false).await.expect("taken");
    }
    for i in 0..MESSAGES {
        let delivery = message(&mut inbox).await;
        assert_eq!(text(&delivery), i.to_string());
        delivery.ack().await;
    }
    assert_eq!(slow.dropped(), 0);
    assert_eq!(up(&slow).await.0, 1);
}

#[tokio::test]
async fn a_clean_inbox_keeps_the_newest_and_counts_what_it_dropped() {
    let broker = Broker::start().await;
    let mut config = config(&broker, "slow");
    config.inbox_capacity = 3;
    let (slow, mut inbox) = connect(config).await;
    subscribe(&slow, "x").await;
    let flood = Client::at(broker.port(), "flood").connect().await.expect("a client");
    for i in 0..10 {
        flood.publish("x", i.to_string(), 1, false).await.expect("taken");
    }
    eventually(PATIENCE, || async {
        match slow.dropped() {
            7 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    for expected in ["7", "8", "9"] {
        assert_eq!(text(&message(&mut inbox).await), expected);
    }
}

#[tokio::test]
async fn connections_and_their_ends_are_told_in_order_with_the_messages() {
    let mut broker = Broker::start().await;
    let (bus, mut inbox) = connect(config(&broker, "a")).await;
    subscribe(&bus, "x").await;
    let first = next(&mut inbox).await;
    assert!(matches!(first, Incoming::Connected { session_present: false }), "{first:?}");
    bus.publish(Outgoing::new("x", "1")).await.expect("published");
    broker.restart().await;
    link(&bus, |l| matches!(l, bus::Link::Up { epoch: 2, .. })).await;
    assert!(matches!(next(&mut inbox).await, Incoming::Message(_)));
    let gone = next(&mut inbox).await;
    assert!(matches!(gone, Incoming::Disconnected { .. }), "{gone:?}");
    let back = next(&mut inbox).await;
    assert!(matches!(back, Incoming::Connected { session_present: false }), "{back:?}");
    drop(bus);
    let end = tokio::time::timeout(Duration::from_secs(10), inbox.recv()).await;
    assert!(matches!(end, Ok(None)), "{end:?}");
}
