//! Who waits for the next proof.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::Outcome;

/// Those who have asked, and are not being served yet.
#[derive(Default)]
pub(super) struct Waiting {
    all: Mutex<Vec<oneshot::Sender<Outcome>>>,
    more: Notify,
}

impl Waiting {
    /// Asks.
    pub(super) fn ask(&self) -> oneshot::Receiver<Outcome> {
        let (sender, outcome) = oneshot::channel();
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        self.more.notify_one();
        outcome
    }

    /// Waits until somebody waits.
    pub(super) async fn somebody(&self) {
        while self.all.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            self.more.notified().await;
        }
    }

    /// Those whom the proof that begins now serves: who asks later may have changed something since.
    pub(super) fn take(&self) -> Vec<oneshot::Sender<Outcome>> {
        std::mem::take(&mut *self.all.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::super::ProofError;
    use super::*;

    #[tokio::test]
    async fn all_who_have_asked_share_the_next_proof_and_who_asks_during_it_the_one_after() {
        let waiting = Waiting::default();
        let (one, other) = (waiting.ask(), waiting.ask());
        waiting.somebody().await;
        let first = waiting.take();
        let mut later = waiting.ask();
        assert_eq!(first.len(), 2);
        for waiter in first {
            let _ = waiter.send(Err(ProofError::TooLong));
        }
        for asked in [one, other] {
            assert!(asked.await.expect("it is told").is_err());
        }
        assert!(later.try_recv().is_err(), "not yet");
        waiting.somebody().await;
        assert_eq!(waiting.take().len(), 1);
    }
}
