//! The request session, from arrival to answer. At the `door` a request is let in or not, and nothing else is
//! done there, so that a flood is read as fast as it comes. At the `desk` it is `received`, recorded and
//! acknowledged, or sent back. `serving` authorises, hands over and answers. `marker` finds out what waited in
//! the broker while we were away, `sweep` says who asks too often, `storage` how the database is.
//!
//! A request is acknowledged to the broker when it is in the journal, and not before. Requests between
//! coordinators are not journalled: they are idempotent, their caller asks again, and their answers hold
//! secrets that are not to be written down.

mod desk;
mod door;
mod marker;
mod received;
mod serving;
mod storage;
mod sweep;

use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, Inbox, Incoming};
use envelope::{Timestamp, topic};
use store::Store;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::task::TaskTracker;

use crate::config::RequestSettings;
use crate::flood::{self, Floods};
use crate::health::{Condition, HealthBoard};
use crate::listening::Listening;
use crate::publisher::Publisher;
use crate::replies::Replies;
use crate::service::{Service, Shutdown};

use desk::Errand;
use marker::Marker;

/// How often it is noted until when nothing waited in the broker, and old requests are forgotten.
const TICK: Duration = Duration::from_secs(10);

pub(crate) struct Router<S> {
    pub(crate) service: Arc<S>,
    pub(crate) store: Store,
    pub(crate) bus: Bus,
    pub(crate) replies: Replies,
    pub(crate) publisher: Publisher,
    pub(crate) health: HealthBoard,
    pub(crate) verifier: token::Verifier,
    pub(crate) tasks: TaskTracker,
    pub(crate) requests: RequestSettings,
    pub(crate) listening: Listening,
    pub(crate) shutdown: Shutdown,
}

/// What the task at the door has in its hands.
struct Hall {
    floods: Floods,
    /// Whether the session is up and its beginning was seen here: what waited in the broker comes after that.
    is_up: bool,
    /// There while what arrives may have waited in the broker.
    marker: Option<Marker>,
    /// Until when nothing waited in the broker; none when that was never so.
    last_up: Option<Timestamp>,
    desk: mpsc::UnboundedSender<Errand>,
}

impl<S: Service> Router<S> {
    pub(crate) async fn work(self, mut inbox: Inbox, shutdown: Shutdown) {
        let router = Arc::new(self);
        let last_up = router.last_up().await;
        // Bounded by the buckets: whoever has a burst of requests behind the door waits outside.
        let (desk, errands) = mpsc::unbounded_channel();
        let recording = tokio::spawn(router.clone().record_all(errands));
        let floods = Floods::new(router.requests.clone());
        let mut hall = Hall { floods, is_up: false, marker: None, last_up, desk };
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sweep = tokio::time::interval(flood::SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                _ = tick.tick() => {
                    if router.is_up(&hall) {
                        router.look(&mut hall);
                        hall.tick();
                    }
                }
                _ = sweep.tick() => router.report_floods(hall.floods.sweep(Instant::now(), false)),
                incoming = inbox.recv() => match incoming {
                    None => break,
                    Some(incoming) => router.incoming(incoming, &mut hall).await,
                }
            }
        }
        router.report_floods(hall.floods.sweep(Instant::now(), true));
        hall.tick();
        drop(hall);
        if recording.await.is_err() {
            tracing::error!("requests are recorded no more");
        }
    }

    fn is_up(&self, hall: &Hall) -> bool {
        hall.is_up && self.bus.link().borrow().is_up()
    }

    /// Looks whether something may have waited: in the broker, or with us, who were held up ourselves. While the marker
    /// is out it is sent once more: it may have been lost.
    fn look(self: &Arc<Self>, hall: &mut Hall) {
        if hall.marker.is_none() {
            hall.marker = Marker::new(hall.last_up);
        }
        match &hall.marker {
            Some(marker) => self.send(marker),
            None => hall.last_up = Some(Timestamp::now()),
        }
    }

    async fn incoming(self: &Arc<Self>, incoming: Incoming, hall: &mut Hall) {
        match incoming {
            Incoming::Connected { session_present } => {
                self.health.set("broker", Condition::Good);
                hall.is_up = true;
                hall.marker = session_present.then(|| Marker::new(hall.last_up)).flatten();
                match &hall.marker {
                    Some(marker) => self.send(marker),
                    None if session_present => {}
                    // Nothing has waited.
                    None => hall.last_up = Some(Timestamp::now()),
                }
            }
            Incoming::Disconnected { reason } => {
                hall.is_up = false;
                self.health.set("broker", Condition::Unhealthy(reason));
            }
            Incoming::Refused { filter, reason } => self.listening.refused(&filter, &reason),
            Incoming::Granted { filter } => self.listening.granted(&filter),
            Incoming::Message(delivery) if delivery.topic == topic::coordinator::marker(S::COORDINATOR) => {
                hall.marker = hall.marker.take_if(|marker| !marker.is(&delivery));
                delivery.ack().await;
            }
            Incoming::Message(delivery) => self.admit(delivery, hall).await,
        }
    }
}

impl Hall {
    fn tick(&self) {
        self.send(Errand::Tick { last_up: self.last_up });
    }

    fn send(&self, errand: Errand) {
        // The desk outlives the door; were it gone, nothing would be acknowledged, and all come again.
        if self.desk.send(errand).is_err() {
            tracing::error!("requests are recorded no more");
        }
    }
}

fn fresh() -> String {
    uuid::Uuid::now_v7().to_string()
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}
