//! Adoption: a registry that has lost what it knew takes over what runs, without touching it.
//!
//! A container's label says what it was made from ([`Kept`](crate::policy::Kept)), the retained spec of its plugin
//! that this coordinator wanted it; see [`judge`] for what is believed, and when. Containers that belong to no plugin
//! then are removed, and no earlier. A plugin of which only the spec is left is told of, and nothing of it deleted.

mod judge;
mod told;

use std::collections::BTreeMap;

use envelope::PluginId;
use envelope::payload::event::EventKind;
use envelope::payload::spec::{AclOutcome, Presence, Spec};
use serde_json::Value;
use store::Store;

use crate::admission;
use crate::clock;
use crate::context::Context;
use crate::engine::{Container, EngineError};
use crate::policy::config;
use crate::policy::{CONFIG_FILE, PLUGIN_LABEL, RELEASE_LABEL};
use crate::record::Record;
use crate::registrations::TableError;
use judge::{CAUSE, Case, Refusal, judge};

pub(crate) use told::{Retained, Specs, Told, ToldError};

/// Under this name the database says that it has taken over what ran before it.
const DONE: &str = "adopted_at";
/// A configuration is part of a request, which is no larger.
const MAX_CONFIG: u64 = 1024 * 1024;

/// Why containers were not looked at to the end. Nothing was removed that was not judged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdoptionError {
    /// The engine failed.
    #[error("the containers of plugins cannot be looked at")]
    Engine(#[from] EngineError),
    /// The registry failed.
    #[error("the plugin registry failed")]
    Table(#[from] TableError),
    /// The database failed.
    #[error("the plugin registry's database failed")]
    Store(#[from] sqlx::Error),
    /// The broker was not heard.
    #[error("it is not known yet which plugins were installed")]
    Told(#[from] ToldError),
}

/// What a look at all containers came to.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// Plugins that were taken over.
    pub(crate) adopted: Vec<PluginId>,
    /// Containers that are neither taken over nor removed, with why.
    pub(crate) left: BTreeMap<PluginId, String>,
    /// Specs of plugins of which nothing else is left. None when there was no need to look.
    pub(crate) lost: Option<Specs>,
}

/// Takes over what a registry does not know.
pub(crate) struct Adoption {
    pub(crate) ctx: Context,
    pub(crate) store: Store,
    pub(crate) told: Box<dyn Told>,
}

impl Adoption {
    /// Whether no look at all containers has come to its end yet: then the registry may have lost what runs.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn is_new(&self) -> Result<bool, AdoptionError> {
        Ok(self.store.meta(DONE).await?.is_none())
    }

    /// Looks at all containers of this installation: those of plugins that the registry has lost are taken over, those
    /// that belong to no plugin are removed.
    ///
    /// # Errors
    /// Something that is needed to judge them does not answer. What was taken over stays so, and the next look goes on.
    pub(crate) async fn look(&self) -> Result<Looked, AdoptionError> {
        let ctx = &self.ctx;
        let is_new = self.is_new().await?;
        let unknown = self.unknown().await?;
        if !is_new && unknown.is_empty() {
            return Ok(Looked::default());
        }
        let specs = self.told.specs().await?;
        let mut looked = Looked::default();
        for (id, container) in &unknown {
            match self.judge(id, container, specs.get(id), is_new).await? {
                Ok(record) => {
                    if self.adopt(record, container).await? {
                        looked.adopted.push(id.clone());
                    }
                }
                // What carries a plugin's ports comes with the plugin, or goes with it below.
                Err(Refusal::OutOfPlace) => {}
                Err(why) if why.is_of_label() && specs.get(id).is_some_and(is_present) => {
                    looked.left.insert(id.clone(), telemetry::chain(&why));
                }
                Err(why) => self.refused(id, container, &telemetry::chain(&why)),
            }
        }
        for (id, container) in self.unknown().await? {
            if !looked.left.contains_key(&id) {
                self.remove(&id, &container).await;
            }
        }
        if is_new {
            self.store.set_meta(DONE, &clock::now().to_string()).await?;
            let known = ctx.registrations.ids().await?;
            looked.lost = Some(specs.into_iter().filter(|(id, _)| !known.contains(id.as_str())).collect());
        }
        Ok(looked)
    }

    /// Containers of this installation whose plugin is not registered. One whose row cannot be read is: its
    /// container is left alone, and holds up nobody.
    async fn unknown(&self) -> Result<Vec<(PluginId, Container)>, AdoptionError> {
        let ctx = &self.ctx;
        let containers = ctx.engine.list(ctx.policy.installation()).await?;
        let known = ctx.registrations.ids().await?;
        let of = |container: Container| {
            let id = container.label(PLUGIN_LABEL).and_then(|id| PluginId::parse(id).ok())?;
            (!known.contains(id.as_str())).then_some((id, container))
        };
        Ok(containers.into_iter().filter_map(of).collect())
    }

    async fn judge(
        &self,
        id: &PluginId,
        container: &Container,
        spec: Option<&Spec>,
        is_new: bool,
    ) -> Result<Result<Record, Refusal>, AdoptionError> {
        let image = self.ctx.engine.image(&container.image_id).await?;
        let of_the_image = image.as_ref().and_then(|image| image.labels.get(RELEASE_LABEL));
        let name = self.ctx.policy.container_name(id);
        Ok(judge(&Case {
            id,
            container,
            name: &name,
            of_the_image: of_the_image.map(String::as_str),
            spec,
            is_new,
            now: clock::now(),
        }))
    }

    /// Records a plugin that runs. False when it needs a name that another plugin has.
    async fn adopt(&self, mut record: Record, container: &Container) -> Result<bool, AdoptionError> {
        let ctx = &self.ctx;
        let id = record.id.clone();
        record.release.config = self.config(&record, container).await?;
        let names = admission::names(record.release.manifest.whole());
        match ctx.registrations.claim(&mut record, &names, None).await? {
            None => {
                let message = format!(
                    "{id} was not in the plugin registry and is taken over as its container says: {}, generation {}. \
                     The container was not touched.",
                    record.release.reference, record.generation.0
                );
                ctx.reporter.notice(EventKind::Drift, &id, message, CAUSE);
                Ok(true)
            }
            Some(name) => {
                let owner = ctx.registrations.owner(&name).await?.unwrap_or_default();
                self.refused(&id, container, &admission::taken(&id, &name, &owner).message);
                Ok(false)
            }
        }
    }

    /// The configuration that the container was given. The plugin can have changed the file since, which is then its
    /// own affair, as long as it still is a configuration that the plugin could be given.
    async fn config(&self, record: &Record, container: &Container) -> Result<Option<Value>, AdoptionError> {
        let read = match self.ctx.engine.read_back(&container.id, CONFIG_FILE, MAX_CONFIG).await {
            Ok(None) => return Ok(None),
            Ok(Some(bytes)) => serde_json::from_slice::<Value>(&bytes).map_err(|error| error.to_string()),
            Err(error) if error.is_retryable() => return Err(error.into()),
            Err(error) => Err(telemetry::chain(&error)),
        };
        let fits = match read {
            Ok(config) => match config::check(&record.manifest(), Some(&config)).await {
                Ok(()) => return Ok(Some(config)),
                Err(refused) => refused.message,
            },
            Err(why) => why,
        };
        let id = &record.id;
        let message = format!(
            "The configuration of {id} was lost and is not what its container has in {CONFIG_FILE}: {fits} It has none \
             from its next start on, until it is given one."
        );
        self.ctx.reporter.notice(EventKind::Refused, id, message, CAUSE);
        Ok(None)
    }

    fn refused(&self, id: &PluginId, container: &Container, why: &str) {
        let message = format!("Container {} is not taken over as that of {id}: {why}.", container.name);
        self.ctx.reporter.notice(EventKind::Refused, id, message, CAUSE);
    }

    async fn remove(&self, id: &PluginId, container: &Container) {
        let message = format!("Container {} belongs to no installed plugin and was removed.", container.name);
        match self.ctx.engine.remove(&container.id).await {
            Ok(_) => self.ctx.reporter.notice(EventKind::Drift, id, message, "a look at all containers"),
            Err(error) => tracing::warn!(error = telemetry::chain(&error), "a container was not removed"),
        }
    }

    /// Takes out of `lost` what is lost no more. What was being removed is cleared when its rights are gone: there is
    /// nobody else who would.
    ///
    /// # Errors
    /// The registry failed.
    pub(crate) async fn look_for(&self, lost: &mut Specs) -> Result<(), AdoptionError> {
        let ctx = &self.ctx;
        let known = ctx.registrations.plugins().await?;
        lost.retain(|id, spec| {
            if known.iter().any(|record| record.id == *id) {
                return false;
            }
            let acl = ctx.acls.get(id).filter(|acl| acl.uid == spec.uid);
            let gone = !is_present(spec) && acl.is_some_and(|acl| acl.outcome == AclOutcome::Absent);
            if gone {
                ctx.reporter.forget(id);
            }
            !gone
        });
        Ok(())
    }
}

/// Why the registry is not whole, in words, if it is not.
pub(crate) fn shortcoming(left: &BTreeMap<PluginId, String>, lost: &Specs) -> Option<String> {
    let ids = |ids: Vec<&PluginId>| {
        const MOST: usize = 8;
        let first: Vec<&str> = ids.iter().take(MOST).map(|id| id.as_str()).collect();
        match ids.len().saturating_sub(MOST) {
            0 => first.join(", "),
            more => format!("{} and {more} more", first.join(", ")),
        }
    };
    let lost: Vec<&PluginId> = lost.iter().filter(|(_, spec)| is_present(spec)).map(|(id, _)| id).collect();
    let mut parts = Vec::new();
    if !lost.is_empty() {
        parts.push(format!(
            "the plugin registry was lost, and of these installed plugins nothing is left to take over (they did not \
             run): {}; install each again, its data is kept",
            ids(lost)
        ));
    }
    if let Some((_, why)) = left.first_key_value() {
        parts.push(format!(
            "these run and cannot be taken over ({why}): {}; install and start each again",
            ids(left.keys().collect())
        ));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn is_present(spec: &Spec) -> bool {
    spec.presence == Presence::Present
}
