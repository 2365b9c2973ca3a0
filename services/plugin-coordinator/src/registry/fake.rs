//! A registry in memory for tests: it has images, fails as it is told, and records what it was asked.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{Registry, RegistryError, Resolved};
use crate::engine::RegistryLogin;

/// The registry in memory; clones are handles to the same one.
#[derive(Debug, Clone, Default)]
pub struct FakeRegistry {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    images: BTreeMap<String, Resolved>,
    logins: BTreeMap<String, RegistryLogin>,
    failures: VecDeque<RegistryError>,
    asked: Vec<String>,
}

impl FakeRegistry {
    /// A registry without images.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `source` be an image, as a push does, moving a tag that was there.
    pub fn publish(&self, source: &str, image: Resolved) {
        self.state().images.insert(source.to_owned(), image);
    }

    /// Takes an image away.
    pub fn withdraw(&self, source: &str) {
        self.state().images.remove(source);
    }

    /// Has a login for its host.
    pub fn set_login(&self, login: RegistryLogin) {
        self.state().logins.insert(login.host.clone(), login);
    }

    /// The next look-up fails. Several queue up.
    pub fn fail_next(&self, error: RegistryError) {
        self.state().failures.push_back(error);
    }

    /// Sources that were looked up.
    pub fn asked(&self) -> Vec<String> {
        self.state().asked.clone()
    }
}

#[async_trait]
impl Registry for FakeRegistry {
    async fn resolve(&self, source: &str) -> Result<Resolved, RegistryError> {
        let mut state = self.state();
        state.asked.push(source.to_owned());
        if let Some(error) = state.failures.pop_front() {
            return Err(error);
        }
        state.images.get(source).cloned().ok_or_else(|| RegistryError::NotFound { image: source.to_owned() })
    }

    async fn login_for(&self, host: &str) -> Result<Option<RegistryLogin>, RegistryError> {
        Ok(self.state().logins.get(host).cloned())
    }
}
