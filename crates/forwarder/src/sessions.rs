//! The connections that are open, and their bound.
//!
//! When there are too many, the one that has been idle for longest makes room: a client that opens hundreds
//! and says nothing gets in nobody's way, and one that works is kept.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The open sessions, by whose they are.
#[derive(Debug)]
pub struct Sessions<K, V> {
    most: usize,
    open: Mutex<HashMap<K, (Arc<Activity>, V)>>,
}

/// When something went through a session last, and how it is told to end.
#[derive(Debug)]
pub struct Activity {
    began: Instant,
    last: AtomicU64,
    end: Notify,
}

impl Activity {
    fn new() -> Self {
        Self { began: Instant::now(), last: AtomicU64::new(0), end: Notify::new() }
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Something went through.
    pub fn touch(&self) {
        self.last.store(self.elapsed(), Ordering::Relaxed);
    }

    /// For how long nothing has gone through.
    pub fn idle(&self) -> Duration {
        Duration::from_nanos(self.elapsed().saturating_sub(self.last.load(Ordering::Relaxed)))
    }

    /// Waits until the session has to make room.
    pub async fn ended(&self) {
        self.end.notified().await;
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Sessions<K, V> {
    /// At most `most` at a time, at least one.
    pub fn new(most: usize) -> Self {
        Self { most: most.max(1), open: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, (Arc<Activity>, V)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a session; the one that has been idle for longest ends when there are too many.
    pub fn open(&self, key: K, value: V) -> Arc<Activity> {
        let mut open = self.lock();
        if open.len() >= self.most && !open.contains_key(&key) {
            let idle =
                open.iter().max_by_key(|(_, (activity, _))| activity.idle()).map(|(key, _)| key.clone());
            if let Some((activity, _)) = idle.and_then(|key| open.remove(&key)) {
                activity.end.notify_one();
            }
        }
        let activity = Arc::new(Activity::new());
        if let Some((before, _)) = open.insert(key, (activity.clone(), value)) {
            before.end.notify_one();
        }
        activity
    }

    /// What belongs to an open session.
    pub fn get(&self, key: &K) -> Option<V> {
        self.lock().get(key).map(|(_, value)| value.clone())
    }

    /// A session has ended, unless another has taken its place.
    pub fn close(&self, key: &K, activity: &Arc<Activity>) {
        let mut open = self.lock();
        if open.get(key).is_some_and(|(there, _)| Arc::ptr_eq(there, activity)) {
            open.remove(key);
        }
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_one_that_is_idle_for_longest_makes_room() {
        let sessions: Sessions<u8, ()> = Sessions::new(2);
        let first = sessions.open(1, ());
        tokio::time::advance(Duration::from_secs(1)).await;
        let second = sessions.open(2, ());
        tokio::time::advance(Duration::from_secs(1)).await;
        first.touch();
        let _third = sessions.open(3, ());
        second.ended().await;
        assert_eq!((sessions.get(&2), sessions.get(&1), sessions.count()), (None, Some(()), 2));
        assert_eq!(first.idle(), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_session_that_was_replaced_closes_nothing() {
        let sessions: Sessions<u8, u8> = Sessions::new(2);
        let before = sessions.open(1, 1);
        let after = sessions.open(1, 2);
        before.ended().await;
        sessions.close(&1, &before);
        assert_eq!(sessions.get(&1), Some(2));
        sessions.close(&1, &after);
        assert_eq!(sessions.count(), 0);
    }
}
