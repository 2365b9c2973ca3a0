//! What every test of the bus needs.

use std::time::Duration;

use bus::{Bus, Config, Delivery, Inbox, Incoming, Link};
use testkit::Broker;
use tokio::time::timeout;

/// Far longer than anything here takes, for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for a message to arrive that must not.
pub const MOMENT: Duration = Duration::from_millis(300);
const EXPIRY: Duration = Duration::from_secs(600);

pub fn config(broker: &Broker, id: &str) -> Config {
    let mut config = Config::new(broker.host(), broker.port(), id);
    // Tests that want it shorter say so; a busy machine needs it longer.
    config.publish_deadline = PATIENCE;
    config
}

pub fn durable(broker: &Broker, id: &str) -> Config {
    config(broker, id).durable(EXPIRY)
}

/// Connects and waits until the connection is up.
pub async fn connect(config: Config) -> (Bus, Inbox) {
    let (bus, inbox) = Bus::connect(config);
    up(&bus).await;
    (bus, inbox)
}

/// Waits until the connection is up; returns its epoch and whether the session was kept.
pub async fn up(bus: &Bus) -> (u64, bool) {
    match link(bus, Link::is_up).await {
        Link::Up { epoch, session_present } => (epoch, session_present),
        Link::Down { reason } => unreachable!("{reason}"),
    }
}

/// Waits for a state of the link.
pub async fn link(bus: &Bus, wanted: impl Fn(&Link) -> bool) -> Link {
    let mut link = bus.link();
    let found =
        timeout(PATIENCE, link.wait_for(wanted)).await.map(|found| found.expect("the bus is there").clone());
    found.unwrap_or_else(|_| panic!("the link did not change: {:?}", *bus.link().borrow()))
}

/// Subscribes to one filter.
pub async fn subscribe(bus: &Bus, filter: &str) {
    timeout(PATIENCE, bus.subscribe(&[filter.to_owned()]))
        .await
        .expect("an answer in time")
        .expect("the subscription is granted");
}

/// The next arrival.
pub async fn next(inbox: &mut Inbox) -> Incoming {
    timeout(PATIENCE, inbox.recv()).await.expect("something arrives in time").expect("the bus is there")
}

/// The next message, whatever the connection does meanwhile.
pub async fn message(inbox: &mut Inbox) -> Delivery {
    loop {
        if let Incoming::Message(delivery) = next(inbox).await {
            return delivery;
        }
    }
}

/// The next message, if one arrives within a moment.
pub async fn message_soon(inbox: &mut Inbox) -> Option<Delivery> {
    timeout(MOMENT, message(inbox)).await.ok()
}

pub fn text(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.payload).into_owned()
}
