//! Points at which the drill stops this process to kill it, or who it works with, exactly there. Only in builds
//! with the feature `drill`, which nobody runs a plugin with.
//!
//! A hold is a file in [`FOLDER`] with the plugin's name, and in it a point and a word: `start:prepare:before w1`.
//! What reaches the point takes the file away, so that it holds once and not again after a restart, says so in the
//! log, and goes on when the word is in [`RELEASE`].

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use envelope::{Operation, PluginId};

use crate::operation::Running;

/// Where holds are, on the coordinator's own volume.
const FOLDER: &str = "/data/holds";
/// The file in [`FOLDER`] that lets go on what has its word. No plugin has such a name.
const RELEASE: &str = ".release";
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// Where in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Nothing of it is done.
    Before,
    /// Just before its first write, or a later one: what was done up to there is not recorded.
    Unrecorded(u32),
    /// It is done and recorded.
    After,
}

impl Moment {
    fn name(self) -> String {
        match self {
            Self::Before => "before".to_owned(),
            Self::Unrecorded(1) => "unrecorded".to_owned(),
            Self::Unrecorded(n) => format!("unrecorded-{n}"),
            Self::After => "after".to_owned(),
        }
    }
}

/// The step that a task is taking.
struct Taken {
    plugin: PluginId,
    during: Option<Operation>,
    step: &'static str,
    writes: Cell<u32>,
}

tokio::task_local! {
    static TAKEN: Taken;
}

/// Takes a step, and holds before it, at its writes, and after it.
pub(crate) async fn within<T, E>(
    plugin: &PluginId,
    during: Option<Operation>,
    step: &'static str,
    take: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    at(plugin, during, step, Moment::Before).await;
    let taken = Taken { plugin: plugin.clone(), during, step, writes: Cell::new(0) };
    let result = TAKEN.scope(taken, take).await;
    if result.is_ok() {
        at(plugin, during, step, Moment::After).await;
    }
    result
}

/// What a step did is about to be recorded.
pub(crate) async fn unrecorded() {
    let known = TAKEN.try_with(|taken| {
        taken.writes.set(taken.writes.get() + 1);
        (taken.plugin.clone(), taken.during, taken.step, taken.writes.get())
    });
    if let Ok((plugin, during, step, writes)) = known {
        at(&plugin, during, step, Moment::Unrecorded(writes)).await;
    }
}

/// A request is being recorded as an operation.
pub(crate) async fn accepting(operation: &Running, moment: Moment) {
    at(&operation.plugin_id, Some(operation.work.operation()), "accepted", moment).await;
}

/// Holds when this is the point that was asked for.
pub(crate) async fn at(plugin: &PluginId, during: Option<Operation>, step: &str, moment: Moment) {
    let hold = Path::new(FOLDER).join(plugin.as_str());
    let Ok(wanted) = std::fs::read_to_string(&hold) else { return };
    let during = during.map_or("upkeep", Operation::as_str);
    let point = format!("{during}:{step}:{}", moment.name());
    let Some((wanted, word)) = wanted.trim().split_once(' ') else { return };
    if wanted != point {
        return;
    }
    if let Err(error) = std::fs::remove_file(&hold) {
        // Held again after a restart, it would look as if the step was taken twice.
        return tracing::error!(%error, point, "a hold cannot be taken away; it is passed by");
    }
    tracing::info!(held = %plugin, point, "holds");
    while std::fs::read_to_string(Path::new(FOLDER).join(RELEASE)).ok().as_deref() != Some(word) {
        tokio::time::sleep(LOOK).await;
    }
    tracing::info!(held = %plugin, point, "goes on");
}
