//! A few rows of the drill; `make drill` goes through all.

use std::panic::resume_unwind;

use tests::drill::{Ground, goes_unnoticed, run, short};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use super::runner::Case;
use super::world::Shared;

/// Plugins that are drilled together.
const TOGETHER: usize = 5;

pub fn cases() -> Vec<Case> {
    crate::alone![what_is_killed_at_a_step_comes_back_to_what_was_asked_for]
}

/// Whether the plugin coordinator's program can hold: the place of its holds is written in it.
async fn can_hold(world: &Shared) -> bool {
    let program =
        world.stack.file_of("plugin-coordinator", "/plugin-coordinator").await.expect("it is there");
    let place = b"/data/holds";
    program.windows(place.len()).any(|bytes| bytes == place)
}

async fn what_is_killed_at_a_step_comes_back_to_what_was_asked_for(world: Shared) {
    // On a thread of its own: what waits for many plugins at once borrows too much to wander between threads.
    let runtime = Handle::current();
    let done = spawn_blocking(move || runtime.block_on(a_few_rows(&world))).await;
    if let Err(error) = done {
        resume_unwind(error.into_panic());
    }
}

async fn a_few_rows(world: &Shared) {
    assert!(!can_hold(world).await, "the ordinary coordinator has the holds of the drill in it");
    let ground = Ground::prepare(&world.stack, TOGETHER).await.expect("the drill can begin");
    assert!(can_hold(world).await, "the coordinator of the drill has no holds in it");
    let tally = run(&ground, &short(), |report| println!("{report}")).await;
    let failed: Vec<String> = tally.failed.iter().map(ToString::to_string).collect();
    assert_eq!(failed, [""; 0]);
    assert_eq!(tally.held, short().len());
    assert_eq!(tally.missing, [""; 0], "steps that are in no row");
    // Were nobody started again, or were a step taken twice, that would be seen.
    let unnoticed = goes_unnoticed(&ground).await.expect("it can be tried");
    assert_eq!(unnoticed, [""; 0]);
    ground.leave().await.expect("the ordinary coordinator comes back");
}
