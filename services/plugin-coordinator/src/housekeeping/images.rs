//! Which images were pulled for plugins: a port, and the table in the plugin registry.

use std::sync::Arc;

use async_trait::async_trait;
use store::Store;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::engine::ImageRef;
use crate::registrations::TableError;

/// The images that were pulled for plugins, and were not there before.
#[async_trait]
pub(crate) trait Pulled: Send + Sync + 'static {
    /// One more.
    async fn note(&self, reference: &str) -> Result<(), TableError>;

    /// All, by name.
    async fn all(&self) -> Result<Vec<String>, TableError>;

    /// One less.
    async fn forget(&self, reference: &str) -> Result<(), TableError>;
}

/// The images that were pulled for plugins, and the order of pulling and removing.
#[derive(Clone)]
pub(crate) struct Images {
    pulled: Arc<dyn Pulled>,
    sweep: Arc<Mutex<()>>,
}

impl Images {
    /// Those that are noted there.
    pub(crate) fn new(pulled: Arc<dyn Pulled>) -> Self {
        Self { pulled, sweep: Arc::default() }
    }

    /// None, and they are forgotten with this value.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Self {
        Self::new(Arc::new(InMemory::default()))
    }

    /// Waits until no image is being removed, and keeps it so. A sweep that begins afterwards sees what was recorded
    /// before.
    pub(crate) async fn still(&self) -> OwnedMutexGuard<()> {
        self.sweep.clone().lock_owned().await
    }

    /// Notes that an image is about to be pulled that is not there. Before it is: a pull that a crash ended may leave
    /// it.
    pub(crate) async fn pulls(&self, image: &ImageRef) -> Result<(), TableError> {
        self.pulled.note(&image.to_string()).await
    }

    pub(super) async fn all(&self) -> Result<Vec<String>, TableError> {
        self.pulled.all().await
    }

    pub(super) async fn forget(&self, reference: &str) -> Result<(), TableError> {
        self.pulled.forget(reference).await
    }
}

/// The table.
pub(crate) struct SqlitePulled(pub(crate) Store);

#[async_trait]
impl Pulled for SqlitePulled {
    async fn note(&self, reference: &str) -> Result<(), TableError> {
        sqlx::query("INSERT OR IGNORE INTO images (reference) VALUES (?)")
            .bind(reference)
            .execute(self.0.pool())
            .await?;
        Ok(())
    }

    async fn all(&self) -> Result<Vec<String>, TableError> {
        Ok(sqlx::query_scalar("SELECT reference FROM images ORDER BY reference")
            .fetch_all(self.0.pool())
            .await?)
    }

    async fn forget(&self, reference: &str) -> Result<(), TableError> {
        sqlx::query("DELETE FROM images WHERE reference = ?").bind(reference).execute(self.0.pool()).await?;
        Ok(())
    }
}

#[cfg(test)]
#[derive(Default)]
struct InMemory(std::sync::Mutex<std::collections::BTreeSet<String>>);

#[cfg(test)]
impl InMemory {
    fn lock(&self) -> std::sync::MutexGuard<'_, std::collections::BTreeSet<String>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
#[async_trait]
impl Pulled for InMemory {
    async fn note(&self, reference: &str) -> Result<(), TableError> {
        self.lock().insert(reference.to_owned());
        Ok(())
    }

    async fn all(&self) -> Result<Vec<String>, TableError> {
        Ok(self.lock().iter().cloned().collect())
    }

    async fn forget(&self, reference: &str) -> Result<(), TableError> {
        self.lock().remove(reference);
        Ok(())
    }
}
