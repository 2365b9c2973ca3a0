//! Work for a thread beside the one of the simulation, as the check of a configuration is. It is done while that one
//! has nothing else to do, and that one waits until it is done: else a seed would not be the same run every time.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// Whose turn it is.
#[derive(Default)]
struct Turn {
    is_idle: bool,
    /// Threads beside that are at work.
    working: usize,
}

#[derive(Default)]
struct Turns {
    turn: Mutex<Turn>,
    changed: Condvar,
}

impl Turns {
    /// Changes whose turn it is, once `when` says that it may.
    fn take(&self, when: impl Fn(&Turn) -> bool, change: impl FnOnce(&mut Turn)) {
        let turn: MutexGuard<'_, Turn> = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = self.changed.wait_while(turn, |turn| !when(turn));
        change(&mut turn.unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    fn is_idle(&self) {
        self.take(|_| true, |turn| turn.is_idle = true);
    }
}

/// A runtime for one life, on this thread.
pub(super) struct Alone {
    /// None once it is dropped.
    runtime: Option<Runtime>,
    turns: Arc<Turns>,
}

impl Alone {
    pub(super) fn new() -> Self {
        let turns = Arc::new(Turns::default());
        let [idle, awake, begins, ends] = std::array::from_fn(|_| turns.clone());
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .on_thread_park(move || idle.is_idle())
            .on_thread_unpark(move || awake.take(|turn| turn.working == 0, |turn| turn.is_idle = false))
            .on_thread_start(move || begins.take(|turn| turn.is_idle, |turn| turn.working += 1))
            .on_thread_stop(move || ends.take(|_| true, |turn| turn.working -= 1))
            // One thing after another, each time in a thread that begins anew. What comes back from there is taken up
            // when nothing else is left to do.
            .max_blocking_threads(1)
            .thread_keep_alive(Duration::ZERO)
            .global_queue_interval(u32::MAX)
            .build();
        Self { runtime: Some(runtime.expect("a runtime")), turns }
    }

    pub(super) fn block_on<T>(&self, life: impl Future<Output = T>) -> T {
        self.runtime.as_ref().expect("it is not dropped yet").block_on(life)
    }
}

impl Drop for Alone {
    /// Everything that is under way is dropped where it stands.
    fn drop(&mut self) {
        // What waits for its turn would be waited for.
        self.turns.is_idle();
        drop(self.runtime.take());
    }
}
