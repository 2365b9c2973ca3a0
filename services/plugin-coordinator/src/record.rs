//! What is kept of an installed plugin.

mod grants;
mod recorded;

use envelope::payload::lifecycle::{ExitRecord, ManifestSource};
use envelope::payload::spec::{Presence, Spec};
use envelope::payload::state::Phase;
use envelope::{Generation, InstallUid, PluginId, StartId, Timestamp};
use manifest::Manifest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::operation::Named;

pub use grants::Granted;
pub(crate) use grants::{approval, keys};
pub use recorded::Recorded;

/// An installed plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its id.
    pub id: PluginId,
    /// This installation of it.
    pub uid: InstallUid,
    /// The version of what it should be.
    pub generation: Generation,
    /// What runs: image, manifest, configuration.
    pub release: Release,
    /// What it is to be next: its rights are being made while what it is still runs.
    #[serde(default)]
    pub next: Option<Box<Release>>,
    /// What it was before its last update.
    #[serde(default)]
    pub previous: Option<Box<Release>>,
    /// When it was installed.
    pub installed_at: Timestamp,
    /// What it should do.
    pub desired: Desired,
    /// Where it is.
    pub standing: Standing,
    /// Its container, from the moment that one is wanted until it is removed.
    #[serde(default)]
    pub start: Option<Start>,
    /// Starts whose login and token have still to be taken back.
    #[serde(default)]
    pub owed: Vec<StartId>,
    /// How its last container ended.
    #[serde(default)]
    pub last_exit: Option<ExitRecord>,
    /// Failures in a row.
    #[serde(default)]
    pub failures: u32,
    /// When the next try is due after a failure.
    #[serde(default)]
    pub retry_at: Option<Timestamp>,
    /// Why the framework itself stopped it, until somebody asks for a start.
    #[serde(default)]
    pub halted: Option<String>,
    /// Why the framework itself restarts it, until its process is stopped for that.
    #[serde(default)]
    pub restart: Option<String>,
    /// What the watchdog has done about its health.
    #[serde(default)]
    pub watchdog: Watchdog,
    /// The row that it was read from; 0 when there is none yet. See [`crate::registrations`].
    #[serde(skip)]
    pub revision: i64,
}

/// One image with everything that belongs to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Release {
    /// The image as it was asked for.
    pub source: String,
    /// The image by digest, `repository@sha256:…`.
    pub reference: String,
    /// Its digest.
    pub digest: String,
    /// Its manifest.
    pub manifest: Recorded,
    /// Where that came from.
    pub manifest_source: ManifestSource,
    /// What is odd in it.
    pub warnings: Vec<String>,
    /// What it asks for beyond the plugin's own namespace, and whether the plugin has it.
    pub grants: Vec<Granted>,
    /// The numbers of the image's user.
    pub uid: u32,
    /// The numbers of the image's group.
    pub gid: u32,
    /// Those of the groups that the image's user is in beside that.
    #[serde(default)]
    pub groups: Vec<u32>,
    /// The plugin's configuration.
    #[serde(default)]
    pub config: Option<Value>,
}

/// What the watchdog has done about a plugin's health, until somebody asks for its start or it has been well for a
/// while.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watchdog {
    /// How often it has restarted it in a row.
    #[serde(default)]
    pub restarts: u32,
    /// Set when it restarts it no more.
    #[serde(default)]
    pub suspended: Option<Suspended>,
}

/// Why the watchdog restarts a plugin no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspended {
    /// What is wrong with the plugin; goes on after its name.
    pub why: String,
    /// Since when.
    pub since: Timestamp,
}

/// What a plugin should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "want")]
pub enum Desired {
    /// Run.
    Running,
    /// Not run.
    Stopped,
    /// Be gone.
    Absent {
        /// With its data.
        remove_volumes: bool,
    },
}

/// Where a plugin is, since when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The phase.
    pub phase: Phase,
    /// Why, where that needs saying.
    pub reason: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// What brought it there.
    pub cause: String,
    /// Joins it to the request that brought it there.
    pub correlation_id: String,
}

/// A container, from wish to removal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Names the container, its login and its token's session.
    pub id: StartId,
    /// How far it has come.
    pub progress: StartProgress,
    /// The version of what the plugin should be that it was made from. One of before there were several is of
    /// the plugin's own.
    #[serde(default)]
    pub generation: Option<Generation>,
    /// When its process was last started.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// The process of it that was last seen to listen to its control topics, by when that was started.
    #[serde(default)]
    pub listened: Option<Timestamp>,
}

/// How far a start has come. Each value is recorded when its step is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartProgress {
    /// Its id is known.
    Begun,
    /// Its container exists, with login, token and configuration, and does not run.
    Prepared,
    /// Its process was started.
    Started,
    /// It has reported health since.
    Ready,
}

impl Release {
    /// The manifest, without what was taken back: whatever is made from it has no more than was granted.
    pub fn manifest(&self) -> Manifest {
        self.manifest.whole().clone().limited_to(&self.granted())
    }

