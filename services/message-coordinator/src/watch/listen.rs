//! The session that hears the broker's log: one of its own, so that a flood of log lines delays nothing else.

use std::time::Duration;

use bus::{Bus, Incoming};
use envelope::Timestamp;
use envelope::topic::broker;

use super::Watch;
use super::line::{Level, parse};
use crate::broker::{Subscribing, Version, subscribe};
use crate::keeper::Keeper;

/// How often what waits is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How many lines may wait here, and be on their way.
const WAITING: (usize, u16) = (16_384, 1_024);

/// The topic of a level of the log.
fn topic_of(level: Level) -> String {
    let letter = match level {
        Level::Error => 'E',
        Level::Notice => 'N',
    };
    format!("{}{letter}", broker::log().trim_end_matches('#'))
}

/// Listens for ever.
pub(super) async fn listen(watch: &Watch, keeper: &Keeper) {
    // A client id can be taken over by whoever knows it.
    let client_id = format!("{}.watch.{}", watch.instance, uuid::Uuid::new_v4().simple());
    let mut config = watch.broker.session(client_id.clone());
    (config.inbox_capacity, config.receive_maximum) = WAITING;
    let (bus, mut inbox) = Bus::connect(config);
    let (error, notice) = (topic_of(Level::Error), topic_of(Level::Notice));
    let filters = [error.clone(), notice.clone(), broker::version().to_owned()];
    let mut subscribing: Option<Subscribing> = None;
    let (mut version, mut dropped) = (None, 0);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => watch.tick(keeper).await,
            () = subscribed(&mut subscribing) => {
                subscribing = None;
                watch.table().listening(Timestamp::now());
            }
            incoming = inbox.recv() => match incoming {
                None => return,
                Some(Incoming::Connected { .. }) => {
                    // Another broker may be there now, and whoever came before this moment was not seen.
                    version = None;
                    watch.table().reset(None);
                    let (bus, filters) = (bus.clone(), filters.to_vec());
                    subscribing = Some(subscribe(bus, filters));
                }
                Some(Incoming::Disconnected { reason }) => {
                    tracing::warn!(reason, "the broker's log is not heard");
                    watch.table().reset(None);
                }
                Some(Incoming::Refused { filter, reason }) => {
                    tracing::error!(filter, reason, "the broker does not let its log be heard");
                    watch.table().reset(None);
                }
                // Each connection asks by itself, and again where it is refused.
                Some(Incoming::Granted { .. }) => {}
                Some(Incoming::Message(delivery)) => {
                    if bus.dropped() != dropped {
                        dropped = bus.dropped();
                        missed(watch);
                    }
                    let level = match delivery.topic.as_str() {
                        topic if topic == error => Level::Error,
                        topic if topic == notice => Level::Notice,
                        topic if topic == broker::version() => {
                            version = String::from_utf8_lossy(&delivery.payload).parse::<Version>().ok();
                            continue;
                        }
                        _ => continue,
                    };
                    let Some(line) = parse(level, &delivery.payload, version) else { continue };
                    if watch.take(line, keeper).await.contains(&client_id) {
                        missed(watch);
                    }
                }
            }
        }
    }
}

/// Lines were lost, at the broker or here.
fn missed(watch: &Watch) {
    tracing::warn!("lines of the broker's log were missed; who connected before is not known any more");
    watch.table().reset(Some(Timestamp::now()));
}

/// Waits until the subscription is granted; for ever when there is none.
async fn subscribed(subscribing: &mut Option<Subscribing>) {
    if let Some(answer) = subscribing {
        match answer.await {
            Ok(()) => return,
            Err(error) => tracing::error!(error = telemetry::chain(&error), "cannot hear the broker's log"),
        }
        *subscribing = None;
    }
    std::future::pending().await
}
