//! What time it is. Everything in this service asks here, so that a simulation can decide it.

use envelope::Timestamp;

/// The time, now: the machine's clock, or in a simulation the simulated one.
pub(crate) fn now() -> Timestamp {
    #[cfg(test)]
    if let Some(simulated) = simulated::now() {
        return simulated;
    }
    Timestamp::now()
}

#[cfg(test)]
pub(crate) mod simulated {
    //! The clock of a simulation: it goes as tokio's does, which can be paused and moved, on this thread alone.

    use std::cell::Cell;

    use envelope::Timestamp;
    use tokio::time::Instant;

    thread_local! {
        static ORIGIN: Cell<Option<(Timestamp, Instant)>> = const { Cell::new(None) };
    }

    /// The simulated time of this thread, while a [`Clock`] lives on it.
    pub(super) fn now() -> Option<Timestamp> {
        ORIGIN.get().map(|(origin, since)| origin.after(since.elapsed()))
    }

    /// While it lives, this thread's time is simulated.
    pub(crate) struct Clock(());

    impl Clock {
        /// A clock that shows `origin` now. To be called in tokio's context.
        pub(crate) fn starting_at(origin: Timestamp) -> Self {
            ORIGIN.set(Some((origin, Instant::now())));
            Self(())
        }
    }

    impl Drop for Clock {
        fn drop(&mut self) {
            ORIGIN.set(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_simulated_clock_goes_as_tokio_does_and_ends_with_its_guard() {
        let origin = Timestamp::from_seconds(1_000_000);
        let clock = simulated::Clock::starting_at(origin);
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(now(), origin.after(Duration::from_secs(90)));
        drop(clock);
        assert!(now() > origin.after(Duration::from_secs(1_000_000)));
    }

    #[test]
    fn nothing_else_in_this_service_reads_the_machines_clock() {
        fn look(folder: &Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    look(&path, found);
                    continue;
                }
                let text = std::fs::read_to_string(&path).expect("a source file");
                let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
                let is_test = path
                    .components()
                    .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs");
                if !is_test && !path.ends_with("clock.rs") && code.contains("Timestamp::now()") {
                    found.push(path.display().to_string());
                }
            }
        }
        let mut found = Vec::new();
        look(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        assert!(found.is_empty(), "use crate::clock::now() in {found:?}");
    }
}