    /// What people know of it.
    pub fn named(&self) -> Named {
        Named { version: self.manifest().version.to_string(), digest: self.digest.clone() }
    }
}

impl Record {
    /// The manifest, without what was taken back.
    pub fn manifest(&self) -> Manifest {
        self.release.manifest()
    }

    /// Every release that is its own: what it is, was, and is to be next.
    pub fn releases(&self) -> impl Iterator<Item = &Release> {
        [Some(&self.release), self.previous.as_deref(), self.next.as_deref()].into_iter().flatten()
    }

    /// What the message coordinator needs to know: of what it is to be next, when there is such a thing. `manifest`
    /// is this record's own.
    pub fn spec(&self, manifest: &Manifest, node: &str) -> Spec {
        let next = self.next.as_ref().map(|next| next.manifest());
        let manifest = next.as_ref().unwrap_or(manifest);
        let topics = manifest.topics();
        let filters =
            |list: Vec<manifest::TopicFilter>| list.iter().map(|f| f.as_str().to_owned()).collect::<Vec<_>>();
        Spec {
            plugin_id: self.id.clone(),
            uid: self.uid,
            generation: self.generation,
            node: node.to_owned(),
            presence: match self.desired {
                Desired::Absent { .. } if self.start.is_none() => Presence::Absent,
                _ => Presence::Present,
            },
            alias: manifest.alias().cloned(),
            client_ids: manifest.client_ids(),
            publish: filters(topics.publish),
            subscribe: filters(topics.subscribe),
            health_topic: manifest.health_topic().as_str().to_owned(),
            permissions: manifest.permissions.iter().map(ToString::to_string).collect(),
            manifest_digest: manifest.digest(),
        }
    }

    /// Moves it to `phase`. Being there already changes neither time nor cause, only the reason.
    pub fn enter(&mut self, phase: Phase, reason: Option<String>, cause: &str, correlation_id: &str) {
        if self.standing.phase != phase {
            self.standing.since = crate::clock::now();
            cause.clone_into(&mut self.standing.cause);
            correlation_id.clone_into(&mut self.standing.correlation_id);
        }
        self.standing.phase = phase;
        self.standing.reason = reason;
    }

    /// It should be something else from now on. A container of what it was is replaced where it should run.
    pub fn advance_generation(&mut self) {
        let before = self.generation;
        if let Some(start) = &mut self.start {
            start.generation.get_or_insert(before);
        }
        self.generation = before.next();
    }

    /// It is to be something else: the rights of that are made first, and what it is goes on meanwhile.
    pub fn stage(&mut self, next: Release) {
        self.advance_generation();
        self.next = Some(Box::new(next));
    }

    /// It takes the place of what it was. Answers what a rollback would have brought back until now.
    pub fn swap(&mut self) -> Option<Box<Release>> {
        let next = self.next.take()?;
        let was = std::mem::replace(&mut self.release, *next);
        self.previous.replace(Box::new(was))
    }

    /// What it was to be next comes to nothing. A container of what it is stays.
    pub fn unstage(&mut self) {
        if self.next.take().is_none() {
            return;
        }
        self.generation = self.generation.next();
        let generation = self.generation;
        // A login that is being made just now is of the generation before: that start begins anew.
        if let Some(start) = self.start.as_mut().filter(|start| start.progress > StartProgress::Begun) {
            start.generation = Some(generation);
        }
    }

    /// Whether its container was made for something else than it should be now.
    pub fn is_outdated(&self) -> bool {
        if self.next.is_some() {
            return false;
        }
        let made_for = self.start.as_ref().and_then(|start| start.generation);
        made_for.is_some_and(|made_for| made_for != self.generation)
    }

    /// The framework stops it, and it stays stopped until somebody asks for a start.
    pub fn halt(&mut self, why: &str, cause: &str, correlation_id: &str) {
        self.unstage();
        self.desired = Desired::Stopped;
        self.halted = Some(why.to_owned());
        self.restart = None;
        self.forgive();
        self.retry_at = None;
        self.enter(Phase::Stopping, Some(why.to_owned()), cause, correlation_id);
    }

    /// Somebody asks for it to run: what happened before counts no more. A container that the framework is just
    /// stopping is replaced.
    pub fn ask_to_run(&mut self) {
        self.desired = Desired::Running;
        if self.halted.take().is_some() && self.start.is_some() {
            self.advance_generation();
        }
        self.forgive();
        self.retry_at = None;
    }

    /// What failed before counts no more.
    pub fn forgive(&mut self) {
        self.failures = 0;
        self.watchdog = Watchdog::default();
    }

    /// The process of the current start has ended and is to be started again: container, login and token stay.
    pub fn rewind_start(&mut self) {
        if let Some(start) = self.start.as_mut().filter(|start| start.progress > StartProgress::Prepared) {
            start.progress = StartProgress::Prepared;
            start.started_at = None;
        }
    }

    /// Gives the current start up: its login and token are owed back.
    pub fn drop_start(&mut self) {
        self.restart = None;
        if let Some(start) = self.start.take()
            && !self.owed.contains(&start.id)
        {
            self.owed.push(start.id);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
