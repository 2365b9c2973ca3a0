//! A session of an earlier process, taken over without its local half.
//!
//! The client library refuses to resume a session of which it has no local state, because QoS 2
//! needs it. We send and receive QoS 0 and 1 only: all that the earlier process had in flight is
//! either acknowledged or belongs to callers that no longer exist, and the broker's half (our
//! subscriptions and what is queued for us) is complete by itself. So an empty state is the true
//! one, and this store supplies it.

use std::future::{Future, ready};
use std::pin::Pin;

use rumqttc::{PersistedAckMode, PersistedSession, SessionStore, SessionStoreError, SessionStoreKey};

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, SessionStoreError>> + Send + 'a>>;

/// The version of the model that the library reads.
const FORMAT: u16 = 1;

/// Yields an empty session and saves nothing.
#[derive(Debug)]
pub(crate) struct EmptySession {
    pub(crate) expiry: u32,
    pub(crate) in_flight: u16,
}

impl SessionStore for EmptySession {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> Answer<'a, Option<PersistedSession>> {
        Box::pin(ready(Ok(Some(PersistedSession {
            format_version: FORMAT,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: Some(self.expiry),
            outgoing_inflight_upper_limit: Some(self.in_flight),
            ack_mode: PersistedAckMode::Manual,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        }))))
    }

    fn save<'a>(&'a self, _key: &'a SessionStoreKey, _session: &'a PersistedSession) -> Answer<'a, ()> {
        Box::pin(ready(Ok(())))
    }

    fn clear<'a>(&'a self, _key: &'a SessionStoreKey) -> Answer<'a, ()> {
        Box::pin(ready(Ok(())))
    }
}
