//! An authority without a broker, and a clock that is set by hand.

use envelope::Coordinator;
use store::Store;

use super::*;
use crate::clock::testing::SetClock;

pub(crate) const KEY_FILE: [u8; 32] = [7; 32];
/// When the tests' clock begins.
pub(crate) const START: i64 = 1_700_000_000;

pub(crate) fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("key"), KEY_FILE).expect("writes");
    folder
}

pub(crate) fn settings(folder: &tempfile::TempDir) -> Settings {
    Settings { key_file: folder.path().join("key"), ..Settings::default() }
}

pub(crate) async fn store(folder: &tempfile::TempDir) -> Store {
    let path = folder.path().join("security.db");
    Store::open(&path, &crate::service::MIGRATIONS).await.expect("opens")
}

/// An authority over the database in `folder`, with a clock of its own.
pub(crate) struct Office {
    pub(crate) authority: Authority,
    pub(crate) clock: Arc<SetClock>,
}

pub(crate) async fn office(folder: &tempfile::TempDir) -> Office {
    let clock = Arc::new(SetClock::at(START));
    let authority = Authority::new(
        &settings(folder),
        store(folder).await.pool().clone(),
        Publisher::new(Coordinator::Security),
        Verifier::new(),
        clock.clone(),
    )
    .await
    .expect("opens");
    crate::refresh::restore(&authority).await.expect("publishes");
    Office { authority, clock }
}

pub(crate) fn origin() -> Origin<'static> {
    Origin { cause: "a test".to_owned(), correlation_id: "c", traceparent: None }
}

impl State {
    pub(crate) fn trust_the_clock(&mut self) {
        self.unsure_until = Instant::now();
    }

    /// As if no plugin had got a token for a while.
    pub(crate) fn forget_signed(&mut self) {
        self.signed.clear();
    }
}
