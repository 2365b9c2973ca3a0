//! Turns: work on one key runs one after another, in the order in which it was queued; work on different keys
//! runs side by side.

use std::collections::HashMap;
use std::future::Future;

use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

/// The ends of the queues. Used by one task, which so decides the order.
#[derive(Default)]
pub(crate) struct Turns {
    last: HashMap<String, oneshot::Receiver<()>>,
}

impl Turns {
    /// Runs `work` when everything queued under `key` before it has ended.
    pub(crate) fn queue(
        &mut self,
        key: &str,
        tasks: &TaskTracker,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        if self.last.len() > 1024 {
            self.last.retain(|_, end| matches!(end.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        }
        let (done, end) = oneshot::channel();
        let before = self.last.insert(key.to_owned(), end);
        tasks.spawn(async move {
            // The sender is only ever dropped: an error is the end that is waited for.
            let _done: oneshot::Sender<()> = done;
            if let Some(before) = before {
                let _ = before.await;
            }
            work.await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[tokio::test]
    async fn work_on_one_key_keeps_its_order_and_does_not_hold_up_another() {
        let (tasks, seen) = (TaskTracker::new(), Arc::new(Mutex::new(Vec::new())));
        let mut turns = Turns::default();
        let (open, gate) = oneshot::channel::<()>();
        let note = |what: &'static str| {
            let seen = seen.clone();
            async move { seen.lock().expect("not poisoned").push(what) }
        };
        let first = note("a1");
        turns.queue("a", &tasks, async move {
            let _ = gate.await;
            first.await;
        });
        turns.queue("a", &tasks, note("a2"));
        let (b, b_done) = oneshot::channel::<()>();
        let last = note("b1");
        turns.queue("b", &tasks, async move {
            last.await;
            let _ = b.send(());
        });
        b_done.await.expect("b ran while a waited");
        open.send(()).expect("a waits");
        tasks.close();
        tasks.wait().await;
        assert_eq!(*seen.lock().expect("not poisoned"), ["b1", "a1", "a2"]);
    }
}
