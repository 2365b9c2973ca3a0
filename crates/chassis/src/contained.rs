//! Where a panic ends. One in a request's handler, in a message that is looked at or in the work for one plugin is
//! contained there. Any other would leave a coordinator that lives without one of its parts and still says that it is
//! well: it ends the process, and whatever started that starts it again, as after a kill.

use std::any::Any;
use std::panic::{AssertUnwindSafe, PanicHookInfo};

use futures_util::FutureExt;

/// EX_SOFTWARE of sysexits.
pub(crate) const FAULT: i32 = 70;

tokio::task_local! {
    static CONTAINED: ();
}

/// Work ended by a panic: a fault of the coordinator's own, never of who asked.
#[derive(Debug, thiserror::Error)]
#[error("a fault of the coordinator's own: {0}")]
pub struct Panicked(String);

impl Panicked {
    fn of(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self(text.unwrap_or("it left no message").to_owned())
    }
}

/// Does `work`, and lives on if that panics.
///
/// What `work` shares with others has to bear that it was left at any point, as it has to bear a dropped future.
///
/// # Errors
/// It panicked; that has been logged.
pub async fn contained<F: Future>(work: F) -> Result<F::Output, Panicked> {
    let caught = CONTAINED.scope((), AssertUnwindSafe(work).catch_unwind()).await;
    caught.map_err(|payload| Panicked::of(&*payload))
}

/// The same for work that blocks, in a thread for such work.
///
/// # Errors
/// It panicked; that has been logged.
pub async fn contained_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panicked> {
    let work = tokio::task::spawn_blocking(move || CONTAINED.sync_scope((), work));
    work.await.map_err(|error| match error.try_into_panic() {
        Ok(payload) => Panicked::of(&*payload),
        Err(error) => Panicked(error.to_string()),
    })
}

/// From now on a panic that is not contained ends this process with [`FAULT`]. All are logged.
pub(crate) fn end_at_panics() {
    std::panic::set_hook(Box::new(|panic| {
        log(panic);
        if CONTAINED.try_with(|()| ()).is_err() {
            std::process::exit(FAULT);
        }
    }));
}

fn log(panic: &PanicHookInfo<'_>) {
    let fault = Panicked::of(panic.payload());
    let place = panic.location().map(ToString::to_string);
    tracing::error!(place, "{fault}. Please report this line");
}

#[cfg(test)]
#[expect(clippy::panic, reason = "a panic is what is tried")]
mod tests {
    use super::*;
    use std::process::{Command, ExitStatus};

    const PLAYED: &str = "BIGSKIES_TEST_PLAYED";

    /// Runs the test `name` again, in a process of its own where [`PLAYED`] is set.
    fn replay(name: &str) -> ExitStatus {
        let this = std::env::current_exe().expect("a path");
        let name = format!("{}::{name}", module_path!().split_once("::").expect("a crate").1);
        let mut command = Command::new(this);
        command.args(["--exact", &name, "--test-threads=1"]).env(PLAYED, "1");
        command.output().expect("runs").status
    }

    fn is_played() -> bool {
        std::env::var_os(PLAYED).is_some()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_panic_in_a_task_ends_the_process() {
        if is_played() {
            end_at_panics();
            tokio::spawn(async { panic!("a fault") });
            return std::future::pending().await;
        }
        assert_eq!(replay("a_panic_in_a_task_ends_the_process").code(), Some(FAULT));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_panic_that_is_contained_is_an_error() {
        if !is_played() {
            assert_eq!(replay("a_panic_that_is_contained_is_an_error").code(), Some(0));
            return;
        }
        end_at_panics();
        let fault = contained(async {
            tokio::task::yield_now().await;
            panic!("a fault");
        });
        let error = tokio::spawn(fault).await.expect("lives").expect_err("panicked");
        assert_eq!(error.to_string(), "a fault of the coordinator's own: a fault");
        let blocking = contained_blocking(|| panic!("{}", "another")).await;
        let error = blocking.expect_err("panicked").to_string();
        assert!(error.contains("another"), "{error}");
        assert_eq!(contained(async { 1 }).await.expect("fine"), 1);
    }
}
